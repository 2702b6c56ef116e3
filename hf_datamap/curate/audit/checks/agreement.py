"""How far scores and annotations agree, and whether labels point the wrong way."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.audit.label_errors import LabelErrorModel
from hf_datamap.data import columns
from hf_datamap.data.statistics import kendall, pearson, wilson_interval

_LEAST_COMPARISONS: Final = 20
_HALF_WRONG: Final = 0.12  # no dataset has 38 % wrong labels; a scorer that errs at all margins is more likely
_IMPLAUSIBLE: Final = 0.15  # share of wrong labels from which the scorer is doubted as well
_SURE: Final = 3.0  # standard errors


def tells_nothing(model: LabelErrorModel) -> bool:
    """Whether the scores tell nothing about the labels: agreement by chance, or labels that would be half wrong."""
    if model.comparisons < _LEAST_COMPARISONS:
        return False  # too few to say so: the scores are believed
    low, high = wilson_interval(model.agreement, model.comparisons, z=1.64)
    return low <= 0.5 <= high or abs(model.error - 0.5) < _HALF_WRONG


def agreement(context: AuditContext, labels: np.ndarray, model: LabelErrorModel) -> None:
    """The three measures side by side, and a word when the scores carry nothing about the labels."""
    log, scores, rows = context.log, context.scores, []
    for name, values in (
        ("S_corr (uncentred cosine, as the authors define it)", columns.agreement(scores, labels)),
        ("Kendall's tau-b", kendall(scores, labels)),
        ("Pearson", pearson(scores, labels)),
    ):
        known = values[np.isfinite(values)]
        if known.size:
            low, tenth, middle = np.quantile(known, [0.01, 0.1, 0.5])
            rows.append({"measure": name, "rows": known.size, "1 %": low, "10 %": tenth, "median": middle})
    log.finding(
        "agreement",
        "note",
        f"Scores and annotations point the same way in {model.agreement:.1%} of {model.comparisons:,} rows",
        model.agreement,
        detail="S_corr is a cosine without centring: on positive scales it crowds near 1 even where the order is "
        "reversed. Read its ranks, not its size, and look at tau and Pearson beside it.",
        evidence=tuple(rows),
    )
    if model.interval[0] > _IMPLAUSIBLE and model.agreement > 0.5 and not tells_nothing(model):
        log.finding(
            "agreement",
            "warning",
            f"Either {model.error:.0%} of the labels are wrong, or the scorer errs even where its margins are large",
            model.error,
            detail="The two cannot be told apart from scores and labels. Check the scorer against human labels "
            "(hf-datamap calibrate) before acting on suspects.",
        )
    if tells_nothing(model):
        log.finding(
            "agreement",
            "warning",
            f"The scores say nothing about the annotations: {model.agreement:.1%} agreement is near chance",
            model.agreement,
            detail="Either the scorer or the labels are noise. Check the scorer against human labels "
            "(hf-datamap calibrate).",
        )


def inversion(context: AuditContext, labels: np.ndarray) -> None:
    """Agreement far below chance, over all rows and in each group."""
    log = context.log
    margin = columns.margin(context.scores, labels)
    compared = np.isfinite(margin) & (margin != 0)
    agrees = margin > 0
    evidence: list[dict[str, Any]] = []

    def compare(name: str, chosen: np.ndarray) -> None:
        total, hits = int((chosen & compared).sum()), int((chosen & compared & agrees).sum())
        if total >= _LEAST_COMPARISONS and wilson_interval(hits / total, total, z=_SURE)[1] < 0.5:
            evidence.append({"rows": name, "comparisons": total, "agreement": hits / total})

    compare("all", np.ones(len(margin), bool))
    if not evidence:
        for group in context.view.groups:
            for code, value in enumerate(group.values):
                compare(f"{group.name} = {value}", group.codes == code)
    log.measures["inversion"] = float(bool(evidence))
    if evidence:
        worst = min(evidence, key=lambda row: float(row["agreement"]))
        log.finding(
            "inversion",
            "alarm",
            f"Labels point the wrong way: agreement with the scores is {worst['agreement']:.1%} ({worst['rows']})",
            1.0,
            detail="Far below chance: the polarity of the label (which value means better) was probably read or "
            "written the wrong way round. Check the layout's label rule, then the export.",
            evidence=tuple(evidence),
        )

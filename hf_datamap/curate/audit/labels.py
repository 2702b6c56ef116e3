"""Annotations held against scores: suspects, inverted labels, agreement by source, language and model."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit import statistics as st
from hf_datamap.curate.audit.report import Ledger, Suspects
from hf_datamap.data import columns
from hf_datamap.data.view import Material

_LEAST_COMPARISONS: Final = 20
_LEAST_GROUP: Final = 10
_SHOWN: Final = 400
_HALF_WRONG: Final = 0.12  # no data set has 38 % wrong labels; a scorer that errs at all margins is more likely
_IMPLAUSIBLE: Final = 0.15  # share of wrong labels from which the scorer is doubted as well


def labels_of(material: Material, ledger: Ledger) -> np.ndarray | None:
    """The annotations to hold against the scores, as wide as the scores; None (and why) when there are none.

    Scores that are the annotations themselves say nothing about them: then the order of chosen and rejected is taken
    instead, where there is one.
    """
    scores = material.scores
    if scores is None:
        ledger.left_out["suspects"] = "the data set has no scores: score it first (hf-datamap map, or dm.annotate)"
        return None
    found = [labels for labels in (material.annotations, material.order) if labels is not None]
    for labels in found:
        if not _same(scores, labels):
            return as_wide(labels, scores.shape[1])
    ledger.left_out["suspects"] = (
        "the scores are the annotations themselves, which says nothing about either: score with a judge, a reward "
        "model or a reference"
        if found
        else material.layout_error or "nothing ships with the data that says which response is better"
    )
    return None


def as_wide(matrix: np.ndarray, width: int) -> np.ndarray:
    """A matrix cut, or filled up with NaN, to a width."""
    if matrix.shape[1] >= width:
        return matrix[:, :width]
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=np.nan)


def _same(scores: np.ndarray, labels: np.ndarray) -> bool:
    if scores.shape != labels.shape:
        return False
    both = np.isfinite(scores) & np.isfinite(labels)
    return bool(both.any()) and bool(np.allclose(scores[both], labels[both].astype(np.float32), rtol=1e-5, atol=1e-6))


def suspects(material: Material, labels: np.ndarray, ledger: Ledger, least: float) -> Suspects:
    """Find rows whose annotation the scores contradict; write down how far labels and scores agree.

    Args:
        material: the data set.
        labels: annotations, shape (rows, responses), NaN where missing.
        ledger: to write into.
        least: probability of a wrong label from which a row is a suspect.
    """
    scores = material.scores
    assert scores is not None  # noqa: S101
    noise = material.floats(columns.NOISE)
    scale = st.score_scale(scores)
    gap = 0.0 if labels.shape[1] == 2 else st.comparison_gap(labels)  # a pair is trained on however small its margin
    margin = st.effective_margin(st.alignment(scores, labels, gap), noise, scale)
    belief = st.Reliability.fit(margin)
    if belief is None:
        ledger.left_out["suspects"] = "no row has two responses that differ both in annotation and in score"
        return Suspects(np.empty(0, np.int64), {}, material.where)
    ledger.measures["label_error"] = belief.error
    _agreement(scores, labels, belief, ledger)
    _inversion(material, scores, labels, ledger)
    if _blind(belief):
        ledger.left_out["suspects"] = (
            f"scores and annotations agree in {belief.agreement:.1%} of {belief.comparisons:,} rows, hardly more than "
            "by chance: these scores cannot judge these annotations"
        )
        return Suspects(np.empty(0, np.int64), {}, material.where)
    probability = belief.mislabelled(-margin)
    rows = np.flatnonzero(probability >= least)
    rows = rows[np.lexsort((rows, margin[rows]))]
    better, worse = st.worst_pair(scores[rows], labels[rows])
    s_corr, tau, pearson = (
        measure(scores[rows], labels[rows]) for measure in (columns.agreement, st.kendall, st.pearson)
    )
    table = {
        "probability": probability[rows],
        "margin": scores[rows, worse] - scores[rows, better],
        "better": better,
        "worse": worse,
        "score_better": scores[rows, better],
        "score_worse": scores[rows, worse],
        "label_better": labels[rows, better],
        "label_worse": labels[rows, worse],
        "agreement": s_corr,
        "kendall": tau,
        "pearson": pearson,
    }
    found = Suspects(rows, table, material.where, partial(_texts, material))
    low, high = belief.interval
    ledger.rate(
        "suspect_rate",
        np.sort(rows),
        material.rows,
        "have an annotation that the scores contradict",
        alarm=0.1,
        detail=f"Scores and annotations agree in {belief.agreement:.1%} of {belief.comparisons:,} rows. About "
        f"{belief.error:.1%} of the labels are estimated to be wrong (90 % interval "
        f"{low:.1%} to {high:.1%}), if the scorer errs only where its margins are small. Removing suspects is the "
        "safer repair: published comparisons found it better than flipping.",
    )
    return found


def _blind(belief: st.Reliability) -> bool:
    """Whether the scores tell nothing about the labels: agreement by chance, or labels that would be half wrong."""
    if belief.comparisons < _LEAST_COMPARISONS:
        return False  # too few to say so: the scores are believed
    low, high = st.wilson(round(belief.agreement * belief.comparisons), belief.comparisons, z=1.64)
    return low <= 0.5 <= high or abs(belief.error - 0.5) < _HALF_WRONG


def _agreement(scores: np.ndarray, labels: np.ndarray, belief: st.Reliability, ledger: Ledger) -> None:
    """The three measures side by side, and a word when the scores carry nothing about the labels."""
    rows = []
    for name, values in (
        ("S_corr (uncentred cosine, as the authors define it)", columns.agreement(scores, labels)),
        ("Kendall's tau-b", st.kendall(scores, labels)),
        ("Pearson", st.pearson(scores, labels)),
    ):
        known = values[np.isfinite(values)]
        if known.size:
            low, tenth, middle = np.quantile(known, [0.01, 0.1, 0.5])
            rows.append({"measure": name, "rows": known.size, "1 %": low, "10 %": tenth, "median": middle})
    ledger.add(
        "agreement",
        "note",
        f"Scores and annotations point the same way in {belief.agreement:.1%} of {belief.comparisons:,} rows",
        belief.agreement,
        detail="S_corr is a cosine without centring: on positive scales it crowds near 1 even where the order is "
        "reversed. Read its ranks, not its size, and look at tau and Pearson beside it.",
        evidence=tuple(rows),
    )
    if belief.interval[0] > _IMPLAUSIBLE and belief.agreement > 0.5 and not _blind(belief):
        ledger.add(
            "agreement",
            "warning",
            f"Either {belief.error:.0%} of the labels are wrong, or the scorer errs even where its margins are large",
            belief.error,
            detail="The two cannot be told apart from scores and labels. Check the scorer against human labels "
            "(hf-datamap calibrate) before acting on suspects.",
        )
    if _blind(belief):
        ledger.add(
            "agreement",
            "warning",
            f"The scores say nothing about the annotations: {belief.agreement:.1%} agreement is near chance",
            belief.agreement,
            detail="Either the scorer or the labels are noise. Check the scorer against human labels "
            "(hf-datamap calibrate).",
        )


def _inversion(material: Material, scores: np.ndarray, labels: np.ndarray, ledger: Ledger) -> None:
    """Agreement far below chance, over all rows and in each group."""
    margin = columns.margin(scores, labels)
    compared = np.isfinite(margin) & (margin != 0)
    agrees = margin > 0
    evidence: list[dict[str, Any]] = []

    def look(name: str, chosen: np.ndarray) -> None:
        total, hits = int((chosen & compared).sum()), int((chosen & compared & agrees).sum())
        if total >= _LEAST_COMPARISONS and st.wilson(hits, total)[1] < 0.5:
            evidence.append({"rows": name, "comparisons": total, "agreement": hits / total})

    look("all", np.ones(len(margin), bool))
    if not evidence:
        for group in material.groups:
            for code, value in enumerate(group.values):
                look(f"{group.name} = {value}", group.codes == code)
    ledger.measures["inversion"] = float(bool(evidence))
    if evidence:
        worst = min(evidence, key=lambda row: float(row["agreement"]))
        ledger.add(
            "inversion",
            "alarm",
            f"Labels point the wrong way: agreement with the scores is {worst['agreement']:.1%} ({worst['rows']})",
            1.0,
            detail="Far below chance: the polarity of the label (which value means better) was probably read or "
            "written the wrong way round. Check the layout's label rule, then the export.",
            evidence=tuple(evidence),
        )


def by_group(material: Material, labels: np.ndarray, ledger: Ledger) -> None:
    """How far scores and labels agree in each source, language and annotator, and for each model."""
    scores = material.scores
    assert scores is not None  # noqa: S101
    margin = columns.margin(scores, labels)
    compared = np.isfinite(margin) & (margin != 0)
    whole = float((margin[compared] > 0).mean()) if compared.any() else math.nan
    for group in material.groups:
        rows: list[dict[str, Any]] = []
        for code, value in enumerate(group.values):
            here = compared & (group.codes == code)
            total = int(here.sum())
            if total >= _LEAST_GROUP:
                hits = int((margin[here] > 0).sum())
                low, high = st.wilson(hits, total)
                rows.append(
                    {
                        group.name: value,
                        "comparisons": total,
                        "agreement": hits / total,
                        "unusual": not low <= whole <= high,
                    }
                )
        if len(rows) > 1:
            rows.sort(key=lambda row: float(row["agreement"]))
            odd = sum(bool(row["unusual"]) for row in rows)
            ledger.add(
                f"agreement_by_{group.kind}",
                "warning" if odd else "note",
                f"Agreement of scores and labels by {group.name}: {rows[0]['agreement']:.1%} "
                f"({rows[0][group.name]}) to {rows[-1]['agreement']:.1%} ({rows[-1][group.name]}); {odd} of "
                f"{len(rows)} differ from the whole by more than three standard errors",
                detail="Where one group stands apart, the scorer or the annotators treat it differently.",
                evidence=tuple(rows[:20]),
            )
    if material.models is not None:
        _by_model(material.models, scores, labels, ledger)


def _by_model(
    models: tuple[np.ndarray, tuple[str, ...]], scores: np.ndarray, labels: np.ndarray, ledger: Ledger
) -> None:
    """Whether the scorer likes a model's responses more than the annotators do (standardised, centred by row)."""
    codes, names = as_wide(models[0].astype(float), scores.shape[1]), models[1]
    both = np.isfinite(scores) & np.isfinite(labels) & np.isfinite(codes) & (codes >= 0)
    s, a = st.centred(scores, both), st.centred(labels, both)
    s, a = s / (s[both].std() or 1.0), a / (a[both].std() or 1.0)
    excess, who = (s - a)[both], codes[both].astype(int)
    rows: list[dict[str, Any]] = []
    for code, name in enumerate(names):
        mine = excess[who == code]
        if mine.size >= _LEAST_COMPARISONS:
            error = float(mine.std()) / math.sqrt(mine.size)
            lead = float(mine.mean())
            rows.append({"model": name, "responses": mine.size, "lead": lead, "standard error": error})
    if len(rows) > 1:
        rows.sort(key=lambda row: -abs(float(row["lead"])))
        first = rows[0]
        ledger.add(
            "favours",
            "note",
            f"The scorer differs most from the annotators on {first['model']}: {first['lead']:+.2f} "
            "standard deviations",
            detail="A positive lead: the scorer likes the model's responses more than the annotators do.",
            evidence=tuple(rows[:20]),
        )


def _texts(material: Material, row: int, better: int, worse: int) -> tuple[str, str] | None:
    """The two responses of a suspect, shortened; None when the row cannot be read."""
    example = material.example(row)
    texts = example.responses if example else []
    if max(better, worse) >= len(texts):
        return None
    return short(texts[better] or ""), short(texts[worse] or "")


def short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= _SHOWN else text[:_SHOWN].rstrip() + " …"

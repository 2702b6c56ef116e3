"""Whether scores and labels follow the length of responses, and how far length alone would get."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.data import columns
from hf_datamap.data.statistics import pooled_correlation, wilson_interval
from hf_datamap.data.view import Group

_LEAST_PAIRS: Final = 30
_RULED: Final = 2 / 3


def length_bias(context: AuditContext, texts: TextFacts) -> None:
    """Whether longer responses are scored and labelled higher, within rows."""
    view, log = context.view, context.log
    annotations = next(
        (labels for labels in (context.labels, view.annotations, view.order) if labels is not None), None
    )
    scores = view.scores
    width = max((m.shape[1] for m in (scores, annotations) if m is not None), default=0)
    if not width:
        log.left_out["length_bias"] = "there are neither scores nor annotations"
        return
    length = np.log1p(texts.matrix(texts.responses.style["length"], width))
    evidence: list[dict[str, Any]] = []
    for name, values in (("score", scores), ("label", annotations)):
        if values is None:
            continue
        lengths = length[:, : values.shape[1]]
        gap, longer = _length_gaps(values, lengths)
        decided = gap != 0
        evidence.append(
            {
                "length against": name,
                "correlation within rows": pooled_correlation(lengths, values),
                "better one is longer": float((gap[decided] > 0).mean()) if decided.any() else float("nan"),
                "pairs": int(decided.sum()),
                "mean ratio of lengths": float(np.exp(longer)) if np.isfinite(longer) else float("nan"),
            }
        )
    strongest = max(evidence, key=lambda row: abs(np.nan_to_num(row["correlation within rows"])))
    name, correlation = strongest["length against"], float(np.nan_to_num(strongest["correlation within rows"]))
    value = float(evidence[-1]["correlation within rows"])
    if np.isfinite(value):
        log.measures["length_bias"] = abs(value)
    log.finding(
        "length_bias",
        "warning" if abs(correlation) > 0.3 and strongest["pairs"] >= _LEAST_PAIRS else "note",
        f"The better response by {name} is the longer one in {strongest['better one is longer']:.1%} of "
        f"{strongest['pairs']:,} pairs; length and {name} correlate {correlation:+.2f} within rows",
        abs(correlation),
        detail="Some of it may be merit. A model trained on strongly length-biased pairs learns length first.",
        evidence=tuple(evidence),
    )


def _length_gaps(values: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, float]:
    """How much longer (in logarithms) the best response of each row is than its worst, 0 where neither is; the mean."""
    both = np.isfinite(values) & np.isfinite(length)
    rows = np.arange(len(values))
    best = np.where(both, values, -np.inf).argmax(axis=1)
    worst = np.where(both, values, np.inf).argmin(axis=1)
    differs = both[rows, best] & both[rows, worst] & (values[rows, best] > values[rows, worst])
    gap = np.where(differs, length[rows, best] - length[rows, worst], 0.0)
    return np.nan_to_num(gap), float(gap[differs].mean()) if differs.any() else float("nan")


def length_ruler(context: AuditContext, texts: TextFacts) -> None:
    """How often "the longer response is better" agrees with the labels, over all rows and in each source.

    A set on which this ruler is as good as a judge measures length.
    """
    view, log = context.view, context.log
    labels = view.annotations if view.annotations is not None else view.order
    if labels is None:
        log.left_out["length_ruler"] = "nothing ships with the data that says which response is better"
        return
    longer = columns.margin(texts.matrix(texts.responses.style["length"], labels.shape[1]), labels)
    decided = np.isfinite(longer) & (longer != 0)
    if decided.sum() < _LEAST_PAIRS:
        log.left_out["length_ruler"] = f"fewer than {_LEAST_PAIRS} rows prefer a longer or a shorter response"
        return
    everything = Group("all", "source", np.zeros(view.rows, np.int64), ("rows",))
    evidence: list[dict[str, Any]] = []
    for group in (everything, *(group for group in view.groups if group.kind == "source")):
        for code, name in enumerate(group.values):
            inside = decided & (group.codes == code)
            if inside.sum() >= _LEAST_PAIRS:
                share = float((longer[inside] > 0).mean())
                low, high = wilson_interval(share, float(inside.sum()), z=1.96)
                evidence.append({"rows": f"{group.name} {name}", "pairs": int(inside.sum()), "longer wins": share,
                                 "95 % from": low, "to": high})  # fmt: skip
    share = float(evidence[0]["longer wins"])
    log.measures["length_ruler"] = share
    log.finding(
        "length_ruler",
        "warning" if any(float(row["95 % from"]) > _RULED for row in evidence) else "note",
        f'"The longer response is better" agrees with the labels in {share:.1%} of {evidence[0]["pairs"]:,} rows',
        share,
        detail="By source below. Where length alone is right in two of three rows, a scorer that likes length looks "
        "good for nothing.",
        evidence=(evidence[0], *sorted(evidence[1:], key=lambda row: -float(row["longer wins"]))[:19]),
    )

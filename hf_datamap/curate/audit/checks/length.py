"""Whether scores and labels follow the length of responses."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.data.statistics import pooled_correlation

_LEAST_PAIRS: Final = 30


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

"""How the regions differ in where their rows come from, and rows that training gets little from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, as_wide, row_range
from hf_datamap.data import columns
from hf_datamap.data.statistics import cramers_v
from hf_datamap.data.view import Group


def composition(context: AuditContext) -> None:
    """How the regions differ in where their rows come from (Cramér's V), and what selecting one would lose."""
    view, log, region = context.view, context.log, context.region
    strongest = 0.0
    if region is None:
        return
    for group in view.groups:
        mapped = (region < len(columns.REGIONS) - 1) & (group.codes >= 0)
        if group.kind == "annotator" or len(group.values) < 2 or not mapped.any():
            continue
        size = len(group.values)
        table = np.bincount(group.codes[mapped] * 3 + region[mapped], minlength=size * 3).reshape(size, 3)
        v, p = cramers_v(table)
        strongest = max(strongest, v)
        rows = [
            {
                group.name: value,
                "rows": int(counts.sum()),
                **dict(zip(columns.REGIONS[:3], counts / counts.sum(), strict=True)),
            }
            for value, counts in zip(group.values, table, strict=True)
            if counts.sum()
        ]
        rows.sort(key=lambda row: float(row[columns.HIGH_MEAN_LOW_VARIANCE]))
        log.finding(
            "composition",
            "warning" if v > 0.1 and p < 0.01 else "note",
            f"Cramér's V of region and {group.name} is {v:.2f} (p {p:.2g}): {rows[0][group.name]} has "
            f"{rows[0][columns.HIGH_MEAN_LOW_VARIANCE]:.0%} of its rows in {columns.HIGH_MEAN_LOW_VARIANCE}, "
            f"{rows[-1][group.name]} {rows[-1][columns.HIGH_MEAN_LOW_VARIANCE]:.0%}",
            v,
            detail="Selecting a region shifts the mix of sources; select(..., stratify_by=...) keeps it.",
            evidence=tuple(rows[:20]),
        )
    if view.groups:
        log.measures["composition"] = strongest


def low_impact(context: AuditContext) -> None:
    """Rows that a training run gets little from, and what it would lose without them.

    The papers' reading: points of low mean or high variance, whose training gives less (Alignment Data Map, v2).
    """
    view, log, region = context.view, context.log, context.region
    if view.scores is None or region is None:
        log.left_out["low_impact"] = "the dataset has no scores"
        return
    low, high = row_range(view.scores)
    constant = (low == high) & (np.isfinite(view.scores).sum(axis=1) > 1)
    labels = view.annotations if view.annotations is not None else view.order
    margin = np.full(view.rows, np.nan)
    if labels is not None:
        margin = columns.margin(view.scores, as_wide(labels, view.scores.shape[1]))
    kinds: Mapping[str, np.ndarray] = {
        columns.LOW_MEAN_LOW_VARIANCE: region == 1,
        columns.HIGH_VARIANCE: region == 2,
        "equal scores": constant,
        "zero margin": (margin == 0) & ~constant,
        "unmapped": region == 3,
    }
    words = context.texts.words_per_row if context.texts is not None else None
    nothing = constant | (margin == 0)
    log.measures["low_impact"] = float(nothing.mean())
    log.finding(
        "low_impact",
        "warning" if nothing.mean() > 0.2 else "note",
        f"{int(nothing.sum()):,} rows ({nothing.mean():.1%}) carry no preference in their scores; "
        f"{int((region == 1).sum()):,} are {columns.LOW_MEAN_LOW_VARIANCE}, {int((region == 2).sum()):,} "
        f"{columns.HIGH_VARIANCE}",
        float(nothing.mean()),
        detail="The papers' reading: training on the last two gives less than on the same number of "
        f"{columns.HIGH_MEAN_LOW_VARIANCE} rows. What a run without them would lose:",
        rows=np.flatnonzero(nothing),
        evidence=tuple(_loss(name, rows, words, view.groups[:1]) for name, rows in kinds.items()),
    )


def _loss(name: str, rows: np.ndarray, words: np.ndarray | None, groups: Sequence[Group]) -> dict[str, Any]:
    """What a training run without some rows would lose: shares of rows and words, and the group that loses most."""
    loss: dict[str, Any] = {"rows that are": name, "rows": int(rows.sum()), "share of rows": float(rows.mean())}
    if words is not None:
        loss["share of words"] = float(words[rows].sum() / max(1, words.sum()))
    for group in groups:
        known = group.codes >= 0
        lost, whole = (np.bincount(group.codes[among], minlength=len(group.values)) for among in (rows & known, known))
        share = lost / np.maximum(whole, 1)
        loss[f"{group.name} losing most"] = f"{group.values[int(share.argmax())]} ({share.max():.0%})"
    return loss

"""Overall ratings that contradict their own aspect ratings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.data.view import DatasetView

_LEAST: Final = 20
_OVERALL: Final = ("overall_score", "overall", "overall_rating")
_FINE: Final = ("fine-grained_score", "fine_grained_score", "finegrained_score")


def contradicting_ratings(context: AuditContext) -> None:
    """Overall ratings that contradict their own aspect ratings (UltraFeedback's 1 that became 10, its issue 8).

    Both are brought to 0..1 by the range seen; a contradiction is a difference of half the range or more beyond the
    typical one (ours; the public repair of UltraFeedback looks at overall 10 with aspects of 2 or less).
    """
    log = context.log
    for name, rows, overall, fine in _rated(context.view):
        both = np.isfinite(overall) & np.isfinite(fine)
        if both.sum() < _LEAST:
            continue
        gap = _unit(overall) - _unit(fine)
        contradicting = np.flatnonzero(both & (np.abs(gap - np.median(gap[both])) >= 0.5))
        strongest = contradicting[np.argsort(-np.abs(gap[contradicting]), kind="stable")][: context.evidence]
        log.measures["scale"] = len(contradicting) / int(both.sum())
        if contradicting.size:
            log.finding(
                "scale",
                "alarm" if contradicting.size > max(2, 0.001 * both.sum()) else "warning",
                f"{contradicting.size:,} of {int(both.sum()):,} responses in {name} have an overall rating that "
                "contradicts their own aspect ratings",
                log.measures["scale"],
                detail="A 1 that was parsed as 10 looks like this. With an overall rating of 10 and aspects of 2 or "
                "less the known repair is 1; between 2 and 4 the response needs to be rated again.",
                rows=np.unique(rows[contradicting]),
                evidence=tuple(
                    {"row": int(rows[k]), "overall": float(overall[k]), "mean of aspects": float(fine[k])}
                    for k in strongest
                ),
            )
        return
    log.left_out["scale"] = "no responses with an overall rating beside aspect ratings"


def _rated(view: DatasetView) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Where overall and aspect ratings stand side by side: the column; row, overall and mean aspect per response."""
    for name in view.names:
        column = view.column(name)
        if column is not None and pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy()
            items = [chunk.flatten() for chunk in column.chunks]
            overalls = np.concatenate([_first_number(part, _OVERALL) for part in items])
            fines = np.concatenate([_aspects(part) for part in items])
            yield name, np.repeat(np.arange(view.rows), lengths), overalls, fines
    overall, fine = (next((name for name in names if name in view.names), None) for names in (_OVERALL, _FINE))
    if overall and fine:
        sides = [view.padded(name) for name in (overall, fine)]
        one, two = (
            side if side is not None else _as_column(view.floats(name))
            for side, name in zip(sides, (overall, fine), strict=True)
        )
        if one is not None and two is not None and one.shape == two.shape:
            yield overall, np.repeat(np.arange(view.rows), one.shape[1]), one.ravel(), two.ravel()


def _as_column(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else values[:, None]


def _first_number(items: pa.StructArray, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if items.type.get_field_index(name) >= 0:
            return _numbers(pc.struct_field(items, name))
    return np.full(len(items), np.nan)


def _aspects(items: pa.StructArray) -> np.ndarray:
    """The fine-grained score, or the mean of ``annotations.<aspect>.Rating``."""
    fine = _first_number(items, _FINE)
    if np.isfinite(fine).any() or items.type.get_field_index("annotations") < 0:
        return fine
    annotations = pc.struct_field(items, "annotations")
    ratings = []
    for place in range(annotations.type.num_fields if pa.types.is_struct(annotations.type) else 0):
        aspect = pc.struct_field(annotations, place)
        if pa.types.is_struct(aspect.type) and aspect.type.get_field_index("Rating") >= 0:
            ratings.append(_numbers(pc.struct_field(aspect, "Rating")))
    if not ratings:
        return fine
    stacked = np.column_stack(ratings)
    valid = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(valid, stacked, 0.0).sum(axis=1) / valid.sum(axis=1))


def _numbers(values: pa.Array) -> np.ndarray:
    """Numbers, or the numbers in texts ("N/A" gives NaN)."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        good = pc.match_substring_regex(values, r"^\s*-?[0-9]+(\.[0-9]+)?\s*$").fill_null(False)
        values = pc.if_else(good, pc.utf8_trim_whitespace(values), None)
    elif not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        return np.full(len(values), np.nan)
    return np.asarray(values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))


def _unit(values: np.ndarray) -> np.ndarray:
    valid = values[np.isfinite(values)]
    low, high = float(valid.min()), float(valid.max())
    return (values - low) / (high - low if high > low else 1.0)

"""The columns this package adds: names, fixed types, and how they are read back from Arrow.

The set and the types never depend on the data, so that schemas of shards, splits and releases agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Features

SCORES: Final = "datamap_scores"
MEAN: Final = "datamap_mean"
VARIANCE: Final = "datamap_variance"
NOISE: Final = "datamap_noise"
STATUS: Final = "datamap_status"
ERROR: Final = "datamap_error"
REGION: Final = "datamap_region"
AGREEMENT: Final = "datamap_agreement"
MARGIN: Final = "datamap_margin"
SUSPECT: Final = "datamap_suspect"

# On request only:
RATIONALES: Final = "datamap_rationales"  # the judge's words, one text per response
VARIANCE_OBSERVED: Final = "datamap_variance_observed"  # the variance as it was, where it is now without noise
REGION_PROBABILITY: Final = "datamap_region_probability"  # that a row truly belongs to its region

#: Columns that follow from scores and a map: they are dropped when rows are scored anew.
FOLLOWING: Final = (VARIANCE_OBSERVED, REGION_PROBABILITY)

#: What a scorer adds to a row (``score_fn``), in order.
SCORE_SCHEMA: Final = pa.schema(
    [
        (SCORES, pa.list_(pa.float32())),
        (MEAN, pa.float32()),
        (VARIANCE, pa.float32()),
        (NOISE, pa.float32()),
        (STATUS, pa.string()),
        (ERROR, pa.string()),
    ]
)

#: Every column of the contract.
SCHEMA: Final = pa.schema(
    [
        *SCORE_SCHEMA,
        (REGION, pa.string()),
        (AGREEMENT, pa.float32()),
        (MARGIN, pa.float32()),
        (SUSPECT, pa.bool_()),
    ]
)

#: What a float32 column holds, and the score whose square it holds: variance is a mean of squares.
LARGEST_FLOAT: Final = 3.4e38
LARGEST_SCORE: Final = 1.8e19

OK: Final = "ok"
PARTIAL: Final = "partial"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

HIGH_MEAN_LOW_VARIANCE: Final = "high_mean_low_variance"
LOW_MEAN_LOW_VARIANCE: Final = "low_mean_low_variance"
HIGH_VARIANCE: Final = "high_variance"
UNMAPPED: Final = "unmapped"

#: Regions in the order in which they are shown.
REGIONS: Final = (HIGH_MEAN_LOW_VARIANCE, LOW_MEAN_LOW_VARIANCE, HIGH_VARIANCE, UNMAPPED)


def features(base: Mapping[str, Any] | None = None, schema: pa.Schema = SCORE_SCHEMA) -> Features:
    """Return ``datasets`` features for the added columns, after those of ``base`` if given.

    Args:
        base: features of the dataset being mapped.
        schema: which added columns; those of ``score_fn`` by default.
    """
    from datasets import Features

    added = Features.from_arrow_schema(schema)
    return Features({**(base or {}), **added})


def padded(lists: pa.ListArray | pa.LargeListArray | pa.ChunkedArray) -> np.ndarray:
    """Return the scores of many rows as a matrix of shape (rows, longest), float64, NaN for nulls and padding."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
        if isinstance(lists, pa.ChunkedArray):  # zero chunks
            lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    if pa.types.is_fixed_size_list(lists.type):
        lists = lists.cast(pa.list_(lists.type.value_type))
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = lists.flatten()
    values = flat.cast(pa.float64()).to_numpy(zero_copy_only=False) if len(flat) else np.empty(0)
    width = int(lengths.max(initial=0))
    if len(lengths) and (lengths == width).all():
        return np.ascontiguousarray(values, dtype=np.float64).reshape(len(lengths), width)
    matrix = np.full((len(lengths), width), np.nan)
    matrix[np.arange(width) < lengths[:, None]] = values
    return matrix


def _sum(matrix: np.ndarray) -> np.ndarray:
    """Sum each row from left to right, so that the result does not depend on how far other rows are padded."""
    total = np.zeros(len(matrix))
    for column in matrix.T:
        total += column
    return total


def moments(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population variance of each row's valid scores (Alignment Data Map, section 3; ddof 0).

    Args:
        scores: shape (rows, responses), NaN where there is no score.

    Returns:
        Two float32 arrays of shape (rows,): the mean (NaN with no valid score) and the variance (NaN below two).
    """
    # The stored scores are float32: mean and variance can be recomputed from the published column alone.
    scores = scores.astype(np.float32).astype(np.float64)
    valid = np.isfinite(scores)
    count = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = _sum(np.where(valid, scores, 0.0)) / count
        variance = _sum(np.where(valid, (scores - mean[:, None]) ** 2, 0.0)) / count
    return (
        np.where(count > 0, mean, np.nan).astype(np.float32),
        np.where(count > 1, variance, np.nan).astype(np.float32),
    )


def agreement(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """S_corr: uncentred cosine of annotations and scores over the responses that have both.

    From the authors' code of the Alignment Data Map (mis-annotation diagnosis). No centring, so values crowd near 1
    for positive scales: compare ranks rather than sizes.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing, higher is better.

    Returns:
        float32 of shape (rows,), NaN with fewer than two common responses or a zero vector.
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    s, a = np.where(both, scores, 0.0), np.where(both, annotations, 0.0)
    norm = np.sqrt(_sum(s * s)) * np.sqrt(_sum(a * a))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = _sum(s * a) / norm
    return np.where((both.sum(axis=1) > 1) & (norm > 0), cosine, np.nan).astype(np.float32)


def margin(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """Score of the response the annotation prefers minus that of the one it likes least (ours for N > 2).

    With several responses tied at the top or bottom of the annotation their scores are averaged; a row whose
    annotations all tie prefers none and has no margin.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing, higher is better.

    Returns:
        float32 of shape (rows,), NaN without two differently annotated, scored responses.
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    if not scores.shape[1]:
        return np.full(len(scores), np.nan, np.float32)
    best = np.where(both, annotations, -np.inf).max(axis=1, keepdims=True)
    worst = np.where(both, annotations, np.inf).min(axis=1, keepdims=True)

    def average(chosen: np.ndarray) -> np.ndarray:
        return np.asarray(_sum(np.where(chosen, scores, 0.0)) / np.maximum(chosen.sum(axis=1), 1))

    gap = average(both & (annotations == best)) - average(both & (annotations == worst))
    return np.where((best > worst)[:, 0], gap, np.nan).astype(np.float32)


def floats(table: pa.Table, name: str) -> np.ndarray:
    """A column as float32, NaN for null."""
    try:
        column = table[name].cast(pa.float32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise MapError(
            f"the dataset has a column {name} of type {table[name].type}, which is not the map's (numbers): rename or "
            "remove it, and map the dataset again"
        ) from None
    return np.asarray(column.fill_null(np.nan).to_numpy()) if column.null_count else np.asarray(column.to_numpy())


def nullable(values: np.ndarray) -> pa.Array:
    """Return a float32 Arrow array with nulls where ``values`` is NaN."""
    return pa.array(values, pa.float32(), from_pandas=True)

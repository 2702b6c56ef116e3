"""The cut on plain arrays: two boundaries, and the regions of points by them.

A row's region depends on its point, its number and the boundaries alone, so that a dataset can be cut whole, in blocks
or on several machines, with the same result. `hf_datamap.datamap.fit` finds the boundaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.datamap.regions import FrozenModel

HIGH_MEAN, LOW_MEAN, HIGH_VARIANCE, UNMAPPED = range(4)  # codes of columns.REGIONS
_NAMED_ROWS: Final = 200_000  # chunks that fit the processor's cache: 4 times faster than one take of 10 million


class Boundary(FrozenModel):
    """Where a cut falls.

    Attributes:
        value: the greatest value on the lower side.
        ties: how many rows have exactly this value.
        below: how many of those are on the lower side (the first ones in row order).
        last_row: number of the last of those rows; None when all ties are on the lower side.
        rank_error: 0 for the exact place; of a boundary found by sketches, how far it may be from it, as a share of the
            rows that were cut (exceeded in less than one case of a hundred).
    """

    value: float
    ties: int
    below: int
    last_row: int | None = None
    rank_error: float = 0.0


@dataclass(frozen=True)
class Cut:
    """Two boundaries; None where a side is empty."""

    variance: Boundary | None
    mean: Boundary | None

    def __iter__(self) -> Iterator[Boundary | None]:
        return iter((self.variance, self.mean))

    def codes(self, mean: np.ndarray, variance: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the region of each point (int8), ties by row number.

        Args:
            mean: shape (rows,), NaN where missing.
            variance: shape (rows,), NaN where missing.
            first_row: number of the first of these rows in the dataset that was cut.
        """
        mapped = is_mapped(mean, variance)
        low_variance = is_below(variance, mapped, self.variance, first_row)
        low_mean = is_below(mean, low_variance, self.mean, first_row)
        others = np.where(mapped, np.int8(HIGH_VARIANCE), np.int8(UNMAPPED))
        return np.where(low_mean, np.int8(LOW_MEAN), np.where(low_variance, np.int8(HIGH_MEAN), others))

    def by_threshold(self) -> Cut:
        """The cut for other rows than those it was made of: a value equal to a boundary is on the lower side."""
        return Cut(*(boundary and boundary.model_copy(update={"last_row": None}) for boundary in self))


def region_names(codes: np.ndarray) -> pa.ChunkedArray:
    """The names of regions, as Arrow strings."""
    names = pa.array(columns.REGIONS)
    starts = range(0, len(codes), _NAMED_ROWS)
    return pa.chunked_array([names.take(pa.array(codes[start : start + _NAMED_ROWS])) for start in starts], pa.string())


def is_mapped(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Which rows have a place on the map."""
    return np.asarray(np.isfinite(mean) & np.isfinite(variance))


def is_below(values: np.ndarray, among: np.ndarray, boundary: Boundary | None, first_row: int = 0) -> np.ndarray:
    """Which of the rows ``among`` lie on the lower side of a boundary."""
    if boundary is None:
        return np.zeros_like(among)
    if boundary.last_row is None:
        return np.asarray(among & (values <= boundary.value))
    below = np.asarray(among & (values < boundary.value))
    tied = np.flatnonzero(among & (values == boundary.value))
    below[tied[tied + first_row <= boundary.last_row]] = True
    return below

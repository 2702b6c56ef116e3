"""The cut on plain arrays: boundaries, the regions of points, statistics of regions.

A row's region depends on its point, its number and the boundaries alone, so that a dataset can be cut whole, in blocks
or on several machines, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from hf_datamap.data import columns
from hf_datamap.data.columns import floats
from hf_datamap.data.dataset import with_table

HIGH_MEAN, LOW_MEAN, HIGH_VARIANCE, UNMAPPED = range(4)  # codes of columns.REGIONS
_SLICE: Final = 1 << 20  # rows summed at a time
_MANTISSA: Final = 24  # bits of a float32
_LEAST: Final = 149  # the smallest float32 is 2 to the minus this


class Frozen(BaseModel):
    """A result: immutable, and JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Boundary(Frozen):
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


class Region(Frozen):
    """Statistics of one region; averages over its rows, None where no row has the value.

    Attributes:
        name: one of `hf_datamap.data.columns.REGIONS`.
        rows: how many rows.
        share: of all rows, 0 to 1.
        mean: average of ``datamap_mean``.
        variance: average of ``datamap_variance``.
        mean_range: least and greatest ``datamap_mean``.
        variance_range: least and greatest ``datamap_variance``.
        noise: average of ``datamap_noise``.
        agreement: average of ``datamap_agreement``.
        margin: average of ``datamap_margin``.
    """

    name: str
    rows: int
    share: float
    mean: float | None = None
    variance: float | None = None
    mean_range: tuple[float, float] | None = None
    variance_range: tuple[float, float] | None = None
    noise: float | None = None
    agreement: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Cut:
    """Two boundaries; None where a side is empty."""

    variance: Boundary | None
    mean: Boundary | None

    def __iter__(self) -> Iterator[Boundary | None]:
        return iter((self.variance, self.mean))

    @classmethod
    def of(cls, mean: np.ndarray, variance: np.ndarray, low_variance: Fraction, low_mean: Fraction) -> Self:
        """Cut points that are all in memory: shape (rows,), NaN where missing."""
        among = mapped(mean, variance)
        kept = int(low_variance * int(among.sum()))
        by_variance = _boundary(variance, among, kept)
        low = lower(variance, among, by_variance)
        return cls(by_variance, _boundary(mean, low, int(low_mean * kept)))

    def codes(self, mean: np.ndarray, variance: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the region of each point (int8), ties by row number.

        Args:
            mean: shape (rows,), NaN where missing.
            variance: shape (rows,), NaN where missing.
            first_row: number of the first of these rows in the dataset that was cut.
        """
        among = mapped(mean, variance)
        low = lower(variance, among, self.variance, first_row)
        return _codes(among, low, lower(mean, low, self.mean, first_row))

    def assign(self, table: pa.Table, rows: Sequence[int] = ()) -> pa.Table:
        """Return rows of a scored dataset, in Arrow, with ``datamap_region``.

        Args:
            table: the rows.
            rows: their numbers in the dataset that was cut, one after the other; not needed by threshold.
        """
        mean, variance = floats(table, columns.MEAN), floats(table, columns.VARIANCE)
        codes = self.codes(mean, variance, rows[0] if len(rows) else 0)
        return with_table(table, pa.table({columns.REGION: region_names(codes)}))

    def by_threshold(self) -> Cut:
        """The cut for other rows than those it was made of: a value equal to a boundary is on the lower side."""
        return Cut(*(boundary and boundary.model_copy(update={"last_row": None}) for boundary in self))


def region_names(codes: np.ndarray) -> pa.ChunkedArray:
    """The names of regions, as Arrow strings."""
    names = pa.array(columns.REGIONS)
    step = 200_000  # chunks that fit the cache: 4 times faster than one take of 10 million
    chunks = [names.take(pa.array(codes[start : start + step])) for start in range(0, len(codes), step)]
    return pa.chunked_array(chunks, pa.string())


def mapped(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Which rows have a place on the map."""
    return np.asarray(np.isfinite(mean) & np.isfinite(variance))


def lower(values: np.ndarray, among: np.ndarray, boundary: Boundary | None, first_row: int = 0) -> np.ndarray:
    """Which of the rows ``among`` lie on the lower side."""
    if boundary is None:
        return np.zeros_like(among)
    if boundary.last_row is None:
        return np.asarray(among & (values <= boundary.value))
    below = np.asarray(among & (values < boundary.value))
    tied = np.flatnonzero(among & (values == boundary.value))
    below[tied[tied + first_row <= boundary.last_row]] = True
    return below


def _boundary(values: np.ndarray, among: np.ndarray, count: int) -> Boundary | None:
    """The boundary under which ``count`` of the values ``among`` lie; None when that is no value at all."""
    if count <= 0:
        return None
    taken = values[among]
    value = np.partition(taken, count - 1)[count - 1]
    tied = np.flatnonzero(among & (values == value))
    below = count - int((taken < value).sum())
    return Boundary(value=float(value), ties=len(tied), below=below, last_row=int(tied[below - 1]))


def _codes(among: np.ndarray, low: np.ndarray, worse: np.ndarray) -> np.ndarray:
    high, rest = np.int8(HIGH_MEAN), np.where(among, np.int8(HIGH_VARIANCE), np.int8(UNMAPPED))
    return np.where(worse, np.int8(LOW_MEAN), np.where(low, high, rest))


@dataclass(frozen=True)
class Sums:
    """What the statistics of regions are made of; those of two blocks can be added.

    Sums are kept as integers by power of two: they are exact, so that the order of addition does not matter.

    Attributes:
        rows: rows per region.
        counts: for each column, rows per region that have a value.
        totals: for each column, the sum of the mantissas, shape (regions, powers of two).
        spans: for each column, least and greatest value, shape (regions, 2).
    """

    rows: np.ndarray
    counts: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray]
    spans: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, codes: np.ndarray, values: Mapping[str, np.ndarray]) -> Self:
        """Sum up columns (float32, NaN where missing) by region."""
        regions = len(columns.REGIONS)
        parts = {name: _add_up(codes, column) for name, column in values.items()}
        return cls(
            np.bincount(codes, minlength=regions),
            *({name: part[place] for name, part in parts.items()} for place in range(3)),
        )

    def __add__(self, other: Sums) -> Sums:
        spans = {}
        for name, one in self.spans.items():
            two = other.spans[name]
            spans[name] = np.stack([np.fmin(one[:, 0], two[:, 0]), np.fmax(one[:, 1], two[:, 1])], axis=1)
        return Sums(
            self.rows + other.rows,
            {name: count + other.counts[name] for name, count in self.counts.items()},
            {name: total + other.totals[name] for name, total in self.totals.items()},
            spans,
        )

    def regions(self) -> tuple[Region, ...]:
        """The statistics, in the order of `hf_datamap.data.columns.REGIONS`."""
        whole = int(self.rows.sum())
        return tuple(
            Region(
                name=name,
                rows=int(self.rows[code]),
                share=int(self.rows[code]) / whole if whole else 0.0,
                mean_range=self._span(columns.MEAN, code),
                variance_range=self._span(columns.VARIANCE, code),
                **{column.removeprefix("datamap_"): self._average(column, code) for column in self.counts},
            )
            for code, name in enumerate(columns.REGIONS)
        )

    def _average(self, column: str, code: int) -> float | None:
        if not (count := int(self.counts[column][code])):
            return None
        total = sum(int(part) << power for power, part in enumerate(self.totals[column][code].tolist()))
        return float(Fraction(total, count << (_LEAST + _MANTISSA)))

    def _span(self, column: str, code: int) -> tuple[float, float] | None:
        least, greatest = self.spans[column][code].tolist()
        return (least, greatest) if least <= greatest else None


def _add_up(codes: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, totals and spans of one column by region."""
    regions, powers = len(columns.REGIONS), _LEAST + 130
    counts, totals = np.zeros(regions, np.int64), np.zeros(regions * powers, np.int64)
    spans = np.tile([np.inf, -np.inf], (regions, 1))
    for start in range(0, len(column), _SLICE):
        part, here = column[start : start + _SLICE], codes[start : start + _SLICE]
        finite = np.isfinite(part)
        if not finite.all():
            part, here = part[finite], here[finite]
        counts += np.bincount(here, minlength=regions)
        mantissa, power = np.frexp(part)
        # Whole numbers of at most 24 bits: their sums over a slice are exact in float64.
        place = here.astype(np.int64) * powers + (power + _LEAST)
        sums = np.bincount(place, np.ldexp(mantissa, _MANTISSA), minlength=regions * powers)
        totals += sums.astype(np.int64)
        for code in range(regions):
            if (chosen := part[here == code]).size:
                spans[code] = min(spans[code, 0], chosen.min()), max(spans[code, 1], chosen.max())
    return counts, totals.reshape(regions, powers), spans

"""Statistics of the regions of a map, from sums that are exact and can be added up across blocks and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from hf_datamap.data import columns

_SLICE_ROWS: Final = 1 << 20  # rows summed at a time
_MANTISSA_BITS: Final = 24  # of a float32
_LEAST_POWER: Final = 149  # the smallest float32 is 2 to the minus this
_POWERS: Final = _LEAST_POWER + 130  # of two that a float32 can have


class FrozenModel(BaseModel):
    """A result: immutable, and JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Region(FrozenModel):
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

    def __repr__(self) -> str:
        return f"Region({self.name!r}, {self.rows:,} rows, {self.share:.1%})"

    __str__ = __repr__


@dataclass(frozen=True)
class RegionSums:
    """What the statistics of regions are made of; those of two blocks can be added.

    Sums are kept as integers by power of two: they are exact, so that the order of addition does not matter.

    Attributes:
        rows: rows per region.
        counts: for each column, rows per region that have a value.
        totals: for each column, the sum of the mantissas, shape (regions, powers of two).
        ranges: for each column, least and greatest value, shape (regions, 2).
    """

    rows: np.ndarray
    counts: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray]
    ranges: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, codes: np.ndarray, values: Mapping[str, np.ndarray]) -> Self:
        """Sum up columns (float32, NaN where missing) by region."""
        sums = {name: _column_sums(codes, column) for name, column in values.items()}
        return cls(
            np.bincount(codes, minlength=len(columns.REGIONS)),
            {name: counts for name, (counts, _, _) in sums.items()},
            {name: totals for name, (_, totals, _) in sums.items()},
            {name: ranges for name, (_, _, ranges) in sums.items()},
        )

    def __add__(self, other: RegionSums) -> RegionSums:
        ranges = {}
        for name, one in self.ranges.items():
            two = other.ranges[name]
            ranges[name] = np.stack([np.fmin(one[:, 0], two[:, 0]), np.fmax(one[:, 1], two[:, 1])], axis=1)
        return RegionSums(
            self.rows + other.rows,
            {name: count + other.counts[name] for name, count in self.counts.items()},
            {name: total + other.totals[name] for name, total in self.totals.items()},
            ranges,
        )

    def regions(self) -> tuple[Region, ...]:
        """The statistics, in the order of `hf_datamap.data.columns.REGIONS`."""
        all_rows = int(self.rows.sum())
        return tuple(
            Region(
                name=name,
                rows=int(self.rows[code]),
                share=int(self.rows[code]) / all_rows if all_rows else 0.0,
                mean_range=self._range(columns.MEAN, code),
                variance_range=self._range(columns.VARIANCE, code),
                **{column.removeprefix("datamap_"): self._average(column, code) for column in self.counts},
            )
            for code, name in enumerate(columns.REGIONS)
        )

    def _average(self, column: str, code: int) -> float | None:
        if not (count := int(self.counts[column][code])):
            return None
        total = sum(int(part) << power for power, part in enumerate(self.totals[column][code].tolist()))
        return float(Fraction(total, count << (_LEAST_POWER + _MANTISSA_BITS)))

    def _range(self, column: str, code: int) -> tuple[float, float] | None:
        least, greatest = self.ranges[column][code].tolist()
        return (least, greatest) if least <= greatest else None


def _column_sums(codes: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, totals and ranges of one column by region."""
    regions = len(columns.REGIONS)
    counts, totals = np.zeros(regions, np.int64), np.zeros(regions * _POWERS, np.int64)
    ranges = np.tile([np.inf, -np.inf], (regions, 1))
    for start in range(0, len(column), _SLICE_ROWS):
        values, value_codes = column[start : start + _SLICE_ROWS], codes[start : start + _SLICE_ROWS]
        finite = np.isfinite(values)
        if not finite.all():
            values, value_codes = values[finite], value_codes[finite]
        counts += np.bincount(value_codes, minlength=regions)
        mantissa, power = np.frexp(values)
        # Whole numbers of at most 24 bits: their sums over a slice are exact in float64.
        places = value_codes.astype(np.int64) * _POWERS + (power + _LEAST_POWER)
        sums = np.bincount(places, np.ldexp(mantissa, _MANTISSA_BITS), minlength=regions * _POWERS)
        totals += sums.astype(np.int64)
        for code in range(regions):
            if (chosen := values[value_codes == code]).size:
                ranges[code] = min(ranges[code, 0], chosen.min()), max(ranges[code, 1], chosen.max())
    return counts, totals.reshape(regions, _POWERS), ranges

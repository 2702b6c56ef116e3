"""The same cut on points that are read block by block, as often as it takes: past memory, and past one machine.

Exact cuts count: the bits of float32 values give their order, so two passes that count sixteen bits each find the value
at any rank, whatever the number of rows (radix selection). Sketches (Apache DataSketches' KLL; Karnin, Lang and Liberty
2016, "Optimal Quantile Approximation in Streams") take one pass a boundary and say how far off they may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import xxhash

from hf_datamap.data import columns
from hf_datamap.datamap.cut import Boundary, Cut, Sums, lower, mapped
from hf_datamap.errors import DataMapError

T = TypeVar("T")

_HALF: Final = 1 << 16
_SKETCH_SIZE: Final = 4096  # KLL's k: about 50 KB, a rank error of 0.07 %


@dataclass(frozen=True)
class Block:
    """Some rows of a scored dataset, float32, NaN where missing.

    Attributes:
        values: the map's columns by name, each of shape (rows,).
        first_row: number of the first row in the whole dataset.
    """

    values: Mapping[str, np.ndarray]
    first_row: int = 0

    @property
    def mean(self) -> np.ndarray:
        """``datamap_mean``."""
        return self.values[columns.MEAN]

    @property
    def variance(self) -> np.ndarray:
        """``datamap_variance``."""
        return self.values[columns.VARIANCE]


class Loader(Protocol):
    """Reads one block, always the same; can be sent to another process."""

    def __call__(self) -> Block:
        """Read the block."""
        ...


#: Does some work on every block, here or elsewhere, and gives the results in the order of the blocks.
Each = Callable[[Callable[[Block], Any], Sequence[Loader]], Iterator[Any]]


def here(work: Callable[[Block], T], loaders: Sequence[Loader]) -> Iterator[T]:
    """Do the work one block after the other in this process."""
    for load in loaders:
        yield work(load())


@dataclass(frozen=True)
class Fitted:
    """What fitting finds.

    Attributes:
        cut: the boundaries.
        sums: statistics of the regions.
        cohort: digest of the points; empty where they never were in one place.
    """

    cut: Cut
    sums: Sums
    cohort: str


class Cohort:
    """A digest of the two columns of a dataset, taken up in row order."""

    def __init__(self) -> None:
        self._mean, self._variance, self.rows = xxhash.xxh3_128(), xxhash.xxh3_128(), 0

    @classmethod
    def of(cls, mean: np.ndarray, variance: np.ndarray) -> Cohort:
        """The digest of two whole columns."""
        cohort = cls()
        cohort.take(mean, variance)
        return cohort

    def take(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Take up further rows."""
        self._mean.update(np.ascontiguousarray(mean, np.float32).data)
        self._variance.update(np.ascontiguousarray(variance, np.float32).data)
        self.rows += len(mean)

    def __str__(self) -> str:
        parts = f"{self.rows} {self._mean.hexdigest()} {self._variance.hexdigest()}"
        return xxhash.xxh3_128(parts.encode()).hexdigest()


def fit_whole(block: Block, low_variance: Fraction, low_mean: Fraction) -> Fitted:
    """Cut points that are all in memory."""
    cut = Cut.of(block.mean, block.variance, low_variance, low_mean)
    sums = Sums.of(cut.codes(block.mean, block.variance), block.values)
    return Fitted(cut, sums, str(Cohort.of(block.mean, block.variance)))


def fit_blocks(
    loaders: Sequence[Loader],
    low_variance: Fraction,
    low_mean: Fraction,
    *,
    each: Each = here,
    approximate: bool = False,
) -> Fitted:
    """Cut points that are read in blocks.

    Args:
        loaders: the blocks, in row order.
        low_variance: see `hf_datamap.DataMap.fit`.
        low_mean: see `hf_datamap.DataMap.fit`.
        each: where the work on blocks is done.
        approximate: whether boundaries come from sketches: three passes over the blocks instead of five.

    Raises:
        DataMapError: sketches are asked for and ``datasketches`` is not installed.
    """
    cohort, whole = Cohort(), each is here

    def run(work: Callable[[Block], Any], some: Sequence[Loader]) -> Iterator[Any]:
        return _digesting(cohort, work, some) if whole and not cohort.rows else each(work, some)

    find = _sketched if approximate else _counted
    by_variance, kept = find(_Side(), low_variance, loaders, run)
    by_mean = find(_Side(by_variance), low_mean, loaders, run)[0] if kept else None
    cut = Cut(by_variance, by_mean)
    parts = list(run(_SumUp(cut), loaders)) or [(Sums.of(np.empty(0, np.int8), _NO_POINTS), np.zeros(2, np.int64))]
    sums, ties = (reduce(add, found) for found in zip(*parts, strict=True))
    if approximate:
        cut = Cut(*(_with_ties(boundary, int(count)) for boundary, count in zip(cut, ties, strict=True)))
    return Fitted(cut, sums, str(cohort) if whole else "")


_NO_POINTS: Final = {name: np.empty(0, np.float32) for name in (columns.MEAN, columns.VARIANCE)}


def _digesting(cohort: Cohort, work: Callable[[Block], T], loaders: Sequence[Loader]) -> Iterator[T]:
    for load in loaders:
        block = load()
        cohort.take(block.mean, block.variance)
        yield work(block)


@dataclass(frozen=True)
class _SumUp:
    """Statistics of one block, and how many of its rows are on either boundary."""

    cut: Cut

    def __call__(self, block: Block) -> tuple[Sums, np.ndarray]:
        sides = (_Side(), self.cut.variance), (_Side(self.cut.variance), self.cut.mean)
        ties = [0 if bound is None else (side.of(block)[0] == bound.value).sum() for side, bound in sides]
        codes = self.cut.codes(block.mean, block.variance, block.first_row)
        return Sums.of(codes, block.values), np.array(ties, np.int64)


def _with_ties(boundary: Boundary | None, ties: int) -> Boundary | None:
    """A boundary found without counting: all its ties are on the lower side."""
    return boundary and boundary.model_copy(update={"ties": ties, "below": ties})


@dataclass(frozen=True)
class _Side:
    """What is cut: the variance of all mapped rows, or the mean of those on the lower side of a first boundary."""

    under: Boundary | None = None

    def of(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """The values of the rows that take part, and which rows these are."""
        among = mapped(block.mean, block.variance)
        if self.under is None:
            return block.variance[among], np.flatnonzero(among)
        among = lower(block.variance, among, self.under, block.first_row)
        return block.mean[among], np.flatnonzero(among)


def _counted(side: _Side, fraction: Fraction, loaders: Sequence[Loader], each: Each) -> tuple[Boundary | None, int]:
    """The exact boundary, and how many rows are on its lower side."""
    tops = sum(each(_Tops(side), loaders), np.zeros(_HALF, np.int64))
    count = int(fraction * int(tops.sum()))
    if count <= 0:
        return None, 0
    top, before = _place(tops, count)
    lows = list(each(_Lows(side, top), loaders))
    counts = np.zeros(_HALF, np.int64)
    for found, times in lows:
        counts[found] += times
    low, less = _place(counts, count - before)
    ties = [int(times[found == low].sum()) for found, times in lows]
    below = count - before - less
    ends = np.cumsum(ties)
    block = int(np.searchsorted(ends, below))
    value, nth = _value(top << 16 | low), below - int(ends[block]) + ties[block]
    (last_row,) = each(_NthTie(side, value, nth), loaders[block : block + 1])
    return Boundary(value=value, ties=int(ends[-1]), below=below, last_row=last_row), count


def _place(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """In which box the value of a rank (from 1) lies, and how many values lie in the boxes before it."""
    ends = np.cumsum(counts)
    box = int(np.searchsorted(ends, rank))
    return box, int(ends[box] - counts[box])


def _keys(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of float32 values."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # adding 0 makes -0 and 0 one value
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _value(key: int) -> float:
    """The float32 value of a key."""
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


@dataclass(frozen=True)
class _Tops:
    """How many values have which upper half of their key."""

    side: _Side

    def __call__(self, block: Block) -> np.ndarray:
        return np.bincount(_keys(self.side.of(block)[0]) >> 16, minlength=_HALF)


@dataclass(frozen=True)
class _Lows:
    """Lower halves of the keys with a given upper half, and how many values have each."""

    side: _Side
    top: int

    def __call__(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        keys = _keys(self.side.of(block)[0])
        return np.unique(keys[keys >> 16 == self.top] & 0xFFFF, return_counts=True)


@dataclass(frozen=True)
class _NthTie:
    """The number of the row with the n-th of the values that equal a boundary."""

    side: _Side
    value: float
    nth: int

    def __call__(self, block: Block) -> int:
        values, rows = self.side.of(block)
        return block.first_row + int(rows[values == self.value][self.nth - 1])


def _sketched(side: _Side, fraction: Fraction, loaders: Sequence[Loader], each: Each) -> tuple[Boundary | None, int]:
    """A boundary from merged sketches, its ties not yet counted, and about how many rows are there."""
    whole, parts = _sketch(), list(each(_Sketch(side), loaders))
    for part in parts:
        whole.merge(type(whole).deserialize(part))
    count = int(fraction * whole.n)
    if count <= 0:
        return None, 0
    value = float(whole.get_quantile(count / whole.n, inclusive=True))
    error = whole.normalized_rank_error(False) if whole.is_estimation_mode() else 0.0
    return Boundary(value=value, ties=0, below=0, rank_error=error), count


def _sketch() -> Any:  # noqa: ANN401 - the library has no types
    try:
        from datasketches import kll_floats_sketch
    except ImportError:
        raise DataMapError("sketches need Apache DataSketches: pip install 'hf_datamap[scale]'") from None
    return kll_floats_sketch(_SKETCH_SIZE)


@dataclass(frozen=True)
class _Sketch:
    """A sketch of the values of one block, as bytes."""

    side: _Side

    def __call__(self, block: Block) -> bytes:
        sketch = _sketch()
        sketch.update(np.ascontiguousarray(self.side.of(block)[0], np.float32))
        return bytes(sketch.serialize())

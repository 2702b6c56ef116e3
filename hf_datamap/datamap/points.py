"""The points of a map, mean and variance of every row: read once from wherever they are, kept where they fit.

What fits in memory stays there; what does not waits in a temporary file, 8 to 20 bytes a row, and is read in blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import xxhash

from hf_datamap.data import columns
from hf_datamap.data.dataset import tables_of
from hf_datamap.data.parquet import open_parquet, parquet_files
from hf_datamap.datamap.noise import NEEDED, corrected_columns, is_corrected
from hf_datamap.datamap.prior import NoiseSample
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    AnyPoints: TypeAlias = Dataset | DatasetDict | IterableDataset | str | Path | Sequence[str | Path]

#: Rows whose points are held in memory: 20 bytes each at most, and as much again while they are cut.
IN_MEMORY: Final = 50_000_000
#: The same for streams and files, whose readers need memory beside.
IN_MEMORY_OF_STREAMS: Final = 2_000_000
_READ_ROWS: Final = 1 << 16  # rows of a stream or a file read at a time
_BLOCK_ROWS: Final = 1 << 20  # rows of a block in the temporary file, where so many fit in memory
_STATISTICS: Final = (columns.NOISE, columns.AGREEMENT, columns.MARGIN)


@dataclass(frozen=True)
class Points:
    """Points of consecutive rows of a scored dataset, float32, NaN where missing.

    Attributes:
        values: the map's columns by name, each of shape (rows,).
        first_row: number of the first row in the whole dataset.
    """

    values: Mapping[str, np.ndarray]
    first_row: int = 0

    @classmethod
    def of(cls, table: pa.Table, first_row: int = 0, *, correct_noise: bool = False) -> Points:
        """Take the points from rows of a scored dataset in Arrow.

        Args:
            table: the rows.
            first_row: number of the first row in the whole dataset.
            correct_noise: whether the variance is wanted without the scorer's noise.

        Raises:
            MapError: mean or variance is missing.
        """
        names = point_columns(table.column_names)
        values = {name: columns.floats(table, name) for name in names}
        if correct_noise and not is_corrected(table.column_names):
            values[columns.VARIANCE] = columns.floats(corrected_columns(table), columns.VARIANCE)
        return cls(values, first_row)

    @classmethod
    def joined(cls, blocks: Sequence[Points]) -> Points:
        """Points of several blocks as one; the columns that all of them have."""
        first = blocks[0].values if blocks else point_columns(())
        names = [name for name in first if all(name in block.values for block in blocks)]
        empty = np.empty(0, np.float32)
        return cls({name: np.concatenate([empty, *(block.values[name] for block in blocks)]) for name in names})

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def mean(self) -> np.ndarray:
        """``datamap_mean``."""
        return self.values[columns.MEAN]

    @property
    def variance(self) -> np.ndarray:
        """``datamap_variance``."""
        return self.values[columns.VARIANCE]


class PointReader(Protocol):
    """Reads one block of points, always the same; can be sent to another process."""

    def __call__(self) -> Points:
        """Read the block."""
        ...


class PointsDigest:
    """A digest of mean and variance of a dataset, taken up in row order; equal digests mean the same points."""

    def __init__(self) -> None:
        self._mean, self._variance, self.rows = xxhash.xxh3_128(), xxhash.xxh3_128(), 0

    @classmethod
    def of(cls, blocks: Iterable[Points]) -> PointsDigest:
        """The digest of the points of consecutive blocks."""
        digest = cls()
        for block in blocks:
            digest.update(block.mean, block.variance)
        return digest

    def update(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Take up further rows."""
        self._mean.update(np.ascontiguousarray(mean, np.float32).data)
        self._variance.update(np.ascontiguousarray(variance, np.float32).data)
        self.rows += len(mean)

    def __str__(self) -> str:
        parts = f"{self.rows} {self._mean.hexdigest()} {self._variance.hexdigest()}"
        return xxhash.xxh3_128(parts.encode()).hexdigest()


def point_columns(names: Sequence[str]) -> list[str]:
    """The columns that a map is made of, among those there are.

    Raises:
        MapError: mean or variance is missing.
    """
    missing = [name for name in (columns.MEAN, columns.VARIANCE) if name not in names]
    if missing and names:
        raise MapError(
            f"no column {' or '.join(missing)} among {', '.join(map(str, names))}: score the dataset first, "
            "with ds.map(dm.score_fn(scorer)) or dm.annotate(ds, scorer)"
        )
    return [columns.MEAN, columns.VARIANCE, *(name for name in _STATISTICS if name in names)]


# --- reading ----------------------------------------------------------------------------------------------------------


@contextmanager
def open_points(source: AnyPoints, *, correct_noise: bool = False, in_memory: int | None = None) -> Iterator[Gathered]:
    """Read the points of a scored dataset, once and in row order.

    Args:
        source: a dataset, a stream, or Parquet files: paths, patterns, folders, ``hf://`` URLs.
        correct_noise: whether the variance is wanted without the scorer's noise.
        in_memory: rows that fit in memory; by default `IN_MEMORY`, of streams and files `IN_MEMORY_OF_STREAMS`.

    Raises:
        MapError: a column is missing.
        SourceError: a file cannot be read.
    """
    from datasets import Dataset, DatasetDict

    if in_memory is None:
        in_memory = IN_MEMORY if isinstance(source, Dataset | DatasetDict) else IN_MEMORY_OF_STREAMS
    with gathering(correct_noise=correct_noise, in_memory=in_memory) as gathered:
        for table in scored_tables(source, correct_noise=correct_noise):
            gathered.add(table)
        yield gathered


def read_points(ds: Dataset | DatasetDict | IterableDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of every row, NaN where missing.

    Raises:
        MapError: a column is missing.
    """
    block = Points.joined([Points.of(table) for table in scored_tables(ds)])
    return block.mean, block.variance


def scored_tables(source: AnyPoints, *, correct_noise: bool = False) -> Iterator[pa.Table]:
    """Read the columns that a map is made of, some rows at a time, in row order."""
    from datasets import Dataset

    if isinstance(source, str | Path | list | tuple):
        for path in parquet_files(source):
            with open_parquet(path) as file:
                names = narrow_columns(file.schema_arrow.names, correct_noise=correct_noise)
                for batch in file.iter_batches(_READ_ROWS, columns=names):
                    yield pa.Table.from_batches([batch])
    elif isinstance(source, Mapping):
        for split in source.values():
            yield from scored_tables(split, correct_noise=correct_noise)
    elif isinstance(source, Dataset):
        yield from tables_of(source, narrow_columns(source.column_names, correct_noise=correct_noise))
    else:
        stream: Any = source
        names = stream.column_names
        known = stream.select_columns(narrow_columns(names, correct_noise=correct_noise)) if names else stream
        yield from known.with_format("arrow").iter(_READ_ROWS)


def narrow_columns(names: Sequence[str], *, correct_noise: bool) -> list[str]:
    """The columns that `Points.of` reads, among those there are.

    Raises:
        MapError: mean or variance is missing.
    """
    # What noise is known from is read of a dataset that was corrected before, too: for `hf_datamap.datamap.prior`.
    more = [columns.VARIANCE_OBSERVED, *(NEEDED if correct_noise or is_corrected(names) else ())]
    return list(dict.fromkeys([*point_columns(names), *(name for name in more if name in names)]))


@dataclass(frozen=True)
class _InMemory:
    """A block that is in memory."""

    block: Points

    def __call__(self) -> Points:
        return self.block


@dataclass(frozen=True)
class _InFile:
    """A block in a temporary file."""

    path: Path
    names: tuple[str, ...]
    first_row: int

    def __call__(self) -> Points:
        values = np.fromfile(self.path, np.float32).reshape(len(self.names), -1)
        return Points(dict(zip(self.names, values, strict=True)), self.first_row)


@dataclass
class Gathered:
    """Points as they come, in row order: kept as long as they fit, otherwise all written to files of a block each.

    Attributes:
        folder: where the files go.
        correct_noise: whether the variance is taken without the scorer's noise.
        in_memory: rows that fit in memory.
        rows: rows so far.
        corrected: whether the variance is without the scorer's noise, because that was asked for or was so already.
        noise: rows that the truth behind noisy scores is learnt from, where the variance is corrected.
    """

    folder: Path
    correct_noise: bool = False
    in_memory: int = IN_MEMORY
    rows: int = 0
    corrected: bool = False
    noise: NoiseSample = field(default_factory=NoiseSample)
    _waiting: list[Points] = field(default_factory=list)
    _written: list[_InFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.corrected = self.correct_noise

    def add(self, table: pa.Table) -> None:
        """Take up the next rows.

        Raises:
            MapError: mean or variance is missing.
        """
        if not self.rows:
            # A dataset that has been through `without_noise` is known by its columns.
            self.corrected = self.correct_noise or is_corrected(table.column_names)
        self._waiting.append(Points.of(table, correct_noise=self.corrected))
        if self.corrected and all(name in table.column_names for name in NEEDED):
            self.noise.add(table, self.rows)
        self.rows += table.num_rows
        while self.rows > self.in_memory and sum(map(len, self._waiting)) >= self._block_rows:
            self._write_block()

    def readers(self) -> list[PointReader]:
        """The points that were added: one block where they fit in memory."""
        if self.rows <= self.in_memory:
            self._waiting = [Points.joined(self._waiting)]
            return [_InMemory(self._waiting[0])]
        while self._waiting:
            self._write_block()
        return list(self._written)

    @property
    def _block_rows(self) -> int:
        return max(1, min(self.in_memory, _BLOCK_ROWS))

    def _write_block(self) -> None:
        points = Points.joined(self._waiting)
        names, size = tuple(points.values), self._block_rows
        path = self.folder / f"{len(self._written):06d}.f32"
        np.stack([points.values[name][:size] for name in names]).tofile(path)
        self._written.append(_InFile(path, names, size * len(self._written)))
        rest = Points({name: points.values[name][size:] for name in names})
        self._waiting = [rest] if len(rest) else []


@contextmanager
def gathering(*, correct_noise: bool = False, in_memory: int = IN_MEMORY) -> Iterator[Gathered]:
    """Gather points; what does not fit in memory waits in a temporary folder until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="hf_datamap-") as folder:
        yield Gathered(Path(folder), correct_noise, in_memory)

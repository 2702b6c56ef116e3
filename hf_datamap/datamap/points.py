"""Where the points of a map are read from: datasets, streams, Parquet files; held in memory where they fit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.parquet import open_parquet, parquet_files
from hf_datamap.datamap.blocks import Block, Loader
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    AnyPoints: TypeAlias = Dataset | DatasetDict | IterableDataset | str | Path | Sequence[str | Path]

#: Rows whose points are held in memory: 20 bytes each at most, and as much again while they are cut.
IN_MEMORY: Final = 50_000_000
#: The same for streams, whose readers need memory beside.
IN_MEMORY_OF_STREAMS: Final = 2_000_000
_READ: Final = 1 << 16  # rows of a stream read at a time
_BLOCK: Final = 1 << 20  # rows of a block
_STATISTICS: Final = (columns.NOISE, columns.AGREEMENT, columns.MARGIN)


@contextmanager
def opened(source: AnyPoints, *, correct_noise: bool = False, in_memory: int | None = None) -> Iterator[list[Loader]]:
    """Open the points of a scored dataset: one block where they fit in memory, otherwise several, read when asked.

    Args:
        source: a dataset, a stream (read once; what does not fit waits in a temporary file, 8 to 20 bytes a row), or
            Parquet files: paths, patterns, folders, ``hf://`` URLs.
        correct_noise: whether the variance is wanted without the scorer's noise.
        in_memory: rows that fit; by default `IN_MEMORY`, of streams `IN_MEMORY_OF_STREAMS`.

    Raises:
        MapError: a column is missing.
        SourceError: a file cannot be read.
    """
    if isinstance(source, str | Path | list | tuple):
        in_memory = IN_MEMORY if in_memory is None else in_memory
        loaders = parquet_loaders(source, correct_noise=correct_noise)
        fits = sum(load.rows for load in loaders) <= in_memory
        yield [_Held(joined_block([load() for load in loaders]))] if fits and loaders else list(loaders)
        return
    from datasets import Dataset, DatasetDict

    if in_memory is None:
        in_memory = IN_MEMORY if isinstance(source, Dataset | DatasetDict) else IN_MEMORY_OF_STREAMS
    if correct_noise:
        from hf_datamap.datamap.noise import without_noise

        source = without_noise(source)
    with tempfile.TemporaryDirectory(prefix="hf_datamap-") as folder:
        yield _gathered(_pieces(source), in_memory, Path(folder))


def read_points(ds: Dataset | DatasetDict | IterableDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of every row, NaN where missing.

    Raises:
        MapError: a column is missing.
    """
    with opened(ds, in_memory=2**62) as loaders:
        block = loaders[0]()
    return block.mean, block.variance


def wanted(names: Sequence[str]) -> list[str]:
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


def values_of(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns of a table as float32, NaN for null."""
    return {name: columns.floats(table, name) for name in table.column_names}


def _pieces(ds: Dataset | DatasetDict | IterableDataset) -> Iterator[Block]:
    """The map's columns of all rows, in order, in pieces."""
    from datasets import Dataset

    if isinstance(ds, Mapping):
        for split in ds.values():
            yield from _pieces(split)
        return
    names = wanted(list(ds.column_names or ()))
    if not isinstance(ds, Dataset):
        known = ds.select_columns(names) if ds.column_names else ds
        for batch in known.with_format("arrow").iter(_READ):
            yield Block(values_of(batch.select(wanted(batch.column_names))))
    else:
        table = ds.select_columns(names).with_format("arrow")[:]
        for start in range(0, table.num_rows or 1, _BLOCK):
            yield Block(values_of(table.slice(start, _BLOCK)))


# --- blocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Held:
    """A block that is in memory."""

    block: Block

    def __call__(self) -> Block:
        return self.block


@dataclass(frozen=True)
class _Spilt:
    """A block in a temporary file."""

    path: Path
    names: tuple[str, ...]
    first_row: int

    def __call__(self) -> Block:
        rows = np.fromfile(self.path, np.float32).reshape(len(self.names), -1)
        return Block(dict(zip(self.names, rows, strict=True)), self.first_row)


def _gathered(pieces: Iterable[Block], in_memory: int, folder: Path) -> list[Loader]:
    """Points as they come: kept as long as they fit, otherwise all written to files of a block each."""
    waiting: list[Block] = []
    spilt: list[_Spilt] = []
    rows = 0
    for piece in pieces:
        waiting.append(piece)
        rows += len(piece.mean)
        while rows > in_memory and sum(len(part.mean) for part in waiting) >= _BLOCK:
            waiting = _spill(joined_block(waiting), folder, spilt)
    if rows <= in_memory:
        return [_Held(joined_block(waiting))]
    while waiting:
        waiting = _spill(joined_block(waiting), folder, spilt)
    return list(spilt)


def _spill(points: Block, folder: Path, spilt: list[_Spilt]) -> list[Block]:
    """Write a block, and return the points that are left."""
    path, names = folder / f"{len(spilt):06d}.f32", tuple(points.values)
    np.stack([points.values[name][:_BLOCK] for name in names]).tofile(path)
    spilt.append(_Spilt(path, names, _BLOCK * len(spilt)))
    rest = Block({name: points.values[name][_BLOCK:] for name in names})
    return [rest] if len(rest.mean) else []


def joined_block(blocks: Sequence[Block]) -> Block:
    """Points of several blocks as one; the columns that all of them have."""
    names = [name for name in (blocks[0].values if blocks else wanted(())) if all(name in b.values for b in blocks)]
    empty = np.empty(0, np.float32)
    return Block({name: np.concatenate([empty, *(block.values[name] for block in blocks)]) for name in names})


# --- Parquet ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file, here or on the Hub."""

    path: str
    group: int
    rows: int
    first_row: int
    names: tuple[str, ...]
    correct_noise: bool = field(default=False)

    def __call__(self) -> Block:
        """Read its points."""
        with open_parquet(self.path) as file:
            table = file.read_row_group(self.group, columns=self._read())
        if self.correct_noise:
            from hf_datamap.datamap.noise import corrected_table

            table = corrected_table(table)
        return Block(values_of(table.select(self.names)), self.first_row)

    def _read(self) -> list[str]:
        from hf_datamap.datamap.noise import NEEDED

        return list(dict.fromkeys([*self.names, *NEEDED])) if self.correct_noise else list(self.names)


def parquet_loaders(source: str | Path | Sequence[str | Path], *, correct_noise: bool = False) -> list[RowGroup]:
    """Return the row groups of Parquet files, in order.

    Args:
        source: paths, patterns, folders or ``hf://`` URLs.
        correct_noise: whether the variance is wanted without the scorer's noise.

    Raises:
        MapError: a column is missing.
        SourceError: there is no such file, or it cannot be read.
    """
    found: list[RowGroup] = []
    first = 0
    for path in parquet_files(source):
        with open_parquet(path) as file:
            names = tuple(wanted(file.schema_arrow.names))
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                found.append(RowGroup(path, group, rows, first, names, correct_noise))
                first += rows
    return found

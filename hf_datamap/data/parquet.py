"""Parquet files, cut into parts that are worked on by themselves."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.errors import MapError, SourceError

if TYPE_CHECKING:
    from datasets import Features


@dataclass(frozen=True)
class Part:
    """Consecutive row groups of one file.

    Attributes:
        number: from 0, in row order.
        path: the file, or its URL.
        groups: the first row group and the one after the last.
        rows: how many rows.
        first_row: number of the first row in the whole dataset.
        nbytes: decoded size: tells whether the file is still the one that was planned with.
    """

    number: int
    path: str
    groups: tuple[int, int]
    rows: int
    first_row: int
    nbytes: int

    def batches(self, size: int, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read the rows, so many at a time; all columns, or those there are of some."""
        with open_parquet(self.path) as file:
            kept = [name for name in file.schema_arrow.names if names is None or name in names]
            for batch in file.iter_batches(size, row_groups=range(*self.groups), columns=kept):
                yield pa.Table.from_batches([batch])

    def features(self) -> Features:
        """The columns of the file, as ``datasets`` knows them."""
        from datasets import Features

        with open_parquet(self.path) as file:
            return Features.from_arrow_schema(file.schema_arrow)


def plan(files: Sequence[str], part_rows: int) -> list[Part]:
    """Cut files into parts of whole row groups, of so many rows or a few more.

    Raises:
        SourceError: a file cannot be read, or its columns are not those of the first.
        MapError: there are no rows.
    """
    parts: list[Part] = []
    first_row, schema = 0, None
    for path in files:
        with open_parquet(path) as file:
            schema = schema or file.schema_arrow.remove_metadata()
            if not file.schema_arrow.remove_metadata().equals(schema):
                raise SourceError(f"{path} has other columns or types than {files[0]}; map them one by one")
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        for start, stop in _runs_of_groups([rows for rows, _ in sizes], part_rows):
            rows, nbytes = map(sum, zip(*sizes[start:stop], strict=True))
            parts.append(Part(len(parts), path, (start, stop), rows, first_row, nbytes))
            first_row += rows
    if not first_row:
        raise MapError("the dataset has no rows: there is nothing to map")
    return [part for part in parts if part.rows]


def _runs_of_groups(sizes: Sequence[int], part_rows: int) -> Iterator[tuple[int, int]]:
    start, rows = 0, 0
    for group, size in enumerate(sizes):
        rows += size
        if rows >= part_rows or group == len(sizes) - 1:
            yield start, group + 1
            start, rows = group + 1, 0


def sizes_of(files: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Rows and decoded bytes of each of some Parquet files, from their footers.

    Raises:
        SourceError: a file cannot be read.
    """
    for path in files:
        with open_parquet(path) as file:
            groups = (file.metadata.row_group(group) for group in range(file.num_row_groups))
            yield file.metadata.num_rows, sum(group.total_byte_size for group in groups)


def read_first_rows(files: Sequence[str], count: int = 8) -> pa.Table:
    """Read the first rows of some Parquet files; none, if there are none.

    Raises:
        SourceError: a file cannot be read.
    """
    for path in files:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            for batch in file.iter_batches(count):
                if batch.num_rows:
                    return pa.Table.from_batches([batch])
    return schema.empty_table()


def parquet_files(source: str | Path | Sequence[str | Path]) -> list[str]:
    """Return Parquet files by name: those of folders and patterns sorted, others in the order given.

    Raises:
        SourceError: there are none.
    """
    files: list[str] = []
    for item in [source] if isinstance(source, str | Path) else source:
        name = str(item)
        if "://" in name:
            files += _remote_files(name)
        elif Path(name).is_dir():
            files += sorted(str(path) for path in Path(name).rglob("*.parquet"))
        elif Path(name).is_file():
            files.append(name)
        else:
            files += sorted(fsspec.filesystem("file").glob(name))
    if not files:
        raise SourceError(f"no Parquet file at {source}: name files, a folder, a pattern or an hf:// URL")
    return files


def _remote_files(url: str) -> list[str]:
    scheme = url.partition("://")[0]
    filesystem, path = fsspec.url_to_fs(url)
    names = sorted(filesystem.glob(path)) if glob.has_magic(url) else [path]
    if not glob.has_magic(url) and filesystem.isdir(path):
        names = sorted(name for name in filesystem.find(path) if name.endswith(".parquet"))
    return [f"{scheme}://{name}" for name in names]


@contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, here or at a URL that ``fsspec`` knows.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with _handle(path) as handle, pq.ParquetFile(handle, pre_buffer="://" in path) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(f"cannot read {path}: {error}") from None


@contextmanager
def _handle(path: str) -> Iterator[Any]:
    if "://" not in path:
        yield path
        return
    # Arrow asks for the ranges that it needs, neighbours together: reading ahead would fetch other columns.
    filesystem, name = fsspec.url_to_fs(path)
    with filesystem.open(name, "rb", cache_type="none") as handle:
        yield handle

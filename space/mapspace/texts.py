"""SplitRows of rows, read on demand by row group from parquet files; never a whole split at once."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from mapspace.errors import SpaceError

CACHE_BYTES: Final = 32 << 20
GROUP_BYTES: Final = 64 << 20  # greater row groups are streamed instead of being decoded whole
ROW_BYTES: Final = 32 << 20
_STREAM_ROWS: Final = 64


@dataclass
class Shard:
    """One parquet file; its footer is read once, when it is first needed."""

    path: str
    files: AbstractFileSystem
    _footer: pq.FileMetaData | None = field(default=None, repr=False)

    @property
    def footer(self) -> pq.FileMetaData:
        """The file's metadata."""
        if self._footer is None:
            with self.open_bytes() as file:
                try:
                    self._footer = pq.ParquetFile(file).metadata
                except (pa.ArrowInvalid, OSError) as error:
                    raise SpaceError(f"{self.name} is not a readable parquet file ({error})") from None
        return self._footer

    @property
    def name(self) -> str:
        """The file name without its folders."""
        return self.path.rpartition("/")[2]

    def open_bytes(self) -> Any:  # noqa: ANN401 - fsspec's files share no type
        """Open the file; small blocks, because footers and single row groups are read."""
        return self.files.open(self.path, "rb", block_size=1 << 20)

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, first row and rows of each row group."""
        start = 0
        for number in range(self.footer.num_row_groups):
            rows = self.footer.row_group(number).num_rows
            yield number, start, rows
            start += rows


class _Cache:
    """Decoded row groups of all visitors, least recently used out first, bounded in bytes."""

    def __init__(self, size: int) -> None:
        self._size, self._used = size, 0
        self._tables: OrderedDict[tuple[str, int, int], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int, int]) -> pa.Table | None:
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
            return self._tables.get(key)

    def put(self, key: tuple[str, int, int], table: pa.Table) -> None:
        with self._lock:
            if key in self._tables or table.nbytes > self._size // 2:
                return
            self._tables[key] = table
            self._used += table.nbytes
            while self._used > self._size:
                _, old = self._tables.popitem(last=False)
                self._used -= old.nbytes


_cache = _Cache(CACHE_BYTES)


class SplitRows:
    """The rows of one split.

    Args:
        shards: the split's parquet files, in order.
        owner: distinguishes the rows of different maps and visitors' tokens in the shared cache.
    """

    def __init__(self, shards: Sequence[Shard], owner: str) -> None:
        self.shards = tuple(shards)
        self._owner = owner

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows.

        Raises:
            SpaceError: there is no file to read it from.
        """
        if not self.shards:
            raise SpaceError("no parquet file holds the rows of this split; the map can be seen, its texts cannot")
        return self.shards[0].footer.schema.to_arrow_schema()

    def row(self, position: int) -> dict[str, Any]:
        """Return one row.

        Raises:
            SpaceError: no file holds this position.
        """
        start = 0
        for shard in self.shards:
            rows = shard.footer.num_rows
            if position < start + rows:
                return self._row(shard, position - start)
            start += rows
        raise SpaceError(f"row {position:,} is not in the dataset's files, which hold {start:,} rows of this split")

    def _row(self, shard: Shard, position: int) -> dict[str, Any]:
        for number, start, rows in shard.groups():
            if position < start + rows:
                table, skipped = self._piece(shard, number, position - start)
                one = table.slice(position - start - skipped, 1)
                if one.nbytes > ROW_BYTES:
                    raise SpaceError(f"row {position:,} of {shard.name} is {one.nbytes >> 20} MB, too large to show")
                return dict(one.to_pylist()[0])
        raise SpaceError(f"{shard.name} has no row {position:,}")

    def _piece(self, shard: Shard, number: int, position: int) -> tuple[pa.Table, int]:
        """Return rows around ``position`` of a row group, and the position of the first of them."""
        footer = shard.footer
        large = footer.row_group(number).total_byte_size > GROUP_BYTES
        block = position // _STREAM_ROWS if large else 0
        key = (f"{self._owner} {shard.path}", number, block)
        if (table := _cache.get(key)) is None:
            with shard.open_bytes() as file:
                parquet = pq.ParquetFile(file, metadata=footer)
                table = _block(parquet, number, block) if large else parquet.read_row_group(number, use_threads=False)
            _cache.put(key, table)
        return table, block * _STREAM_ROWS

    def rows(self, positions_wanted: np.ndarray, size: int, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield rows, at most ``size`` at a time; only row groups that hold some of them are read.

        Args:
            positions_wanted: positions, ascending.
            size: greatest number of rows at a time.
            names: columns to read, all by default.
        """
        for shard, first, number, start, rows in self._all_groups():
            begin = first + start
            low, high = np.searchsorted(positions_wanted, (begin, begin + rows))
            if low == high:
                continue
            inside_group = positions_wanted[low:high] - begin
            with shard.open_bytes() as file:
                parquet, at = pq.ParquetFile(file, metadata=shard.footer), 0
                for batch in parquet.iter_batches(size, row_groups=[number], columns=names, use_threads=False):
                    inside = inside_group[(inside_group >= at) & (inside_group < at + len(batch))] - at
                    if len(inside):
                        yield pa.Table.from_batches([batch]).take(pa.array(inside))
                    at += len(batch)

    def search(self, needle: str, positions_wanted: np.ndarray, *, limit: int, seconds: float) -> SearchHits:
        """Find the rows in which a text occurs, ignoring case.

        Args:
            needle: what to look for.
            positions_wanted: positions to look at, ascending.
            limit: stop after so many hits.
            seconds: stop after so much time.
        """
        until = time.monotonic() + seconds
        hits: list[np.ndarray] = []
        rows_searched = hit_count = 0
        for shard, first, number, start, rows in self._all_groups():
            low, high = np.searchsorted(positions_wanted, (first + start, first + start + rows))
            if low == high:
                continue
            if time.monotonic() > until or hit_count >= limit:
                break
            names = _text_columns(shard.footer.schema.to_arrow_schema())
            with shard.open_bytes() as file:
                parquet = pq.ParquetFile(file, metadata=shard.footer)
                masks = [
                    contains(pa.Table.from_batches([batch]), needle)
                    for batch in parquet.iter_batches(1024, row_groups=[number], columns=names, use_threads=False)
                ]
            mask = np.concatenate(masks) if masks else np.zeros(rows, bool)
            inside_group = positions_wanted[low:high]
            hits.append(inside_group[mask[inside_group - first - start]])
            rows_searched, hit_count = rows_searched + len(inside_group), hit_count + len(hits[-1])
        pa.default_memory_pool().release_unused()
        positions = np.concatenate(hits) if hits else np.empty(0, np.int64)
        return SearchHits(positions[:limit], rows_searched, len(positions_wanted))

    def _all_groups(self) -> Iterator[tuple[Shard, int, int, int, int]]:
        first = 0
        for shard in self.shards:
            for number, start, rows in shard.groups():
                yield shard, first, number, start, rows
            first += shard.footer.num_rows


@dataclass(frozen=True)
class SearchHits:
    """Outcome of a text search.

    Attributes:
        positions: rows with the text.
        rows_searched: how many rows were looked at.
        rows_to_search: how many should have been; more than ``rows_searched`` when time or the number of hits ran out.
    """

    positions: np.ndarray
    rows_searched: int
    rows_to_search: int


def _block(parquet: pq.ParquetFile, number: int, block: int) -> pa.Table:
    """Stream a large row group up to one block of rows, keeping only that."""
    batches = parquet.iter_batches(_STREAM_ROWS, row_groups=[number], use_threads=False)
    for count, batch in enumerate(batches):
        if count == block:
            return pa.Table.from_batches([batch])
    raise SpaceError("the parquet file holds fewer rows than it says")


def _text_columns(schema: pa.Schema) -> list[str]:
    return [item.name for item in schema if not item.name.startswith("datamap_") and _has_text(item.type)]


def _has_text(kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    return any(_has_text(kind.field(i).type) for i in range(kind.num_fields))


def contains(table: pa.Table, needle: str) -> np.ndarray:
    """Return which rows hold ``needle`` in any string at any depth, ignoring case (bool, one per row)."""
    mask = np.zeros(len(table), bool)
    for column in table.columns:
        for_column = [_contains(chunk, needle) for chunk in column.chunks]
        if for_column:
            mask |= np.concatenate(for_column)
    return mask


def _contains(values: pa.Array, needle: str) -> np.ndarray:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        hit_count = pc.match_substring(values, needle, ignore_case=True).fill_null(False)
        return np.asarray(hit_count.to_numpy(zero_copy_only=False))
    if pa.types.is_struct(kind):
        mask = np.zeros(len(values), bool)
        for child in values.flatten():
            mask |= _contains(child, needle)
        return mask
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inside = np.concatenate([[0], np.cumsum(_contains(values.flatten(), needle))])
        ends = np.cumsum(values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).astype(np.int64)
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
        return np.asarray(inside[ends] > inside[starts])
    return np.zeros(len(values), bool)


# Controls, direction marks, invisible spaces, tag characters and lone surrogates: what can hide or reorder text.
# The joiners U+200C/U+200D stay: Persian, Indic scripts and emoji need them.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def plain(text: str, limit: int = 20_000) -> str:
    """Return text that shows what it holds: hidden and direction characters by code point, cut at ``limit``."""
    text = text.replace("\r\n", "\n")
    shown = _HIDDEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text[:limit])
    return f"{shown}\n… {len(text) - limit:,} more characters" if len(text) > limit else shown

"""`MapIndex`: everything the Space needs of every row except its texts, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from mapspace.errors import SpaceError

MAX_ROWS: Final = 5_000_000
MAX_NAMES: Final = 255
_NEEDED: Final = ("split", "row", "mean", "variance")


@dataclass(frozen=True)
class NamedColumn:
    """A column of few distinct strings.

    Attributes:
        codes: shape (rows,), index into ``names``; -1 where missing.
        names: the strings, most frequent first.
    """

    codes: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class MapIndex:
    """One value per row of the map, in the order of the index (splits one after another).

    Attributes:
        split: name of the split.
        row: position in the split, int64.
        mean: float32, NaN where missing.
        variance: float32, NaN where missing.
        region: index into `hf_datamap.data.columns.REGIONS`, int8.
        margin: float32, NaN where missing.
        agreement: float32, NaN where missing.
        suspect: bool.
        source: where the row came from.
        language: language of the row.
        length: characters of the longest response, float32, NaN where missing.
    """

    split: NamedColumn
    row: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    region: np.ndarray
    margin: np.ndarray
    agreement: np.ndarray
    suspect: np.ndarray
    source: NamedColumn
    language: NamedColumn
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def find(self, split: str, row: int) -> int | None:
        """Return the place of a row of a split in the index, None when there is no such row."""
        if split not in self.split.names:
            return None
        places = np.flatnonzero((self.row == row) & (self.split.codes == self.split.names.index(split)))
        return int(places[0]) if len(places) else None

    def place(self, i: int) -> tuple[str, int]:
        """Return split and position in it of the row at place ``i``."""
        return self.split.names[self.split.codes[i]], int(self.row[i])

    def numbers(self) -> pa.Table:
        """Return the numbers a map is fitted on."""
        return pa.table(
            {
                columns.MEAN: columns.nullable(self.mean),
                columns.VARIANCE: columns.nullable(self.variance),
                columns.AGREEMENT: columns.nullable(self.agreement),
                columns.MARGIN: columns.nullable(self.margin),
            }
        )

    def table(self, mask: np.ndarray | None = None) -> pa.Table:
        """Return the numbers as an Arrow table with the column names of the published dataset."""
        keep = slice(None) if mask is None else mask
        regions = np.array(columns.REGIONS, dtype=object)
        splits = np.array(self.split.names, dtype=object)
        return pa.table(
            {
                "split": pa.array(splits[self.split.codes[keep]], pa.string()),
                "row": pa.array(self.row[keep]),
                columns.MEAN: columns.nullable(self.mean[keep]),
                columns.VARIANCE: columns.nullable(self.variance[keep]),
                columns.REGION: pa.array(regions[self.region[keep]], pa.string()),
                columns.AGREEMENT: columns.nullable(self.agreement[keep]),
                columns.MARGIN: columns.nullable(self.margin[keep]),
                columns.SUSPECT: pa.array(self.suspect[keep]),
            }
        )


def from_table(table: pa.Table) -> MapIndex:
    """Read an index table (``datamap/index.parquet``).

    Raises:
        SpaceError: a needed column is missing or of the wrong kind, or the table is empty or too long.
    """
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise SpaceError(f"the map index has no column {', '.join(missing)}; publish the map again")
    if not 0 < len(table) <= MAX_ROWS:
        raise SpaceError(f"the map index has {len(table):,} rows; this Space shows 1 to {MAX_ROWS:,}")
    try:
        return MapIndex(
            split=named_column(table, "split"),
            row=table["row"].cast(pa.int64()).to_numpy(),
            mean=_floats(table, "mean"),
            variance=_floats(table, "variance"),
            region=_regions(table),
            margin=_floats(table, "margin"),
            agreement=_floats(table, "agreement"),
            suspect=_flags(table, "suspect"),
            source=named_column(table, "source"),
            language=named_column(table, "language"),
            length=_floats(table, "length"),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise SpaceError(f"the map index is broken ({error}); publish the map again") from None


def _floats(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return np.full(len(table), np.nan, np.float32)
    return np.asarray(table[name].cast(pa.float32()).fill_null(np.nan).to_numpy())


def _flags(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return np.zeros(len(table), bool)
    return np.asarray(table[name].cast(pa.bool_()).fill_null(False).to_numpy())


def named_column(table: pa.Table, name: str) -> NamedColumn:
    """Codes and names of a string column, most frequent first; rare names beyond the 255th are put together."""
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return NamedColumn(np.full(len(table), -1, np.int16), ())
    column = table[name]
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [str(value) for value in column.dictionary.to_pylist()]
    return _most_frequent(codes, names)


def _most_frequent(codes: np.ndarray, names: Sequence[str]) -> NamedColumn:
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))
    order = [code for code in order if counts[code]]
    kept = order if len(order) <= MAX_NAMES else order[: MAX_NAMES - 1]
    new = np.full(len(names) + 1, len(kept), np.int16)
    new[kept] = np.arange(len(kept))
    new[-1] = -1
    rest = (f"{len(order) - len(kept):,} others",) if len(kept) < len(order) else ()
    return NamedColumn(new[codes], (*(names[code] for code in kept), *rest))


def _regions(table: pa.Table) -> np.ndarray:
    column = named_column(table, "region")
    unmapped = columns.REGIONS.index(columns.UNMAPPED)
    known: dict[str, Any] = {name: code for code, name in enumerate(columns.REGIONS)}
    lookup = np.array([*(known.get(name, unmapped) for name in column.names), unmapped], np.int8)
    return np.asarray(lookup[column.codes])

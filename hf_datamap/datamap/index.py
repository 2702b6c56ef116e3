"""The map without the texts: one small row per prompt, for viewers, cards and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.shards import splits_of
from hf_datamap.errors import LayoutError, MapError, RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data import Example, Layout

#: The columns of ``datamap/index.parquet``, sorted by split, then row.
SCHEMA: Final = pa.schema(
    [
        ("split", pa.string()),
        ("row", pa.int64()),
        ("mean", pa.float32()),
        ("variance", pa.float32()),
        ("region", pa.dictionary(pa.int32(), pa.string())),
        ("margin", pa.float32()),
        ("agreement", pa.float32()),
        ("suspect", pa.bool_()),
        ("source", pa.string()),
        ("length", pa.int32()),
    ]
)

#: Rows of a row group: about 100 KB, so that a viewer reads ranges.
ROW_GROUP: Final = 16_384

#: Rows whose texts the card of a new map tells of: one in so many, where there are more.
SAMPLE_ROWS: Final = 100_000

_COPIED: Final = {
    "mean": columns.MEAN,
    "variance": columns.VARIANCE,
    "region": columns.REGION,
    "margin": columns.MARGIN,
    "agreement": columns.AGREEMENT,
    "suspect": columns.SUSPECT,
}
_SOURCES: Final = ("source", "data_source", "dataset", "dataset_name", "subset")
_BATCH: Final = 1_000


@dataclass(frozen=True)
class IndexedDataset:
    """The index of a mapped dataset, and what else one pass over its texts tells.

    Attributes:
        table: the index, see `SCHEMA`.
        splits: rows per split, in the dataset's own order.
        comparable: rows with one longest and one best-scored response.
        longest_wins: in how many of those the longest response has the best score.
        by_chance: in how many of those it would if length did not matter (the sum of 1/N).
    """

    table: pa.Table
    splits: dict[str, int]
    comparable: int
    longest_wins: int
    by_chance: float


def build_index(ds: Dataset | DatasetDict) -> pa.Table:
    """Build the index of a mapped dataset: `SCHEMA`, sorted by split name, then row.

    Args:
        ds: a dataset with the map's columns. ``datamap_margin``, ``datamap_agreement`` and ``datamap_suspect`` may be
            missing (nulls); a layout that is not recognised leaves ``length`` null.

    Raises:
        MapError: ``datamap_mean``, ``datamap_variance`` or ``datamap_region`` is missing.
    """
    return index_dataset(ds).table


def index_dataset(ds: Dataset | DatasetDict, layout: Layout | None = None) -> IndexedDataset:
    """Build the index and count how often length and score go together, in one pass over the texts.

    Args:
        ds: as for `build_index`.
        layout: how rows are read; detected when not given.

    Raises:
        MapError: a column of the map is missing.
    """
    tables, comparable, wins, chance = [SCHEMA.empty_table()], 0, 0, 0.0
    for name, split in sorted(splits_of(ds).items()):
        needed = (columns.MEAN, columns.VARIANCE, columns.REGION)
        if missing := [column for column in needed if column not in split.column_names]:
            raise MapError(
                f"split {name!r} has no column {', '.join(missing)}: map it first, with dm.annotate(ds, scorer), or "
                "dm.DataMap.fit(ds).assign(ds) when it is scored"
            )
        lengths, longest = _lengths(split, layout)
        count, won, expected = _length_wins(lengths, split)
        comparable, wins, chance = comparable + count, wins + won, chance + expected
        tables.append(_table(name, split, longest))
    rows = {name: len(split) for name, split in splits_of(ds).items()}
    return IndexedDataset(_join(tables), rows, comparable, wins, chance)


def layout_of(provenance: Mapping[str, Any]) -> Layout | None:
    """Return the layout a map remembers, None when it remembers none that can be read."""
    from hf_datamap.data import Layout

    remembered = provenance.get("layout")
    try:
        return Layout.from_json(remembered) if isinstance(remembered, Mapping | str) else None
    except LayoutError:
        return None


def _join(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _table(name: str, split: Dataset, longest: np.ndarray) -> pa.Table:
    rows = len(split)
    present = [column for column in (*_COPIED.values(), *_SOURCES) if column in split.column_names]
    data = split.select_columns(present).with_format("arrow")[:]
    arrays: list[Any] = [pa.array([name], pa.string()).take(pa.array(np.zeros(rows, np.int64))), pa.array(range(rows))]
    for field in SCHEMA:
        if field.name not in _COPIED:
            continue
        column = _COPIED[field.name]
        values = data[column].combine_chunks() if column in data.column_names else pa.nulls(rows)
        try:
            if pa.types.is_dictionary(field.type):
                values = values.cast(pa.string()).dictionary_encode()
            arrays.append(values.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise MapError(
                f"split {name!r} has a column {column} of type {values.type}, which is not the map's (it has "
                f"{columns.SCHEMA.field(column).type}): rename or remove it, and map the dataset again"
            ) from None
    arrays.append(_source(data))
    arrays.append(pa.array(np.minimum(longest, np.iinfo(np.int32).max), pa.int32(), mask=longest < 0))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _source(data: pa.Table) -> pa.Array:
    """Where each row came from: the first known column that holds text, or lists of text."""
    for name in _SOURCES:
        if name not in data.column_names:
            continue
        values = data[name].combine_chunks()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return values.cast(pa.string())
        if pa.types.is_list(values.type) and pa.types.is_string(values.type.value_type):
            joined = (", ".join(item or "" for item in items) if items else None for items in values.to_pylist())
            return pa.array(joined, pa.string())
    return pa.nulls(data.num_rows, pa.string())


def _lengths(split: Dataset, layout: Layout | None) -> tuple[np.ndarray, np.ndarray]:
    """Characters of each response (shape (rows, most responses), -1 where there is none), and the longest of a row."""
    try:
        by_row = [[-1 if text is None else len(text) for text in texts] for texts in _responses(split, layout)]
    except (LayoutError, RowError):  # no layout, or one whose columns have gone
        by_row = [[]] * len(split)
    width = max(map(len, by_row), default=0)
    matrix = np.full((len(split), max(width, 1)), -1, np.int64)
    for row, lengths in enumerate(by_row):
        matrix[row, : len(lengths)] = lengths
    return matrix, matrix.max(axis=1)


def _responses(split: Dataset, layout: Layout | None) -> Iterator[list[str | None]]:
    for example in read_rows(split, layout):
        yield [] if isinstance(example, RowError) else example.responses


def read_rows(split: Dataset, layout: Layout | None = None) -> Iterator[Example | RowError]:
    """Read the rows of a mapped split as examples, reading only the columns that are needed.

    Raises:
        LayoutError: no layout is given and none is recognised.
        RowError: the layout needs a column that is not there.
    """
    from datasets import Features

    from hf_datamap.data import detect_layout

    own = Features({name: kind for name, kind in split.features.items() if name not in columns.SCHEMA.names})
    layout = layout or detect_layout(own)
    arrow = split.select_columns([name for name in layout.columns if name in split.column_names]).with_format("arrow")
    for start in range(0, len(arrow), _BATCH):
        yield from layout.read_batch(arrow[start : start + _BATCH])


def _length_wins(lengths: np.ndarray, split: Dataset) -> tuple[int, int, float]:
    """Rows with one longest and one best response; in how many they are the same; the same by chance (ours)."""
    if columns.SCORES not in split.column_names or not len(split):
        return 0, 0, 0.0
    scores = columns.padded(split.select_columns([columns.SCORES]).with_format("arrow")[:][columns.SCORES])
    width = min(scores.shape[1], lengths.shape[1])
    if width < 2:
        return 0, 0, 0.0
    scores, lengths = scores[:, :width], lengths[:, :width]
    both = np.isfinite(scores) & (lengths >= 0)
    score, length = np.where(both, scores, -np.inf), np.where(both, lengths, -1)
    best = both & (score == score.max(axis=1, keepdims=True))
    longest = both & (length == length.max(axis=1, keepdims=True))
    usable = (best.sum(axis=1) == 1) & (longest.sum(axis=1) == 1) & (both.sum(axis=1) > 1)
    won = usable & (best & longest).any(axis=1)
    return int(usable.sum()), int(won.sum()), float((1 / both.sum(axis=1)[usable]).sum())

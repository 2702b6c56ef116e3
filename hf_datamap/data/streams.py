"""Streams: work on the Arrow tables of an `IterableDataset`, a few thousand rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hf_datamap.data import columns

if TYPE_CHECKING:
    from datasets import IterableDataset


def map_tables(
    ds: IterableDataset, work: Callable[..., pa.Table], added: pa.Schema, batch_size: int, *, numbered: bool = False
) -> IterableDataset:
    """Return a stream with further columns, computed as it is read.

    Rows stay in Arrow on the way: ``datasets`` turns every value into a Python object otherwise, and reads a thousand
    batches ahead of a coroutine function.

    Args:
        ds: the stream; its format stays.
        work: takes a table, and gives it back with the columns of ``added`` (in place of those of the same name).
        added: names and types of the columns.
        batch_size: rows of a table.
        numbered: whether ``work`` also gets the numbers of the rows in the stream.
    """
    features = columns.features(ds.features, added) if ds.features else None
    mapped = ds.with_format("arrow").map(
        work, batched=True, batch_size=batch_size, features=features, with_indices=numbered
    )
    formatting: Any = ds._formatting  # there is no public way to ask for it
    return mapped.with_format(formatting.format_type if formatting else None)


def by_row_group(ds: IterableDataset) -> IterableDataset:
    """Return a stream of files so that one row group is read at a time: Arrow's scanner runs ahead through all of them.

    Order and rows stay. Other streams are returned as they are: the shards of a shuffled one decide its order.
    """
    reads_files = type(getattr(ds, "_ex_iterable", None)).__name__ == "ArrowExamplesIterable"
    return ds.reshard() if reads_files and getattr(ds, "_distributed", None) is None else ds


def with_table(table: pa.Table, added: pa.Table) -> pa.Table:
    """Return a table with the columns of another in place of those of the same name."""
    kept = table.drop_columns([name for name in added.column_names if name in table.column_names])
    return pa.table([*kept.columns, *added.columns], names=[*kept.column_names, *added.column_names])

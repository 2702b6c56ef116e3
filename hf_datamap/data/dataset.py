"""Columns added to datasets and streams of the ``datasets`` library; rows, order and split names stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import xxhash

from hf_datamap.data import columns

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


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


def with_columns(ds: Dataset, added: pa.Table, content: bytes) -> Dataset:
    """Return ``ds`` with the columns of ``added`` in place of any of the same name.

    Rows, their order and the name of the split stay.

    Args:
        ds: the dataset.
        added: as many rows as ``ds``.
        content: bytes that determine ``added``, for the fingerprint.
    """
    from datasets import Dataset, DatasetInfo, Features, concatenate_datasets

    digest = xxhash.xxh3_128(f"{ds._fingerprint} {added.schema}".encode())
    digest.update(content)
    kept = ds.remove_columns([name for name in added.column_names if name in ds.column_names])
    if not len(ds) or not kept.column_names:  # concatenate_datasets drops what has no rows
        table = kept.with_format("arrow")[:] if kept.column_names else pa.table({})
        for name in added.column_names:
            table = table.append_column(name, added[name])
        features = Features({**kept.features, **Features.from_arrow_schema(added.schema)})
        info = DatasetInfo(features=features)
        return Dataset(table, info=info, fingerprint=digest.hexdigest()[:16], split=ds.split)
    extra = Dataset(added, fingerprint=digest.hexdigest()[:16], split=ds.split)
    return concatenate_datasets([kept, extra], axis=1, split=ds.split)

"""Columns added to datasets and streams of the ``datasets`` library; rows, order and split names stay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
import xxhash

from hf_datamap.data import columns
from hf_datamap.data.detect import detect_layout
from hf_datamap.data.layout import Layout
from hf_datamap.data.parse import choose_layout
from hf_datamap.errors import LayoutError, MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset)

#: Computes columns of some rows: takes the rows in Arrow and the number of the first of them.
Compute = Callable[[pa.Table, int], pa.Table]

_SAMPLE_ROWS: Final = 8  # rows that a layout is found from
_ROWS: Final = 1 << 20  # rows of a dataset whose columns are computed at a time
_STREAMED_ROWS: Final = 10_000  # the same for a stream, whose tables hold texts too
_HASHED_ROWS: Final = 100_000  # rows digested at a time


def find_layout(
    ds: Dataset | DatasetDict | IterableDataset, given: Layout | str | None = None, *, images: bool = False
) -> Layout:
    """Return the layout of a dataset: the one given, checked against its columns, or the one of its first rows.

    Args:
        ds: the dataset; a stream is not consumed.
        given: a layout, or what ``--layout`` takes.
        images: whether rows with images may be read, see `detect_layout`.

    Raises:
        LayoutError: the columns fit no layout, or several; or splits have different ones.
        MapError: a stream of unknown columns has no rows.
    """
    if given is not None:
        return choose_layout(ds, given)
    splits: Mapping[Any, Any] = ds if isinstance(ds, Mapping) else {"": ds}
    layouts = {}
    for name, split in splits.items():
        sample = first_rows(split)
        if split.features is None and not sample:
            raise MapError("the dataset has no rows: there is nothing to map")
        layouts[str(name)] = detect_layout(split.features or sample[0], sample=sample or None, images=images)
    first, *others = layouts.values()
    if any(other.to_dict() != first.to_dict() for other in others):
        names = ", ".join(f"{name}: {layout.name}" for name, layout in layouts.items())
        raise LayoutError(f"the splits have different layouts ({names}); annotate them one by one, or pass layout=")
    return first


def first_rows(ds: Dataset | IterableDataset, count: int = _SAMPLE_ROWS) -> list[dict[str, Any]]:
    """Return the first rows as Python values; a stream is not consumed."""
    rows = getattr(ds, "num_rows", count)  # in datasets 4.0 a dataset cannot give fewer rows than are taken
    return list(itertools.islice(iter(ds.with_format(None).take(min(count, rows))), count))


def every_nth(splits: Mapping[str, Dataset], step: int) -> DatasetDict:
    """Return one row in so many, rows being numbered through all splits; the first of them is there."""
    from datasets import DatasetDict

    sampled, first_row = {}, 0
    for name, split in splits.items():
        sampled[name] = split.select(range(-first_row % step, len(split), step)) if step > 1 else split
        first_row += len(split)
    return DatasetDict(sampled)


def add_columns(
    ds: AnyDataset,
    compute: Compute,
    added: pa.Schema,
    *,
    needed: Sequence[str],
    content: bytes,
    numbered: bool = False,
) -> AnyDataset:
    """Return ``ds`` with columns that follow from columns it has, computed some rows at a time.

    Args:
        ds: a `Dataset`, a `DatasetDict` (rows are numbered through all splits) or an `IterableDataset`.
        compute: gives the columns of ``added`` for some rows; can be pickled, if ``ds`` is a stream.
        added: names and types of the columns; they take the place of columns of the same name.
        needed: the columns that ``compute`` reads; those that are missing are left out.
        content: bytes that tell ``compute`` from other functions, for the fingerprint.
        numbered: whether rows of a stream are numbered too; they all have number 0 otherwise.
    """
    from datasets import Dataset, DatasetDict

    if isinstance(ds, DatasetDict):
        ends = [0]
        for split in ds.values():
            ends.append(ends[-1] + len(split))
        return DatasetDict(
            {
                name: _add_to_dataset(split, compute, added, needed=needed, content=content, first_row=first_row)
                for (name, split), first_row in zip(ds.items(), ends, strict=False)
            }
        )
    if isinstance(ds, Dataset):
        return _add_to_dataset(ds, compute, added, needed=needed, content=content, first_row=0)
    return map_tables(ds, _WithColumns(compute), added, _STREAMED_ROWS, numbered=numbered)


def _add_to_dataset(
    ds: Dataset, compute: Compute, added: pa.Schema, *, needed: Sequence[str], content: bytes, first_row: int
) -> Dataset:
    parts = [added.empty_table()]
    for table in tables_of(ds, needed):
        parts.append(compute(table, first_row))
        first_row += table.num_rows
    # What is computed follows from the dataset, which has a fingerprint, and the function.
    return with_columns(ds, pa.concat_tables(parts), content)


def tables_of(ds: Dataset, names: Sequence[str], size: int = _ROWS) -> Iterator[pa.Table]:
    """Read some columns of a dataset, those that it has, so many rows at a time."""
    kept = [name for name in ds.column_names if name in set(names)]
    if len(ds) and kept:
        yield from ds.select_columns(kept).with_format("arrow").iter(size)


@dataclass(frozen=True)
class _WithColumns:
    """Computes columns of the tables of a stream, and puts them into the tables."""

    compute: Compute

    def __call__(self, table: pa.Table, rows: Sequence[int] = ()) -> pa.Table:
        return with_table(table, self.compute(table, rows[0] if len(rows) else 0))


def map_tables(
    ds: IterableDataset,
    work: Callable[..., pa.Table],
    added: pa.Schema,
    batch_size: int,
    *,
    numbered: bool = False,
    dropped: Sequence[str] = (),
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
        dropped: columns that ``work`` leaves out.
    """
    features = None
    if ds.features:
        features = columns.features({name: ds.features[name] for name in ds.features if name not in dropped}, added)
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
    if not reads_files or getattr(ds, "_distributed", None) is not None:
        return ds
    # An older datasets cannot cut a stream so: it reads ahead, which takes more memory and changes nothing else.
    return ds.reshard() if hasattr(ds, "reshard") else ds


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


def table_digest(table: pa.Table) -> bytes:
    """A digest of what a table holds, for `with_columns`; little of it is copied at a time, however large it is."""
    digest = xxhash.xxh3_128()
    for start in range(0, table.num_rows, _HASHED_ROWS):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(start, _HASHED_ROWS).combine_chunks())
        digest.update(sink.getvalue())
    return digest.digest()

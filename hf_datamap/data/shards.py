"""The splits of a dataset as Parquet shards: names of splits and files, writing, finding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SHARD_BYTES: Final = 500_000_000  # decoded bytes of a shard, the default of `datasets`
_SHARD: Final = re.compile(r"(?P<split>\w+(\.\w+)*)-\d{5}-of-\d{5}\.parquet")
AnyPath = TypeVar("AnyPath", str, Path)


def split_name(split: Any) -> str:
    """Return the plain name of a split: ``train`` when there is none, and for a slice such as ``train[:100]``."""
    return str(split or "train").partition("[")[0]


def splits_of(ds: Dataset | DatasetDict) -> dict[str, Dataset]:
    """Return the splits of ``ds`` by name; a single `Dataset` counts as the split it names, else ``train``."""
    from datasets import DatasetDict

    if isinstance(ds, DatasetDict):
        return {str(name): split for name, split in ds.items()}
    return {split_name(ds.split): ds}


def shard_name(split: str, number: int, count: int) -> str:
    """Return the file name of one of ``count`` shards of a split, as ``push_to_hub`` of `datasets` spells it."""
    return f"{split}-{number:05d}-of-{count:05d}.parquet"


def split_of_shard(file_name: str) -> str | None:
    """Return the split that a shard belongs to, None when the file name is not that of a shard."""
    match = _SHARD.fullmatch(file_name)
    return match["split"] if match else None


def by_split(paths: Iterable[AnyPath]) -> dict[str, list[AnyPath]]:
    """Group the shards among some paths by split, in order; other files are left out."""
    splits: dict[str, list[AnyPath]] = {}
    for path in sorted(paths):
        if split := split_of_shard(str(path).rpartition("/")[2]):
            splits.setdefault(split, []).append(path)
    return splits


def decoded_bytes(ds: Dataset) -> int:
    """Return the decoded size of a dataset; of a selection, its share of the table that it selects from."""
    return int(ds.data.nbytes) * len(ds) // max(len(ds.data), 1)


def decoded_bytes_of_file(path: Path) -> int:
    """Return the decoded size of all values of a Parquet file, from its footer."""
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))


def write_shards(ds: Dataset, folder: Path, split: str, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write a split as Parquet shards of about equal size.

    Args:
        ds: the rows.
        folder: where to, made if needed.
        split: name of the split.
        shard_bytes: decoded bytes of a shard at most, as far as whole rows allow.

    Returns:
        The files, in row order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = max(min(decoded_bytes(ds) // shard_bytes + 1, len(ds)), 1)
    paths = []
    for number in range(count):
        path = folder / shard_name(split, number, count)
        shard = ds.shard(count, number, contiguous=True) if count > 1 else ds
        _with_media_embedded(shard).to_parquet(path)
        paths.append(path)
    return paths


def write_splits(splits: Mapping[str, Dataset], folder: Path) -> None:
    """Write each split as Parquet shards in one folder."""
    for split, ds in splits.items():
        write_shards(ds, folder, split)


def _with_media_embedded(ds: Dataset) -> Dataset:
    """Put the bytes of images and sounds into the table, as ``push_to_hub`` of `datasets` does."""
    from datasets.features.features import require_decoding
    from datasets.table import embed_table_storage

    if not any(require_decoding(feature, ignore_decode_attribute=True) for feature in ds.features.values()):
        return ds
    arrow = ds.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100, keep_in_memory=True)
    return arrow.with_format(None)

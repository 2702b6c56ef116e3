"""Datasets as files: Parquet shards of bounded size, and the small files of the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data.shards import decoded_bytes_of_file, write_shards
from hf_datamap.datamap.index import ROW_GROUP
from hf_datamap.errors import HubError
from hf_datamap.publish.card import Config

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class WrittenConfig:
    """One configuration on disk.

    Attributes:
        config: its description for the card.
        files: local file of each path in the repository.
    """

    config: Config
    files: Mapping[str, Path]


def shard_bytes(max_shard_size: int | str | None) -> int:
    """Return the decoded bytes of a shard.

    Args:
        max_shard_size: for example ``200MB``; the default of `datasets` (``500MB``) when not given.

    Raises:
        HubError: it is no size.
    """
    from datasets import config as settings
    from datasets.utils.py_utils import convert_file_size_to_int

    requested = settings.MAX_SHARD_SIZE if max_shard_size is None else max_shard_size
    try:
        size = int(convert_file_size_to_int(requested))
    except ValueError:
        size = 0
    if size < 1:
        raise HubError(f"max_shard_size {max_shard_size!r} is no size: a number and a unit, for example 200MB")
    return size


def write_config(name: str, directory: str, splits: Mapping[str, Dataset], folder: Path, limit: int) -> WrittenConfig:
    """Write the splits of one configuration as Parquet shards.

    Args:
        name: of the configuration.
        directory: its folder in the repository.
        splits: its data; all splits have the same columns.
        folder: where to write.
        limit: decoded bytes of a shard.

    Raises:
        HubError: the splits differ in columns or types.
    """
    features = next(iter(splits.values())).features
    files: dict[str, Path] = {}
    nbytes: dict[str, int] = {}
    for split, ds in splits.items():
        if ds.features != features:
            raise HubError(f"config {name!r}: split {split!r} has other columns or types than the first split")
        shards = write_shards(ds, folder / directory, split, limit)
        files |= {f"{directory}/{path.name}": path for path in shards}
        nbytes[split] = sum(map(decoded_bytes_of_file, shards))
    rows = {split: len(ds) for split, ds in splits.items()}
    download = sum(local.stat().st_size for local in files.values())
    return WrittenConfig(Config(name, directory, features, rows, nbytes, download_size=download), files)


def write_index(index: pa.Table, path: Path) -> None:
    """Write an index in small row groups."""
    pq.write_table(index, path, row_group_size=ROW_GROUP, compression="zstd", write_page_index=True)

"""Opening a map: a local folder, or a dataset on the Hub with the visitor's own token."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from hf_datamap.data import Layout, columns, detect_layout
from hf_datamap.data.exchange import settle
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import build_index
from hf_datamap.errors import DataMapError, RowError
from mapspace.errors import SpaceError
from mapspace.hub_errors import T, hub_call
from mapspace.index import MAX_ROWS, MapIndex, from_table
from mapspace.points import Positions
from mapspace.texts import Shard, SplitRows

INDEX: Final = "datamap/index.parquet"
MAP_FILES: Final = ("datamap/datamap.json", "datamap.json")
MAX_MEASURED: Final = 20_000  # rows whose lengths are measured when there is no index
_NUMBERS: Final = (
    columns.MEAN,
    columns.VARIANCE,
    columns.REGION,
    columns.AGREEMENT,
    columns.MARGIN,
    columns.SUSPECT,
)
_LABELS: Final = ("source", "language")
_SHARD: Final = re.compile(r"(?:^|/)(?P<split>[A-Za-z0-9_.]+?)(?:-\d+-of-\d+)?(?:-[0-9a-f]{16})?\.parquet$")


@dataclass(frozen=True, eq=False)
class OpenMap:
    """An opened map; shared by the visitors who may see it.

    Attributes:
        title: dataset id, or the folder's name.
        dataset: the Hub id, None for a folder.
        revision: commit of the dataset, None for a folder.
        config: configuration whose rows are read.
        configs: all configurations.
        index: the numbers of every row.
        data_map: thresholds and statistics.
        splits: the parquet files of each split.
    """

    title: str
    index: MapIndex
    data_map: DataMap
    splits: dict[str, tuple[Shard, ...]] = field(repr=False)
    owner: str = field(repr=False)
    dataset: str | None = None
    revision: str | None = None
    config: str = "default"
    configs: tuple[str, ...] = ("default",)

    def guard(self, call: Callable[[], T]) -> T:
        """Read rows; a failure to reach or read their files becomes a sentence.

        Raises:
            SpaceError: says what failed.
        """
        try:
            return hub_call(self.dataset, call) if self.dataset else call()
        except pa.ArrowException as error:
            raise SpaceError(f"the files of {self.title} are broken, or differ in their columns ({error})") from None
        except OSError as error:
            raise SpaceError(f"the files of {self.title} cannot be read ({error.strerror})") from None

    @cached_property
    def positions(self) -> Positions:
        """Where the points are."""
        return Positions.of(self.index)

    def texts(self, split: str) -> SplitRows:
        """Return the rows of a split."""
        return SplitRows(self.splits.get(split, ()), self.owner)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Column names of the rows; empty when no file was found."""
        shards = next((shards for shards in self.splits.values() if shards), ())
        return frozenset(shards[0].footer.schema.to_arrow_schema().names) if shards else frozenset()

    @cached_property
    def layout(self) -> Layout:
        """How the rows are read: as they were when the map was made, else as detected.

        Raises:
            LayoutError: no layout fits.
            SpaceError: no parquet file was found.
        """
        from datasets import Features

        if isinstance(used := self.data_map.provenance.get("layout"), dict):
            return Layout.from_json(used)
        texts = next(
            (self.texts(split) for split in self.index.split.names if self.splits.get(split)), SplitRows((), "")
        )
        own = [item for item in texts.schema if item.name not in columns.SCHEMA.names]
        return detect_layout(Features.from_arrow_schema(pa.schema(own)), sample=[texts.row(0)])


def open_folder(folder: str | Path) -> OpenMap:
    """Open the output of ``hf-datamap map``. Only whoever starts the app names folders, never a visitor.

    Raises:
        SpaceError: the folder holds no map.
    """
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise SpaceError(f"no folder {root}")
    settle(root)
    files = LocalFileSystem()
    paths = sorted(str(path.relative_to(root)) for path in (root / "data").rglob("*.parquet"))
    splits = {
        split: tuple(Shard(str(root / path), files) for path in shards) for split, shards in by_split(paths).items()
    }
    map_file = next((root / name for name in MAP_FILES if (root / name).is_file()), None)
    published = (root / INDEX).read_bytes() if (root / INDEX).is_file() else None
    text = map_file.read_text(encoding="utf-8") if map_file else None
    opened = assemble(root.name, splits, published=published, text=text, owner=str(root))
    return _with_lengths(opened) if published is None and len(opened.index) <= MAX_MEASURED else opened


def _with_lengths(opened: OpenMap) -> OpenMap:
    """The same map with the length of each row's longest response, read a few rows at a time."""
    index, lengths = opened.index, np.full(len(opened.index), np.nan, np.float32)
    try:
        needed = [name for name in opened.layout.columns if name in opened.columns]
    except DataMapError:
        return opened  # texts that cannot be read as responses have no length
    for code, split in enumerate(index.split.names):
        places = np.flatnonzero(index.split.codes == code)
        places, start = places[np.argsort(index.row[places], kind="stable")], 0
        for table in opened.texts(split).rows(index.row[places], 1_000, needed):
            for at, example in enumerate(opened.layout.read_batch(table), start):
                texts = (
                    [] if isinstance(example, RowError) else [text for text in example.responses if text is not None]
                )
                lengths[places[at]] = max(map(len, texts), default=np.nan)
            start += len(table)
    return replace(opened, index=replace(index, length=lengths))


def assemble(
    title: str,
    splits: dict[str, tuple[Shard, ...]],
    *,
    published: bytes | None,
    text: str | None,
    **place: Any,  # noqa: ANN401 - passed on to the dataclass
) -> OpenMap:
    """Put a map together.

    Args:
        title: what visitors call it.
        splits: the parquet files of each split.
        published: content of the index file; computed from the columns if None.
        text: content of ``datamap.json``; fitted if None.
        place: the other attributes of `OpenMap`.

    Raises:
        SpaceError: it is not mapped, or broken.
    """
    index = from_table(_read_index(published) if published is not None else _computed(title, splits))
    try:
        data_map = DataMap.from_json(text) if text else fit(index)
    except DataMapError as error:
        raise SpaceError(f"datamap.json of {title} cannot be read: {error}") from None
    return OpenMap(title=title, index=index, data_map=data_map, splits=splits, **place)


def _read_index(content: bytes) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise SpaceError(f"{INDEX} is not a readable parquet file ({error}); publish the map again") from None


def _computed(title: str, splits: dict[str, tuple[Shard, ...]]) -> pa.Table:
    """Make the index from the map's columns of the data files; texts are not read."""
    from datasets import Dataset, DatasetDict

    tables = {split: _columns_of(title, shards) for split, shards in splits.items() if shards}
    if not tables:
        raise _unmapped(title)
    ds = DatasetDict({split: Dataset(table) for split, table in tables.items()})
    if any(columns.REGION not in table.column_names for table in tables.values()):
        ds = DataMap.fit(ds).assign(ds)
    table = build_index(ds)
    if any("language" not in table.column_names for table in tables.values()):
        return table
    languages = [chunk for _, part in sorted(tables.items()) for chunk in part["language"].cast(pa.string()).chunks]
    return table.append_column("language", pa.chunked_array(languages, pa.string()))


def _columns_of(title: str, shards: Sequence[Shard]) -> pa.Table:
    parts, rows = [], 0
    for shard in shards:
        schema = shard.footer.schema.to_arrow_schema()
        if columns.MEAN not in schema.names or columns.VARIANCE not in schema.names:
            raise _unmapped(title)
        rows += shard.footer.num_rows
        if rows > MAX_ROWS:
            raise SpaceError(f"{title} has more than {MAX_ROWS:,} rows")
        names = [name for name in _NUMBERS if name in schema.names]
        names += [name for name in _LABELS if name in schema.names and _flat(schema.field(name).type)]
        with shard.open_bytes() as file:
            parts.append(pq.ParquetFile(file, metadata=shard.footer).read(columns=names).replace_schema_metadata())
    return pa.concat_tables(parts, promote_options="permissive")


def _unmapped(title: str) -> SpaceError:
    return SpaceError(
        f"{title} has no Alignment Data Map: neither {INDEX} nor {columns.MEAN} and {columns.VARIANCE} in its parquet "
        f"files. Its owner can make one: hf-datamap map {title} --out my-map, then hf-datamap push my-map {title}"
    )


def _flat(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def fit(index: MapIndex, low_variance: Fraction = Fraction(2, 3), low_mean: Fraction = Fraction(1, 2)) -> DataMap:
    """Cut an index afresh, in thirds unless fractions are given (see `hf_datamap.DataMap.fit`)."""
    from datasets import Dataset

    return DataMap.fit(Dataset(index.numbers()), low_variance=low_variance, low_mean=low_mean)


def by_split(paths: Sequence[str]) -> dict[str, list[str]]:
    """Group shards (``data/train-00000-of-00001.parquet``) by the split their names say."""
    splits: dict[str, list[str]] = {}
    for path in sorted(paths):
        if match := _SHARD.search(path):
            splits.setdefault(match["split"], []).append(path)
    return splits

"""A mapped dataset as a folder: data, map, picture and card; complete or not there at all."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data import columns
from hf_datamap.data.dataset import every_nth
from hf_datamap.data.exchange import is_vacant, replaced_together, settle
from hf_datamap.data.shards import by_split, decoded_bytes, decoded_bytes_of_file, splits_of, write_splits
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.engine.secrets import mask
from hf_datamap.errors import CardError, MapError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

MAP_FILE: Final = "datamap.json"
PICTURE: Final = "map.png"
CARD: Final = "README.md"
DATA: Final = "data"
ROWS_DRAWN: Final = 1_000_000
_BESIDE_THE_DATA: Final = 2_000_000  # bytes of map, picture and card


@dataclass(frozen=True)
class MappedFolder:
    """Where the files of a map are.

    Attributes:
        data_map: the map.
        shards: the Parquet files of each split, in row order.
    """

    data_map: DataMap
    shards: Mapping[str, Sequence[Path]]


def read_folder(folder: Path) -> MappedFolder:
    """Find the map and the data in a folder that `write_folder` wrote; an exchange of files is finished first.

    Raises:
        MapError: it holds no map, or no data.
    """
    settle(folder)
    if not (folder / MAP_FILE).is_file():
        raise MapError(f"{folder} holds no {MAP_FILE}: name a folder that `hf-datamap map` wrote")
    data_map = DataMap.load(folder / MAP_FILE)
    shards = by_split((folder / DATA).glob("*.parquet"))
    if not shards:
        raise MapError(f"{folder} has a {MAP_FILE} but no data/<split>-00000-of-00001.parquet: map it again")
    return MappedFolder(data_map, shards)


def check_folder(out: Path, job: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make sure that a map may be written to a folder, before anything is spent on it.

    A folder that is missing or empty will do, and one that holds the map of the same job (scorer, layout and source).

    Args:
        out: the folder.
        job: ``scorer``, ``layout`` and ``source`` of the provenance.
        overwrite: whether a map of another job may be replaced.

    Raises:
        SourceError: the folder holds something else.
    """
    if is_vacant(out):
        return
    if not out.is_dir():
        raise SourceError(f"--out {out} is a file; name a folder")
    settle(out)
    if not (out / MAP_FILE).is_file():
        raise SourceError(f"--out {out} holds files that are no map ({MAP_FILE} is missing); name another folder")
    _check_card(out)
    if overwrite:
        return
    provenance = DataMap.load(out / MAP_FILE).provenance
    for key, value in job.items():
        if provenance.get(key) != value:
            raise SourceError(
                f"--out {out} holds the map of another job: its {key} is {provenance.get(key)}, not {value}. "
                "Name another folder, or pass --overwrite."
            )


def write_folder(ds: Dataset | DatasetDict, data_map: DataMap, out: Path, *, title: str = "") -> None:
    """Write ``data/*.parquet``, ``datamap.json``, ``map.png`` and ``README.md``.

    They take the place of older ones in one step; files that are not ours stay.

    Args:
        ds: the mapped dataset.
        data_map: its map.
        out: the folder, made if needed.
        title: a line above the picture.

    Raises:
        SourceError: the folder cannot be written to, or its disk is full; it is as it was.
    """
    from hf_datamap.datamap.plot import draw
    from hf_datamap.publish.card import render

    splits, data_map = splits_of(ds), without_secrets(data_map)
    needed_bytes = sum(map(decoded_bytes, splits.values())) + _BESIDE_THE_DATA
    with replaced_together(out, needed_bytes=needed_bytes) as new:
        write_splits(splits, new / DATA)
        data_map.save(new / MAP_FILE)
        every = max(1, math.ceil(data_map.rows / ROWS_DRAWN))
        draw(every_nth(splits, every), data_map, new / PICTURE, title=_picture_title(title), every=every)
        (new / CARD).write_text(render(ds, data_map, existing=_card_of(out)), encoding="utf-8")


def write_parts(data: Path, sample: Path, split: str, data_map: DataMap, out: Path, *, title: str = "") -> None:
    """Write the same folder around finished data files, which are moved.

    Args:
        data: folder of the finished Parquet files, on the same disk as ``out``.
        sample: folder of Parquet files with some of their rows, in order, for what the card tells of texts.
        split: the split that they hold.
        data_map: their map.
        out: the folder, made if needed.
        title: a line above the picture.

    Raises:
        SourceError: the folder cannot be written to, or its disk is full; it is as it was.
    """
    from hf_datamap.datamap.index import index_dataset, layout_of
    from hf_datamap.datamap.plot import draw
    from hf_datamap.publish.card import CardTarget, Config, compose_card, gather_facts

    files, data_map = sorted(data.glob("*.parquet")), without_secrets(data_map)
    sampled_rows = _read(sorted(sample.glob("*.parquet")), split)
    with replaced_together(out, needed_bytes=_BESIDE_THE_DATA) as new:
        data_map.save(new / MAP_FILE)
        every = max(1, math.ceil(data_map.rows / ROWS_DRAWN))
        points = _read(files, split, [columns.MEAN, columns.VARIANCE], every)
        draw(points, data_map, new / PICTURE, title=_picture_title(title), every=every)
        facts = gather_facts(index_dataset(sampled_rows, layout_of(data_map.provenance)), data_map)
        if len(sampled_rows) < data_map.rows:
            facts = facts.counted({split: data_map.rows})
        target = CardTarget()
        nbytes = {split: sum(map(decoded_bytes_of_file, files))}
        config = Config(target.config, DATA, sampled_rows.features, facts.splits, nbytes)
        (new / CARD).write_text(compose_card(facts, [config], target, _card_of(out)), encoding="utf-8")
        shutil.move(data, new / DATA)


def without_secrets(data_map: DataMap) -> DataMap:
    """Return a map whose provenance holds no secret: the address of a source, or an option, may have carried one."""
    masked = _masked(data_map.provenance)
    return data_map if masked == data_map.provenance else data_map.model_copy(update={"provenance": masked})


def _picture_title(title: str) -> str:
    """The title of a picture, which may be seen by anyone: no secret, and no path of the machine it was made on."""
    from hf_datamap.publish.card.facts import name_of_path

    return name_of_path(mask(title)) if Path(title).expanduser().exists() else mask(title)


def _masked(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value


def _check_card(out: Path) -> None:
    """Make sure that the card of a folder can be merged into.

    Raises:
        SourceError: it is broken.
    """
    from hf_datamap.publish.card import check_mergeable

    try:
        check_mergeable(_card_of(out))
    except CardError as error:
        raise SourceError(f"the card in --out {out} cannot be merged into: {error}") from None


def _card_of(folder: Path) -> str:
    """The card of a folder as it is in the file (line ends too), empty when there is none."""
    path = folder / CARD
    try:
        return path.read_bytes().decode("utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): correct it first") from None


def _read(files: Sequence[Path], split: str, names: list[str] | None = None, every: int = 1) -> Dataset:
    """Read some columns, or all, of one row in so many."""
    from datasets import Dataset

    tables, row = [], 0
    for file in files:
        table = pq.read_table(file, columns=names)
        tables.append(table.take(list(range(-row % every, table.num_rows, every))) if every > 1 else table)
        row += table.num_rows
    return Dataset(pa.concat_tables(tables), split=split)

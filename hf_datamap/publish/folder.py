"""A mapped dataset as a folder: data, map, picture and card; complete or not there at all."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data import columns
from hf_datamap.data.shards import decoded_bytes_of_file, splits_of, write_splits
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.errors import SourceError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

MAP_FILE, PICTURE, CARD = "datamap.json", "map.png", "README.md"
_DRAWN = 1_000_000  # rows in a picture
_PARTS = {"data", MAP_FILE, PICTURE, CARD}


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
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise SourceError(f"--out {out} is a file; name a folder")
    if not (out / MAP_FILE).is_file():
        raise SourceError(f"--out {out} holds files that are no map ({MAP_FILE} is missing); name another folder")
    if overwrite:
        return
    there = DataMap.load(out / MAP_FILE).provenance
    for key, value in job.items():
        if there.get(key) != value:
            raise SourceError(
                f"--out {out} holds the map of another job: its {key} is {there.get(key)}, not {value}. "
                "Name another folder, or pass --overwrite."
            )


def write_folder(ds: Dataset | DatasetDict, data_map: DataMap, out: Path, *, title: str = "") -> None:
    """Write ``data/*.parquet``, ``datamap.json``, ``map.png`` and ``README.md``.

    Everything is written beside the folder first and moved when it is whole; files that are not ours stay.

    Args:
        ds: the mapped dataset.
        data_map: its map.
        out: the folder, made if needed.
        title: a line above the picture.
    """
    from hf_datamap.datamap.plot import draw
    from hf_datamap.publish.card import render

    with _replacing(out) as (new, existing):
        write_splits(splits_of(ds), new / "data")
        data_map.save(new / MAP_FILE)
        draw(ds, data_map, new / PICTURE, title=title)
        (new / CARD).write_text(render(ds, data_map, existing=existing), encoding="utf-8")


def write_parts(data: Path, sample: Path, split: str, data_map: DataMap, out: Path, *, title: str = "") -> None:
    """Write the same folder around data files that are there already; they are moved.

    Args:
        data: folder of the finished Parquet files, on the same disk as ``out``.
        sample: folder of Parquet files with some of their rows, in order, for what the card tells of texts.
        split: the split that they hold.
        data_map: their map.
        out: the folder, made if needed.
        title: a line above the picture.
    """
    from hf_datamap.datamap.index import layout_of, survey
    from hf_datamap.datamap.plot import draw
    from hf_datamap.publish.card import Config, Place, compose, gather

    files = sorted(data.glob("*.parquet"))
    told = _read(sorted(sample.glob("*.parquet")), split)
    with _replacing(out) as (new, existing):
        data_map.save(new / MAP_FILE)
        every = max(1, math.ceil(data_map.rows / _DRAWN))
        draw(
            _read(files, split, [columns.MEAN, columns.VARIANCE], every),
            data_map,
            new / PICTURE,
            title=title,
            every=every,
        )
        facts = gather(survey(told, layout_of(data_map.provenance)), data_map)
        if len(told) < data_map.rows:
            facts = facts.counted({split: data_map.rows})
        config = Config(
            Place().config, "data", told.features, facts.splits, {split: sum(map(decoded_bytes_of_file, files))}
        )
        (new / CARD).write_text(compose(facts, [config], Place(), existing), encoding="utf-8")
        shutil.move(data, new / "data")


def _read(files: Sequence[Path], split: str, names: list[str] | None = None, every: int = 1) -> Dataset:
    """Read some columns, or all, of one row in so many."""
    from datasets import Dataset

    tables, row = [], 0
    for file in files:
        table = pq.read_table(file, columns=names)
        tables.append(table.take(list(range(-row % every, table.num_rows, every))) if every > 1 else table)
        row += table.num_rows
    return Dataset(pa.concat_tables(tables), split=split)


@contextmanager
def _replacing(out: Path) -> Iterator[tuple[Path, str]]:
    """Give a folder to write the new parts to, which then take the place of the old ones, and the card there is."""
    out.parent.mkdir(parents=True, exist_ok=True)
    existing = (out / CARD).read_text(encoding="utf-8") if (out / CARD).is_file() else ""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        yield new, existing
        out.mkdir(exist_ok=True)
        # The map goes last: a folder without it is not taken for a finished one.
        for part in sorted(_PARTS, key=lambda part: part == MAP_FILE):
            if (out / part).exists():
                shutil.move(out / part, Path(scratch) / f"old-{part}")
            (new / part).replace(out / part)

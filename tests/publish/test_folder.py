"""A map as a folder: whole or not there, and nobody else's files harmed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_dataset

import hf_datamap as dm
from hf_datamap.errors import SourceError
from hf_datamap.publish.folder import check_folder, write_folder

JOB = {"scorer": {"kind": "columns", "path": "rating"}, "source": {"id": "x"}}


def mapped(rows: int = 12):
    ds = Dataset.from_dict(
        {
            "prompt": [f"p{i}" for i in range(rows)],
            "responses": [["a", "b"]] * rows,
            "rating": [[float(i % 5), float(i % 3)] for i in range(rows)],
        }
    )
    return dm.annotate(ds, dm.ColumnScorer("rating"), source=JOB["source"], progress=False)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_map_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        ds, data_map = mapped()
        write_folder(ds, data_map, tmp_path / name, title="t")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_folder_loads_back_with_its_types(tmp_path):
    ds, data_map = mapped()
    write_folder(DatasetDict(train=ds, test=ds.select(range(3))), data_map, tmp_path / "m")
    loaded = load_dataset(str(tmp_path / "m"), cache_dir=str(tmp_path / "c"))
    assert loaded["train"].features == ds.features
    assert loaded["train"].to_list() == ds.to_list()
    assert len(loaded["test"]) == 3
    assert dm.DataMap.load(tmp_path / "m" / "datamap.json") == data_map


def test_rewriting_keeps_strangers_files_and_drops_old_shards(tmp_path):
    ds, data_map = mapped()
    out = tmp_path / "m"
    write_folder(DatasetDict(train=ds, old=ds), data_map, out)
    (out / "notes.txt").write_text("mine")
    write_folder(ds, data_map, out)
    assert [path.name for path in (out / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failure_leaves_the_old_map(tmp_path):
    ds, data_map = mapped()
    out = tmp_path / "m"
    write_folder(ds, data_map, out)
    before = digests(out)
    with pytest.raises(dm.DataMapError):
        write_folder(ds.remove_columns("datamap_mean"), data_map, out)
    assert digests(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_check_folder(tmp_path):
    out = tmp_path / "m"
    check_folder(out, JOB)
    out.mkdir()
    check_folder(out, JOB)
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(SourceError, match="no map"):
        check_folder(out, JOB)
    ds, data_map = mapped()
    write_folder(ds, data_map, out)
    check_folder(out, JOB)
    other = {**JOB, "source": {"id": "y"}}
    with pytest.raises(SourceError, match="another job: its source"):
        check_folder(out, other)
    check_folder(out, other, overwrite=True)
    with pytest.raises(SourceError, match="is a file"):
        check_folder(out / "thesis.txt", JOB)

"""A map over a map, stopped at every file operation: readers see the old one or the new one, and a rerun ends it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hf_datamap as dm
from hf_datamap.data.load import load_source
from hf_datamap.publish.card import card_problems
from hf_datamap.publish.folder import check_folder, write_folder
from tests.killing import killed_at
from tests.publish.test_folder import JOB, digests, mapped


def maps():
    old, new = mapped(8), mapped(12)
    return {len(ds): (ds, data_map) for ds, data_map in (old, new)}


def state(out: Path, known) -> int:
    """How many rows the map in a folder has, once all that can be read of it has been found to agree."""
    ds, data_map = dm.load(out, split="train")
    expected, expected_map = known[len(ds)]
    assert ds.to_list() == expected.to_list()
    assert data_map == expected_map
    assert load_source(str(out))["prompt"] == expected["prompt"]
    card = (out / "README.md").read_text()
    assert card_problems(card) == []
    assert f"{len(ds)} of {len(ds)} rows are on the map" in card
    return len(ds)


@pytest.mark.parametrize("before", [None, 8])
def test_a_map_that_is_stopped_at_any_file_operation(tmp_path, before):
    known = maps()
    reference = tmp_path / "reference"
    write_folder(*known[12], reference)
    seen = []
    for operation in range(200):
        out = tmp_path / "run" / str(operation)
        if before:
            write_folder(*known[before], out)
        ended = killed_at(operation, out, lambda out=out: write_folder(*known[12], out))
        check_folder(out, JOB, overwrite=True)  # a rerun may begin
        seen.append(state(out, known) if (out / "datamap.json").exists() or (out / ".datamap-next").exists() else 0)
        write_folder(*known[12], out)
        assert digests(out) == digests(reference)
        assert not list(out.glob(".*"))
        if ended:
            break
    else:
        pytest.fail("the writer never ended")
    assert seen == sorted(seen)
    assert set(seen) == {before or 0, 12}
    assert len(seen) > 10


def test_a_map_of_parts_that_is_stopped_at_any_file_operation(tmp_path):
    known = maps()
    for rows, (ds, _) in known.items():
        plain = ds.select_columns(["prompt", "responses", "rating"])
        (tmp_path / str(rows)).mkdir()
        pq.write_table(pa.table(plain.to_dict()), tmp_path / str(rows) / "a.parquet", row_group_size=5)

    def write(rows: int, out: Path):
        dm.annotate_files(
            str(tmp_path / str(rows) / "a.parquet"), dm.ColumnScorer("rating"), out, overwrite=True, progress=False
        )

    def read(out: Path) -> tuple[int, list[float]]:
        ds, data_map = dm.load(out, split="train")
        assert data_map.rows == len(ds)
        assert list(data_map.assign(ds)["datamap_region"]) == ds["datamap_region"][:]
        return len(ds)

    reference = tmp_path / "reference"
    write(12, reference)
    seen = []
    for operation in range(0, 300, 5):  # all of them take minutes
        out = tmp_path / "run" / str(operation)
        write(8, out)
        ended = killed_at(operation, out.parent, lambda out=out: write(12, out))
        seen.append(read(out))
        write(12, out)
        assert read(out) == 12
        names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        assert names == set(digests(reference))
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(f"{operation}")] == [str(operation)]
        if ended:
            break
    assert seen == sorted(seen)
    assert set(seen) == {8, 12}

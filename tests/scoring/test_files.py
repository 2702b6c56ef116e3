"""Maps of many files, part by part, against the map of one dataset."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from datasets import ClassLabel, Dataset, load_dataset

import hf_datamap as dm
from hf_datamap.cli import group
from hf_datamap.data import columns
from hf_datamap.data.parquet import plan
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.engine.task import Score
from hf_datamap.errors import LayoutError, MapError, ScorerError, SourceError
from hf_datamap.publish.folder import write_folder
from hf_datamap.scoring.executors import Inline, Threads
from hf_datamap.scoring.files import annotate_files, scratch_of
from tests.rows import graded, rows
from tests.servers.llm import error

ROOT = Path(__file__).parents[2]


@pytest.fixture
def judge(server):
    return dm.LLMJudge("judge", base_url=server.url, logprobs=False, max_retries=0)


def rated(count: int) -> Dataset:
    chance = np.random.default_rng(4)
    ratings = chance.integers(1, 6, (count, 3)).astype(float).tolist()
    texts = [
        {"prompt": f"p{i}", "responses": [f"{i} a", "b" * (i % 9 + 1), "c"], "source": "ab"[i % 2]}
        for i in range(count)
    ]
    ds = Dataset.from_list(
        [{**text, "rating": rating, "kind": i % 2} for i, (text, rating) in enumerate(zip(texts, ratings, strict=True))]
    )
    return ds.cast_column("kind", ClassLabel(names=["odd", "even"]))


def split(ds: Dataset, folder: Path, count: int, group_rows: int = 40) -> list[Path]:
    folder.mkdir()
    for place in range(count):
        ds.shard(count, place, contiguous=True).to_parquet(folder / f"train-{place}.parquet", batch_size=group_rows)
    return sorted(folder.iterdir())


def loaded(folder: Path, cache: Path) -> Dataset:
    return load_dataset(str(folder), split="train", cache_dir=str(cache))


@pytest.mark.parametrize("executor", [Inline(), Threads(1), Threads(3)])
def test_the_folder_is_that_of_one_dataset(tmp_path, executor):
    ds, where = rated(400), {"id": "me/rated"}
    files = split(ds, tmp_path / "in", 3)
    handle, found = annotate_files(
        files, dm.ColumnScorer("rating"), tmp_path / "a", source=where, executor=executor, part_rows=70, progress=False
    )
    expected, expected_map = dm.annotate(ds, dm.ColumnScorer("rating"), source=where, progress=False)
    write_folder(expected, expected_map, tmp_path / "b", title="me/rated")
    assert found == expected_map
    assert found.variance.ties > found.variance.below > 0
    first, second = (tmp_path / name / "datamap.json" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a/map.png").read_bytes() == (tmp_path / "b/map.png").read_bytes()
    out = loaded(tmp_path / "a", tmp_path / "cache")
    assert out.features == handle.features == expected.features
    assert list(out) == list(handle) == list(expected)
    cards = [(tmp_path / name / "README.md").read_text().splitlines() for name in "ab"]
    assert [
        pair
        for pair in itertools.zip_longest(*cards)
        if pair[0] != pair[1] and "size:" not in pair[0] and "num_bytes" not in pair[0]
    ] == []
    assert len(list((tmp_path / "a/data").iterdir())) == len(plan([str(file) for file in files], 70)) > 3
    assert {path.name for path in tmp_path.iterdir()} - {"datamap-cache"} == {"a", "b", "cache", "in"}


def test_another_file_under_the_same_name_is_not_taken_for_the_old_one(tmp_path):
    files = split(rated(60), tmp_path / "in", 2)
    scorer = dm.ColumnScorer("rating")

    class Breaks(Threads):
        def write(self, parts, job, assigner, paths):
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        annotate_files(files, scorer, tmp_path / "m", executor=Breaks(), progress=False)
    longer = rated(60).shard(2, 0, contiguous=True).map(lambda row: {"source": row["source"] * 9})
    longer.to_parquet(files[0], batch_size=40)
    with pytest.raises(SourceError, match="parts that another job scored"):
        annotate_files(files, scorer, tmp_path / "m", progress=False)


def test_only_what_is_added(tmp_path):
    ds = rated(100)
    files = split(ds, tmp_path / "in", 2)
    annotate_files(files, dm.ColumnScorer("rating"), tmp_path / "a", keep="added", progress=False)
    expected, _ = dm.annotate(ds, dm.ColumnScorer("rating"), progress=False)
    out = loaded(tmp_path / "a", tmp_path / "cache")
    added = [name for name in expected.column_names if name not in ds.column_names]
    assert out.column_names == added
    assert list(out) == list(expected.select_columns(added))


def test_noise_is_taken_out_alike(tmp_path):
    class Noisy:
        identity = {"kind": "noisy"}

        def score(self, example):
            return [Score(float(len(text) % 7), noise=0.3 + len(text) % 3) for text in example.responses]

    ds = rated(120)
    files = split(ds, tmp_path / "in", 3)
    _, found = annotate_files(files, Noisy(), tmp_path / "a", correct_noise=True, source={"id": "x"}, progress=False)
    expected, expected_map = dm.annotate(ds, Noisy(), correct_noise=True, source={"id": "x"}, progress=False)
    assert found.model_copy(update={"provenance": {}}) == expected_map.model_copy(update={"provenance": {}})
    assert found.provenance["noise"] == expected_map.provenance["noise"]
    out = loaded(tmp_path / "a", tmp_path / "cache")
    assert out.column_names == expected.column_names
    assert list(out) == list(expected)


def test_parts_that_are_scored_are_not_scored_again(tmp_path, server, judge):
    files = split(Dataset.from_list(rows(60)), tmp_path / "in", 6)
    broken = {"asked": 0}

    def breaks(request, _):
        broken["asked"] += 1
        return graded(request) if broken["asked"] <= 70 else error(401, "wrong key")

    server.script = breaks
    with pytest.raises(ScorerError, match="API key"):
        annotate_files(files, judge, tmp_path / "map", executor=Threads(1), progress=False)
    scratch = scratch_of(tmp_path / "map")
    done = {path: path.stat().st_mtime_ns for path in scratch.glob("scored-*")}
    assert 2 <= len(done) < 6
    assert not (tmp_path / "map").exists()
    assert not list(scratch.glob(".*"))
    server.script = graded
    seen = []

    class Spy(Threads):
        def score(self, parts, job, usage, progress):
            seen.extend(part.number for part in parts)
            assert all(path.stat().st_mtime_ns == when for path, when in done.items())
            return super().score(parts, job, usage, progress)

    _, data_map = annotate_files(files, judge, tmp_path / "map", executor=Spy(), progress=False)
    assert seen == list(range(len(done), 6))
    assert data_map.provenance["rows"]["ok"] == 60
    assert max(server.answered.values()) == 1
    assert not scratch.exists()


def test_what_lacks_scores_is_asked_for_again(tmp_path, server, judge):
    files = split(Dataset.from_list([*rows(40), {"prompt": None, "chosen": "a", "rejected": "b"}]), tmp_path / "in", 4)
    _, first = annotate_files(
        files, judge, tmp_path / "m", budget=dm.Budget(requests=30), executor=Threads(1), progress=False
    )
    assert len(server.requests) == 30
    assert first.provenance["rows"] == {"ok": 15, "partial": 0, "failed": 0, "skipped": 26}
    assert first.provenance["usage"]["stopped"]
    assert scratch_of(tmp_path / "m").exists()
    _, second = annotate_files(files, judge, tmp_path / "m", progress=False)
    assert second.provenance["rows"] == {"ok": 40, "partial": 0, "failed": 0, "skipped": 1}
    assert len(server.requests) == 80
    assert not scratch_of(tmp_path / "m").exists()


@pytest.mark.parametrize(("how", "again"), [(signal.SIGKILL, 16), (signal.SIGINT, 0)])
def test_stopped_then_the_same_command(tmp_path, server, how, again):
    """One file: what is done to a part that is not complete is in the store."""
    server.latency = 0.02
    split(Dataset.from_list(rows(400)), tmp_path / "in", 2)
    words = ["map", str(tmp_path / "in"), "--scorer", "judge:judge", "--base-url", server.url, "--engine", "shards"]
    words += ["--workers", "2", "--max-in-flight", "16", "--out", str(tmp_path / "map")]
    command = [str(Path(sys.executable).with_name("hf-datamap")), *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(server.requests) < 250:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(how)
    _, told = process.communicate(timeout=20)
    assert "Traceback" not in told
    if how == signal.SIGINT:
        assert len(server.requests) < 700
        assert not list(scratch_of(tmp_path / "map").glob(".*"))
    assert not (tmp_path / "map").exists()
    done = subprocess.run([*command, "--json"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["status"] == {"ok": 400, "partial": 0, "failed": 0, "skipped": 0}
    assert len(server.requests) <= 800 + again
    assert not scratch_of(tmp_path / "map").exists()


def test_other_formats_limits_and_both_engines(tmp_path, server):
    source = tmp_path / "pairs.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows(30)))
    words = ["map", str(source), "--scorer", "judge:judge", "--base-url", server.url, "--limit", "20"]
    for engine in ("shards", "memory"):
        done = CliRunner().invoke(group, [*words, "--engine", engine, "--out", str(tmp_path / engine)])
        assert done.exit_code == 0, done.output
    assert len(server.requests) == 40
    maps = [DataMap.load(tmp_path / engine / "datamap.json") for engine in ("shards", "memory")]
    assert maps[0].model_copy(update={"provenance": {}}) == maps[1].model_copy(update={"provenance": {}})
    assert maps[0].provenance["source"] == maps[1].provenance["source"]
    left = {path.name for path in tmp_path.iterdir()} - {"datamap-cache"}
    assert left == {"memory", "pairs.jsonl", "shards"}
    again = CliRunner().invoke(group, [*words, "--engine", "shards", "--out", str(tmp_path / "memory")])
    assert again.exit_code == 0, again.output
    other = [*words[:2], "--scorer", "columns:chosen", "--engine", "shards", "--out", str(tmp_path / "shards")]
    done = CliRunner().invoke(group, other)
    assert isinstance(done.exception, SourceError)
    assert "holds the map of another job" in str(done.exception)
    assert not scratch_of(tmp_path / "shards").exists()
    alone = [*words, "--engine", "memory", "--keep", "added", "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(group, alone)
    assert (done.exit_code, "--keep added: only with --engine shards or ray" in done.output) == (2, True)


def test_sketches_are_told_in_the_map(tmp_path):
    chance = np.random.default_rng(0)
    table = pa.table(
        {"prompt": ["p"] * 9000, "responses": [["a", "b"]] * 9000, "rating": chance.random((9000, 2)).tolist()}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    _, data_map = annotate_files(
        tmp_path / "a.parquet", dm.ColumnScorer("rating"), tmp_path / "m", approximate=True, progress=False
    )
    assert 0 < data_map.variance.rank_error < 0.01
    assert DataMap.load(tmp_path / "m/datamap.json") == data_map
    assert "- both come from quantile sketches: each may be off by 0.0" in (tmp_path / "m/README.md").read_text()


def test_the_card_of_a_large_map_tells_of_all_rows(tmp_path, monkeypatch):
    """Words about texts and the picture are of a sample, the same one whatever the way in."""
    for place in ("scoring.files", "publish.card"):
        monkeypatch.setattr(f"hf_datamap.{place}.SAMPLE_ROWS", 50)
    monkeypatch.setattr("hf_datamap.publish.folder.ROWS_DRAWN", 60)
    files = split(rated(300), tmp_path / "in", 3)
    where = {"id": "me/rated"}
    _, data_map = annotate_files(files, dm.ColumnScorer("rating"), tmp_path / "m", source=where, progress=False)
    card = (tmp_path / "m/README.md").read_text()
    assert "300 of 300 rows are on the map" in card
    for region in data_map.regions[:3]:
        assert f"| `{region.name}` | {region.rows} |" in card
    assert "num_examples: 300" in card
    write_folder(
        *dm.annotate(rated(300), dm.ColumnScorer("rating"), source=where, progress=False),
        tmp_path / "w",
        title="me/rated",
    )
    assert (tmp_path / "m/map.png").read_bytes() == (tmp_path / "w/map.png").read_bytes()
    whole = (tmp_path / "w/README.md").read_text()
    assert [line for line in whole.splitlines() if "num_bytes" not in line and "size:" not in line] == [
        line for line in card.splitlines() if "num_bytes" not in line and "size:" not in line
    ]


def test_what_cannot_be_mapped(tmp_path, judge):
    files = split(rated(20), tmp_path / "in", 2)
    scorer = dm.ColumnScorer("rating")
    with pytest.raises(SourceError, match="keep is 'all' or 'added', not 'some'"):
        annotate_files(files, scorer, tmp_path / "m", keep="some")
    with pytest.raises(ScorerError, match="fit_panel"):
        annotate_files(files, dm.Panel([scorer, judge]), tmp_path / "m")
    with pytest.raises(SourceError, match="no Parquet file"):
        annotate_files(tmp_path / "nothing-*.parquet", scorer, tmp_path / "m")
    with pytest.raises(ScorerError, match="at least 1"):
        Threads(0)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="other columns or types"):
        annotate_files([*files, tmp_path / "other.parquet"], scorer, tmp_path / "m")
    with pytest.raises(LayoutError):
        annotate_files(tmp_path / "other.parquet", judge, tmp_path / "m")
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "empty.parquet")
    with pytest.raises(MapError, match="no rows"):
        annotate_files(tmp_path / "empty.parquet", scorer, tmp_path / "m")
    scratch = scratch_of(tmp_path / "m")
    assert not scratch.exists()
    scratch.mkdir()
    (scratch / "job.json").write_text("{}")
    with pytest.raises(SourceError, match="parts that another job scored"):
        annotate_files(files, scorer, tmp_path / "m")
    annotate_files(files, scorer, tmp_path / "m", overwrite=True, progress=False)
    assert columns.REGION in loaded(tmp_path / "m", tmp_path / "cache").column_names

"""Maps on a real Ray cluster of two nodes: row for row those of one machine, whatever dies in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset

import hf_datamap as dm
from hf_datamap.data import columns
from hf_datamap.data.parquet import plan
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.engine.budget import Usage
from hf_datamap.errors import EndpointError, ScorerError, SourceError
from hf_datamap.scoring.files import annotate_files, scratch_of
from hf_datamap.scoring.job import MapJob
from hf_datamap.scoring.parts import PartsJob
from hf_datamap.scoring.progress import Progress
from tests.rows import graded, rows
from tests.servers.llm import LLMServer, error

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

KEY = "sk-averysecretkeyofthedriver0001"
IN_FLIGHT = 8


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_DISABLE_IMPORT_WARNING"] = "1"
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    made.second = made.add_node(num_cpus=2)
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def second(cluster):
    """The second node, there again when another test has killed it."""
    if cluster.second not in cluster.list_all_nodes():
        cluster.second = cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
    return cluster.second


@pytest.fixture
def server():
    with LLMServer(lambda request, tries: replace(graded(request, tries), delay=0.1)) as running:
        yield running


@pytest.fixture
def judge(server):
    return dm.LLMJudge("judge", base_url=server.url, api_key=KEY, logprobs=False, max_in_flight=IN_FLIGHT)


def files(folder: Path, count: int = 8, each: int = 30) -> list[Path]:
    folder.mkdir()
    for place in range(count):
        Dataset.from_list(rows(each, place * each)).to_parquet(folder / f"train-{place:02d}.parquet", batch_size=17)
    return sorted(folder.iterdir())


def answered_twice(server) -> int:
    """Answers beyond one per question."""
    return sum(times - 1 for times in server.answered.values())


def bare(data_map: DataMap) -> DataMap:
    return data_map.model_copy(update={"provenance": {}})


def one_machine(ds, judge, monkeypatch, tmp_path):
    """What `dm.annotate` gives, from a store of its own."""
    with monkeypatch.context() as patched:
        patched.setenv("HF_DATAMAP_CACHE", str(tmp_path / "other-store"))
        return dm.annotate(ds, judge, progress=False)


def executor(workers=2):
    from hf_datamap.scoring.ray import RayExecutor

    return RayExecutor(workers=workers)


def test_a_ray_dataset_gets_the_columns_of_one_machine(second, server, judge, monkeypatch, tmp_path):
    from hf_datamap.scoring.ray import annotate

    ds = Dataset.from_list([*rows(60), {"prompt": None, "chosen": "a", "rejected": "b"}])
    expected, expected_map = one_machine(ds, judge, monkeypatch, tmp_path)
    sent = len(server.requests)
    out, data_map = annotate(ray.data.from_huggingface(ds).repartition(5), judge, workers=2, batch_size=7)
    assert out.take_all() == list(expected)
    assert bare(data_map) == bare(expected_map)
    assert data_map.provenance["rows"] == expected_map.provenance["rows"]
    assert data_map.provenance["usage"]["requests"] == len(server.requests) - sent == 120
    found = data_map.assign(expected.remove_columns(columns.REGION))
    assert list(found[columns.REGION]) == list(expected[columns.REGION])
    again, _ = annotate(ray.data.from_huggingface(ds), judge, workers=1)
    assert again.take_all() == list(expected)
    assert len(server.requests) == sent + 120  # one store for all


def test_blocks_past_memory_are_cut_where_they_are(second):
    import hf_datamap.scoring.ray as there

    ds = Dataset.from_list(
        [{"prompt": "p", "responses": ["a", "b"], "rating": [float(i % 7), float(i % 4)]} for i in range(300)]
    )
    expected, expected_map = dm.annotate(ds, dm.ColumnScorer("rating"), progress=False)
    out, data_map = there.annotate(
        ray.data.from_huggingface(ds).repartition(6), dm.ColumnScorer("rating"), in_memory=10
    )
    assert out.take_all() == list(expected)
    assert data_map.regions == expected_map.regions
    assert (data_map.variance, data_map.mean) == (expected_map.variance, expected_map.mean)
    assert expected_map.variance.ties > 1
    _, sketched = there.annotate(ray.data.from_huggingface(ds), dm.ColumnScorer("rating"), approximate=True)
    assert sketched.thresholds == expected_map.thresholds


def test_a_worker_and_then_a_node_are_killed(cluster, second, server, judge, monkeypatch, tmp_path):
    """Every row once, and no answer that has arrived is asked for again."""
    paths = files(tmp_path / "in")
    killed = []

    def kill():
        wait_for(lambda: len(server.requests) > 60)
        workers = pids("MapWorker")
        killed.append(workers[0])
        os.kill(workers[0], signal.SIGKILL)
        sent = len(server.requests)
        wait_for(lambda: len(server.requests) > sent + 80)
        cluster.remove_node(second, allow_graceful=False)
        killed.append("node")

    thread = threading.Thread(target=kill)
    thread.start()
    _, data_map = annotate_files(paths, judge, tmp_path / "map", executor=executor(3), progress=False)
    thread.join()
    assert killed[-1] == "node"
    out = load_dataset(str(tmp_path / "map"), split="train", cache_dir=str(tmp_path / "cache"))
    ds = Dataset.from_list(rows(240))
    twice = answered_twice(server)
    expected, expected_map = one_machine(ds, judge, monkeypatch, tmp_path)
    assert list(out) == list(expected)
    assert bare(data_map) == bare(expected_map)
    assert data_map.provenance["rows"] == {"ok": 240, "partial": 0, "failed": 0, "skipped": 0}
    assert twice <= 3 * IN_FLIGHT  # those under way in the workers that died
    assert not scratch_of(tmp_path / "map").exists()


def test_a_lost_driver_goes_on(second, server, judge, monkeypatch, tmp_path):
    paths = files(tmp_path / "in")
    code = f"""
import hf_datamap as dm
from hf_datamap.scoring.files import annotate_files
judge = dm.LLMJudge("judge", base_url={server.url!r}, api_key={KEY!r}, logprobs=False, max_in_flight={IN_FLIGHT})
annotate_files({[str(path) for path in paths]!r}, judge, {str(tmp_path / "map")!r},
               executor=dm.ray.RayExecutor(address={ray.get_runtime_context().gcs_address!r}, workers=2),
               progress=False)
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    scratch = scratch_of(tmp_path / "map")
    wait_for(lambda: len(list(scratch.glob("scored-*"))) >= 2)
    driver.kill()
    driver.wait()
    done = {path.name: path.stat().st_mtime_ns for path in scratch.glob("scored-*")}
    assert 2 <= len(done) < 8
    assert not (tmp_path / "map").exists()
    annotate_files(paths, judge, tmp_path / "map", executor=executor(), progress=False)
    twice = answered_twice(server)
    expected, _ = one_machine(Dataset.from_list(rows(240)), judge, monkeypatch, tmp_path)
    out = load_dataset(str(tmp_path / "map"), split="train", cache_dir=str(tmp_path / "cache"))
    assert list(out) == list(expected)
    assert twice <= 2 * IN_FLIGHT


def test_the_command_and_what_it_leaves(second, server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    from click.testing import CliRunner

    from hf_datamap.cli import group

    files(tmp_path / "in", 3, 20)
    words = ["map", str(tmp_path / "in"), "--scorer", "judge:judge", "--base-url", server.url, "--json"]
    done = CliRunner().invoke(group, [*words, "--engine", "ray", "--workers", "2", "--out", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["status"] == {"ok": 60, "partial": 0, "failed": 0, "skipped": 0}
    plain = CliRunner().invoke(group, [*words, "--out", str(tmp_path / "b")])
    assert plain.exit_code == 0, plain.output
    written = [DataMap.load(tmp_path / name / "datamap.json") for name in "ab"]
    assert bare(written[0]) == bare(written[1])
    assert server.keys == {f"Bearer {KEY}"}
    # The key is in no file: neither ours nor Ray's logs.
    folders = [tmp_path, Path(ray._private.worker._global_node.get_session_dir_path())]
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file() and leaks(path)]
    assert found == []


def leaks(path: Path) -> bool:
    try:
        return KEY.encode() in path.read_bytes()
    except OSError:
        return False


def test_one_budget_for_all_workers(second, server, judge, tmp_path):
    paths = files(tmp_path / "in", 4, 20)
    budget = dm.Budget(requests=50)
    _, data_map = annotate_files(paths, judge, tmp_path / "map", executor=executor(), budget=budget, progress=False)
    assert 40 <= len(server.requests) <= 50
    assert data_map.provenance["usage"]["requests"] == len(server.requests)
    assert "50 requests reached" in data_map.provenance["usage"]["stopped"]
    assert data_map.provenance["rows"]["skipped"] > 0
    # What lacks scores is asked for again, nothing else.
    _, whole = annotate_files(paths, judge, tmp_path / "map", executor=executor(), progress=False)
    assert whole.provenance["rows"] == {"ok": 80, "partial": 0, "failed": 0, "skipped": 0}
    assert len(server.requests) == 160
    assert answered_twice(server) == 0


def test_what_goes_wrong_is_told_plainly(second, judge, tmp_path):
    from hf_datamap.scoring.ray import annotate
    from hf_datamap.scoring.ray.cluster import connect

    with LLMServer(lambda *_: error(401, "wrong key")) as refusing:
        wrong = dm.LLMJudge("judge", base_url=refusing.url, api_key=KEY, logprobs=False)
        with pytest.raises(EndpointError, match="the API key is missing or wrong"):
            annotate_files(files(tmp_path / "in", 2, 5), wrong, tmp_path / "map", executor=executor(), progress=False)
        with pytest.raises(EndpointError, match="the API key is missing or wrong"):
            annotate(ray.data.from_huggingface(Dataset.from_list(rows(4))), wrong)
    with pytest.raises(ScorerError, match="fit_panel"):
        annotate(ray.data.from_huggingface(Dataset.from_list(rows(4))), dm.Panel([judge, dm.ColumnScorer("a")]))
    connect("nowhere:1")  # connected already
    part = plan([str(path) for path in sorted((tmp_path / "in").iterdir())], 10)[0]
    layout = dm.Layout(prompt="prompt", responses=["chosen", "rejected"])
    unseen = PartsJob(MapJob(judge, layout), tmp_path / "elsewhere")
    bar = Progress.hidden()
    with pytest.raises(SourceError, match=r"does not see .*elsewhere: write --out to a folder that all nodes share"):
        list(executor().score([part], unseen, Usage(), bar))


def pids(word: str) -> list[int]:
    """Processes of this cluster whose command line has a word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)

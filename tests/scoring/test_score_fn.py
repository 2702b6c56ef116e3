"""`score_fn` in every mode that ``map`` has: the same columns, in the same types, whatever happens to the scores."""

import asyncio
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, Value, load_dataset
from datasets.fingerprint import Hasher

import hf_datamap as dm
from hf_datamap.data import columns
from tests.rows import graded, rows, scores
from tests.servers.llm import LLMServer, Reply, completion, error

ROOT = Path(__file__).parents[2]
N = 40


@pytest.fixture
def server():
    with LLMServer(graded, latency=0.01) as running:
        yield running


@pytest.fixture
def judge(server):
    return dm.LLMJudge("judge", base_url=server.url, logprobs=False, max_retries=1)


def added(ds) -> pa.Table:
    """The score columns as Arrow."""
    table = ds.with_format(None).data.table if isinstance(ds, Dataset) else pa.Table.from_pylist(list(ds))
    return table.select(columns.SCORE_SCHEMA.names)


def assert_types(ds: Dataset) -> None:
    """The types of the contract, in the features and in the file."""
    wanted = columns.SCORE_SCHEMA
    assert {name: ds.features[name] for name in wanted.names} == {
        name: columns.features(Features())[name] for name in wanted.names
    }
    for name in wanted.names:
        assert ds.data.table.schema.field(name).type == wanted.field(name).type, name


MODES = {
    "row by row": lambda ds, fn: ds.map(fn),
    "batched": lambda ds, fn: ds.map(fn, batched=True, batch_size=16),
    "one batch": lambda ds, fn: ds.map(fn, batched=True, batch_size=None),
    "processes": lambda ds, fn: ds.map(fn, num_proc=2),
    "processes, batched": lambda ds, fn: ds.map(fn, num_proc=2, batched=True, batch_size=7),
    "arrow": lambda ds, fn: ds.with_format("arrow").map(fn, batched=True),
    "arrow, row by row": lambda ds, fn: ds.with_format("arrow").map(fn),
    "numpy": lambda ds, fn: ds.with_format("numpy").map(fn, features=fn.features(ds)),
    "numpy, batched": lambda ds, fn: ds.with_format("numpy").map(fn, batched=True),
    "pandas": lambda ds, fn: ds.with_format("pandas").map(fn, batched=True),
    "features": lambda ds, fn: ds.map(fn, features=fn.features(ds)),
    "features, batched": lambda ds, fn: ds.map(fn, batched=True, features=fn.features(ds)),
    "small writes": lambda ds, fn: ds.map(fn, writer_batch_size=3),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_columns(mode, judge):
    ds = Dataset.from_list(rows(N))
    out = MODES[mode](ds, dm.score_fn(judge))
    assert len(out) == N
    assert out.with_format(None)["prompt"] == [row["prompt"] for row in rows(N)]
    table = added(out)
    assert table["datamap_scores"].to_pylist() == scores(N)
    assert table["datamap_mean"].to_pylist() == [sum(pair) / 2 for pair in scores(N)]
    assert table["datamap_variance"].to_pylist() == [((a - b) / 2) ** 2 for a, b in scores(N)]
    assert set(table["datamap_status"].to_pylist()) == {"ok"}
    assert set(table["datamap_error"].to_pylist()) == {""}
    assert table["datamap_noise"].null_count == N
    assert_types(out.with_format(None))


@pytest.mark.parametrize("batched", [False, True])
def test_remove_columns(judge, batched):
    ds = Dataset.from_list(rows(10))
    out = ds.map(dm.score_fn(judge), batched=batched, remove_columns=ds.column_names)
    assert out.column_names == columns.SCORE_SCHEMA.names
    assert out["datamap_scores"][:] == scores(10)
    assert_types(out)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("known", [False, True], ids=["features unknown", "features known"])
def test_streams(judge, batched, known):
    fn = dm.score_fn(judge)
    if known:
        stream = Dataset.from_list(rows(N)).to_iterable_dataset(num_shards=3)
        out = stream.map(fn, batched=batched, features=fn.features(stream))
    else:
        stream = IterableDataset.from_generator(lambda: iter(rows(N)))
        out = stream.map(fn, batched=batched, batch_size=9)
    found = list(out)
    assert [row["prompt"] for row in found] == [row["prompt"] for row in rows(N)]
    assert [row["datamap_scores"] for row in found] == scores(N)
    assert {row["datamap_status"] for row in found} == {"ok"}
    if known:
        assert set(columns.SCORE_SCHEMA.names) <= set(out.features)


def test_a_stream_in_arrow(judge):
    fn = dm.score_fn(judge)
    stream = Dataset.from_list(rows(N)).to_iterable_dataset().with_format("arrow")
    out = pa.concat_tables(list(stream.map(fn, batched=True, batch_size=16).iter(16)))
    assert out["datamap_scores"].to_pylist() == scores(N)


def test_dataset_dict(judge):
    splits = DatasetDict(train=Dataset.from_list(rows(7)), test=Dataset.from_list(rows(5, 100)))
    out = splits.map(dm.score_fn(judge))
    assert out["train"]["datamap_scores"][:] == scores(7)
    assert out["test"]["datamap_scores"][:] == scores(5, 100)
    assert out["train"].features == out["test"].features


@pytest.mark.parametrize("batched", [False, True])
def test_inside_a_running_loop(judge, batched):
    fn = dm.score_fn(judge)  # made outside

    async def main():
        ds = Dataset.from_list(rows(N))
        inside = ds.map(fn, batched=batched)
        stream = ds.to_iterable_dataset().map(fn, batched=batched)
        made_inside = ds.select(range(5)).map(dm.score_fn(judge), batched=batched)
        processes = ds.map(fn, batched=batched, num_proc=2)
        return inside, list(stream), made_inside, processes

    inside, streamed, made_inside, processes = asyncio.run(main())
    for out in (inside, processes):
        assert out["datamap_scores"][:] == scores(N)
        assert_types(out)
    assert [row["datamap_scores"] for row in streamed] == scores(N)
    assert made_inside["datamap_scores"][:] == scores(5)
    # And outside again, with the same function: the loops are new ones.
    for _ in range(3):
        assert Dataset.from_list(rows(N, 1000)).map(fn, batched=batched)["datamap_scores"][:] == scores(N, 1000)


def test_many_maps_with_one_judge(judge, server):
    """Every map call of `datasets` makes a loop of its own and leaves it open."""
    fn = dm.score_fn(judge)
    for start in range(0, 200, 20):
        out = Dataset.from_list(rows(20, start)).map(fn, batched=start % 40 == 0, batch_size=4)
        assert out["datamap_scores"][:] == scores(20, start)
    assert len(server.requests) == 400


def test_annotate_and_map_agree(judge, server):
    ds = Dataset.from_list(rows(N))
    annotated, _ = dm.annotate(ds, judge, progress=False)
    assert len(server.requests) == 2 * N
    assert added(annotated).equals(added(ds.map(dm.score_fn(judge), batched=True)))
    assert added(annotated).equals(added(ds.map(dm.score_fn(judge), num_proc=2)))
    assert len(server.requests) == 2 * N


def refuse(request, _):
    """As endpoints refuse a text for what it says; other refusals in the same words at first mean a wrong set-up."""
    return error(400, "the prompt was not liked", code="content_filter")


@pytest.mark.parametrize(
    "mode", ["row by row", "batched", "arrow", "arrow, row by row", "numpy", "processes", "small writes"]
)
def test_a_first_page_of_failures_does_not_set_the_types(server, judge, mode):
    """The first write batch of ``map`` decides the types: it holds nulls alone here."""
    first, then = [dict(row, prompt=row["prompt"] + " REFUSE") for row in rows(1100)], rows(10)
    server.latency = 0
    server.script = lambda request, n: (
        refuse(request, n) if "REFUSE" in request["messages"][-1]["content"] else graded(request)
    )
    ds = Dataset.from_list(first + then)
    out = MODES[mode](ds, dm.score_fn(judge)).with_format(None)
    assert len(out) == 1110
    assert_types(out)
    assert out["datamap_scores"][0] == [None, None]
    assert set(out["datamap_status"][:1100]) == {"failed"}
    assert "the prompt was not liked" in out["datamap_error"][0]
    assert out["datamap_scores"][1100:] == scores(10)


def test_unreadable_rows_among_readable_ones(judge):
    given = rows(6)
    given[1]["chosen"] = None
    given[2]["prompt"] = None
    given[3]["rejected"] = ""
    for batched in (False, True):
        out = Dataset.from_list(given).map(dm.score_fn(judge), batched=batched)
        assert out["prompt"][:] == [row["prompt"] for row in given]
        assert [out["datamap_status"][place] for place in (0, 4, 5)] == ["ok"] * 3
        assert out["datamap_status"][2] in ("failed", "skipped")
        assert out["datamap_status"][3] == "partial"
        assert out["datamap_scores"][3] == [9.0, None]
        assert "response 2: empty response" in out["datamap_error"][3]
        assert_types(out)


def test_a_row_whose_values_are_all_lists(judge):
    """In a stream without features a row of chats looks like a batch, and a batch like a row."""
    given = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in rows(9)
    ]
    for batched in (False, True):
        stream = IterableDataset.from_generator(lambda: iter(given))
        out = list(stream.map(dm.score_fn(judge), batched=batched, batch_size=4))
        assert [row["datamap_scores"] for row in out] == scores(9)
        out = Dataset.from_list(given).map(dm.score_fn(judge), batched=batched)
        assert out["datamap_scores"][:] == scores(9)


def test_first_rows_that_cannot_be_read(judge):
    given = rows(4)
    given[0]["prompt"] = given[1]["chosen"] = given[1]["rejected"] = None
    for batched in (False, True):
        stream = IterableDataset.from_generator(lambda: iter(given))
        for ds in (stream, Dataset.from_list(given)):
            out = list(ds.map(dm.score_fn(judge), batched=batched))
            assert [row["datamap_scores"] for row in out][2:] == scores(2, 2)
            assert [row["datamap_status"] for row in out] == ["skipped", out[1]["datamap_status"], "ok", "ok"]
            assert out[0]["datamap_error"]


def test_no_layout_fits(judge):
    ds = Dataset.from_dict({"colour": ["red"], "size": [1]})
    for batched in (False, True):
        with pytest.raises(dm.DataMapError, match="colour"):
            ds.map(dm.score_fn(judge), batched=batched)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("batched", [False, True])
def test_what_is_no_scorer_is_refused(batched):
    with pytest.raises(dm.DataMapError, match="identity"):
        Dataset.from_list(rows(3)).map(dm.score_fn(object()), batched=batched)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", ["row by row", "batched", "processes"])
def test_a_wrong_key_stops_every_mode(mode):
    with LLMServer(graded, key="right", latency=0.05) as server:
        judge = dm.LLMJudge("judge", base_url=server.url, api_key="wrong-key-0", max_in_flight=8)
        ds = Dataset.from_list(rows(3000))
        with pytest.raises(dm.DataMapError, match=r"401.*OPENAI_API_KEY"):
            MODES[mode](ds, dm.score_fn(judge))
        time.sleep(0.3)
        runs = {"row by row": 1, "batched": 3, "processes": 2}  # side by side: nobody starts after the first refusal
        assert len(server.requests) <= 8 * runs[mode]


def test_many_in_flight_whatever_the_mode(server, judge):
    server.latency = 0.1
    for mode in ("row by row", "batched", "one batch"):
        server.forget()
        start = {"row by row": 0, "batched": 1000, "one batch": 2000}[mode]
        MODES[mode](Dataset.from_list(rows(64, start)), dm.score_fn(judge))
        assert 48 <= server.greatest <= 64, mode


# Fingerprints


def disk(tmp_path, count=20) -> Dataset:
    """A dataset with cache files, so that ``map`` caches."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows(count)))
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def test_a_second_map_comes_from_the_cache(tmp_path, judge, server, monkeypatch):
    ds = disk(tmp_path)
    for batched in (False, True):
        first = ds.map(dm.score_fn(judge), batched=batched)
        monkeypatch.setenv("HF_DATAMAP_CACHE", str(tmp_path / f"empty-{batched}"))  # the store cannot help
        sent = len(server.requests)
        again = dm.LLMJudge("judge", base_url=server.url, logprobs=False, max_retries=1, api_key="sk-another-key-1")
        second = ds.map(dm.score_fn(again), batched=batched)
        assert second.cache_files == first.cache_files
        assert len(server.requests) == sent
        other = ds.map(dm.score_fn(dm.LLMJudge("other", base_url=server.url, logprobs=False)), batched=batched)
        assert len(server.requests) == sent + 40
        assert other["datamap_scores"][:] == scores(20)


_HASHES = """
import asyncio, json, sys
from datasets.fingerprint import Hasher
import hf_datamap as dm
url = "http://127.0.0.1:1/v1"
def fresh(**options):
    return dm.score_fn(dm.LLMJudge(**{"model": "m", "base_url": url, **options}))
async def inside():
    return Hasher.hash(fresh())
one = fresh()
before = Hasher.hash(one)
found = {
    "plain": before,
    "again": Hasher.hash(one),
    "inside": asyncio.run(inside()),
    "key": Hasher.hash(fresh(api_key=sys.argv[1])),
    "columns": Hasher.hash(dm.score_fn(dm.ColumnScorer("score"))),
    "constraints": Hasher.hash(dm.score_fn(dm.ConstraintScorer())),
}
print(json.dumps(found))
"""


def test_fingerprints_are_equal_across_processes():
    def run(seed: str) -> dict:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", _HASHES, f"sk-number-{seed}"],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    first, second = run("1"), run("2")
    assert first == second
    assert first["plain"] == first["again"] == first["inside"] == first["key"]
    here = Hasher.hash(dm.score_fn(dm.LLMJudge("m", base_url="http://127.0.0.1:1/v1")))
    assert here == first["plain"]


def test_fingerprints_change_with_what_changes_scores(monkeypatch):
    def hashed(**options):
        return Hasher.hash(dm.score_fn(dm.LLMJudge(**{"model": "m", "base_url": "http://127.0.0.1:1/v1", **options})))

    changes = [
        {"model": "n"},
        {"base_url": "http://127.0.0.1:2/v1"},
        {"samples": 2},
        {"rubric": "Judge how polite the response is."},
        {"rubric": "Judge how correct the response is."},
        {"logprobs": False},
        {"temperature": 0.5},
        {"max_tokens": 99},
    ]
    hashes = [hashed(), *(hashed(**change) for change in changes)]
    assert len(set(hashes)) == len(hashes)
    layout = dm.detect_layout(rows(1)[0])
    judge = dm.LLMJudge("m", base_url="http://127.0.0.1:1/v1")
    assert Hasher.hash(dm.score_fn(judge, layout=layout)) != hashes[0]
    monkeypatch.setattr("hf_datamap.scoring.score_fn.__version__", "99.0.0")
    assert hashed() != hashes[0]


def test_a_used_scorer_has_the_fingerprint_of_a_fresh_one(judge, server):
    fn = dm.score_fn(judge)
    before = Hasher.hash(fn)
    server.script = lambda request, n: (
        error(400, "Unsupported parameter: 'temperature'", "temperature")
        if "temperature" in request
        else graded(request)
    )
    Dataset.from_list(rows(5)).map(fn)
    assert Hasher.hash(fn) == before
    assert Hasher.hash(pickle.loads(pickle.dumps(fn))) == before


# Processes


def test_processes_with_an_explicit_key():
    with LLMServer(graded, key="sk-right-key-77") as server:
        judge = dm.LLMJudge("judge", base_url=server.url, api_key="sk-right-key-77", logprobs=False)
        out = Dataset.from_list(rows(10)).map(dm.score_fn(judge), num_proc=2)
        assert out["datamap_scores"][:] == scores(10)
        assert b"sk-right-key-77" not in pickle.dumps(dm.score_fn(judge))


_SPAWN = """
import sys
import multiprocess
from datasets import Dataset
import hf_datamap as dm
from tests.rows import rows, scores
if __name__ == "__main__":
    multiprocess.set_start_method("spawn")
    judge = dm.LLMJudge("judge", base_url=sys.argv[1], api_key=sys.argv[2], logprobs=False)
    out = Dataset.from_list(rows(10)).map(dm.score_fn(judge), num_proc=2)
    assert out["datamap_scores"][:] == scores(10)
"""


def test_spawned_processes_with_an_explicit_key(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(_SPAWN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with LLMServer(graded, key="sk-right-key-77") as server:
        done = subprocess.run(
            [sys.executable, str(script), server.url, "sk-right-key-77"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sk-right" not in done.stderr + done.stdout


def test_processes_after_work_in_the_parent(judge, server):
    """A forked child has the parent's engine in memory, but not its thread."""
    dm.annotate(Dataset.from_list(rows(5)), judge, progress=False)
    out = Dataset.from_list(rows(20)).map(dm.score_fn(judge), num_proc=2)
    assert out["datamap_scores"][:] == scores(20)
    assert len(server.requests) == 40


# Hostile columns


def test_reserved_columns_of_an_earlier_run_are_replaced(judge):
    ds = Dataset.from_list(rows(5)).map(dm.score_fn(judge))
    for batched in (False, True):
        again = ds.map(dm.score_fn(judge), batched=batched)
        assert again.column_names == ds.column_names
        assert again["datamap_scores"][:] == scores(5)
        assert_types(again)
    arrow = ds.with_format("arrow").map(dm.score_fn(judge), batched=True).with_format(None)
    assert sorted(arrow.column_names) == sorted(ds.column_names)


def test_words_that_arrow_cannot_hold(server, judge):
    """An endpoint's words may hold lone surrogates; they end in ``datamap_error``, not in a crash."""
    words = b'{"error": {"message": "no \\ud800 \\u0000 way", "code": "content_filter"}}'
    server.script = lambda request, _: Reply(400, body=words)
    for batched in (False, True):
        out = Dataset.from_list(rows(2)).map(dm.score_fn(judge), batched=batched)
        assert out["datamap_status"][:] == ["failed", "failed"]
        assert "way" in out["datamap_error"][0]
    annotated, _ = dm.annotate(Dataset.from_list(rows(2)), judge, progress=False)
    assert annotated["datamap_status"][:] == ["failed", "failed"]


def test_no_text_of_a_row_is_read_that_the_layout_does_not_name(judge):
    ds = Dataset.from_list([dict(row, secret="never sent") for row in rows(3)])
    assert Value("string") == ds.features["secret"]
    with LLMServer(lambda request, _: completion(request)) as server:
        ds.map(dm.score_fn(dm.LLMJudge("judge", base_url=server.url)))
        assert len(server.requests) == 6
        assert "never sent" not in json.dumps(server.requests)

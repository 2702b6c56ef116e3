"""The command line, as a person uses it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset

from hf_datamap import DataMap, __version__
from hf_datamap.data import columns
from tests.servers.llm import LLMServer, completion, error

COMMAND = str(Path(sys.executable).parent / "hf-datamap")
KEY = "sk-SECRET-123abc"


def run(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=120,
    )


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": f"q{i}",
            "chosen": f"good {i}",
            "rejected": f"bad {i}",
            "score_chosen": 5 + i % 4,
            "score_rejected": i % 5,
        }
        for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_version_and_help():
    assert run("--version").stdout.strip() == f"hf-datamap, version {__version__}"
    for command in ("demo", "map", "estimate", "doctor", "inspect"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert "Usage:" in done.stdout


def test_demo_runs_twice_and_says_where_things_are(tmp_path):
    for _ in range(2):
        done = run("demo", "--out", "here", cwd=tmp_path, HF_HUB_OFFLINE="1", http_proxy="http://127.0.0.1:9")
        assert done.returncode == 0, done.stderr
    assert "high_mean_low_variance" in done.stdout
    assert "here/map.png" in done.stdout
    assert "next" in done.stdout.splitlines()[-1]
    data_map = DataMap.load(tmp_path / "here" / "datamap.json")
    assert data_map.rows == data_map.mapped == 316
    ds = load_dataset(str(tmp_path / "here"), split="train", cache_dir=str(tmp_path / "cache"))
    assert list(data_map.assign(ds)[columns.REGION]) == list(ds[columns.REGION])
    assert len({round(mean, 3) for mean in ds[columns.MEAN]}) > 10
    assert (tmp_path / "here" / "README.md").read_text().startswith("---\n")


def test_map_writes_the_folder(pairs, tmp_path):
    out = tmp_path / "out"
    done = run("map", pairs, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "scorer columns:score_chosen,score_rejected" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", "datamap.json", "map.png"]
    ds = Dataset.from_parquet(str(out / "data" / "train-00000-of-00001.parquet"), cache_dir=str(tmp_path / "c"))
    assert ds[columns.SCORES][0] == [5.0, 0.0]
    assert ds[columns.MARGIN][0] == 5.0
    assert ds["prompt"] == [f"q{i}" for i in range(30)]
    provenance = DataMap.load(out / "datamap.json").provenance
    assert provenance["scorer"] == {"kind": "columns", "path": "score_chosen,score_rejected"}
    assert provenance["source"]["id"] == str(pairs)


def test_json_goes_to_stdout_alone(pairs, tmp_path):
    done = run("map", pairs, "--out", tmp_path / "out", "--json", "--limit", 10)
    found = json.loads(done.stdout)
    assert found["rows"] == 10
    assert sum(found["regions"].values()) == 10
    assert found["status"]["ok"] == 10


def test_the_same_job_may_be_written_again_and_another_not(pairs, tmp_path):
    out = tmp_path / "out"
    assert run("map", pairs, "--out", out).returncode == 0
    assert run("map", pairs, "--out", out, "--resume").returncode == 0
    other = run("map", pairs, "--out", out, "--scorer", "columns:score_rejected,score_chosen")
    assert other.returncode == 2
    assert "another job" in other.stderr
    assert (
        run("map", pairs, "--out", out, "--scorer", "columns:score_rejected,score_chosen", "--overwrite").returncode
        == 0
    )


def test_strangers_files_are_not_touched(pairs, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    done = run("map", pairs, "--out", tmp_path / "full")
    assert done.returncode == 2
    assert "name another folder" in done.stderr
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_judge_through_an_endpoint(pairs, tmp_path):
    out = tmp_path / "out"
    with LLMServer(key=KEY) as server:
        options = ("--scorer", "judge:m", "--base-url", server.url, "--price", "2.5,10")
        estimate = json.loads(run("estimate", pairs, *options, "--json").stdout)
        assert not server.requests
        done = run("map", pairs, "--out", out, *options, OPENAI_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == estimate["requests"] == 60
        assert "60 requests" in done.stdout
        assert "$0.0180" in done.stdout
        again = json.loads(run("estimate", pairs, *options, "--json").stdout)
        assert (again["requests"], again["from_store"]) == (0, 60)
        assert run("map", pairs, "--out", out, *options, OPENAI_API_KEY=KEY).returncode == 0
        assert len(server.requests) == 60
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in done.stdout + done.stderr


def test_budget_stops_cleanly_and_the_rest_can_follow(pairs, tmp_path):
    out = tmp_path / "out"
    with LLMServer() as server:
        options = ("--scorer", "judge:m", "--base-url", server.url, "--out", out)
        done = run("map", pairs, *options, "--budget", "20 requests")
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 20
        assert "stopped early: budget of 20 requests reached" in done.stdout
        status = DataMap.load(out / "datamap.json").provenance["rows"]
        assert status["skipped"] > 0
        assert run("map", pairs, *options, "--resume").returncode == 0
        assert len(server.requests) == 60
        assert DataMap.load(out / "datamap.json").provenance["rows"]["ok"] == 30


def test_some_failures_are_reported_and_harm_nothing_else(pairs, tmp_path):
    def script(request, number):
        return completion(request, "I refuse") if "bad 7" in request["messages"][-1]["content"] else completion(request)

    with LLMServer(script) as server:
        done = run("map", pairs, "--scorer", "judge:m", "--base-url", server.url, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "29 rows ok, 1 rows partial" in done.stdout
    assert "nonsense: 1" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map", "nowhere.jsonl", "--out", "o"), "no file or folder"),
        (("map", "PAIRS", "--out", "o", "--scorer", "nonsense"), "There are:"),
        (("map", "PAIRS", "--out", "o", "--scorer", "columns:missing"), "no column 'missing'"),
        (("map", "PAIRS", "--out", "o", "--scorer", "constraints"), "no row could be scored"),
        (("map", "PAIRS", "--out", "o", "--layout", "prompt=nope,responses=chosen|rejected"), "nope"),
        (("map", "PAIRS", "--out", "o", "--budget", "a lot"), "cannot read the budget"),
        (("map", "PAIRS", "--out", "o", "--price", "cheap"), "dollars per million tokens"),
        (("map", "PAIRS", "--out", "o", "--scorer", "judge:m"), "no API key"),
        (("map", "PAIRS", "--out", "o", "--scorer", "judge:m", "--base-url", "ftp://x"), "no http(s) URL"),
        (("map", "PAIRS", "--out", "o", "--scorer", "judge:m", "--base-url", "http://u:p4ss@h/v1"), "api_key="),
        (("map", "PAIRS"), "--out"),
        (("frobnicate",), "No such command"),
    ],
)
def test_wrong_input_is_one_message_and_exit_2(words, message, pairs, tmp_path):
    done = run(*(pairs if word == "PAIRS" else word for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "p4ss" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, f"Incorrect API key provided: {KEY}"), "API key is missing or wrong"),
        (error(404, "The model `m` does not exist"), "no model 'm' there"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), "no quota left"),
    ],
)
def test_an_endpoint_that_refuses_everything_stops_the_run(reply, message, pairs, tmp_path):
    with LLMServer(lambda *_: reply) as server:
        done = run(
            "map", pairs, "--scorer", "judge:m", "--base-url", server.url, "--out", tmp_path / "o",
            "--max-in-flight", 4, OPENAI_API_KEY=KEY,
        )  # fmt: skip
        assert len(server.requests) <= 8
    assert done.returncode == 2
    assert message in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert not (tmp_path / "o").exists()


def test_empty_data_is_an_input_error(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    done = run("map", tmp_path / "empty.jsonl", "--out", tmp_path / "o")
    assert done.returncode == 2
    assert "empty" in done.stderr


def test_doctor_names_what_is_there_and_prints_no_secret():
    with LLMServer() as server:
        found = json.loads(
            run("doctor", "--json", "--base-url", server.url, OPENAI_API_KEY=KEY, HF_TOKEN="hf_SECRETtoken").stdout
        )
    assert found["hf_datamap"] == __version__
    assert found["endpoint key"] == "set"
    assert found["hub token"] == "set"
    assert "extra space" in found
    assert "answers" in found["score store"]
    text = run("doctor", OPENAI_API_KEY=KEY, HF_TOKEN="hf_SECRETtoken").stdout
    assert "SECRET" not in text + json.dumps(found)
    unreachable = json.loads(run("doctor", "--json", "--base-url", "http://127.0.0.1:9/v1").stdout)
    assert "NOT reachable" in unreachable["endpoint"]

"""Several processes on the same rows: each answer is bought once, and a process that dies holds nobody up for long."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hf_datamap.engine.store import Store
from hf_datamap.engine.task import Answer
from tests.rows import graded, rows
from tests.servers.llm import LLMServer

ROOT = Path(__file__).parents[2]

JOB = """
import json, sys
from datasets import Dataset
import hf_datamap as dm

judge = dm.LLMJudge("judge", base_url=sys.argv[1], logprobs=False, max_in_flight=16)
ds, _ = dm.annotate(Dataset.from_list(json.loads(open(sys.argv[2]).read())), judge, progress=False)
print(set(ds["datamap_status"]))
"""


def start(server, path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", JOB, server.url, str(path)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def write(folder, count, seed=None) -> Path:
    data = rows(count)
    if seed is not None:
        random.Random(seed).shuffle(data)
    path = folder / f"rows-{seed}.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("seeds", [[None, None], [1, 2, 3, 4]], ids=["same order", "own orders"])
def test_processes_buy_each_answer_once(tmp_path, seeds):
    with LLMServer(graded, latency=0.01) as server:
        processes = [start(server, write(tmp_path, 400, seed)) for seed in seeds]
        ends = [process.communicate(timeout=200) for process in processes]
        asked = len(server.requests)
    assert [out.strip() for out, _ in ends] == ["{'ok'}"] * len(seeds), ends
    assert 800 <= asked <= 816  # two responses a row; 1.02 times


def test_what_a_killed_process_had_claimed_is_bought_by_another(tmp_path):
    path = write(tmp_path, 200)
    with LLMServer(graded, latency=0.05) as server:
        first = start(server, path)
        while len(server.requests) < 50 and first.poll() is None:
            time.sleep(0.01)
        second = start(server, path)
        while len(server.requests) < 120 and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        out, err = second.communicate(timeout=120)
        asked = len(server.requests)
    assert out.strip() == "{'ok'}", err
    assert asked <= 400 + 16 + 8  # what the first had in flight when it died may be asked again


def test_claims_of_the_living_hold_and_those_of_the_silent_run_out(tmp_path):
    first, second = Store(tmp_path, claim_seconds=0.4), Store(tmp_path, claim_seconds=0.4)
    assert first.claim([b"a", b"b"]).granted == {b"a", b"b"}
    assert second.claim([b"b", b"c"]).granted == {b"c"}
    for _ in range(6):
        time.sleep(0.1)
        first.beat()
    assert second.claim([b"a"]).granted == frozenset()
    first.put(b"a", Answer(3.0))
    first.release([b"a"])
    lookup = second.claim([b"a"])
    assert (lookup.granted, lookup.answers) == (frozenset(), {b"a": Answer(3.0)})
    first.release([b"b"])
    assert second.claim([b"b"]).granted == {b"b"}
    first.claim([b"d"])
    time.sleep(0.6)  # no sign of life
    assert second.claim([b"d"]).granted == {b"d"}


def test_a_store_that_is_closed_claims_nothing(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    first.claim([b"a"])
    first.close()
    assert second.claim([b"a"]).granted == {b"a"}

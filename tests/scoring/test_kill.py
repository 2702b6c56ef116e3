"""A run that is killed or stopped in the middle, then the same command: nothing that was answered is asked again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hf_datamap.engine.store import Store
from tests.rows import graded, rows
from tests.servers.llm import LLMServer

ROOT = Path(__file__).parents[2]
IN_FLIGHT = 32

JOB = """
import json, sys
from datasets import Dataset, load_dataset
import hf_datamap as dm

url, path, mode = sys.argv[1:]
judge = dm.LLMJudge("judge", base_url=url, logprobs=False, max_in_flight=32, max_retries=2)
ds = Dataset.from_list([json.loads(line) for line in open(path)])
if mode == "annotate":
    ds, _ = dm.annotate(ds, judge, progress=False)
elif mode == "rows":
    ds = ds.map(dm.score_fn(judge))
else:
    ds = ds.map(dm.score_fn(judge), batched=True)
print(sum(ds["datamap_mean"]), set(ds["datamap_status"]))
"""


def start(server, path, mode) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", JOB, server.url, str(path), mode],
        env=environment, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(server, count, process):
    deadline = time.monotonic() + 60
    while len(server.requests) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def write(tmp_path, count) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows(count)))
    return path


def distinct(server) -> Counter:
    return Counter(hashlib.sha256(json.dumps(request).encode()).hexdigest() for request in server.requests)


@pytest.mark.parametrize(("mode", "count"), [("annotate", 2500), ("rows", 800), ("batches", 800)])
def test_kill_9_then_the_same_command(tmp_path, mode, count):
    """Of the requests sent before the kill only those in flight at that moment may be sent again.

    There are at most ``max_in_flight`` (32) of them: the answer to any other was in the store before the client sent
    the next request.
    """
    path = write(tmp_path, count)
    with LLMServer(graded, latency=0.01) as server:
        process = start(server, path, mode)
        wait_for(server, count, process)  # half of the requests, two a row
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.1)
        before = distinct(server)
        sent, kept = len(server.requests), len(Store())
        assert max(before.values()) == 1
        assert sent - IN_FLIGHT <= kept <= sent < 2 * count
        server.forget()
        done = start(server, path, mode)
        out, err = done.communicate(timeout=120)
        assert done.returncode == 0, err[-3000:]
        again = distinct(server)
        repeated = set(before) & set(again)
        assert len(repeated) <= IN_FLIGHT
        assert len(repeated) == sent - kept
        assert len(server.requests) == 2 * count - kept
        assert max(again.values()) == 1
        total = sum((6 + i % 5 + 1 + i % 3) / 2 for i in range(count))
        assert out.split(" ", 1) == [str(total), "{'ok'}\n"]
        if mode == "annotate":  # and a third time, another way: nothing is left to ask
            server.forget()
            assert start(server, path, "batches").communicate(timeout=120)[0] == out
            assert server.requests == []


@pytest.mark.parametrize("mode", ["annotate", "rows"])
def test_ctrl_c_keeps_what_was_answered(tmp_path, mode):
    count = 200
    path, stopped = write(tmp_path, count), threading.Event()

    def script(request, n):  # whatever comes later is answered after the signal: the client cannot be done before it
        return replace(graded(request), until=stopped.is_set if n > 90 else None)

    with LLMServer(script, latency=0.05) as server:
        process = start(server, path, mode)
        wait_for(server, 100, process)
        process.send_signal(signal.SIGINT)
        stopped.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "KeyboardInterrupt" in err
        sent, kept = len(server.requests), len(Store())
        assert sent - IN_FLIGHT <= kept <= sent < 2 * count
        if mode == "annotate":  # those under way are waited for
            assert kept == sent
        server.forget()
        done = start(server, path, mode)
        out, err = done.communicate(timeout=120)
        assert done.returncode == 0, err[-3000:]
        assert out.endswith("{'ok'}\n")
        assert len(server.requests) == 2 * count - kept

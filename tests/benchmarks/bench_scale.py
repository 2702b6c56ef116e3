"""Past memory and past one machine: what ten million rows take, and what a second node brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_curve import write
from tests.benchmarks.bench_judge import dataset, server
from tests.benchmarks.figure import Figure
from tests.benchmarks.scale import IN_FLIGHT

ROWS, FILES = 10_000_000, 10
JUDGED, PARTS = 3_200, 16


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        for place in range(FILES):
            write(root / f"in/train-{place:05d}.parquet", ROWS // FILES)
        yield from large(root)
    yield from nodes()


def large(root: Path) -> Iterator[Figure]:
    """Ten million rows with scores."""
    pattern = f"{root}/in/*.parquet"
    for what, words in (
        ("`annotate` on a stream (fit and read back)", ("stream", pattern)),
        ("`annotate_files` (`--engine shards`), folder written", ("shards", pattern, f"{root}/map")),
    ):
        found = run(*words)
        yield Figure(
            f"{what}, 10 million rows from Parquet: resident at most",
            found["resident"] / 1e9,
            1.0,
            at_most=True,
            unit="GB",
            note=f"{found['rows'] / found['seconds']:,.0f} rows/s, {found['seconds']:.1f} s",
        )


def nodes() -> Iterator[Figure]:
    """One node against two."""
    what = f"two Ray nodes over one, a judge of 100 ms, {IN_FLIGHT} in flight a node, requests/s"
    if find_spec("ray") is None:
        yield Figure(what, None, 1.6, note="ray is not installed")
        return
    tries = [(judged(1), judged(2)) for _ in range(2)]
    rates = dict(zip((1, 2), map(max, zip(*tries, strict=True)), strict=True))
    note = f"{rates[2]:,.0f} against {rates[1]:,.0f} req/s, of {2 * IN_FLIGHT * 10} and {IN_FLIGHT * 10} at best"
    yield Figure(what, rates[2] / rates[1], 1.6, note=f"{note}; {PARTS} parts, first request to last answer")


def judged(count: int) -> float:
    """Requests per second of so many nodes, as the server sees them."""
    with tempfile.TemporaryDirectory() as folder, server("--latency", "0.1") as url:
        ds = dataset(JUDGED, f"ray{count}")
        (Path(folder) / "in").mkdir()
        for place in range(PARTS):
            ds.shard(PARTS, place, contiguous=True).to_parquet(f"{folder}/in/{place:02d}.parquet")
        found = run("ray", str(count), url, f"{folder}/in/*.parquet", f"{folder}/map")
        assert found["ok"] == JUDGED, found
        with urllib.request.urlopen(url.replace("/v1", "/stats")) as answer:
            stats = json.load(answer)
    return float(stats["answered"] / stats["seconds"])


def run(*words: str) -> dict[str, Any]:
    """A run of `tests.benchmarks.scale`, with a store of its own."""
    with tempfile.TemporaryDirectory() as store:
        environment = {**os.environ, "HF_DATAMAP_CACHE": store, "HF_HOME": store, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "tests.benchmarks.scale", *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found

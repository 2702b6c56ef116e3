"""What `annotate` costs as rows grow: time and memory, as slopes on log-log axes (1: in proportion)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.bench_judge import server
from tests.benchmarks.figure import Figure

SIZES = (10**3, 10**4, 10**5, 316_228, 10**6, 3_162_278, 10**7)
FITTED_FROM = 10**5  # below, what does not depend on the number of rows dominates: the slope would flatter
JUDGED = (1_000, 3_162, 10_000)
RESPONSES = 4
_CHUNK = 250_000  # rows written at a time


def figures() -> Iterator[Figure]:
    points = [best(size) for size in SIZES]
    fitted = [point for point in points if point["rows"] >= FITTED_FROM]
    shown = ", ".join(f"{point['rows']:.0e}: {point['seconds']:.2f} s, {megabytes(point):,.0f} MB" for point in points)
    span = f"fitted from {FITTED_FROM:.0e} rows"
    yield Figure(
        "`annotate` with `ColumnScorer`, N = 4, 10^3 to 10^7 rows: log-log slope of time",
        slope(fitted, [point["seconds"] for point in fitted]),
        1.05,
        at_most=True,
        unit="",
        note=f"{shown}; {span}",
    )
    yield Figure(
        "the same, of memory beyond what was taken before",
        slope(fitted, [megabytes(point) for point in fitted]),
        1.05,
        at_most=True,
        unit="",
        note=f"{megabytes(points[-1]) * 2**20 / points[-1]['rows']:,.0f} bytes a row at the end; {span}",
    )
    with server("--latency", "0.02", "--listwise", str(RESPONSES), kind="fast") as url:
        judged = [best(size, url) for size in JUDGED]
    shown = ", ".join(f"{point['rows']:,}: {point['seconds']:.2f} s" for point in judged)
    yield Figure(
        "`annotate` with a listwise judge, 10^3 to 10^4 rows: log-log slope of time",
        slope(judged, [point["seconds"] for point in judged]),
        1.05,
        at_most=True,
        unit="",
        note=f"{shown}; 64 in flight",
    )


def best(size: int, kind: str = "columns") -> dict[str, Any]:
    """The fastest of some runs, fewer of the large sizes; each in a process and with a store of its own."""
    times = 3 if size < 10**6 else 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write(path, size)
        point_of(path, "load")
        points = [point_of(path, kind) for _ in range(times)]
    return min(points, key=lambda point: point["seconds"])


def point_of(path: Path, kind: str) -> dict[str, Any]:
    """What `tests.benchmarks.curve` measures."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "tests.benchmarks.curve", kind, str(path)]
        environment = {**os.environ, "HF_DATAMAP_CACHE": store, "HF_HOME": store, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    point: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return point


def write(path: Path, rows: int) -> None:
    """Prompts, four short responses each, and a rating of each response; never all in memory."""
    chance = np.random.default_rng(0)
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        ends = np.arange(0, count * RESPONSES + 1, RESPONSES, dtype=np.int32)
        texts = pa.array(np.tile(["one response", "another one", "a third", "a fourth"], count))
        table = pa.table(
            {
                "prompt": [f"What is the answer to question {i}?" for i in range(start, start + count)],
                "responses": pa.ListArray.from_arrays(ends, texts),
                "rating": pa.ListArray.from_arrays(ends, pa.array(chance.random(count * RESPONSES) * 10)),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def megabytes(point: dict[str, Any]) -> float:
    return max(1, point["most"] - point["before"]) / 2**20


def slope(points: list[dict[str, Any]], values: list[float]) -> float:
    """By least squares, of log value over log rows."""
    return float(np.polyfit(np.log([point["rows"] for point in points]), np.log(values), 1)[0])

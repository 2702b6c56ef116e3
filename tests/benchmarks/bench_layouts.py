"""Reading rows: UltraFeedback-like rows with four responses of 1,500 characters, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmarks.figure import Figure

ROWS, CHARS = 20_000, 1_500


def _table(words: str = "The answer is %d. "):
    import pyarrow as pa

    texts = [(words % k * 200)[:CHARS] for k in range(97)]
    rating = {"Rating": "4", "Rationale": "Good, but not complete."}
    rows = [
        {
            "source": "bench",
            "instruction": f"Question {row}: what is the answer?",
            "models": ["a", "b", "c", "d"],
            "completions": [
                {
                    "model": "abcd"[k],
                    "response": texts[(row + k) % 97],
                    "overall_score": float((row + k) % 10),
                    "critique": "It is fine.",
                    "annotations": {"helpfulness": rating, "honesty": rating},
                }
                for k in range(4)
            ],
        }
        for row in range(ROWS)
    ]
    return pa.Table.from_pylist(rows)


def _long_table(rows: int = 400_000):
    import numpy as np
    import pyarrow as pa

    keys = np.random.default_rng(0).integers(0, rows // 4, rows)
    texts = [f"Response {k} " * 30 for k in range(997)]
    return pa.table(
        {
            "prompt": [f"Question {key}: what is the answer, and why?" for key in keys],
            "response": [texts[row % 997] for row in range(rows)],
            "grade": keys % 5,
        }
    )


def _best(work) -> float:
    """CPU seconds of one core: the machine may be busy with other things."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def figures() -> Iterator[Figure]:
    from datasets import Dataset

    from hf_datamap.data import detect_layout
    from hf_datamap.data.group_rows import group_rows

    ds = Dataset(_table())
    layout = detect_layout(ds.features)
    arrow = ds.with_format("arrow")

    def batches() -> None:
        for batch in arrow.iter(1000):
            assert len(layout.read_batch(batch)) == len(batch)

    def rows() -> None:
        for row in ds.select(range(2000)):
            layout.read(row)

    def python() -> None:
        for batch in ds.select(range(4000)).iter(1000):
            layout.read_batch(batch)

    seconds, by_row, by_list = _best(batches), _best(rows) / 2000 * ROWS, _best(python) / 4000 * ROWS
    note = f"{ROWS:,} rows of four responses of {CHARS:,} characters, batches of 1,000, CPU time"
    yield Figure("layouts: read_batch on Arrow batches", ROWS / seconds, 30_000, unit="rows/s", note=note)
    repeated = Dataset(_long_table())
    start = time.process_time()
    grouped = group_rows(repeated, by="prompt", response="response", annotations="grade", on_report=lambda report: None)
    spent = time.process_time() - start
    note = f"{len(repeated):,} rows, {len(grouped):,} prompts, CPU time"
    yield Figure("layouts: group_rows", len(repeated) / spent, unit="rows/s", note=note)
    chinese = Dataset(_table("这是第%d个关于对齐数据的回答。")).with_format("arrow")
    other = _best(lambda: [layout.read_batch(batch) for batch in chinese.iter(1000)])
    note = "1,500 characters are about 4,200 bytes, CPU time"
    yield Figure("layouts: the same with Chinese responses", ROWS / other, 30_000, unit="rows/s", note=note)
    yield Figure(
        "layouts: read_batch on Arrow batches against lists",
        by_list / seconds,
        note=f"{ROWS / by_list:,.0f} rows/s from lists",
    )
    yield Figure(
        "layouts: read_batch against read row by row", by_row / seconds, note=f"{ROWS / by_row:,.0f} rows/s row by row"
    )

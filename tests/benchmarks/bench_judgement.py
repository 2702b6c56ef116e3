"""Judgement on a million mapped rows: audit without texts, selection; and what texts cost per row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from hf_datamap.curate.audit import audit
from hf_datamap.curate.pairs import to_pairs
from hf_datamap.curate.select import select
from hf_datamap.curate.texts.facts import read_texts
from hf_datamap.data import columns
from hf_datamap.data.view import DatasetView
from hf_datamap.datamap.datamap import DataMap
from tests.benchmarks.figure import Figure

ROWS = 1_000_000
TEXT_ROWS = 5_000


def figures() -> Iterator[Figure]:
    """Seconds for a million rows, and microseconds per row of text."""
    ds = mapped(ROWS)
    wide = mapped(ROWS, responses=4)
    for name, data in (("2", ds), ("4", wide)):
        took, report = timed(lambda data=data: audit(data, read_texts=False))
        yield Figure(
            f"audit of scores and labels, 1 M rows of {name} responses", took, 10, at_most=True, unit="s",
            note=f"{len(report.suspects):,} suspects",
        )  # fmt: skip
    took, report = timed(lambda: audit(ds, read_texts=False))
    took, _ = timed(lambda: report.annotate(ds))
    yield Figure("datamap_suspect for 1 M rows", took, 5, at_most=True, unit="s")
    for strategy in ("high_mean_low_variance", "rip"):
        took, _ = timed(lambda strategy=strategy: select(ds, strategy))
        yield Figure(f"select {strategy}, 1 M rows", took, 5, at_most=True, unit="s")
    took, _ = timed(lambda: select(ds, "high_mean_low_variance", stratify_by="source"))
    yield Figure("the same, stratified by 20 sources", took, 10, at_most=True, unit="s")

    texts = written(TEXT_ROWS)
    view = DatasetView(texts)
    took, _ = timed(lambda: list(view.batches()))
    yield Figure("reading rows through the layout", 1e6 * took / TEXT_ROWS, unit="us/row")
    took, _ = timed(lambda: read_texts(view))
    yield Figure("facts of texts (two responses of 1,000 characters)", 1e6 * took / TEXT_ROWS, unit="us/row")
    took, _ = timed(lambda: audit(texts))
    yield Figure("whole audit with texts", 1e6 * took / TEXT_ROWS, 1000, at_most=True, unit="us/row")
    took, pairs = timed(lambda: to_pairs(texts))
    yield Figure("pairs with shared prefixes", 1e6 * took / max(1, len(pairs)), unit="us/pair")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that some work takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def mapped(rows: int, responses: int = 2) -> Dataset:
    """Scored and annotated rows with wrong labels in one of twenty, without real texts."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(rows, responses)).astype(np.float32)
    scores = truth + rng.normal(scale=0.5, size=truth.shape).astype(np.float32)
    labels = truth.copy()
    wrong = rng.random(rows) < 0.05
    labels[wrong] = labels[wrong][:, ::-1]
    mean, variance = columns.moments(scores)
    starts = pa.array(np.arange(0, rows * responses + 1, responses), pa.int32())
    table = pa.table(
        {
            "prompt": pa.array(["p"]).take(pa.array(np.zeros(rows, np.int64))),
            "responses": pa.ListArray.from_arrays(starts, pa.array(["r"] * (rows * responses))),
            "annotations": pa.ListArray.from_arrays(starts, pa.array(labels.ravel())),
            "source": pa.array([f"source {k}" for k in range(20)]).take(pa.array(rng.integers(0, 20, rows))),
            columns.SCORES: pa.ListArray.from_arrays(starts, pa.array(scores.ravel())),
            columns.MEAN: columns.nullable(mean),
            columns.VARIANCE: columns.nullable(variance),
        }
    )  # fmt: skip
    ds = Dataset(table)
    return DataMap.fit(ds).assign(ds)


def written(rows: int) -> Dataset:
    """Rows with texts of about a thousand characters, words drawn from a vocabulary of 20,000."""
    rng = np.random.default_rng(0)
    vocabulary = np.array(["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(2, 10))) for _ in range(20_000)])

    def text(words: int) -> str:
        return " ".join(vocabulary[(rng.random(words) ** 3 * 20_000).astype(int)]) + "."

    return Dataset.from_dict(
        {
            "prompt": [text(30) for _ in range(rows)],
            "chosen": [text(150) for _ in range(rows)],
            "rejected": [text(150) for _ in range(rows)],
            columns.SCORES: rng.normal(size=(rows, 2)).tolist(),
        }
    )

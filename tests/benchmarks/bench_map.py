"""Reading scores, fitting and assigning, and how long the package takes to start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tests.benchmarks.figure import Figure


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The best of some runs: the machine is noisy, and noise only adds."""

    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(times))


def column_scorer(rows: int = 500_000) -> Figure:
    from datasets import Dataset, disable_caching

    import hf_datamap as dm

    disable_caching()
    scores = pa.array(np.random.default_rng(0).random(rows * 4) * 10)
    lists = pa.ListArray.from_arrays(np.arange(0, rows * 4 + 1, 4, dtype=np.int32), scores)
    texts = pa.array([["a", "b", "c", "d"]] * rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        pa.parquet.write_table(
            pa.table({"prompt": [f"p{i}" for i in range(rows)], "responses": texts, "rating": lists}), path
        )
        ds = Dataset.from_parquet(str(path), cache_dir=folder)
        score = dm.score_fn(dm.ColumnScorer("rating"))
        took = seconds(lambda: ds.map(score, batched=True))
    return Figure("`ColumnScorer`, N = 4, `map(batched=True)`", rows / took, 500_000, unit="rows/s")


def fit_and_assign(rows: int = 10_000_000) -> Figure:
    from datasets import Dataset

    import hf_datamap as dm
    from hf_datamap.data import columns

    chance = np.random.default_rng(0)
    mean, variance = chance.random(rows, dtype=np.float32), chance.random(rows, dtype=np.float32)
    ds = Dataset(pa.table({columns.MEAN: mean, columns.VARIANCE: variance}))
    ours = seconds(lambda: dm.DataMap.fit(ds).assign(ds))
    sorts = seconds(lambda: (np.argsort(variance, kind="stable"), np.argsort(mean, kind="stable")))
    note = f"{ours:.2f} s against {sorts:.2f} s for 10 million rows"
    return Figure("`DataMap.fit` + `assign` over two stable numpy sorts", ours / sorts, 0.5, at_most=True, note=note)


def fit_against_pandas(rows: int = 2_000_000) -> Figure:
    import pandas as pd
    from datasets import Dataset

    import hf_datamap as dm
    from hf_datamap.data import columns

    chance = np.random.default_rng(0)
    mean, variance = chance.random(rows, dtype=np.float32), chance.random(rows, dtype=np.float32)
    ds = Dataset(pa.table({columns.MEAN: mean, columns.VARIANCE: variance}))
    frame = pd.DataFrame({"mean": mean, "variance": variance})

    def authors() -> None:
        ordered = frame.sort_values("variance", kind="stable")
        cut = 2 * rows // 3
        low = ordered.iloc[:cut].sort_values("mean", kind="stable")
        frame["region"] = "high_variance"
        frame.loc[low.index[: cut // 2], "region"] = "low_mean_low_variance"
        frame.loc[low.index[cut // 2 :], "region"] = "high_mean_low_variance"

    ours, theirs = seconds(lambda: dm.DataMap.fit(ds).assign(ds)), seconds(authors)
    note = f"{ours:.2f} s against {theirs:.2f} s for 2 million rows"
    return Figure("pandas' sorts (the authors' way) over `DataMap.fit` + `assign`", theirs / ours, note=note)


def start_up() -> Iterator[Figure]:
    def run(*words: str) -> float:
        return statistics.median(
            seconds(lambda: subprocess.run(words, check=True, capture_output=True), 1) for _ in range(7)
        )

    python = sys.executable
    alone = run(python, "-c", "import datasets")
    both = run(python, "-c", "import datasets, hf_datamap")
    yield Figure("`import hf_datamap` after `import datasets`", both - alone, 0.25, at_most=True, unit="s")
    yield Figure(
        "`hf-datamap --help`", run(str(Path(python).parent / "hf-datamap"), "--help"), 0.3, at_most=True, unit="s"
    )


def figures() -> Iterator[Figure]:
    from datasets import disable_progress_bars

    disable_progress_bars()
    yield column_scorer()
    yield fit_and_assign()
    yield fit_against_pandas()
    yield from start_up()

"""Label errors planted where the truth is known: 25 scenarios on real gaps, real judges and simulated ones.

A scenario gives signed margins (score of the response annotated better minus that of the other) and which of the
annotations are wrong. Real data comes from ``shared/data``; scenarios whose file is missing are left out.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RATES = (0.05, 0.15, 0.30)

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Scenario:
    """One way to plant label errors.

    Attributes:
        name: what is planted where.
        draw: from a generator to signed margins and which annotations are wrong, both of shape (rows,).
        as_modelled: whether the scorer errs less at greater margins, which is what the estimate assumes.
    """

    name: str
    draw: Draw
    as_modelled: bool = True


def scenarios() -> Iterator[Scenario]:
    """All scenarios whose data is there."""
    yield from _real_gaps()
    yield from _second_judge()
    yield from _reward_models()
    for slope in (1.0, 2.0, 4.0):
        for rate in RATES:
            yield Scenario(f"Bradley-Terry judge, slope {slope:g}, {rate:.0%} wrong", _bradley_terry(slope, rate))
    for rate in (0.05, 0.15):
        yield Scenario(f"judge that errs in 10 % at any margin, {rate:.0%} wrong", _flat(rate), as_modelled=False)


def _real_gaps() -> Iterator[Scenario]:
    """UltraFeedback's own gaps, scored with normal noise."""
    gaps = ultrafeedback_gaps()
    if gaps is None:
        return
    positive = gaps[gaps > 0]
    for noise in (0.5, 1.0):
        yield Scenario(f"UltraFeedback, noise {noise}, 60 of 400 wrong at gaps >= 1.5", _wide(positive[:400], noise))
    for noise in (0.5, 1.0, 2.0):
        for rate in RATES:
            yield Scenario(f"UltraFeedback, noise {noise}, {rate:.0%} wrong", _gaps(positive, noise, rate))


def _second_judge() -> Iterator[Scenario]:
    """WildBench: one judge's labels, another judge's scores."""
    for least in (1, 3):
        margins = _wildbench(least)
        if margins is not None:
            for rate in RATES:
                yield Scenario(f"WildBench, labels differ by {least}, {rate:.0%} wrong", _flipped(margins, rate))


def _reward_models() -> Iterator[Scenario]:
    """JudgeBench: verified labels, scores of the best reward model and of the mean of five."""
    margins = _judgebench()
    if margins is None:
        return
    best = margins[:, np.argmax((margins > 0).mean(axis=0))]
    for name, column in (("best reward model", best), ("mean of five", (margins / margins.std(axis=0)).mean(axis=1))):
        for rate in RATES:
            yield Scenario(f"JudgeBench, {name}, {rate:.0%} wrong", _flipped(column, rate))


def _wide(gaps: np.ndarray, noise: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        wrong = np.zeros(len(gaps), bool)
        wrong[rng.choice(np.flatnonzero(gaps >= 1.5), 60, replace=False)] = True
        return np.where(wrong, -gaps, gaps) + rng.normal(0, noise * math.sqrt(2), len(gaps)), wrong

    return draw


def _gaps(gaps: np.ndarray, noise: float, rate: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        wrong = rng.random(len(gaps)) < rate
        return np.where(wrong, -gaps, gaps) + rng.normal(0, noise * math.sqrt(2), len(gaps)), wrong

    return draw


def _flipped(margins: np.ndarray, rate: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        wrong = rng.random(len(margins)) < rate
        return np.where(wrong, -margins, margins), wrong

    return draw


def _bradley_terry(slope: float, rate: float, rows: int = 2000) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = np.abs(rng.normal(size=rows))
        right = rng.random(rows) < 1 / (1 + np.exp(-slope * size / 0.6745))
        wrong = rng.random(rows) < rate
        return np.where(right, size, -size) * np.where(wrong, -1, 1), wrong

    return draw


def _flat(rate: float, rows: int = 2000) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size, right, wrong = np.abs(rng.normal(size=rows)), rng.random(rows) > 0.1, rng.random(rows) < rate
        return np.where(right, size, -size) * np.where(wrong, -1, 1), wrong

    return draw


def ultrafeedback_gaps() -> np.ndarray | None:
    folder, gaps = DATA / "pairs_ultrafeedback_binarized", []
    if not folder.is_dir():
        return None
    for split in ("train", "test"):
        with gzip.open(folder / f"{split}.jsonl.gz", "rt") as lines:
            for line in lines:
                told = json.loads(line).get("metadata") or {}
                told = json.loads(told) if isinstance(told, str) else told
                if told.get("score_chosen") is not None:
                    gaps.append(told["score_chosen"] - told["score_rejected"])
    return np.array(gaps)


def _wildbench(least: int) -> np.ndarray | None:
    path = DATA / "scores_wildbench_two_judges.parquet"
    if not path.is_file():
        return None
    table = pq.read_table(path).to_pylist()
    by_judge: list[dict[tuple[str, str], float]] = [{}, {}]
    for row in table:
        by_judge["4o" not in row["judge"]][row["session_id"], row["model"]] = row["score"]
    models = sorted({model for _, model in by_judge[0]} & {model for _, model in by_judge[1]})
    sessions = sorted({session for session, _ in by_judge[0]} & {session for session, _ in by_judge[1]})
    labels, scores = (
        np.array([[scores.get((s, m), np.nan) for m in models] for s in sessions], float) for scores in by_judge
    )
    rng = np.random.default_rng(0)
    picked = np.array([rng.choice(len(models), 2, replace=False) for _ in sessions])
    gap, margin = (np.diff(np.take_along_axis(m, picked, axis=1), axis=1)[:, 0] for m in (labels, scores))
    kept = (np.abs(gap) >= least) & np.isfinite(margin)
    return (np.sign(gap) * margin)[kept]


def _judgebench() -> np.ndarray | None:
    path = DATA / "human_judgebench_gpt4o_with_rm_scores.jsonl.gz"
    if not path.is_file():
        return None
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    names = sorted(rows[0]["rm_scores"])
    sign = np.array([1 if row["label"] == "A>B" else -1 for row in rows])
    return np.array([[row["rm_scores"][n][0] - row["rm_scores"][n][1] for n in names] for row in rows]) * sign[:, None]

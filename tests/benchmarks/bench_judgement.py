"""Judgement: suspects on scenarios of planted label errors, and a million mapped rows audited and selected from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from hf_datamap.curate.audit import audit
from hf_datamap.curate.audit.checks.suspects import SuspectOptions, decide
from hf_datamap.curate.audit.label_errors import LabelErrorModel
from hf_datamap.curate.audit.review import Review
from hf_datamap.curate.pairs import to_pairs
from hf_datamap.curate.select import select
from hf_datamap.curate.strategies import STRATEGIES
from hf_datamap.curate.texts.facts import read_texts
from hf_datamap.data import columns
from hf_datamap.data.view import DatasetView
from hf_datamap.datamap.datamap import DataMap
from tests.benchmarks.figure import Figure
from tests.benchmarks.planted_errors import Scenario, scenarios, ultrafeedback_gaps

ROWS = 1_000_000
SEEDS = 3
REVIEWED = 300
#: Strategies whose papers take such rows on purpose, or are meant for rows that have no labels yet.
INTENDED = {"high_variance", "implicit_gap", "delta_ucb", "random", "low_margin"}
_STEEP = (math.log(4.0), 1.0)  # the prior on the slope of release 0.1.0
TEXT_ROWS = 5_000


def figures() -> Iterator[Figure]:
    """Suspects against planted errors; seconds for a million rows, and microseconds per row of text."""
    yield from suspect_figures()
    yield from selection_figures()
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


@dataclass
class Tally:
    """What one rule did on all scenarios."""

    precision: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    of_oracle: list[float] = field(default_factory=list)
    stated: list[np.ndarray] = field(default_factory=list)
    wrong: list[np.ndarray] = field(default_factory=list)

    def add(self, probability: np.ndarray, chosen: np.ndarray, contradicted: np.ndarray, wrong: np.ndarray) -> None:
        """Count one draw."""
        hits = float(wrong[chosen].sum())
        self.precision.append(hits / chosen.sum() if chosen.any() else 1.0)
        self.recall.append(hits / max(wrong.sum(), 1))
        self.of_oracle.append(2 * hits / max(chosen.sum() + wrong.sum(), 1))
        self.stated.append(probability[contradicted])
        self.wrong.append(wrong[contradicted])

    def calibration_error(self) -> float:
        """Mean difference of stated and true share over tenths of the probability, weighted by rows."""
        stated, wrong = np.concatenate(self.stated), np.concatenate(self.wrong)
        tenth = np.minimum((stated * 10).astype(int), 9)
        gaps = [abs(stated[tenth == k].sum() - wrong[tenth == k].sum()) for k in range(10)]
        return float(sum(gaps)) / len(stated)


def suspect_figures() -> Iterator[Figure]:
    """Precision, recall, F1 against the oracle's and calibration error, per scenario and over all of them."""
    totals: dict[str, Tally] = {}
    calibration: dict[str, Tally] = {}
    for scenario in scenarios():
        tallies, oracle = judged(scenario)
        for name, tally in tallies.items():
            total = totals.setdefault(name, Tally())
            total.precision.append(float(np.mean(tally.precision)))
            total.recall.append(float(np.mean(tally.recall)))
            total.of_oracle.append(float(np.mean(tally.of_oracle)) / oracle)
            if scenario.as_modelled:
                whole = calibration.setdefault(name, Tally())
                whole.stated += tally.stated
                whole.wrong += tally.wrong
        after = totals["default"]
        words = "; ".join(
            f"{name} P {total.precision[-1]:.2f} R {total.recall[-1]:.2f} F1 {total.of_oracle[-1]:.2f} of the oracle's"
            for name, total in totals.items()
            if name != "default"
        )
        note = f"P {after.precision[-1]:.2f} R {after.recall[-1]:.2f}; {words}"
        yield Figure(f"F1 of the oracle's: {scenario.name}", after.of_oracle[-1], note=note)
    goals = {"0.1.0": (None, None), "default": (0.74, None), "balanced": (None, 0.92), "reviewed": (0.80, None)}
    for name, total in totals.items():
        precision, of_oracle = goals[name]
        count = f"mean of {len(total.precision)} scenarios"
        yield Figure(f"suspects, {name}: precision", float(np.mean(total.precision)), precision, note=count)
        yield Figure(f"suspects, {name}: recall", float(np.mean(total.recall)), note=count)
        yield Figure(f"suspects, {name}: F1 of the oracle's", float(np.mean(total.of_oracle)), of_oracle, note=count)
        error = calibration[name].calibration_error()
        yield Figure(f"suspects, {name}: calibration error", error, 0.03, at_most=True)


def selection_figures() -> Iterator[Figure]:
    """Share of planted wrong labels in what each strategy takes by default; a random draw holds 15 %."""
    ds, wrong = planted_flips()
    for name in STRATEGIES:
        rows = np.array(select(ds, name)["row"])
        share = float(wrong[rows].mean()) if len(rows) else 0.0
        goal = None if name in INTENDED else 0.15
        yield Figure(f"wrong labels taken by {name}", 100 * share, goal and 100 * goal, at_most=True, unit="%",
                     note=f"{len(rows)} of {len(ds)} rows")  # fmt: skip


def planted_flips(rows: int = 400, flips: int = 60) -> tuple[Dataset, np.ndarray]:
    """Scored pairs with UltraFeedback's gaps, flips planted at gaps of 1.5 and more, and what the strategies need.

    Implicit margins and losses are those of a model that has learnt the true preferences half as sharply.
    """
    rng = np.random.default_rng(0)
    gaps = ultrafeedback_gaps()
    gaps = np.abs(rng.normal(1.5, 1.0, rows)) if gaps is None else gaps[gaps > 0][:rows]
    wrong = np.zeros(rows, bool)
    wrong[rng.choice(np.flatnonzero(gaps >= 1.5), flips, replace=False)] = True
    level = rng.normal(5, 1, rows)
    scores = np.stack([level + gaps / 2, level - gaps / 2], axis=1) + rng.normal(0, 0.5, (rows, 2))
    implicit = 0.5 * gaps + rng.normal(0, 0.5, rows)
    scores[wrong], implicit[wrong] = scores[wrong][:, ::-1], -implicit[wrong]
    mean, variance = columns.moments(scores)
    ds = Dataset.from_dict(
        {
            "prompt": [f"Question {k}?" for k in range(rows)],
            "chosen": ["word " * n for n in rng.integers(5, 50, rows)],
            "rejected": ["word " * n for n in rng.integers(5, 50, rows)],
            "chosen_model": rng.choice(["a", "b"], rows).tolist(),
            "rejected_model": rng.choice(["a", "b"], rows).tolist(),
            "implicit_margin": implicit.tolist(),
            "heldout_loss": np.logaddexp(0, -implicit).tolist(),
            "policy_chosen_mean_logps": rng.normal(-1, 0.2, rows).tolist(),
            "policy_rejected_mean_logps": rng.normal(-1, 0.2, rows).tolist(),
            "row": list(range(rows)),
            columns.SCORES: scores.tolist(),
            columns.MEAN: mean.tolist(),
            columns.VARIANCE: variance.tolist(),
            columns.NOISE: [0.25] * rows,
        }
    )
    return DataMap.fit(ds).assign(ds), wrong


def judged(scenario: Scenario) -> tuple[dict[str, Tally], float]:
    """What each rule does on a scenario, and the F1 of the best threshold that knows the truth."""
    tallies = {name: Tally() for name in ("0.1.0", "default", "balanced", "reviewed")}
    best = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        margin, wrong = scenario.draw(rng)
        hits = wrong[np.argsort(margin, kind="stable")].cumsum()
        best.append(float((2 * hits / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()))
        contradicted = margin < 0
        model = LabelErrorModel.fit(margin)
        before = LabelErrorModel.fit(margin, log_slope_prior=_STEEP).wrong(-margin)
        tallies["0.1.0"].add(before, contradicted & (before >= 0.5), contradicted, wrong)
        open_rows = np.flatnonzero(contradicted)
        rows = np.sort(rng.choice(open_rows, min(REVIEWED, len(open_rows)), replace=False))
        options = {
            "default": SuspectOptions(),
            "balanced": SuspectOptions("balanced"),
            "reviewed": SuspectOptions(review=Review(rows, wrong[rows])),
        }
        for name, option in options.items():
            probability, chosen, _ = decide(model, margin, option)
            tallies[name].add(probability, chosen, contradicted, wrong)
    return tallies, float(np.mean(best))


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

"""Does it help? A study that anyone can rerun: ``python -m tests.benchmarks.study_selection``.

Part 1, selection. 585 prompts with 11 judged responses of one model each (best-of-16 data; five of the 16 have no
Part 1, selection. 585 prompts with 11 judged responses of one model each (best-of-16 data; five of 16 have no
measured on the other. Two hundred halvings.

Part 2, audit. Labels are flipped in 5, 15 and 30 % of the rows; precision and recall of suspects against the planted
flips, over twenty plantings. Labels that were wrong before count as false alarms, so the precision is a lower bound.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset

from hf_datamap.curate.audit import audit
from hf_datamap.curate.select import select
from hf_datamap.curate.strategies import Pool
from hf_datamap.curate.texts.words import words
from hf_datamap.data import Layout, columns

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BON, WILD, JUDGE = (
    "multi_bon_tulu13b_n16.jsonl.gz",
    "scores_wildbench_two_judges.parquet",
    "human_judgebench_gpt4o_with_rm_scores.jsonl.gz",
)
RATES = (0.05, 0.15, 0.30)
LAYOUT = Layout(prompt="prompt", responses="responses[]", annotations="labels[]")


def highest_mean(pool: Pool) -> np.ndarray:
    """Highest mean first, whatever the variance."""
    return pool.moments[0]


SELECTIONS: Mapping[str, Any] = {
    "high_mean_low_variance": "high_mean_low_variance",
    "low_mean_low_variance": "low_mean_low_variance",
    "high_variance": "high_variance",
    "low_variance (random third of it)": "low_variance",
    "high_margin (best minus worst)": "high_margin",
    "highest mean, any variance": highest_mean,
    "random": "random",
    "full": None,
}


def selection(scores: np.ndarray, halvings: int = 200) -> list[dict[str, Any]]:
    """What each selected third is worth on responses that its map has not seen.

    Args:
        scores: shape (prompts, responses), all of them valid.
        halvings: how many random halvings.
    """
    names = ("mean", "std", "best", "worst", "best - worst", "overlap")
    found: dict[str, list[list[float]]] = {name: [] for name in SELECTIONS}
    for seed in range(halvings):
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(scores.shape[1]), (len(scores), 1)), axis=1)
        mixed = np.take_along_axis(scores, order, axis=1)
        half = scores.shape[1] // 2 + scores.shape[1] % 2
        seen, held = mixed[:, :half], mixed[:, half:]
        drawn, other = _scored(seen), _scored(held)
        for name, strategy in SELECTIONS.items():
            rows = np.arange(len(seen)) if strategy is None else _rows(drawn, strategy, seed)
            again = np.arange(len(seen)) if strategy is None else _rows(other, strategy, seed)
            mine = held[rows]
            best, worst = mine.max(axis=1), mine.min(axis=1)
            values = [mine.mean(), mine.std(axis=1).mean(), best.mean(), worst.mean(), (best - worst).mean()]
            found[name].append([float(v) for v in values] + [len(np.intersect1d(rows, again)) / len(rows)])
    return [
        {"selection": name, "rows": len(scores) if SELECTIONS[name] is None else len(scores) // 3}
        | {key: f"{np.mean(v):.3f} ± {np.std(v):.3f}" for key, v in zip(names, zip(*values, strict=True), strict=True)}
        for name, values in found.items()
    ]


def flips(name: str, labels: np.ndarray, scores: np.ndarray, plantings: int = 20) -> Iterator[dict[str, Any]]:
    """Precision and recall of suspects against planted flips.

    Args:
        name: of the experiment.
        labels: annotations, shape (rows, responses), NaN where missing.
        scores: of another judge, the same shape.
        plantings: how often flips are planted anew.
    """
    for rate in (0.0, *RATES):
        told = []
        for seed in range(plantings if rate else 1):
            planted = np.random.default_rng(seed).random(len(labels)) < rate
            turned = labels.copy()
            high, low = np.nanmax(labels, axis=1, keepdims=True), np.nanmin(labels, axis=1, keepdims=True)
            turned[planted] = (high + low - labels)[planted]
            report = audit(_scored(scores, turned), layout=LAYOUT, read_texts=False)
            suspects = report.suspects.rows
            hits = int(planted[suspects].sum())
            error = report.measures.get("label_error", float("nan"))  # not known where scores tell nothing
            told.append([len(suspects), hits / max(1, len(suspects)), hits / max(1, int(planted.sum())), error])
        size, precision, recall, error = np.mean(told, axis=0)
        yield {
            "data": name,
            "rows": len(labels),
            "planted": f"{rate:.0%}",
            "suspects": f"{size:.1f}",
            "precision": f"{precision:.3f}" if rate else "",
            "recall": f"{recall:.3f}" if rate else "",
            "estimated label error": f"{error:.3f}",
        }


def judged_twice() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Data with labels of one origin and scores of another."""
    yield from _wild_bench()
    yield from _judge_bench()
    yield from _references()


def _wild_bench() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    table = pq.read_table(DATA / WILD).to_pandas()
    turbo, omni = (
        part.pivot_table(index="session_id", columns="model", values="score")
        for part in (table[~table.judge.str.contains("4o")], table[table.judge.str.contains("4o")])
    )
    shared = [model for model in omni.columns if model in turbo.columns]
    both = omni.index.intersection(turbo.index)
    one, two = omni.loc[both, shared].to_numpy(float), turbo.loc[both, shared].to_numpy(float)
    rng = np.random.default_rng(0)
    picks = np.array([rng.choice(len(shared), 2, replace=False) for _ in range(len(one))])
    left, right = np.take_along_axis(one, picks, axis=1), np.take_along_axis(two, picks, axis=1)
    for least in (1, 3):
        clear = np.abs(left[:, 0] - left[:, 1]) >= least
        label = (left > left[:, ::-1]).astype(float)
        yield (
            f"WildBench pairs, labels of GPT-4o ({least}+ points apart), scores of GPT-4-turbo",
            label[clear],
            right[clear],
        )
    yield f"WildBench, {len(shared)} responses a row, the same judges", one, two


def _judge_bench() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    rows = _lines(JUDGE)
    labels = np.array([[1.0, 0.0] if row["label"] == "A>B" else [0.0, 1.0] for row in rows])
    models = sorted(rows[0]["rm_scores"])
    scores = np.array([[row["rm_scores"][model] for model in models] for row in rows], float)
    scores = (scores - scores.mean(axis=(0, 2), keepdims=True)) / scores.std(axis=(0, 2), keepdims=True)
    yield "JudgeBench, objective labels, mean of five reward models", labels, scores.mean(axis=1)


def _references() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Best against worst by GPT-4; scored by the same judge (a ceiling), and by words shared with a reference."""
    rows = _lines(BON)
    judged = np.array([row["preference"][:11] for row in rows])
    ends = np.stack([judged.argmax(axis=1), judged.argmin(axis=1)], axis=1)
    judge = np.take_along_axis(judged, ends, axis=1)
    judge = np.log((judge - 1 + 1e-6) / (2 - judge + 1e-6))
    overlap = np.array(
        [[_cosine(row["reference_output"], row["output"][k]) for k in end] for row, end in zip(rows, ends, strict=True)]
    )
    labels = np.tile([1.0, 0.0], (len(rows), 1))
    yield "best-of-16, best against worst, scores of the same judge (ceiling)", labels, judge
    yield "best-of-16, best against worst, words shared with a reference", labels, overlap


def _cosine(one: str, two: str) -> float:
    found = words([one, two])
    a, b = (set(found.hashes[i:j].tolist()) for i, j in zip(found.starts[:-1], found.starts[1:], strict=True))
    return len(a & b) / max(1.0, (len(a) * len(b)) ** 0.5)


def _scored(scores: np.ndarray, labels: np.ndarray | None = None) -> Dataset:
    rows = {"prompt": [str(k) for k in range(len(scores))], columns.SCORES: _lists(scores)}
    rows["responses"] = [[str(j) for j in range(scores.shape[1])]] * len(scores)
    if labels is not None:
        rows["labels"] = _lists(labels)
    return Dataset.from_dict(rows)


def _lists(matrix: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]


def _rows(ds: Dataset, strategy: str | Callable[[Pool], np.ndarray], seed: int) -> np.ndarray:
    chosen = select(ds, strategy, rows=len(ds) // 3, seed=seed)
    return np.array([int(prompt) for prompt in chosen["prompt"]])


def _lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> int:
    """Print both tables."""
    missing = [name for name in (BON, WILD, JUDGE) if not (DATA / name).is_file()]
    if missing:
        print(f"the study needs {', '.join(missing)} in {DATA}", file=sys.stderr)
        return 2
    scores = np.array([row["preference"][:11] for row in _lines(BON)], float)
    _print("The selected third on unseen responses (GPT-4 preference over a baseline, 1 to 2)", selection(scores))
    found = [row for name, labels, other in judged_twice() for row in flips(name, labels, other)]
    _print("Suspects against planted flips", found)
    return 0


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"## {title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(main())

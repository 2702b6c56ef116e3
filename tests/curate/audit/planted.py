"""Data with faults planted where the tests know of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, load_dataset

from hf_datamap.data import columns

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"

_SUBJECTS = (
    "volcano",
    "bakery",
    "glacier",
    "orchestra",
    "lighthouse",
    "submarine",
    "library",
    "vineyard",
    "windmill",
    "aquarium",
)
_VERBS = ("describe", "explain", "summarise", "compare", "criticise", "plan", "improve", "paint", "repair", "visit")
_DETAILS = (
    "in spring",
    "for children",
    "near Lisbon",
    "without money",
    "at night",
    "by bicycle",
    "during a strike",
    "in 1920",
)


def shared(name: str) -> Dataset:
    """A file of the shared data, or a skip that names it."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {SHARED}")
    return load_dataset("json", data_files=str(path), split="train")


def texts(rows: int) -> dict[str, list[str]]:
    """Prompts that differ, with two responses each that speak of what the prompt asks for."""
    prompts, chosen, rejected = [], [], []
    for k in range(rows):
        subject, verb = _SUBJECTS[k % 10], _VERBS[k // 10 % 10]
        detail, tag = _DETAILS[k // 100 % 8], f"{subject}{k}"
        prompts.append(f"Please {verb} the {subject} called {tag} {detail} and its neighbour {verb}{k}.")
        chosen.append(
            f"The {subject} called {tag} is old. To {verb} it {detail}, one begins with {verb}{k}, slowly and well."
        )
        rejected.append(f"I would {verb} {tag} like any {subject}. Perhaps {verb}{k} is enough {detail}, who can say.")
    return {"prompt": prompts, "chosen": chosen, "rejected": rejected}


def pairs(rows: int = 400, flipped: float = 0.0, *, noise: float = 0.5, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """Scored pairs; which of them have chosen and rejected exchanged.

    Margins are normal around 1.5 before the scorer's noise.
    """
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = texts(rows)
    margin = np.abs(rng.normal(1.5, 0.7, rows))
    scores = np.stack([margin, np.zeros(rows)], axis=1) + rng.normal(0, noise, (rows, 2)) + rng.normal(0, 1, (rows, 1))
    wrong = rng.random(rows) < flipped
    for k in np.flatnonzero(wrong):
        data["chosen"][k], data["rejected"][k] = data["rejected"][k], data["chosen"][k]
    scores[wrong] = scores[wrong][:, ::-1]
    return scored(data, scores), wrong


def scored(data: dict[str, Any], scores: np.ndarray) -> Dataset:
    """A dataset with the columns that a scorer adds."""
    mean, variance = columns.moments(scores)
    valid = [[None if np.isnan(value) else value for value in row] for row in scores.tolist()]
    return Dataset.from_dict(
        {**data, columns.SCORES: valid, columns.MEAN: mean.tolist(), columns.VARIANCE: variance.tolist()}
    )


def ultrafeedback(rows: int = 200, broken: Sequence[int] = ()) -> Dataset:
    """UltraFeedback's columns; in the ``broken`` rows the overall score of the first response, 1, became 10."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(rows):
        quality = rng.uniform(1, 5, 4)
        if k in broken:
            quality[0] = 1.0
        made.append([_completion(k, j, quality[j], broken=k in broken and j == 0) for j in range(4)])
    data = texts(rows)
    return Dataset.from_dict(
        {
            "source": [("evol", "flan")[k % 2] for k in range(rows)],
            "instruction": data["prompt"],
            "models": [[c["model"] for c in row] for row in made],
            "completions": made,
        }
    )


def _completion(row: int, place: int, quality: float, *, broken: bool) -> dict[str, Any]:
    rating = str(round(quality))
    return {
        "model": f"model {place}",
        "response": f"Answer {place} to question {row}.",
        "overall_score": 10.0 if broken else float(round(quality * 2)),
        "annotations": {
            "helpfulness": {"Rating": rating},
            "honesty": {"Rating": "N/A" if place == 3 else rating},
        },
    }

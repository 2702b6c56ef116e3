"""Small mapped datasets: the same bytes every time."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap

PROVENANCE = {
    "scorer": {"kind": "judge", "model": "judge-7b", "sampling": {"temperature": 0.0}},
    "source": {"id": "acme/prefs", "revision": "0123abc"},
    "usage": {"requests": 120, "from_store": 3, "failed": {"timeout": 2}},
    "date": "2026-11-22",
}
TEXTS = Features({name: Value("string") for name in ("prompt", "chosen", "rejected", "source")})


def plain(rows: int = 24, seed: int = 0) -> Dataset:
    """Preference pairs without a map."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 60, (rows, 2))
    return Dataset.from_dict(
        {
            "prompt": [f"question {seed}/{i}" for i in range(rows)],
            "chosen": ["a" * int(n) for n in length[:, 0]],
            "rejected": ["b" * int(n) for n in length[:, 1]],
            "source": [("flan", "evol", "sharegpt")[i % 3] for i in range(rows)],
        },
        features=TEXTS,
    )


def scored(rows: int = 24, seed: int = 0) -> Dataset:
    """Pairs with every column of the contract but the region."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, (rows, 2)).astype(float)
    scores[rows // 2, 1] = np.nan  # one row without a point
    likes = np.tile([1.0, 0.0], (rows, 1))
    mean, variance = columns.moments(scores)

    def nullable(values: np.ndarray) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    added = {
        columns.SCORES: [nullable(row) for row in scores],
        columns.MEAN: nullable(mean),
        columns.VARIANCE: nullable(variance),
        columns.NOISE: [None] * rows,
        columns.STATUS: ["ok" if not np.isnan(row).any() else "partial" for row in scores],
        columns.ERROR: [""] * rows,
        columns.AGREEMENT: nullable(columns.agreement(scores, likes)),
        columns.MARGIN: nullable(columns.margin(scores, likes)),
        columns.SUSPECT: [i % 7 == 3 for i in range(rows)],
    }
    features = columns.features(TEXTS, columns.SCHEMA)
    del features[columns.REGION]
    return Dataset.from_dict({**plain(rows, seed).to_dict(), **added}, features=features)


def mapped(rows: int = 24, seed: int = 0) -> tuple[Dataset, DataMap]:
    ds = scored(rows, seed)
    data_map = DataMap.fit(ds, provenance=PROVENANCE)
    return data_map.assign(ds), data_map


def mapped_splits(rows: int = 24, seed: int = 0) -> tuple[DatasetDict, DataMap]:
    ds = DatasetDict(train=scored(rows, seed), test=scored(rows // 2, seed + 1))
    data_map = DataMap.fit(ds, provenance=PROVENANCE)
    return data_map.assign(ds), data_map

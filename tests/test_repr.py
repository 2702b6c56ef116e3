"""Every public object shows itself in one short line: no address in memory, no kilobytes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from datasets import Dataset

import hf_datamap as dm

LONGEST = 120
ROWS = [
    {"prompt": f"Question {k}? " * 20, "chosen": "a" * 400, "rejected": "b", "s": [float(k % 5), 1.0]}
    for k in range(40)
]
SERVER = {"base_url": "http://127.0.0.1:1/v1"}


@functools.cache
def mapped():
    return dm.annotate(Dataset.from_list(ROWS), dm.ColumnScorer("s"), progress=False)


@functools.cache
def report():
    return dm.audit(mapped()[0])


def rubric():
    return dm.Rubric("polite", "Judge how polite the response is. " * 50)


#: How to make a small one of each public object that needs no server, weights or Hub.
OBJECTS: dict[str, Callable[[], object]] = {
    "DataMap": lambda: mapped()[1],
    "a region of it": lambda: mapped()[1].regions[0],
    "a boundary of it": lambda: mapped()[1].variance,
    "audit": report,
    "a finding": lambda: report().findings[0],
    "suspects": lambda: report().suspects,
    "fix": lambda: dm.fix(mapped()[0], report()),
    "estimate": lambda: dm.estimate(Dataset.from_list(ROWS), dm.LLMJudge("m", **SERVER)),
    "Layout": lambda: dm.detect_layout(Dataset.from_list(ROWS)),
    "Example": lambda: dm.detect_layout(Dataset.from_list(ROWS)).read(ROWS[0]),
    "Score": lambda: dm.Score(1.0),
    "inspect_dataset": lambda: dm.inspect_dataset(Dataset.from_list(ROWS)),
    "Budget": lambda: dm.Budget(requests=3),
    "Prices": lambda: dm.Prices(1.0, 2.0),
    "score_fn": lambda: dm.score_fn(dm.ColumnScorer("s")),
    "LLMJudge": lambda: dm.LLMJudge("m", **SERVER),
    "LLMJudge with a rubric": lambda: dm.LLMJudge("m", rubric=rubric(), **SERVER),
    "LLMJudge with a key": lambda: dm.LLMJudge("m", api_key="sk-secret", **SERVER),
    "ColumnScorer": lambda: dm.ColumnScorer("s"),
    "ConstraintScorer": dm.ConstraintScorer,
    "Panel": lambda: dm.Panel([dm.ColumnScorer("s"), dm.ConstraintScorer(), dm.LLMJudge("m", **SERVER)]),
    "RewardModel": lambda: dm.RewardModel("org/model"),
    "ReferenceScorer": lambda: dm.ReferenceScorer("gold", similarity=dm.RougeL()),
    "ReferenceWriter": lambda: dm.ReferenceWriter("m", **SERVER),
    "ServedEmbedder": lambda: dm.ServedEmbedder("e", **SERVER),
    "RougeL": dm.RougeL,
    "SentenceEmbedder": dm.SentenceEmbedder,
    "Rubric": rubric,
    "Criterion": lambda: dm.Criterion("helpful", "How helpful it is. " * 50),
    "noise_split": lambda: dm.noise_split(mapped()[0]),
    "RowError": lambda: dm.RowError("no prompt", "x" * 60),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_one_short_line(name):
    shown = repr(OBJECTS[name]())
    assert "\n" not in shown
    assert " at 0x" not in shown
    assert len(shown) <= LONGEST, shown[:300]
    assert "sk-secret" not in shown

"""A scorer of one's own: the README's example, word for word, gets what the shipped ones have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from datasets import Dataset

import hf_datamap as dm

README = Path(__file__).parents[2] / "README.md"
ROWS = [{"prompt": f"p{i}", "responses": ["a" * i, "bb", None, " "]} for i in range(1, 7)]


class Long:
    """Another party's."""

    identity = {"kind": "long"}

    async def score(self, example):
        return [dm.Score(None, "nothing") if text is None else float(len(text)) for text in example.responses]


@pytest.fixture
def scorer():
    """An instance of the README's class that counts its calls."""
    (code,) = re.findall(r"```python\n(class ShortIsGood:.*?)\n\n\nds, data_map", README.read_text("utf-8"), re.DOTALL)
    assert code.count("\n") < 10
    found: dict = {"dm": dm}
    exec(code, found)

    class Counted(found["ShortIsGood"]):
        calls = 0

        def score(self, example):
            type(self).calls += 1
            return super().score(example)

    return Counted()


def annotated(scorer, **options):
    return dm.annotate(Dataset.from_list(ROWS), scorer, progress=False, **options)


def test_store_and_columns(scorer):
    first, _ = annotated(scorer)
    assert first["datamap_scores"][0] == [pytest.approx(1 / 2), pytest.approx(1 / 3), None, pytest.approx(1 / 2)]
    assert first["datamap_error"][0] == "response 3: the response is missing"
    again, data_map = annotated(scorer)
    assert scorer.calls == len(ROWS)  # a response that is missing is no reason to ask again
    assert data_map.provenance["usage"]["from_store"] == len(ROWS)
    assert again["datamap_scores"] == first["datamap_scores"]
    assert dm.score_fn(scorer).features(Dataset.from_list(ROWS)).keys() == set(first.column_names) - {
        "datamap_agreement",
        "datamap_margin",
        "datamap_region",
    }


def test_budget_and_going_on(scorer):
    table, _ = annotated(scorer, budget=dm.Budget(requests=2))
    assert table["datamap_status"] == ["partial"] * 2 + ["skipped"] * 4
    annotated(scorer)
    assert scorer.calls == len(ROWS)


def test_a_seat_on_a_panel(scorer):
    annotated(scorer)
    members = {"short": scorer, "long": Long()}
    table, data_map = annotated(dm.Panel(members, columns=True))
    assert scorer.calls == len(ROWS)
    assert table["datamap_scores_short"][0][0] == pytest.approx(1 / 2)
    assert data_map.provenance["panel"]["members"] == ["short", "long"]

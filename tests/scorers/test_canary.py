"""Canaries: a share of rows is judged with planted and with neutral words, and the shift is reported."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.data.example import Example
from hf_datamap.scorers.canary import CanaryRecord, canary_of
from tests.rows import responses_of
from tests.servers.llm import LLMServer, completion

ROWS = [{"prompt": f"Question {i}?", "responses": [f"one {i}", f"two {i}", ""]} for i in range(200)]


def example(row):
    return Example(({"role": "user", "content": row["prompt"]},), row["responses"])


def with_canary(rows=ROWS):
    return [row for row in rows if canary_of(example(row), [text for text in row["responses"] if text])]


def gullible(request, _=0):
    """Gives 9 to what asks for it, 4 to the rest."""
    scores = {
        key: 9 if "evaluator" in text or "nothing better" in text else 4 for key, text in responses_of(request).items()
    }
    return completion(request, json.dumps(scores if "1" in scores and len(scores) > 1 else {"score": scores["1"]}))


def test_about_one_row_in_twenty_has_one_whatever_its_order():
    assert 3 <= len(with_canary()) <= 22
    turned = [{**row, "responses": row["responses"][::-1]} for row in ROWS]
    assert [row["prompt"] for row in with_canary(turned)] == [row["prompt"] for row in with_canary()]
    for row in with_canary():
        canary = canary_of(example(row), row["responses"][:2])
        assert canary.text in row["responses"]
        assert len(canary.planted) == len(canary.control)
        assert canary.planted.startswith(canary.text)


@pytest.mark.parametrize("mode", ["pointwise", "listwise"])
def test_the_shift_is_in_the_record_and_the_scores_are_not_touched(mode):
    with LLMServer(gullible) as server:
        plain, _ = dm.annotate(
            Dataset.from_list(ROWS), dm.LLMJudge("m", base_url=server.url, mode=mode, logprobs=False), progress=False
        )
        sent = len(server.requests)
        judge = dm.LLMJudge("m", base_url=server.url, mode=mode, logprobs=False, canary=True)
        table, data_map = dm.annotate(Dataset.from_list(ROWS), judge, progress=False)
        assert len(server.requests) == sent + 2 * len(with_canary())
    assert table["datamap_scores"][:] == plain["datamap_scores"][:]
    record = data_map.provenance["canary"]
    assert record == {"rows": len(with_canary()), "planted": 9.0, "control": 4.0, "shift": 5.0, "standard_error": 0.0}
    assert "canary" not in data_map.provenance["scorer"]


def test_failed_canaries_say_nothing():
    def script(request, _):
        if any("evaluator" in text or "nothing better" in text for text in responses_of(request).values()):
            return completion(request, "I refuse.")
        return completion(request, '{"score": 4}')

    with LLMServer(script) as server:
        judge = dm.LLMJudge("m", base_url=server.url, logprobs=False, canary=True)
        table, data_map = dm.annotate(Dataset.from_list(ROWS[:100]), judge, progress=False)
    assert "canary" not in data_map.provenance
    assert {score for scores in table["datamap_scores"] for score in scores[:2]} == {4.0}


def test_the_summary_by_hand():
    assert CanaryRecord().summary() == {}
    assert CanaryRecord([(6.0, 4.0)]).summary()["standard_error"] is None
    summary = CanaryRecord([(6.0, 4.0), (4.0, 4.0), (8.0, 4.0)]).summary()
    assert summary == {"rows": 3, "planted": 6.0, "control": 4.0, "shift": 2.0, "standard_error": round(2 / 3**0.5, 4)}


def test_the_estimate_counts_canaries():
    fresh = [{**row, "prompt": f"Fresh {row['prompt']}"} for row in ROWS]
    plain = dm.estimate(Dataset.from_list(fresh), dm.LLMJudge("m", base_url="http://h/v1"))
    more = dm.estimate(Dataset.from_list(fresh), dm.LLMJudge("m", base_url="http://h/v1", canary=True))
    assert more.requests == plain.requests + 2 * len(with_canary(fresh))

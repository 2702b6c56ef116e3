"""What peers are measured with: a server that answers each in its own shape, and figures that say what is missing."""

import json
import re

import pytest
from datasets import Dataset

import hf_datamap as dm
from tests.benchmarks import bench_curve
from tests.benchmarks.figure import Figure
from tests.benchmarks.peers import PeerMissing, material, python_of
from tests.servers.judgements import judged, written
from tests.servers.llm import LLMServer


def asked(words: str) -> dict:
    return {"messages": [{"role": "user", "content": words}]}


def test_a_listwise_judge_gets_a_score_for_each_response():
    with LLMServer(lambda request, _: judged(request)) as server:
        judge = dm.LLMJudge("m", base_url=server.url, mode="listwise")
        ds = Dataset.from_dict({"prompt": ["p"], "responses": [["a", "b", "c", "d"]]})
        out, _ = dm.annotate(ds, judge, progress=False)
    assert out["datamap_status"][:] == ["ok"]
    assert len(server.requests) == 1


def test_ultrafeedback_gets_a_section_for_each_text():
    form = "\n\n".join(f"#### Output for Text {i}\nRating: [Rating]\nRationale: [Rationale]" for i in range(1, 5))
    reply = written(asked(f"### Output\n{form}\n\n---\n\n## Annotation"))
    sections = [re.search(r"Rating: (.+?)\nRationale: (.+)", part, re.DOTALL) for part in reply.split("\n\n")]
    assert len(sections) == 4
    assert all(1 <= int(section[1]) <= 5 for section in sections)


def test_a_list_of_scores_is_as_long_as_was_asked():
    form = 'Score all 3 responses. Reply with ONLY a JSON object of the form {"scores": [s1, s2, ...]}'
    scores = json.loads(written(asked(form)))["scores"]
    assert len(scores) == 3
    assert all(1 <= score <= 5 for score in scores)


def test_without_valid_scores_there_is_no_comparison():
    material.check([[1, 2, 3, 4]], 1, 1, 5)
    for broken in ([[1, 2, 3]], [[1, 2, 3, 6]], [[1, 2, 3, None]], [None]):
        with pytest.raises(SystemExit, match="only 0 of 1"):
            material.check(broken, 1, 1, 5)


def test_a_peer_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATAMAP_PEERS", str(tmp_path))
    with pytest.raises(PeerMissing, match=r"distilabel is not installed .*make bench"):
        python_of("distilabel")
    row = Figure("ours over theirs", None, 5, note="distilabel is not installed").row
    assert "not measured" in row
    assert "distilabel is not installed" in row


@pytest.mark.parametrize("power", [1.0, 1.2])
def test_the_slope_of_a_power_is_its_exponent(power):
    points = [{"rows": rows} for rows in (10, 100, 1000)]
    assert bench_curve.slope(points, [7 * point["rows"] ** power for point in points]) == pytest.approx(power)

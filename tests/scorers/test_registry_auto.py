"""Which scorer ``auto`` takes, and what a spelling gives."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.registry import describe_auto, parse_scorer

PLAIN = {"prompt": ["p"], "chosen": ["a"], "rejected": ["b"]}
SCORED = {**PLAIN, "score_chosen": [5.0], "score_rejected": [1.0]}
CHECKED = {
    "prompt": ["p"],
    "responses": [["a", "b"]],
    "instruction_id_list": [["punctuation:no_comma"]],
    "kwargs": ["[{}]"],
}


@pytest.fixture
def models():
    """An endpoint that lists models."""
    listing: list[str] = ["only-one"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": name} for name in listing]}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", listing
    server.shutdown()
    server.server_close()


def test_scores_that_ship_come_first_and_it_says_so(caplog, monkeypatch):
    monkeypatch.setenv("HF_DATAMAP_JUDGE", "m")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with caplog.at_level(logging.INFO, "hf_datamap"):
        scorer = dm.auto_scorer(Dataset.from_dict(SCORED))
    assert scorer.identity == {"kind": "columns", "path": "score_chosen,score_rejected"}
    assert "every response ships with a score" in caplog.text


def test_then_constraints():
    assert isinstance(dm.auto_scorer(Dataset.from_dict(CHECKED)), dm.ConstraintScorer)


def test_then_a_judge_named_in_the_environment(monkeypatch):
    monkeypatch.setenv("HF_DATAMAP_JUDGE", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    judge = dm.auto_scorer(Dataset.from_dict(PLAIN), max_in_flight=3)
    assert (judge.model, judge.endpoint.base_url, judge.max_in_flight) == ("m", "http://127.0.0.1:9/v1", 3)


def test_an_endpoint_with_one_model_needs_no_name(models, monkeypatch):
    url, listing = models
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert dm.auto_scorer(Dataset.from_dict(PLAIN)).model == "only-one"
    listing.append("another")
    with pytest.raises(ScorerError, match="HF_DATAMAP_JUDGE"):
        dm.auto_scorer(Dataset.from_dict(PLAIN))


def test_otherwise_the_ways_out_are_listed():
    with pytest.raises(ScorerError, match=r"(?s)judge:MODEL.*constraints.*columns:PATH.*HF_DATAMAP_JUDGE"):
        describe_auto(dm.detect_layout(Dataset.from_dict(PLAIN)))


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("columns:completions[].score", {"kind": "columns", "path": "completions[].score"}),
        ("columns", {"kind": "columns", "path": None}),
    ],
)
def test_spellings(text, identity):
    assert parse_scorer(text).identity == identity


def test_modes_of_constraints():
    assert parse_scorer("constraints").mode == "strict"
    assert parse_scorer("constraints:loose").mode == "loose"


@pytest.mark.parametrize("text", ["", "judge:", "constraints:lose", "nonsense", "columns:a..b", "judge"])
def test_wrong_spellings_are_refused(text):
    with pytest.raises(ScorerError):
        parse_scorer(text)


def test_the_learned_scorers_and_panels_by_name():
    assert parse_scorer("reward:some/model").identity["model"] == "some/model"
    reference = parse_scorer("reference:gold@rouge-l")
    assert reference.column == "gold"
    assert reference.identity["similarity"]["measure"] == "rouge-l-f1"
    assert parse_scorer("reference").identity["similarity"]["model"] == "sentence-transformers/all-mpnet-base-v2"
    panel = parse_scorer("judge:a+b+judge:c+constraints", base_url="http://h/v1")
    assert list(panel.members) == ["judge_a_b", "judge_c", "constraints"]
    assert list(parse_scorer("columns:a,b+constraints").members) == ["columns_a_b", "constraints"]
    with pytest.raises(dm.DataMapError, match="need their path"):
        parse_scorer("judge:a+columns", base_url="http://h/v1")

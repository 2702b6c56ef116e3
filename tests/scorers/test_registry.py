"""Scorers by name, with options, as the command line gives them."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.cli import main
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.registry import parse_scorer
from tests.scorers.test_reference import needs_rapidfuzz
from tests.servers.llm import LLMServer, classify, completion, embeddings

ROWS = [{"prompt": f"Q{i}", "responses": ["a cat", "a dog sat"], "gold": ["a cat", ""][i % 2]} for i in range(4)]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def mapped(rows, *words):
    out = rows.with_name("map")
    main(["map", str(rows), "--out", str(out), *words])
    return Dataset.from_parquet(str(next((out / "data").glob("*.parquet"))))


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("judge:m", {"max_tokens": 4096, "orders": 2, "mode": "listwise"}, {"max_tokens": 4096, "orders": 2}),
        ("reward:org/m", {"output": "rewards[9]", "dtype": "bfloat16"}, {"output": "rewards[9]"}),
        ("reward:m@http://h:80", {"server": "tei"}, {"model": "m"}),
        ("reference@rouge-l", {}, {"column": None}),
        ("reference:gold@rouge-l", {}, {"column": "gold"}),
        ("reference:gold@org/embedder", {"long_texts": "chunks"}, {"column": "gold"}),
    ],
)
def test_options_reach_the_scorer(text, options, found):
    scorer = parse_scorer(text, options)
    assert {name: getattr(scorer, name) for name in found} == found


def test_served_models_are_named_with_their_url():
    reward = parse_scorer("reward:m@http://h:80", {"server": "tei"}, max_in_flight=3)
    assert (reward.identity["server"], reward.identity["base_url"], reward.max_in_flight) == ("tei", "http://h:80", 3)
    reference = parse_scorer("reference@org/e@https://h/v1", {"cut_at": 900})
    assert isinstance(reference.similarity, dm.ServedEmbedder)
    assert reference.identity["similarity"]["base_url"] == "https://h/v1"


def test_a_writer_asks_where_the_judge_would():
    writer = parse_scorer("reference@rouge-l", {"writer": "w"}, base_url="http://h/v1").writer
    assert (writer.endpoint.model, writer.endpoint.base_url) == ("w", "http://h/v1")


def test_a_panel_shares_options_out():
    panel = parse_scorer("judge:m+reference@rouge-l+columns:a", {"combine": "median", "samples": 3, "columns": True})
    assert (panel.how, panel.part_names, panel.standardise) == ("median", tuple(panel.members), "z")
    assert panel.members["judge_m"].samples == 3
    assert list(panel.members) == ["judge_m", "reference", "columns_a"]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("judge:m", {"outputs": 1}, "has no option outputs. Its options: .*max_tokens"),
        ("judge:m", {"api_key": "sk-1"}, "has no option api_key"),
        ("judge:m", {"combine": "mean"}, "has no option combine"),
        ("constraints", {"samples": 2}, "Its options: behaviour, compare, strip_thoughts, upstream_regex"),
        ("judge:m", {"timeout": "long"}, "timeout=long"),
        ("reference@rouge-l", {"long_texts": "cut"}, "Its options: text_only, writer"),
    ],
)
def test_options_that_nothing_takes_are_refused(text, options, words):
    with pytest.raises(ScorerError, match=words):
        parse_scorer(text, options)


def test_options_on_the_command_line(rows):
    def script(request, _):
        assert request["max_tokens"] == 77
        return completion(request, json.dumps(dict.fromkeys(("1", "2"), 5)))

    with LLMServer(script) as server:
        words = ["--scorer", "judge:m", "--base-url", server.url, "--listwise"]
        ds = mapped(rows, *words, "-o", "orders=2", "--option", "max-tokens=77")
        assert len(server.requests) == 2 * len(ROWS)
    assert ds["datamap_scores"][0] == [5.0, 5.0]
    assert ds["datamap_noise"][0] == 0.0


@needs_rapidfuzz
def test_missing_references_are_written_on_the_command_line(rows):
    with LLMServer(lambda request, _: completion(request, "a dog sat")) as server:
        words = ["--scorer", "reference:gold@rouge-l", "-o", "writer=w", "--base-url", server.url]
        ds = mapped(rows, *words)
        assert len(server.requests) == 2
    assert [max(range(2), key=scores.__getitem__) for scores in ds["datamap_scores"]] == [0, 1, 0, 1]


def test_served_scorers_on_the_command_line(rows, capsys):
    def script(request, _):
        return embeddings(request) if "input" in request else classify(request)

    with LLMServer(script) as server:
        base = server.url.removesuffix("/v1")
        ds = mapped(rows, "--scorer", f"reward:m@{base}+reference:gold@e@{server.url}", "-o", "columns=true")
    assert "Krippendorff's alpha" in capsys.readouterr().out
    assert ds["datamap_scores_reward_m"][0] == pytest.approx([0.5, 0.9])
    assert ds["datamap_scores_reference"][0][0] == pytest.approx(1.0)


def test_scorers_are_listed_without_a_source(capsys):
    main(["map", "--scorer", "help"])
    assert "reward:MODEL[@URL]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scorer", "reward:m", "--base-url", "http://h"], "reward:m@http://h"),
        (["--scorer", "judge:m", "-o", "orders"], "NAME=VALUE"),
        (["--scorer", "judge:m", "-o", "order=2"], "no option order"),
    ],
)
def test_wrong_words_are_told_before_anything_is_read(rows, words, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(["map", str(rows.with_name("none.jsonl")), "--out", str(rows.with_name("map")), *words])
    assert left.value.code == 2
    assert said in capsys.readouterr().err

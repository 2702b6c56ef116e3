"""The pairwise judge: tournaments, strengths by hand, position bias, and a seat on a panel."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.data.example import Example
from hf_datamap.engine.reply import ChatReply
from hf_datamap.errors import Unanswered
from hf_datamap.scorers.bradley_terry import PRIOR_SD, bradley_terry, components
from hf_datamap.scorers.judge_reply import read_winner
from hf_datamap.scorers.registry import parse_scorer
from tests.rows import responses_of
from tests.servers.llm import LLMServer, completion, error

ROWS = [{"prompt": f"Question {i}", "responses": [f"a{i}", f"bbb{i}", f"ccccc{i}", f"dddddddd{i}"]} for i in range(4)]


def longer(request, _=0):
    """Prefers the longer response."""
    first, second = (len(text) for text in responses_of(request).values())
    return completion(request, json.dumps({"better": "tie" if first == second else "1" if first > second else "2"}))


def annotated(judge, rows=ROWS, **options):
    return dm.annotate(Dataset.from_list(rows), judge, progress=False, **options)


# Strengths


def test_two_contestants_by_hand():
    """Two games won of two: the mode solves 2 / (1 + exp(2 s)) = s / sd^2, by symmetry of s and -s."""
    strengths, variances = bradley_terry(np.array([[0.0, 2.0], [0.0, 0.0]]))
    (s, minus_s) = strengths
    assert minus_s == pytest.approx(-s)
    assert 2 / (1 + math.exp(2 * s)) == pytest.approx(s / PRIOR_SD**2)
    p = 1 / (1 + math.exp(-2 * s))
    weight, prior = 2 * p * (1 - p), 1 / PRIOR_SD**2
    information = np.array([[weight + prior, -weight], [-weight, weight + prior]])
    assert variances == pytest.approx(np.diag(np.linalg.inv(information)))


def test_many_games_give_the_odds():
    """With much data the prior fades: strengths differ by the log of the odds."""
    wins = np.array([[0.0, 3000.0], [1000.0, 0.0]])
    strengths, variances = bradley_terry(wins)
    assert strengths[0] - strengths[1] == pytest.approx(math.log(3), abs=1e-3)
    assert bradley_terry(wins / 100)[1][0] > variances[0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=16, max_size=16))
def test_strengths_are_finite_sum_to_zero_and_do_not_depend_on_the_order(counts):
    wins = np.array(counts, float).reshape(4, 4)
    np.fill_diagonal(wins, 0)
    strengths, variances = bradley_terry(wins)
    assert np.isfinite(strengths).all()
    assert strengths.sum() == pytest.approx(0, abs=1e-6)
    assert (variances > 0).all()
    assert (variances <= PRIOR_SD**2 + 1e-9).all()
    turned = [2, 0, 3, 1]
    assert bradley_terry(wins[np.ix_(turned, turned)])[0] == pytest.approx(strengths[turned], abs=1e-6)
    assert bradley_terry(wins.T)[0] == pytest.approx(-strengths, abs=1e-6)


def test_groups_that_never_met():
    games = np.zeros((5, 5))
    games[0, 1] = games[1, 0] = games[3, 4] = games[4, 3] = games[1, 3] = games[3, 1] = 1
    assert components(games).tolist() == [0, 0, 2, 0, 0]


# The tournament


def test_everyone_meets_everyone_in_both_orders_and_the_best_is_strongest():
    with LLMServer(longer) as server:
        judge = dm.PairwiseJudge("m", base_url=server.url)
        table, data_map = annotated(judge)
        assert len(server.requests) == len(ROWS) * 6 * 2
        assert {tuple(responses_of(request)) for request in server.requests} == {("1", "2")}
        again, _ = annotated(judge)
        assert len(server.requests) == len(ROWS) * 6 * 2
    for scores in table["datamap_scores"]:
        assert all(a < b for a, b in itertools.pairwise(scores))
        assert sum(scores) == pytest.approx(0, abs=1e-5)
    assert all(noise > 0 for noise in table["datamap_noise"])
    assert again["datamap_scores"][:] == table["datamap_scores"][:]
    assert data_map.provenance["scorer"]["kind"] == "pairwise"
    assert data_map.provenance["pairwise"] == {
        "comparisons": 48,
        "ties": 0,
        "first_wins": 0.5,
        "both_orders_agree": 1.0,
    }


def test_the_order_of_the_responses_means_nothing():
    with LLMServer(longer) as server:
        judge = dm.PairwiseJudge("m", base_url=server.url)
        table, _ = annotated(judge)
        sent = len(server.requests)
        backwards = [{**row, "responses": [*row["responses"][::-1], "", None, row["responses"][0]]} for row in ROWS]
        again, _ = annotated(judge, backwards)
        assert len(server.requests) == sent  # the same texts: the same questions
    for scores, before in zip(again["datamap_scores"], table["datamap_scores"], strict=True):
        assert scores == [*before[::-1], None, None, before[0]]


@pytest.mark.parametrize(("comparisons", "pairs"), [(1, 5), (5, 5), (6, 6), (9, 9), (15, 15), (99, 15)])
def test_fewer_comparisons_still_connect_all(comparisons, pairs):
    rows = [{"prompt": "Q", "responses": [f"{'x' * i} {i}" for i in range(6)]}]
    judge = dm.PairwiseJudge("m", base_url="http://127.0.0.1:1/v1", comparisons=comparisons)
    example = Example(({"role": "user", "content": "Q"},), rows[0]["responses"])
    met = {frozenset(task.payload.pair) for task in judge.tasks(example)}
    assert len(met) == pairs
    assert len(judge.tasks(example)) == 2 * pairs
    counts = [sum(text in pair for pair in met) for text in example.responses]
    assert max(counts) - min(counts) <= 2
    assert min(counts) >= 1


def test_position_bias_is_reported_and_evens_out():
    with LLMServer(lambda request, _: completion(request, '{"better": "1"}')) as server:
        table, data_map = annotated(dm.PairwiseJudge("m", base_url=server.url), ROWS[:1])
    assert table["datamap_scores"][0] == pytest.approx([0.0] * 4, abs=1e-6)
    assert data_map.provenance["pairwise"] == {
        "comparisons": 12,
        "ties": 0,
        "first_wins": 1.0,
        "both_orders_agree": 0.0,
    }


def test_ties_and_samples():
    with LLMServer(lambda request, _: completion(request, '{"better": "tie"}')) as server:
        table, data_map = annotated(dm.PairwiseJudge("m", base_url=server.url, samples=3), ROWS[:1])
        assert len(server.requests) == 6 * 2 * 3
        assert {request["temperature"] for request in server.requests} == {1.0}
    assert table["datamap_scores"][0] == pytest.approx([0.0] * 4)
    assert data_map.provenance["pairwise"]["first_wins"] is None
    with LLMServer(longer) as server:
        one, _ = annotated(dm.PairwiseJudge("m", base_url=server.url), ROWS[:1])
        more, _ = annotated(dm.PairwiseJudge("m", base_url=server.url, samples=3), ROWS[:1])
    assert more["datamap_noise"][0] != one["datamap_noise"][0]


def test_what_was_not_compared_has_no_score():
    def script(request, _):
        if any(text.startswith("dddd") for text in responses_of(request).values()):
            return completion(request, "I would rather not say.")
        return longer(request)

    with LLMServer(script) as server:
        table, _ = annotated(dm.PairwiseJudge("m", base_url=server.url), ROWS[:2])
    assert table["datamap_status"][:] == ["partial", "partial"]
    assert table["datamap_scores"][0][3] is None
    assert "no verdict" in table["datamap_error"][0]
    with LLMServer(longer) as server:
        lone, _ = annotated(dm.PairwiseJudge("m", base_url=server.url), [{"prompt": "Q", "responses": ["a", "a", ""]}])
        assert server.requests == []
    assert lone["datamap_status"] == ["failed"]
    assert "nothing to compare it with" in lone["datamap_error"][0]


def test_a_seat_on_a_panel():
    def script(request, _):
        return completion(request) if "one response" in request["messages"][0]["content"] else longer(request)

    with LLMServer(script) as server:
        judge = dm.LLMJudge("m", base_url=server.url)
        panel = dm.Panel({"alone": judge, "beside": dm.PairwiseJudge("m", base_url=server.url)}, columns=True)
        table, data_map = annotated(panel)
    assert set(table["datamap_status"]) == {"ok"}
    assert data_map.provenance["members"]["beside"]["pairwise"]["first_wins"] == 0.5
    assert sum(table["datamap_scores_beside"][0]) == pytest.approx(0, abs=1e-5)
    assert all(noise is not None for noise in table["datamap_noise"])


def test_a_wrong_key_ends_the_run():
    with (
        LLMServer(lambda request, _: error(401, "wrong key")) as server,
        pytest.raises(dm.DataMapError, match="answered 401"),
    ):
        annotated(dm.PairwiseJudge("m", base_url=server.url))


def test_references_are_shown_where_the_rubric_asks_for_them():
    rows = [{"prompt": "Q", "responses": ["a", "bb"], "reference": "the right answer"}]
    with LLMServer(longer) as server:
        annotated(dm.PairwiseJudge("m", base_url=server.url, rubric="reference"), rows)
        assert all("the right answer" in request["messages"][1]["content"] for request in server.requests)


# What is read


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ('{"better": "1"}', "1"),
        ('{"better": 2}', "2"),
        ('{"better": "Tie"}', "tie"),
        ('Both are short.\n```json\n{"better": "2"}\n```', "2"),
        ("1", "1"),
        ("**tie**", "tie"),
        ('{"better": true}', None),
        ('{"better": "A"}', None),
        ("Response 1 is better.", None),
        ('The first one says {"better": "1"}, so I prefer the other.', None),
        ('{"better": "1"} or {"better": "2"}', None),
        ("", None),
    ],
)
def test_reading_a_winner(text, winner):
    if winner is None:
        with pytest.raises(Unanswered):
            read_winner(ChatReply(text))
    else:
        assert read_winner(ChatReply(text)) == winner


def test_by_name_with_options_and_travelling():
    judge = parse_scorer("pairwise:m", {"comparisons": 3}, base_url="http://h/v1", samples=2)
    assert (judge.comparisons, judge.samples, judge.model) == (3, 2, "m")
    assert list(parse_scorer("judge:m+pairwise:m", base_url="http://h/v1").members) == ["judge_m", "pairwise_m"]
    with pytest.raises(dm.ScorerError, match="no option rationales"):
        parse_scorer("pairwise:m", base_url="http://h/v1", rationales=True)
    for wrong in ({"comparisons": 0}, {"samples": 0}, {"max_tokens": 0}, {"rubric": "nice"}):
        with pytest.raises(dm.ScorerError):
            dm.PairwiseJudge("m", base_url="http://h/v1", **wrong)
    judge = dm.PairwiseJudge("m", base_url="http://h/v1", api_key="sk-secret-1")
    data = pickle.dumps(judge)
    assert b"sk-secret-1" not in data
    assert pickle.loads(data).identity == judge.identity
    assert judge.swapped() is None


def test_the_estimate_counts_comparisons():
    rows = Dataset.from_list([{"prompt": f"Other {i}", "responses": ["a", "bb", "ccc"]} for i in range(5)])
    plan = dm.estimate(rows, dm.PairwiseJudge("m", base_url="http://h/v1"))
    assert plan.requests == 5 * 3 * 2
    assert plan.input_tokens > 0

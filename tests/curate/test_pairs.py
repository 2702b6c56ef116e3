from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as some

import hf_datamap as dm
from hf_datamap.curate.pairs import PairError, equal_arms, pair_attributes, provenance, shared_prefix, to_pairs
from tests.curate.audit import planted

ATTRIBUTES = ["margin", "shared_prefix_tokens", "shared_prefix_ratio", "chosen_score", "rejected_score", "difficulty"]


def responses(rows: int = 60, width: int = 4, seed: int = 0, **more) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset.from_dict(
        {
            "prompt": [f"Question {k}?" for k in range(rows)],
            "responses": [[f"Answer {k} number {j}." for j in range(width)] for k in range(rows)],
            "datamap_scores": rng.normal(size=(rows, width)).tolist(),
            **more,
        }
    )


def constrained(rows: int = 200, k: int = 4) -> Dataset:
    """Prompts with k constraints; scores are shares of them met."""
    rng = np.random.default_rng(0)
    met = rng.integers(0, k + 1, (rows, 6))
    return Dataset.from_dict(
        {
            "prompt": [f"Question {i}?" for i in range(rows)],
            "responses": [[f"Answer {i} number {j}." for j in range(6)] for i in range(rows)],
            "instruction_id_list": [["punctuation:no_comma"] * k] * rows,
            "kwargs": [[{"n": None}] * k] * rows,
            "datamap_scores": (met / k).tolist(),
        }
    )


def test_best_against_worst():
    ds = responses()
    found = to_pairs(ds)
    assert found.column_names[:3] == ["prompt", "chosen", "rejected"]
    assert found.column_names[3:9] == ATTRIBUTES
    assert len(found) == 60
    for pair, row in zip(found, ds, strict=True):
        scores = row["datamap_scores"]
        assert pair["prompt"] == row["prompt"]
        assert pair["chosen"] == row["responses"][int(np.argmax(scores))]
        assert pair["rejected"] == row["responses"][int(np.argmin(scores))]
        assert pair["margin"] == pytest.approx(max(scores) - min(scores), abs=1e-5)
        assert pair["chosen_score"] == pytest.approx(max(scores), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(some.lists(some.lists(some.sampled_from([1.0, 2.0, 3.0, None]), min_size=3, max_size=3), min_size=1, max_size=5))
def test_all_pairs_are_those_that_differ(scores):
    texts = [[f"{k} {j}" for j in range(3)] for k in range(len(scores))]
    ds = Dataset.from_dict(
        {"prompt": [f"p{k}" for k in range(len(scores))], "responses": texts, "datamap_scores": scores}
    )
    expected = {
        (texts[k][i], texts[k][j]) if row[i] > row[j] else (texts[k][j], texts[k][i])
        for k, row in enumerate(scores)
        for i, j in combinations(range(3), 2)
        if row[i] is not None and row[j] is not None and row[i] != row[j]
    }
    if not expected:
        with pytest.raises(PairError):
            to_pairs(ds, pairing="all")
        return
    found = to_pairs(ds, pairing="all")
    assert set(zip(found["chosen"], found["rejected"], strict=True)) == expected
    assert len(found) == len(expected)


def test_sweet_spot_takes_the_response_nearest_to_two_deviations_below():
    scores = [[10.0, 5.0, 5.0, 5.0, 5.0, 2.0, -9.0]]
    ds = responses(1, 7).remove_columns("datamap_scores").add_column("datamap_scores", scores)
    target = np.mean(scores) - 2 * np.std(scores)
    nearest = int(np.argmin(np.abs(np.array(scores[0]) - target)))
    assert to_pairs(ds, pairing="best_sweet")[0]["rejected"] == ds[0]["responses"][nearest]


def test_labels_come_from_the_data_or_from_the_scores_and_are_stated():
    ds = responses(1, 2).remove_columns("datamap_scores")
    ds = ds.add_column("datamap_scores", [[0.0, 1.0]]).add_column("scores", [[5.0, 3.0]])
    by_data, by_scores = to_pairs(ds), to_pairs(ds, labels="scores")
    assert (by_data[0]["chosen"], by_data[0]["margin"]) == ("Answer 0 number 0.", -1.0)
    assert (by_scores[0]["chosen"], by_scores[0]["margin"]) == ("Answer 0 number 1.", 1.0)
    assert provenance(by_data)["labels"] == "data"
    assert provenance(by_scores)["labels"] == "scores"


@pytest.mark.parametrize(
    ("contrast", "allowed"),
    [("high", {(4, 0), (4, 1), (4, 2)}), ("low", {(1, 0), (2, 1), (3, 2), (4, 3)}), ((4, 2), {(4, 2)})],
)
def test_contrast_in_constraint_counts(contrast, allowed):
    found = to_pairs(constrained(), contrast)
    seen = {(round(4 * c), round(4 * r)) for c, r in zip(found["chosen_score"], found["rejected_score"], strict=True)}
    assert seen <= allowed
    assert len(found) > 50
    assert set(found["constraints"]) == {4}
    assert len(set(found["source_row"])) == len(found)  # one pair per prompt


def test_mixed_contrast_is_half_and_half():
    found = to_pairs(constrained(), "mixed")
    high = [
        round(4 * c) == 4 and round(4 * r) <= 2
        for c, r in zip(found["chosen_score"], found["rejected_score"], strict=True)
    ]
    assert sum(high) == len(found) / 2
    assert len(set(found["source_row"])) == len(found)


def test_contrast_in_quantiles_of_margins():
    ds = responses(200)
    every = np.array(to_pairs(ds, pairing="all")["margin"])
    low, high = np.quantile(every, [1 / 3, 2 / 3])
    assert min(to_pairs(ds, "high")["margin"]) >= high - 1e-5
    assert max(to_pairs(ds, "low")["margin"]) <= low + 1e-5


def test_quality_apart_from_contrast():
    good, poor = (to_pairs(responses(200), "low", quality=quality) for quality in ("high", "low"))
    assert min(good["chosen_score"]) >= max(poor["chosen_score"])
    assert max(good["margin"]) <= (limit := max(to_pairs(responses(200), "low", per_prompt=9)["margin"]))
    assert max(poor["margin"]) <= limit


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_at_most_k_pairs_per_prompt(limit):
    found = to_pairs(responses(40), pairing="all", per_prompt=limit, seed=3)
    assert np.unique(found["source_row"], return_counts=True)[1].tolist() == [limit] * 40
    assert found.to_dict() == to_pairs(responses(40), pairing="all", per_prompt=limit, seed=3).to_dict()
    assert found.to_dict() != to_pairs(responses(40), pairing="all", per_prompt=limit, seed=4).to_dict()


def test_equal_arms_have_the_same_prompts_and_pairs():
    ds = constrained()
    arms = equal_arms({"high": to_pairs(ds, "high", per_prompt=3), "low": to_pairs(ds, "low", per_prompt=2)})
    counts = [np.unique(arm["source_row"], return_counts=True) for arm in arms.values()]
    np.testing.assert_array_equal(counts[0][0], counts[1][0])
    np.testing.assert_array_equal(counts[0][1], counts[1][1])
    assert len(arms["high"]) > 50
    with pytest.raises(PairError, match="no prompt"):
        equal_arms({"a": arms["high"].select([0]), "b": arms["low"].select([len(arms["low"]) - 1])})


def test_equal_and_missing_texts_make_no_pair():
    ds = Dataset.from_dict(
        {
            "prompt": ["a", "b", "c"],
            "responses": [["same", " same "], ["x", None], ["x", "y"]],
            "datamap_scores": [[1.0, 0.0]] * 3,
        }
    )
    assert to_pairs(ds)["prompt"] == ["c"]


@pytest.mark.parametrize(
    ("one", "two", "shared", "ratio"),
    [
        ("Paris is big.", "Paris is small.", 2, 0.5),
        ("a b", "a b c d", 2, 1.0),
        ("", "x", 0, 0.0),
        ("你好吗", "你好啊", 2, 2 / 3),
    ],
)
def test_shared_prefix(one, two, shared, ratio):
    ds = Dataset.from_dict({"prompt": ["q"], "chosen": [one], "rejected": [two]})
    found = pair_attributes(ds)[0]
    assert (found["shared_prefix_tokens"], found["shared_prefix_ratio"]) == (shared, pytest.approx(ratio))


@given(some.text(max_size=30), some.text(max_size=30), some.text(max_size=30))
def test_shared_prefix_of_characters(head, one, two):
    shared, ratio = shared_prefix(head + one, head + two, list)
    assert shared >= len(head)
    assert (head + one)[:shared] == (head + two)[:shared]
    assert 0 <= ratio <= 1


def test_tokenizers():
    class Letters:
        def tokenize(self, text):
            return list(text)

    ds = Dataset.from_dict({"prompt": ["q"], "chosen": ["abcd"], "rejected": ["abx"]})
    for tokenizer in (Letters(), list):
        assert pair_attributes(ds, tokenizer=tokenizer)[0]["shared_prefix_tokens"] == 2
    with pytest.raises(PairError, match="tokenizer"):
        pair_attributes(ds, tokenizer=5)


def test_difficulty_ranks_rows_by_their_mean_score():
    ds = (
        responses(3, 2)
        .remove_columns("datamap_scores")
        .add_column("datamap_scores", [[9.0, 8.0], [1.0, 0.0], [5.0, 4.0]])
    )
    assert to_pairs(ds)["difficulty"] == [0.0, 1.0, 0.5]


def test_attributes_of_existing_pairs():
    ds, _ = planted.pairs(50, 0.2)
    found = pair_attributes(ds)
    assert found.column_names == [*ds.column_names, *ATTRIBUTES]
    for row, (one, two) in zip(found, ds["datamap_scores"], strict=True):
        assert row["margin"] == pytest.approx(one - two, abs=1e-5)
    assert pair_attributes(found, prefix="pair_").column_names[-6:] == [f"pair_{name}" for name in ATTRIBUTES]
    with pytest.raises(PairError, match="prefix"):
        pair_attributes(found)


def test_attributes_without_scores_and_with_scores_that_ship():
    bare = Dataset.from_dict({"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]})
    assert pair_attributes(bare)[0]["margin"] is None
    shipped = bare.add_column("score_chosen", [8.0]).add_column("score_rejected", [3.5])
    assert pair_attributes(shipped)[0]["margin"] == 4.5


def test_attributes_follow_the_label():
    ds = Dataset.from_dict(
        {"prompt": ["q"], "response_1": ["a"], "response_2": ["b"], "preference": [2], "datamap_scores": [[0.0, 1.0]]}
    )
    layout = dm.Layout(
        prompt="prompt",
        responses="response_1,response_2",
        annotations="preference",
        label="choice",
        choices={1: 0, 2: 1},
    )
    assert pair_attributes(ds, layout=layout)[0]["margin"] == 1.0


def test_conversations_stay_conversations():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    ds = Dataset.from_dict({"prompt": [messages], "responses": [["yes", "no"]], "datamap_scores": [[1.0, 0.0]]})
    pair = to_pairs(ds)[0]
    assert pair["prompt"] == messages
    assert pair["chosen"] == [{"role": "assistant", "content": "yes"}]
    plain = to_pairs(responses(2), conversational=True)[0]
    assert plain["prompt"] == [{"role": "user", "content": "Question 0?"}]


def test_wrong_options():
    ds = responses(4)
    for options in (
        {"contrast": "huge"},
        {"contrast": (4, 2)},
        {"pairing": "some"},
        {"labels": "mine"},
        {"quality": "top"},
        {"per_prompt": 0},
        {"labels": "data"},
    ):
        with pytest.raises(PairError):
            to_pairs(ds, **options)
    with pytest.raises(PairError, match="cannot be read"):
        to_pairs(Dataset.from_dict({"a": [1]}))
    with pytest.raises(PairError, match="to_pairs first"):
        pair_attributes(ds)


@pytest.mark.parametrize(
    "name", ["pairs_hh_harmless/test.jsonl.gz", "human_qafeedback_n4.jsonl.gz", "multi_bon_tulu13b_n16.jsonl.gz"]
)
def test_real_data(name):
    ds = planted.shared(name)
    found = to_pairs(ds)
    assert 0.9 * len(ds) < len(found) <= len(ds)
    assert all(pair["chosen"] != pair["rejected"] for pair in found)


def many_responses(rows: int, responses: int, levels: int | None = None) -> Dataset:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(rows, responses)) if levels is None else rng.integers(0, levels, (rows, responses)) / 4
    return Dataset.from_dict(
        {
            "prompt": [f"Question {k}?" for k in range(rows)],
            "responses": [[f"Answer {j} to {k}." for j in range(responses)] for k in range(rows)],
            "datamap_scores": scores.tolist(),
        }
    )


@pytest.mark.parametrize("levels", [None, 5])
def test_few_pairs_of_many_responses_are_not_drawn_from_all_of_them(levels):
    tracemalloc.start()
    try:
        pairs = to_pairs(many_responses(5, 1000, levels), "high", per_prompt=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pairs["source_row"] == sorted([0, 1, 2, 3, 4] * 3)
    assert min(pairs["margin"]) > 0
    assert peak < 40e6  # all pairs of one row take 20 MB for each of five arrays


def test_a_draw_of_pairs_is_repeatable_and_follows_the_seed():
    ds = many_responses(3, 200)
    one, two, other = (to_pairs(ds, pairing="all", per_prompt=5, seed=seed) for seed in (1, 1, 2))
    assert one["chosen"] == two["chosen"] != other["chosen"]
    assert min(one["margin"]) > 0


def with_constraints(scores, counts) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [f"Question {k}?" for k in range(len(scores))],
            "responses": [[f"Answer {j} to {k}." for j in range(len(row))] for k, row in enumerate(scores)],
            "instruction_id_list": [["punctuation:no_comma"] * count for count in counts],
            "kwargs": [[{}] * count for count in counts],
            "datamap_scores": scores,
        }
    )


def test_one_constraint_met_against_none_is_no_low_contrast():
    ds = with_constraints([[1.0, 0.0], [1.0, 0.5], [1.0, 0.75]], [1, 2, 4])
    assert to_pairs(ds, "low")["source_row"] == [1, 2]


def test_the_mixed_arm_stays_half_and_half_on_the_prompts_of_all_arms():
    rng = np.random.default_rng(0)
    scores = [sorted(rng.integers(0, 5, 6) / 4, reverse=True) for _ in range(300)]
    ds = with_constraints([list(map(float, row)) for row in scores], [4] * 300)
    arms = equal_arms({c: to_pairs(ds, c, per_prompt=2) for c in ("high", "low", "mixed")})
    mixed = np.array(arms["mixed"]["margin"])
    assert 0.4 < (mixed > 0.3).mean() < 0.6
    assert len({len(arm) for arm in arms.values()}) == 1


def test_arms_matched_on_quality_differ_in_contrast_only():
    ds = many_responses(200, 12)
    arms = {c: to_pairs(ds, c, per_prompt=8) for c in ("high", "low")}
    plain, matched = equal_arms(arms), equal_arms(arms, match_quality=True)

    def gap(of):
        return abs(np.median(of["high"]["chosen_score"]) - np.median(of["low"]["chosen_score"]))

    assert gap(matched) < 0.1 < gap(plain)
    assert len(matched["high"]) == len(matched["low"]) > 20
    assert matched["high"]["source_row"] == matched["low"]["source_row"]
    assert np.median(matched["high"]["margin"]) > 2 * np.median(matched["low"]["margin"])

from __future__ import annotations

import math

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as some

import hf_datamap as dm
from hf_datamap.curate.select import provenance, select
from hf_datamap.curate.strategies import STRATEGIES, Pool, preference_variance
from hf_datamap.data import columns
from hf_datamap.errors import SelectionError


def mapped(rows: int = 90, seed: int = 0, **more) -> Dataset:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rows, 2)).astype(np.float32)
    mean, variance = columns.moments(scores)
    ds = Dataset.from_dict(
        {
            "prompt": [f"Question {k}?" for k in range(rows)],
            "chosen": [f"Answer {k}" * (1 + k % 3) for k in range(rows)],
            "rejected": [f"No {k}" for k in range(rows)],
            "datamap_scores": scores.tolist(),
            "datamap_mean": mean.tolist(),
            "datamap_variance": variance.tolist(),
            **more,
        }
    )
    return dm.DataMap.fit(ds).assign(ds)


def margins(ds: Dataset) -> np.ndarray:
    return np.array([a - b for a, b in ds["datamap_scores"]])


@settings(max_examples=30, deadline=None)
@given(some.integers(3, 60))
def test_a_region_is_returned_whole_by_default(rows):
    ds = mapped(rows)
    for region in columns.REGIONS[:3]:
        expected = [k for k, name in enumerate(ds["datamap_region"]) if name == region]
        assert select(ds, region)["prompt"] == [f"Question {k}?" for k in expected]


def test_regions_are_cut_when_there_is_no_column():
    ds = mapped()
    bare = ds.remove_columns(["datamap_region", "datamap_mean", "datamap_variance"])
    assert select(bare)["prompt"] == select(ds)["prompt"]


def test_a_region_never_gives_rows_of_another():
    chosen = select(mapped(), "high_variance", fraction=0.9)
    assert set(chosen["datamap_region"]) == {"high_variance"}
    assert len(chosen) == 30


def test_smaller_budgets_take_the_most_typical_rows():
    chosen = select(mapped(), "high_mean_low_variance", rows=5)
    region = select(mapped(), "high_mean_low_variance")
    assert sorted(chosen["datamap_mean"]) == sorted(region["datamap_mean"])[-5:]


@pytest.mark.parametrize("strategy", ["low_variance", "random"])
def test_draws_follow_the_seed(strategy):
    ds = mapped()
    assert select(ds, strategy, seed=1)["prompt"] == select(ds, strategy, seed=1)["prompt"]
    assert select(ds, strategy, seed=1)["prompt"] != select(ds, strategy, seed=2)["prompt"]


def test_low_variance_draws_from_both_low_regions():
    assert set(select(mapped(), "low_variance")["datamap_region"]) == {
        "high_mean_low_variance",
        "low_mean_low_variance",
    }


def test_margins():
    ds = mapped()
    m = margins(ds)
    assert sorted(margins(select(ds, "high_margin"))) == pytest.approx(sorted(m)[-30:])
    assert sorted(np.abs(margins(select(ds, "low_margin")))) == pytest.approx(sorted(np.abs(m))[:30])


def test_margin_without_annotations_is_best_minus_worst():
    ds = Dataset.from_dict(
        {
            "prompt": ["a", "b", "c"],
            "responses": [["x", "y"]] * 3,
            "datamap_scores": [[0.0, 1.0], [5.0, 0.0], [1.0, 1.5]],
        }
    )
    assert select(ds, "high_margin", rows=1)["prompt"] == ["b"]


def test_rip_wants_good_rejected_responses_and_small_gaps():
    scores = [[9.0, 8.5], [9.0, 1.0], [2.0, 1.5], [5.0, 4.0]]
    ds = mapped(4).remove_columns("datamap_scores").add_column("datamap_scores", scores)
    assert select(ds, "rip", rows=1)["prompt"] == ["Question 0?"]


def test_moderate_difficulty_takes_the_middle():
    ds = mapped()
    chosen = np.array(select(ds, "moderate_difficulty", rows=20)["datamap_mean"])
    mean = np.array(ds["datamap_mean"])
    distance = np.sort(np.abs(mean - np.median(mean))[margins(ds) >= 0])
    assert np.abs(chosen - np.median(mean)).max() <= distance[19]


def test_implicit_margins_from_log_probabilities():
    rng = np.random.default_rng(0)
    names = ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
    logps = {name: rng.normal(-50, 5, 90) for name in names}
    gap = (logps[names[0]] - logps[names[1]]) - (logps[names[2]] - logps[names[3]])
    ds = mapped(**{name: values.tolist() for name, values in logps.items()})
    assert select(ds, "implicit_gap", rows=9)["prompt"] == [f"Question {k}?" for k in sorted(np.argsort(gap)[:9])]
    given = mapped(implicit_margin=gap.tolist())
    assert select(given, "implicit_gap", rows=9)["prompt"] == select(ds, "implicit_gap", rows=9)["prompt"]


def test_dual_margin_joins_both_margins():
    ds = mapped()
    m = margins(ds)
    ds = ds.add_column("implicit_margin", m.tolist())
    top = select(ds, "dual_margin", rows=10)
    assert margins(top).min() >= np.quantile(m, 0.85)
    joint = STRATEGIES["dual_margin"](_pool(ds))
    assert joint.max() == 1
    assert joint.min() == 0
    against = select(mapped().add_column("implicit_margin", (-m).tolist()), "dual_margin", rows=10)
    assert margins(against).max() < m.max()


def _pool(ds: Dataset) -> Pool:
    from hf_datamap.data.view import DatasetView

    return Pool(DatasetView(ds))


def test_alignment_potential_by_hand():
    ds = mapped(30)
    rng = np.random.default_rng(0)
    one, two = rng.normal(-1, 0.3, 30), rng.normal(-1, 0.3, 30)
    ds = ds.add_column("policy_chosen_mean_logps", one.tolist()).add_column("policy_rejected_mean_logps", two.tolist())
    z = lambda v: (v - v.mean()) / v.std()  # noqa: E731
    expected = z(margins(ds)) - z(np.abs(one - two))
    np.testing.assert_allclose(STRATEGIES["alignment_potential"](_pool(ds)), expected, rtol=1e-4)


def test_easiest_first_is_ranked():
    losses = [[0.1 * (90 - k), 0.1 * (90 - k)] for k in range(90)]
    chosen = select(mapped(heldout_loss=losses), "easiest_first")
    assert chosen["prompt"] == [f"Question {k}?" for k in range(89, 44, -1)]  # half of them, as in its paper


@pytest.mark.parametrize("strategy", ["dual_margin", "implicit_gap", "alignment_potential", "easiest_first"])
def test_missing_columns_are_named(strategy):
    with pytest.raises(SelectionError, match=r"needs a column .*datamap_scores"):
        select(mapped(), strategy)


def test_own_strategies():
    def longest(pool):
        return pool.column("length")

    ds = mapped(length=list(range(90)))
    assert select(ds, longest, rows=3)["length"] == [87, 88, 89]
    assert select(ds, lambda pool: pool.column("length") > 85, fraction=1)["length"] == [86, 87, 88, 89]
    with pytest.raises(SelectionError, match="one number per row"):
        select(ds, lambda pool: np.arange(3))


def test_strata_keep_their_shares():
    sources = ["common"] * 80 + ["rare"] * 10
    ds = mapped(source=sources)
    means = np.array(ds["datamap_mean"])
    means[80:] -= 10  # nothing of the rare source would be in the good region
    scores = [[s - 10 for s in row] if k >= 80 else row for k, row in enumerate(ds["datamap_scores"])]
    ds = ds.remove_columns(["datamap_scores", "datamap_mean", "datamap_region"])
    ds = ds.add_column("datamap_scores", scores).add_column("datamap_mean", means.tolist())
    assert "rare" not in select(ds)["source"]
    kept = select(ds, stratify_by="source")
    assert kept["source"].count("rare") == 3
    assert kept["source"].count("common") == 27


@settings(max_examples=25, deadline=None)
@given(some.integers(1, 60), some.integers(0, 70), some.integers(0, 5))
def test_stratified_budgets_add_up(rows, budget, seed):
    sources = [f"s{k % 7 % 3}" for k in range(rows)]
    chosen = select(mapped(rows, source=sources), "random", rows=budget, stratify_by="source", seed=seed)
    assert len(chosen) == min(rows, budget)
    for name in set(sources):
        exact = sources.count(name) * min(rows, budget) / rows
        assert abs(chosen["source"].count(name) - exact) < 1


def test_budgets_in_tokens():
    ds = mapped()
    chosen = select(ds, "random", tokens=100, count_tokens=len)
    used = sum(len(row["prompt"]) + len(row["chosen"]) + len(row["rejected"]) for row in chosen)
    assert 60 < used <= 100
    assert provenance(chosen)["budget"] == {"tokens": 100, "used": used}
    words = select(ds, "random", tokens=60)
    assert 5 <= len(words) <= 15


@pytest.mark.parametrize(
    "budget",
    [{"fraction": 1.5}, {"fraction": -0.1}, {"rows": -1}, {"rows": 3, "fraction": 0.1}, {"tokens": 5, "rows": 1}],
)
def test_wrong_budgets(budget):
    with pytest.raises(SelectionError):
        select(mapped(9), "random", **budget)


def test_wrong_names():
    with pytest.raises(SelectionError, match="high_mean_low_variance"):
        select(mapped(9), "best")
    with pytest.raises(SelectionError, match="stratify"):
        select(mapped(9), stratify_by="nothing")
    with pytest.raises(SelectionError, match="score the dataset first"):
        select(mapped(9).remove_columns("datamap_scores"), "high_margin")


def test_fractions_round_up():
    assert len(select(mapped(10), "random", 1 / 3)) == math.ceil(10 / 3)
    assert len(select(mapped(9), "random", 1 / 3)) == 3
    assert len(select(mapped(9), "random", 0)) == 0


def test_provenance_travels_with_the_rows(tmp_path):
    chosen = select(mapped(), "random", seed=7)
    told = provenance(chosen)
    assert (told["strategy"], told["seed"], told["rows"], told["of"]) == ("random", 7, 30, 90)
    chosen.save_to_disk(tmp_path / "x")
    assert provenance(Dataset.load_from_disk(tmp_path / "x")) == told
    assert provenance(mapped(9)) is None


def test_splits_are_chosen_together():
    both = DatasetDict(train=mapped(60), test=mapped(30, seed=1))
    chosen = select(both, "random", rows=45)
    assert sum(chosen.num_rows.values()) == 45
    assert 20 <= len(chosen["train"]) <= 40


def test_dm_select_is_the_function_even_after_its_module_was_imported():
    assert dm.select is select


def scored(scores, **more) -> Dataset:
    """Pairs with these scores, chosen first, and further columns."""
    ds = mapped(len(scores)).remove_columns("datamap_scores").add_column("datamap_scores", scores)
    for name, values in more.items():
        ds = ds.remove_columns([name] if name in ds.column_names else []).add_column(name, values)
    return ds


@pytest.mark.parametrize("strategy", ["rip", "moderate_difficulty", "pvar"])
def test_rows_that_the_scores_contradict_are_never_taken_where_the_paper_has_none(strategy):
    ds = scored([[1.0, 9.0], [5.0, 5.0], [6.0, 5.0], [9.0, 8.0]] * 3)
    assert set(select(ds, strategy, fraction=1.0)["prompt"]) == {f"Question {k}?" for k in range(12) if k % 4}


def test_rip_prefers_long_rejected_responses():
    ds = scored([[9.0, 8.0], [9.0, 8.0], [9.0, 8.0]], rejected=["short", "a much longer rejected response", "shorter"])
    assert select(ds, "rip", rows=1)["prompt"] == ["Question 1?"]


def test_preference_variance_by_hand():
    scores = np.array([[0.0, 0.0, np.nan], [0.0, np.log(3.0), np.nan], [0.0, 0.0, np.log(3.0)], [1.0, np.nan, np.nan]])
    # sigmoid(log 3) = 3/4, so that a pair's two probabilities are 1/4 off one half; 4 of 6 ordered pairs in the third
    np.testing.assert_allclose(preference_variance(scores), [0.0, 1 / 16, 4 / 6 / 16, np.nan])


def test_pvar_takes_a_tenth_and_the_clearest():
    ds = scored([[float(k), 0.0] for k in range(20)])
    assert select(ds, "pvar")["prompt"] == ["Question 18?", "Question 19?"]
    assert len(select(ds, "pvar", fraction=0.5)) == 10


def test_delta_learning_takes_pairs_of_a_better_over_a_weaker_model():
    # A leads its rows by 1, B lags by 1, C is as good as its rivals: A over B has the greatest difference.
    ds = scored(
        [[3.0, 1.0], [3.0, 1.0], [2.0, 2.0], [1.0, 3.0]],
        chosen_model=["A", "A", "C", "B"],
        rejected_model=["B", "B", "C", "A"],
    )
    chosen = select(ds, "delta_learning", fraction=1.0)
    assert chosen["prompt"] == [
        "Question 0?",
        "Question 1?",
    ]  # B is preferred to A in the last row, C to C in the third
    with pytest.raises(SelectionError, match="which model"):
        select(mapped(4), "delta_learning")


def test_delta_ucb_by_hand():
    # gaps 2, 1 and 0; one standard error is sqrt(2 noise): 0, 2 and 1
    ds = scored([[2.0, 0.0], [1.0, 0.0], [1.0, 1.0]], datamap_noise=[0.0, 2.0, 0.5])
    assert select(ds, "delta_ucb", rows=1)["prompt"] == ["Question 1?"]
    assert select(ds, "delta_ucb", rows=2)["prompt"] == ["Question 0?", "Question 1?"]
    with pytest.raises(SelectionError, match="datamap_noise"):
        select(mapped(4), "delta_ucb")


def test_without_a_budget_a_strategy_takes_what_its_paper_takes():
    losses = [0.1 * k for k in range(40)]
    assert len(select(mapped(40, heldout_loss=losses), "easiest_first")) == 20
    assert len(select(mapped(40, implicit_margin=losses), "implicit_gap")) == 4
    assert len(select(mapped(90), "random")) == 30


def test_a_token_budget_passes_over_rows_that_no_longer_fit():
    words = [50, 3, 40, 2]
    ds = scored([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0], [1.0, 0.0]], chosen=["w " * n for n in words])
    chosen = select(ds, "high_margin", tokens=20)
    assert chosen["prompt"] == ["Question 1?", "Question 3?"]
    assert provenance(chosen)["budget"]["used"] <= 20


def test_a_token_budget_that_fits_nothing_says_so(caplog):
    assert len(select(mapped(5), "random", tokens=2)) == 0
    assert "no row fits a budget of 2 tokens" in caplog.text


def test_ties_do_not_depend_on_the_order_of_rows():
    ds = scored([[float(k % 3), 0.0] for k in range(60)])
    shuffled = ds.shuffle(seed=1)
    for strategy in ("high_margin", "rip", "high_variance"):
        assert set(select(ds, strategy, rows=13)["prompt"]) == set(select(shuffled, strategy, rows=13)["prompt"])


def test_a_selection_remembers_what_it_was_selected_from():
    once = select(mapped(60), "high_margin", rows=30)
    twice = select(once, "random", rows=10, seed=3)
    assert provenance(twice)["selected_from"]["strategy"] == "high_margin"
    assert provenance(twice)["rows"] == 10


def test_scores_that_are_the_annotations_do_not_hide_swapped_columns():
    scores = [[9.0, 5.0], [4.0, 8.0], [7.0, 6.0], [6.0, 2.0]]  # the second pair stands the wrong way round
    ds = scored(scores, score_chosen=[row[0] for row in scores], score_rejected=[row[1] for row in scores])
    assert select(ds, "high_margin", rows=3)["prompt"] == ["Question 0?", "Question 2?", "Question 3?"]
    assert "Question 1?" not in select(ds, "rip", fraction=1.0)["prompt"]


def test_a_map_without_other_columns_is_selected_by_order_where_scores_tie():
    scores = [[2.0, 1.0], [2.0, 1.0], [5.0, 0.0], [2.0, 1.0]] * 5
    ds = dm.DataMap.fit(only := Dataset.from_dict({
        "datamap_scores": scores,
        "datamap_mean": [sum(pair) / 2 for pair in scores],
        "datamap_variance": [((pair[0] - pair[1]) / 2) ** 2 for pair in scores],
    })).assign(only)  # fmt: skip
    assert len(dm.select(ds, "low_variance", rows=6)) == 6

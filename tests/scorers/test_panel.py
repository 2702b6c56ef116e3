"""Panels: members on one scale, who is missing, how far they agree."""

import itertools
import pickle

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

import hf_datamap as dm
from hf_datamap.scorers.panel import Scale, balanced, krippendorff
from hf_datamap.scoring.estimate import estimate
from tests.servers.llm import LLMServer, completion, error

ROWS = [{"prompt": f"Question {i}", "responses": [f"a{i}" * (1 + i), f"b{i}" * 7, "c"]} for i in range(8)]


class Length:
    """Ten lines of a third party."""

    def __init__(self, factor=1.0, fails_on="nothing"):
        self.identity = {"kind": "length", "factor": factor}
        self.factor, self.fails_on = factor, fails_on

    def score(self, example):
        return [None if self.fails_on in text else self.factor * len(text) for text in example.responses]


class Shout:
    stored = False
    identity = {"kind": "shout"}

    def score(self, example):
        return [dm.Score(float(text.count("a")), noise=0.5) for text in example.responses]


def annotated(scorer, rows=ROWS, **options):
    return dm.annotate(Dataset.from_list(rows), scorer, progress=False, **options)


def flat(table, name="datamap_scores"):
    return np.array([score for scores in table[name] for score in scores], dtype=float)


@pytest.mark.parametrize("combine", ["mean", "median"])
def test_z_scores_are_averaged_over_the_whole_data(combine):
    panel = dm.Panel({"length": Length(), "shout": Shout(), "long": Length(-3)}, combine=combine, columns=True)
    table, data_map = annotated(panel)
    parts = np.stack([flat(table, f"datamap_scores_{name}") for name in ("length", "shout", "long")])
    assert parts[0].tolist() == [len(text) for row in ROWS for text in row["responses"]]
    z = (parts - parts.mean(axis=1, keepdims=True)) / parts.std(axis=1, keepdims=True)
    assert flat(table) == pytest.approx(getattr(np, combine)(z, axis=0), abs=1e-5)
    assert set(table["datamap_status"]) == {"ok"}
    report = data_map.provenance["panel"]
    assert report["scored"] == [24, 24, 24]
    assert report["kendall"]["length ~ long"] == pytest.approx(-1)
    assert -1 < report["alpha"] < 0.5
    assert dm.DataMap.from_json(data_map.to_json()).provenance == data_map.provenance


def test_ranks_are_shares_of_the_members_own_scores():
    scale = Scale(knots=tuple(np.quantile([1.0, 2.0, 2.0, 3.0], np.linspace(0, 1, 101))))
    assert [scale(v) for v in (0.0, 1.0, 3.0, 9.0)] == [0.0, 0.0, 1.0, 1.0]
    assert scale(2.0) == pytest.approx(0.5, abs=0.02)
    table, _ = annotated(dm.Panel([Length(), Length(100)], standardise="rank"))
    scores = flat(table)
    lengths = np.array([len(text) for row in ROWS for text in row["responses"]])
    middle = [((lengths < length).sum() + (lengths == length).sum() / 2) / len(lengths) for length in lengths]
    assert scores == pytest.approx(middle, abs=0.05)


def test_score_fn_needs_a_fitted_panel_and_then_gives_what_annotate_gives():
    ds = Dataset.from_list(ROWS)
    panel = dm.Panel([Length(), Shout()])
    with pytest.raises(dm.DataMapError, match="fit_panel"):
        dm.score_fn(panel)
    fitted = dm.fit_panel(panel, ds, progress=False)
    assert fitted.report.alpha is not None
    assert "Krippendorff" in str(fitted.report)
    mapped = ds.map(dm.score_fn(pickle.loads(pickle.dumps(fitted))), batched=True, batch_size=3)
    table, _ = annotated(panel)
    assert mapped["datamap_scores"] == table["datamap_scores"]
    assert fitted.identity != panel.identity
    splits = DatasetDict({"a": ds.select(range(5)), "b": ds.select(range(5, 8))})
    parts, _ = dm.annotate(splits, panel, progress=False)
    assert [*parts["a"]["datamap_scores"], *parts["b"]["datamap_scores"]] == table["datamap_scores"][:]


def test_a_member_that_fails_on_one_response_has_its_say_on_the_others():
    table, _ = annotated(dm.Panel({"all": Length(), "some": Length(2, fails_on="b3")}, columns=True))
    assert list(table["datamap_status"]) == ["ok"] * 3 + ["partial"] + ["ok"] * 4
    assert "scored without some" in table["datamap_error"][3]
    assert None not in table["datamap_scores"][3]
    raw = flat(table, "datamap_scores_all")
    z = (np.array(table["datamap_scores_all"][3]) - raw.mean()) / raw.std()
    some = np.array([np.nan if value is None else value for value in table["datamap_scores_some"][3]])
    known = flat(table, "datamap_scores_some")
    rival = (some - np.nanmean(known)) / np.nanstd(known)
    offset = np.nanmean(rival - z) / 2  # the failing member scores the row so much above the mean of both
    expected = np.where(np.isnan(rival), z + offset, (z + rival) / 2)
    assert table["datamap_scores"][3] == pytest.approx(expected.tolist(), abs=1e-5)
    assert table["datamap_scores_some"][3][1] is None


def test_noise_of_a_mean_of_members():
    panel = dm.Panel({"one": Shout(), "two": Shout()}, standardise="none")
    table, _ = annotated(panel)
    assert table["datamap_noise"][0] == pytest.approx(0.5 / 2)
    assert table["datamap_scores"][3][0] == 4
    table, _ = annotated(dm.Panel([Shout(), Length()]))
    assert set(table["datamap_noise"]) == {None}


def test_a_member_whose_endpoint_is_lost_degrades_the_panel():
    with LLMServer(key="right") as server:
        good = dm.LLMJudge("good", base_url=server.url, api_key="right")
        lost = dm.LLMJudge("lost", base_url=server.url, api_key="sk-not-this-1")
        table, _ = annotated(dm.Panel({"good": good, "lost": lost, "length": Length()}))
        assert set(table["datamap_status"]) == {"partial"}
        assert all("scored without lost" in words and "API key" in words for words in table["datamap_error"])
        assert not any("sk-not-this-1" in words for words in table["datamap_error"])
        asked = sum(request["model"] == "lost" for request in server.requests)
        assert asked <= 64  # those that were under way when the first came back
        with pytest.raises(dm.DataMapError, match="API key"):
            annotated(dm.Panel([lost, dm.LLMJudge("lost-too", base_url=server.url, api_key="sk-not-this-1")]))


def test_members_answers_are_shared_with_the_member_alone():
    with LLMServer() as server:
        judge = dm.LLMJudge("m", base_url=server.url)
        annotated(judge)
        server.forget()
        other = dm.LLMJudge("n", base_url=server.url)
        annotated(dm.Panel([judge, other]))
        assert {request["model"] for request in server.requests} == {"n"}
        assert len(server.requests) == 24
        server.forget()
        annotated(dm.Panel([judge, other, Length()], standardise="rank"))
        assert server.requests == []


def test_budget_and_refusals_in_a_panel():
    def script(request, _):
        if "Question 2" in request["messages"][1]["content"] and request["model"] == "m":
            return error(400, "I would rather not")
        return completion(request)

    with LLMServer(script) as server:
        panel = dm.Panel({"m": dm.LLMJudge("m", base_url=server.url), "n": dm.LLMJudge("n", base_url=server.url)})
        table, _ = annotated(panel)
        assert table["datamap_status"][2] == "partial"
        assert "I would rather not" in table["datamap_error"][2]
    with LLMServer(script) as server:
        panel = dm.Panel({"m": dm.LLMJudge("m", base_url=server.url), "n": dm.LLMJudge("n", base_url=server.url)})
        table, _ = annotated(panel, budget=dm.Budget(requests=10))
        assert len(server.requests) <= 10
        assert "skipped" in table["datamap_status"]


@pytest.mark.parametrize(
    ("members", "options"),
    [
        ([Length()], {}),
        ([Length(), Shout()], {"standardise": "minmax"}),
        ([Length(), Shout()], {"combine": "max"}),
        ({"a b": Length(), "c": Shout()}, {}),
        ([Length(), dm.ColumnScorer()], {}),
        ([Length(), object()], {}),
    ],
)
def test_options_are_checked(members, options):
    with pytest.raises(dm.DataMapError):
        dm.Panel(members, **options)


def test_a_panel_of_silent_members_is_told():
    with pytest.raises(dm.DataMapError, match="two members that score something"):
        annotated(dm.Panel({"one": Length(), "mute": Length(2, fails_on="")}))


def plain_alpha(values):
    """The definition, pair by pair."""
    units = [unit[np.isfinite(unit)] for unit in values]
    units = [unit for unit in units if len(unit) > 1]
    pooled = np.concatenate(units)
    n = len(pooled)
    observed = sum(sum((a - b) ** 2 for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / n
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(pooled, 2)) / (n * (n - 1))
    return 1 - observed / expected


def test_krippendorffs_alpha_is_its_definition():
    random = np.random.default_rng(3)
    for noise in (0.1, 1.0, 5.0):
        values = random.normal(size=(20, 1)) + noise * random.normal(size=(20, 3))
        values[random.random(values.shape) < 0.2] = np.nan
        assert krippendorff(values) == pytest.approx(plain_alpha(values))
    assert krippendorff(np.ones((4, 2))) is None
    assert krippendorff(np.array([[1.0, np.nan]])) is None
    assert krippendorff(np.array([[1.0, 1.0], [2.0, 2.0]])) == 1.0


def test_scores_that_ship_with_the_data_have_a_seat():
    rows = [{**row, "given": [5.0, None if i == 2 else 3.0, 1.0]} for i, row in enumerate(ROWS)]
    panel = dm.Panel({"given": dm.ColumnScorer("given"), "length": Length()}, standardise="none", columns=True)
    table, _ = annotated(panel, rows)
    assert table["datamap_scores_given"][0] == [5.0, 3.0, 1.0]
    expected = [(given + len(text)) / 2 for given, text in zip((5, 3, 1), ROWS[0]["responses"], strict=True)]
    assert table["datamap_scores"][0] == expected
    assert table["datamap_status"][2] == "partial"
    assert "no number in the column" in table["datamap_error"][2]
    for options in ({"batched": True, "batch_size": 3}, {}):
        mapped = Dataset.from_list(rows).map(dm.score_fn(panel), **options)
        assert mapped["datamap_scores"] == table["datamap_scores"]


def test_an_estimate_counts_what_members_and_written_references_would_ask():
    ds = Dataset.from_list(ROWS)
    with LLMServer() as server:
        judge = dm.LLMJudge("m", base_url=server.url)
        annotated(judge)
        other = dm.LLMJudge("n", base_url=server.url)
        found = estimate(ds, dm.Panel([judge, other]))
        assert (found.requests, found.from_store) == (24, 24)
        assert found.input_tokens > 24 * 100
        writer = dm.ReferenceWriter("w", base_url=server.url)
        found = estimate(ds, dm.ReferenceScorer(similarity="rouge-l", writer=writer))
        assert found.requests == 24 + 8
        assert found.output_tokens == 8 * 400


def test_an_empty_response_reverses_nothing():
    table = np.array([[2.0, 1.0, 1.5], [4.0, 3.0, 3.5], [-3.0, np.nan, np.nan]])
    combined = balanced(table)
    means = [np.nanmean(line) for line in combined]
    assert means[1] - means[0] == pytest.approx(2.0)
    assert means[2] < means[0]
    np.testing.assert_array_equal(balanced(table[:2]), table[:2])


def test_scores_do_not_depend_on_who_scored():
    rng = np.random.default_rng(0)
    quality, offset = rng.normal(size=5), rng.normal(size=4)
    table = quality[:, None] + offset[None, :]
    table[0, :2] = table[3, 1:] = np.nan
    means = np.nanmean(balanced(table), axis=1)
    np.testing.assert_allclose(means - means.mean(), quality - quality.mean())
    assert np.isnan(balanced(np.array([[np.nan, np.nan], [1.0, np.nan]]))[0]).all()

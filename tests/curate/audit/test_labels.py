"""Annotations against scores, with planted faults."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.curate.audit import audit
from hf_datamap.data.view import DatasetView
from tests.curate.audit import planted


@pytest.mark.parametrize(("rate", "precision", "recall"), [(0.05, 0.75, 0.5), (0.15, 0.85, 0.6), (0.30, 0.9, 0.6)])
def test_flipped_labels_are_suspects(rate, precision, recall):
    ds, wrong = planted.pairs(1_000, rate)
    report = audit(ds, read_texts=False)
    rows = report.suspects.rows
    assert wrong[rows].mean() >= precision
    assert wrong[rows].sum() / wrong.sum() >= recall
    assert report.measures["label_error"] == pytest.approx(rate, abs=0.06)
    assert report.measures["suspect_rate"] == len(rows) / 1_000


def test_clean_labels_give_next_to_no_suspects():
    report = audit(planted.pairs(1_000)[0], read_texts=False)
    assert len(report.suspects) <= 3
    assert report.measures["inversion"] == 0
    assert report.finding("inversion") is None


def test_suspects_come_most_probable_first_with_evidence():
    ds, wrong = planted.pairs(300, 0.1)
    report = audit(ds)
    first, *others = report.suspects
    assert wrong[first.row]
    assert all(a.probability >= b.probability for a, b in zip(report.suspects, others, strict=False))
    assert first.margin > 0
    assert first.margin == pytest.approx(ds["datamap_scores"][first.row][1] - ds["datamap_scores"][first.row][0])
    assert first.responses == (ds["chosen"][first.row], ds["rejected"][first.row])
    assert (first.better, first.worse, first.annotations) == (0, 1, (1.0, 0.0))
    assert first.kendall == pytest.approx(-1)
    assert first.pearson == pytest.approx(-1)
    assert "annotated better" in first.reason
    assert report.suspects[-1] == report.suspects[len(report.suspects) - 1]


def test_constant_margins_believe_the_scores():
    """When all margins are equal nothing tells a wrong label from a wrong score: the scores are believed."""
    scores = np.tile([1.0, 0.0], (60, 1))
    scores[[7, 30]] = [0.0, 1.0]
    report = audit(planted.scored(planted.texts(60), scores), read_texts=False)
    assert sorted(report.suspects.rows) == [7, 30]


def test_inverted_labels_raise_an_alarm():
    ds, _ = planted.pairs(200, 0.95)
    report = audit(ds, read_texts=False)
    assert report.finding("inversion").severity == "alarm"
    assert not report.passed


def test_one_inverted_source_is_found():
    ds, _ = planted.pairs(400)
    scores = np.array(ds["datamap_scores"])
    scores[:100] = scores[:100, ::-1]
    ds = planted.scored(planted.texts(400), scores).add_column("subset", ["a"] * 100 + ["b"] * 300)
    found = audit(ds, read_texts=False).finding("inversion")
    assert [row["rows"] for row in found.evidence] == ["subset = a"]


def test_scores_that_are_the_annotations_say_nothing():
    ds = planted.scored(
        {"prompt": ["a", "b"], "responses": [["x", "y"]] * 2, "scores": [[1.0, 2.0], [4.0, 3.0]]},
        np.array([[1.0, 2.0], [4.0, 3.0]]),
    )
    report = audit(ds, read_texts=False)
    assert "the scores are the annotations" in report.left_out["suspects"]
    assert len(report.suspects) == 0


def test_scores_that_are_noise_accuse_nobody():
    scores = np.random.default_rng(0).normal(size=(500, 2))
    report = audit(planted.scored(planted.texts(500), scores), fail_on="suspect_rate>0.05", read_texts=False)
    assert len(report.suspects) == 0
    assert "cannot judge" in report.left_out["suspects"]
    assert not report.passed  # what was not measured was not shown
    assert any("say nothing" in finding.title for finding in report.findings)


def test_more_than_two_responses():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(500, 4))
    scores, labels = truth + rng.normal(scale=0.4, size=truth.shape), truth.copy()
    wrong = rng.random(500) < 0.1
    labels[wrong] = -labels[wrong]
    ds = planted.scored(
        {"prompt": planted.texts(500)["prompt"], "responses": [["a", "b", "c", "d"]] * 500, "scores": labels.tolist()},
        scores,
    )
    careful = audit(ds, read_texts=False).suspects.rows
    assert wrong[careful].mean() > 0.95
    assert wrong[careful].sum() / wrong.sum() > 0.6
    balanced = audit(ds, read_texts=False, least_probability="balanced").suspects.rows
    assert wrong[balanced].mean() > 0.9
    assert wrong[balanced].sum() / wrong.sum() > 0.8


def test_a_noisy_scorer_is_believed_less():
    scores = np.tile([1.5, 0.0], (300, 1)) + np.random.default_rng(0).normal(0, 0.4, (300, 2))
    scores[:20] = scores[:20, ::-1]
    ds = planted.scored(planted.texts(300), scores)
    sure = audit(ds.add_column("datamap_noise", [0.01] * 300), read_texts=False)
    unsure = audit(ds.add_column("datamap_noise", [5.0] * 10 + [0.01] * 290), read_texts=False)
    assert len(set(range(10)) & set(sure.suspects.rows.tolist())) >= 9
    doubted = {suspect.row: suspect.probability for suspect in unsure.suspects}
    assert all(doubted.get(row, 0.0) < sure.suspects[0].probability - 0.2 for row in range(10))


def test_ultrafeedbacks_ten_that_was_a_one():
    broken = [3, 50, 51, 120, 199]
    report = audit(planted.ultrafeedback(broken=broken))
    found = report.finding("scale")
    assert found.severity == "alarm"
    assert found.rows.tolist() == broken
    assert found.evidence[0]["overall"] == 10
    assert audit(planted.ultrafeedback()).finding("scale") is None


def test_scores_of_another_scale():
    ds, _ = planted.pairs(100)
    scores = np.array(ds["datamap_scores"])
    assert audit(ds, read_texts=False).measures["outliers"] == 0
    scores[4, 1], scores[70, 0] = -1000, 95
    found = audit(planted.scored(planted.texts(100), scores), read_texts=False).finding("outliers")
    assert found.rows.tolist() == [4, 70]
    assert found.severity == "alarm"
    assert found.evidence[0]["score"] == -1000


def test_few_rows_are_audited_too():
    scores = np.array([[9.0, 2.0], [8.0, 1.0], [2.0, 9.0], [7.0, 3.0], [8.0, 2.0], [9.0, 1.0]])
    report = audit(planted.scored(planted.texts(6), scores))
    assert report.suspects.rows.tolist() == [2]


def test_constant_annotators():
    data = planted.texts(60)
    rows = {
        "prompt": data["prompt"],
        "responses": [list(p) for p in zip(data["chosen"], data["rejected"], strict=True)],
    }
    fixed = audit(Dataset.from_dict({**rows, "scores": [[5.0, 5.0]] * 60}))
    assert fixed.finding("constant").severity == "alarm"
    assert fixed.measures["tied_labels"] == 1
    always_first = audit(Dataset.from_dict({**rows, "scores": [[float(k), 0.5] for k in range(1, 61)]}))
    assert always_first.finding("constant").evidence[0]["always"] == "response 1"
    rng = np.random.default_rng(0)
    assert audit(Dataset.from_dict({**rows, "scores": rng.normal(size=(60, 2)).tolist()})).finding("constant") is None


def test_chosen_and_rejected_are_no_constant_annotator():
    assert audit(planted.pairs(100)[0]).finding("constant") is None


def test_composition_shift_by_source():
    ds, _ = planted.pairs(300)
    mean = np.array(ds["datamap_mean"])
    sources = np.where(mean > np.median(mean), "good", "poor").tolist()
    found = audit(ds.add_column("source", sources), read_texts=False).finding("composition")
    assert found.severity == "warning"
    assert found.value > 0.3
    mixed = audit(ds.add_column("source", ["x", "y"] * 150), read_texts=False).finding("composition")
    assert mixed.severity == "note"


def test_low_impact_rows():
    scores = np.random.default_rng(0).normal(size=(90, 2))
    scores[:30] = 0.5
    found = audit(planted.scored(planted.texts(90), scores)).finding("low_impact")
    assert found.rows.tolist() == list(range(30))
    kinds = {row["rows that are"]: row for row in found.evidence}
    assert kinds["equal scores"]["rows"] == 30
    assert kinds["high_variance"]["share of rows"] == pytest.approx(1 / 3)
    assert 0 < kinds["equal scores"]["share of words"] < 1


def test_models_that_the_scorer_favours():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(200, 2))
    scores = labels + np.array([[1.0, 0.0]])
    data = {"prompt": planted.texts(200)["prompt"], "responses": [["a", "b"]] * 200, "scores": labels.tolist()}
    ds = planted.scored({**data, "models": [["liked", "other"]] * 200}, scores)
    found = audit(ds, read_texts=False).finding("favours")
    assert {row["model"]: row["lead"] > 0 for row in found.evidence} == {"liked": True, "other": False}


def test_agreement_by_language():
    ds, wrong = planted.pairs(600, 0.4, noise=0.1)
    report = audit(ds.add_column("language", ["de" if w else "en" for w in wrong]), read_texts=False)
    found = report.finding("agreement_by_language")
    assert found.severity == "warning"
    assert [row["language"] for row in found.evidence] == ["de", "en"]


def test_annotated_data_need_no_preparation(tmp_path):
    """The main job's output goes straight into the audit."""

    class Length:
        identity = {"kind": "length"}

        def score(self, example):
            return [float(len(text)) for text in example.responses]

    ds, _ = dm.annotate(Dataset.from_dict(planted.texts(40)), Length(), progress=False)
    report = dm.audit(ds)
    assert report.rows == 40
    assert report.annotate(ds)["datamap_suspect"] == [False] * 40 or len(report.suspects)


def test_a_dataset_audited_against_itself_passes_no_gate_on_labels():
    ds, data_map = dm.annotate(planted.ultrafeedback(200), dm.ColumnScorer(), progress=False)
    assert ds["datamap_margin"] == ds["datamap_agreement"] == [None] * 200
    assert "labels not measured: the scores are the annotations" in str(data_map)
    for known in ({}, {"data_map": data_map}):
        report = audit(ds, fail_on="suspect_rate>0.5,inversion,label_error>0.5,empty", read_texts=True, **known)
        failed = {gate.name: str(gate) for gate in report.gates if gate.failed}
        assert set(failed) == {"suspect_rate", "inversion", "label_error"}
        assert all("not measured: the scores are the annotations" in words for words in failed.values())
        assert "the scores are the annotations" in report.to_markdown()
        assert not len(report.suspects)


def test_pairs_swapped_together_with_their_scores_are_told_by_the_order_of_the_columns():
    rng = np.random.default_rng(0)
    better = rng.integers(6, 11, 360).astype(float)
    worse = better - rng.integers(1, 5, 360)
    data = {**planted.texts(360), "score_chosen": better.tolist(), "score_rejected": worse.tolist()}
    for k in range(0, 360, 9):
        for one, two in (("chosen", "rejected"), ("score_chosen", "score_rejected")):
            data[one][k], data[two][k] = data[two][k], data[one][k]
    mapped, data_map = dm.annotate(Dataset.from_dict(data), dm.ColumnScorer(), progress=False)
    assert [row for row, margin in enumerate(mapped["datamap_margin"]) if margin < 0] == list(range(0, 360, 9))
    report = audit(mapped, data_map=data_map, read_texts=False, least_probability="balanced")
    assert set(report.suspects.rows) == set(range(0, 360, 9))


def test_a_panel_with_the_annotation_as_a_member_is_not_held_against_it():
    rng = np.random.default_rng(0)
    ds = planted.ultrafeedback(200)
    ds = ds.add_column("judge", [list(map(float, row)) for row in rng.uniform(1, 5, (200, 4))])
    panel = dm.Panel([dm.ColumnScorer("completions[].overall_score"), dm.ColumnScorer("judge[]")])
    mapped, data_map = dm.annotate(ds, panel, progress=False)
    for known in ({}, {"data_map": data_map}):
        assert "the scores are the annotations" in audit(mapped, read_texts=False, **known).left_out["suspects"]


def test_suspects_that_a_liking_for_length_makes_vanish_under_control():
    rng = np.random.default_rng(0)
    data = planted.texts(600)
    merit = np.abs(rng.normal(1.0, 0.4, 600))
    long = rng.random(600) < 0.15  # rejected responses that are ten times as long, which the scorer likes
    data["rejected"] = [
        text + " and more words" * 30 if more else text for text, more in zip(data["rejected"], long, strict=True)
    ]
    scores = np.stack([merit, np.where(long, 2.5, 0.0)], axis=1) + rng.normal(0, 0.2, (600, 2))
    wrong = rng.random(600) < 0.05
    scores[wrong] = scores[wrong][:, ::-1]
    report = audit(planted.scored(data, scores), least_probability="balanced")
    found = report.finding("style_control")
    assert report.measures["style_control"] > 0.5
    assert long[found.rows].mean() > 0.9
    slope = next(row for row in found.evidence if row["style"] == "length")
    assert 0 < slope["95 % from"] < slope["adds"] < slope["to"]


def test_a_judge_that_favours_its_own_family_is_named():
    rng = np.random.default_rng(0)
    ds, _ = planted.pairs(400, noise=0.3)
    models = rng.permuted(np.tile(["gpt-4o", "mistral-7b"], (400, 1)), axis=1)
    scores = np.array(ds["datamap_scores"]) + (models == "gpt-4o") * 1.0
    ds = planted.scored({name: ds[name][:] for name in ("prompt", "chosen", "rejected")}, scores)
    ds = ds.add_column("chosen_model", models[:, 0].tolist()).add_column("rejected_model", models[:, 1].tolist())
    for model, favours in (("openai/gpt-4.1", True), ("claude-3-opus", False)):
        data_map = dm.DataMap.fit(ds, provenance={"scorer": {"kind": "judge", "model": model}})
        report = audit(ds, data_map=data_map, read_texts=False)
        assert (report.measures.get("self_preference", 0.0) > 0.3) is favours
    assert (
        "openai"
        in audit(ds, data_map=dm.DataMap.fit(ds, provenance={"scorer": {"model": "gpt-4o"}}), read_texts=False)
        .finding("self_preference")
        .title
    )


def rated(rows: int = 300, change=None) -> tuple[Dataset, np.ndarray]:
    """UltraFeedback's shape, mapped by its own ratings, with one of three sources changed; and which rows are of it."""
    ds = planted.ultrafeedback(rows)
    source = np.array(["evol", "flan", "sharegpt"])[np.arange(rows) % 3]
    quality = np.arange(4) * 1.5
    rng = np.random.default_rng(0)
    completions = ds["completions"][:]
    for k, row in enumerate(completions):
        for place, completion in enumerate(row):
            value = float(np.clip(np.round(3 + quality[place] + rng.normal(0, 1)), 1, 10))
            completion["overall_score"] = change(value) if change and source[k] == "flan" else value
    ds = ds.remove_columns(["completions", "source"]).add_column("completions", completions)
    return dm.annotate(ds.add_column("source", source.tolist()), dm.ColumnScorer(), progress=False)[0], source == "flan"


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda v: 11 - v, "models it rates high"), (lambda v: v * 10, "between"), (lambda v: v / 10, "between")],
)
def test_a_source_turned_round_or_on_another_scale_is_named_where_scores_are_annotations(change, words):
    ds, flan = rated(change=change)
    report = audit(ds, read_texts=False)
    finding = report.finding("group_scale")
    assert finding.severity == "alarm"
    assert "flan" in finding.title
    assert words in finding.title
    np.testing.assert_array_equal(finding.rows, np.flatnonzero(flan))
    assert audit(rated()[0], read_texts=False).measures["group_scale"] == 0


@pytest.mark.parametrize(
    ("column", "names"), [("labeler", ["kim", "lee", "ann"]), ("annotator1", [1, 2, 3]), ("by", ["A1", "A2", "A3"])]
)
def test_an_annotator_that_always_says_the_same_is_found_whatever_the_column_is_called(column, names):
    ds, _ = rated()
    who = [names[k % 3] for k in range(300)]
    completions = ds["completions"][:]
    for k, row in enumerate(completions):
        for completion in row:
            completion["overall_score"] = 1.0 if k % 3 == 1 else completion["overall_score"]
    ds = ds.remove_columns("completions").add_column("completions", completions).add_column(column, who)
    report = audit(ds, read_texts=False)
    assert str(names[1]) in report.finding("constant").title


def test_other_columns_are_no_annotators():
    ds = planted.pairs(200)[0].add_column("id", [f"row{k}" for k in range(200)])
    ds = ds.add_column("version", ["v1", "v2"] * 100).add_column("judgement", ["good", "bad"] * 100)
    assert DatasetView(ds).groups == []

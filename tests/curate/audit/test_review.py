"""Rows that a person has looked at calibrate the suspects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.curate.audit import audit
from hf_datamap.curate.audit.judges import combined_margin
from hf_datamap.curate.audit.label_errors import LabelErrorModel, balanced_threshold
from hf_datamap.curate.audit.review import Review, calibrated, read_review, summarise
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import DataMapError
from tests.curate.audit import planted


def stubborn(rows: int = 2000, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """A scorer that errs in 15 % of the rows whatever the margin, which no statistic can tell from wrong labels."""
    rng = np.random.default_rng(seed)
    margin = np.abs(rng.normal(1.5, 0.7, rows)) * np.where(rng.random(rows) < 0.15, -1, 1)
    wrong = rng.random(rows) < 0.05
    scores = np.stack([np.where(wrong, -margin, margin), np.zeros(rows)], axis=1)
    return planted.scored(planted.texts(rows), scores), wrong


def test_reviews_correct_what_scores_and_labels_cannot_tell_apart():
    ds, wrong = stubborn()
    blind = audit(ds, read_texts=False)
    assert abs(blind.measures["expected_precision"] - wrong[blind.suspects.rows].mean()) > 0.3
    rows = np.random.default_rng(1).choice(blind.suspects.rows, 60, replace=False)
    report = audit(ds, read_texts=False, reviewed={int(row): "wrong" if wrong[row] else "right" for row in rows})
    low, high = report.review.label_error[1:]
    assert low <= wrong.mean() <= high
    probability = np.array([suspect.probability for suspect in report.suspects])
    assert len(report.suspects) < len(blind.suspects) / 2 or abs(probability.mean() - wrong.mean()) < 0.2


def test_the_report_says_what_to_review_next_and_how_much_it_helps():
    ds, wrong = planted.pairs(400, 0.1, noise=1.0)
    rows = audit(ds, read_texts=False).suspects.rows[:12]
    report = audit(ds, read_texts=False, reviewed={int(row): not wrong[row] for row in rows})
    review = report.review
    assert review.reviewed == 12
    assert review.wrong == wrong[rows].sum()
    assert set(review.review_next).isdisjoint(rows.tolist())
    assert review.more_reviews == 3 * review.suspects_reviewed
    precision, low, high = review.precision
    assert low <= precision <= high
    assert "## Reviewed rows" in report.to_markdown()
    assert json.loads(report.to_json())["review"]["reviewed"] == 12


def test_four_times_the_reviews_halve_the_interval():
    rng = np.random.default_rng(0)
    probability = np.full(4000, 0.5)
    everyone = np.ones(4000, bool)
    widths = []
    for count in (100, 400):
        review = Review(np.arange(count), rng.random(count) < 0.5)
        summary = summarise(probability, everyone, everyone, review, 0.5)
        widths.append(summary.precision[2] - summary.precision[1])
        assert summary.more_reviews == 3 * count
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.1)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_verdicts_from_files(tmp_path, suffix):
    ds, _ = planted.pairs(20)
    path = tmp_path / f"review{suffix}"
    table = Dataset.from_dict({"row": [3, 5], "verdict": ["wrong", "right"]})
    if suffix == ".json":
        path.write_text(json.dumps(table.to_list()))
    else:
        {".jsonl": table.to_json, ".csv": table.to_csv, ".parquet": table.to_parquet}[suffix](str(path))
    review = read_review(str(path), DatasetView(ds))
    assert review.rows.tolist() == [3, 5]
    assert review.wrong.tolist() == [True, False]


def test_verdicts_from_a_column():
    ds, _ = planted.pairs(4)
    view = DatasetView(ds.add_column("seen", [None, "right", "wrong", None]))
    assert read_review("seen", view).wrong.tolist() == [False, True]


@pytest.mark.parametrize("reviewed", [{99: True}, {0: "perhaps"}, "nothing.jsonl", "nowhere"])
def test_reviews_that_make_no_sense_are_refused(reviewed):
    with pytest.raises(DataMapError, match=r"99|perhaps|nothing|nowhere"):
        audit(planted.pairs(20)[0], read_texts=False, reviewed=reviewed)


def test_a_handful_of_verdicts_moves_little_and_hundreds_decide():
    probability = np.full(1000, 0.9)
    few = calibrated(probability, Review(np.arange(1), np.zeros(1, bool)))
    many = calibrated(probability, Review(np.arange(400), np.zeros(400, bool)))
    assert few[0] > 0.5
    assert many[0] < 0.1
    np.testing.assert_array_equal(calibrated(probability, Review(np.empty(0, int), np.empty(0, bool))), probability)


def test_the_balanced_threshold_is_the_best_expected_f1():
    rng = np.random.default_rng(0)
    probability = rng.beta(0.5, 2, 20_000)
    wrong = rng.random(20_000) < probability

    def f1(threshold):
        chosen = probability >= threshold
        return 2 * (wrong & chosen).sum() / (chosen.sum() + wrong.sum())

    assert f1(balanced_threshold(probability)) >= max(map(f1, np.linspace(0.05, 0.95, 19))) - 0.01


def test_judges_are_weighed_by_how_well_they_tell_wrong_labels():
    rng = np.random.default_rng(0)
    wrong = rng.random(3000) < 0.15

    def judge(slope, scale):
        size = np.abs(rng.normal(size=3000))
        right = rng.random(3000) < 1 / (1 + np.exp(-slope * size))
        return scale * np.where(right, size, -size) * np.where(wrong, -1, 1)

    margins = [judge(6, 1), judge(5, 100), judge(0, 10), judge(0, 10), judge(0, 10)]
    mean = np.mean([margin / margin.std() for margin in margins], axis=0)
    found = []
    for margin in (mean, combined_margin(margins, LabelErrorModel.fit(mean).wrong(-mean))):
        worst = np.argsort(margin)[: wrong.sum()]
        found.append(wrong[worst].mean())
    assert found[1] > found[0] + 0.1


def test_the_members_of_a_panel_have_a_say_each():
    rng = np.random.default_rng(0)
    ds, wrong = planted.pairs(600, 0.1, noise=0.1)
    good = np.array(ds["datamap_scores"])
    members = {"a": good + rng.normal(0, 0.3, good.shape), "b": good + rng.normal(0, 0.3, good.shape)}
    members |= {name: rng.normal(0, 2, good.shape) for name in ("c", "d", "e")}
    ds = ds.remove_columns([name for name in ds.column_names if name.startswith("datamap_")])
    for name, matrix in members.items():
        ds = ds.add_column(name, matrix.tolist())
    panel = dm.Panel({name: dm.ColumnScorer(f"{name}[]") for name in members}, columns=True)
    mapped, data_map = dm.annotate(ds, panel, progress=False)
    alone = audit(mapped, read_texts=False, least_probability="balanced")
    together = audit(mapped, read_texts=False, least_probability="balanced", data_map=data_map)

    def f1(report):
        rows = report.suspects.rows
        return 2 * wrong[rows].sum() / (len(rows) + wrong.sum())

    assert f1(together) > f1(alone) + 0.1
    assert "5 judges" in together.finding("suspect_rate").detail


def test_agreement_is_corrected_only_where_reviewed_rows_are_a_fair_draw():
    ds, wrong = planted.pairs(2000, 0.15, noise=1.2)
    rng = np.random.default_rng(0)
    fair = audit(ds, read_texts=False, reviewed={int(r): not wrong[r] for r in rng.choice(2000, 300, replace=False)})
    _, low, high = fair.review.agreement
    assert low <= 1 - wrong.mean() <= high
    assert "corrected agreement" in fair.to_markdown()
    chosen = audit(ds, read_texts=False).suspects.rows[:60]
    biased = audit(ds, read_texts=False, reviewed={int(r): not wrong[r] for r in chosen})
    assert np.isnan(biased.review.agreement[0])

"""A scorer against human labels: the numbers, their intervals, and real labelled data where it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.cli.calibrate import command
from hf_datamap.data import format_path
from hf_datamap.data.load import load_source
from hf_datamap.scoring.calibrate import accuracy
from tests.rows import responses_of
from tests.servers.llm import LLMServer, completion

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Length:
    identity = {"kind": "length"}
    stored = False

    def score(self, example):
        return [float(len(text)) if text else None for text in example.responses]


class First:
    """Likes what it sees first."""

    identity = {"kind": "first"}

    def score(self, example):
        return [float(-place) for place in range(len(example.responses))]


ROWS = [
    {
        "instruction": f"Q{i}",
        "output_1": "long answer" * (1 + i % 3),
        "output_2": "short",
        "label": 1 + (i % 4 == 0),
        "set": "ab"[i % 2],
    }
    for i in range(40)
]
LAYOUT = dm.Layout(
    prompt="instruction",
    responses=["output_1", "output_2"],
    annotations="label",
    label="choice",
    choices={1: 0, 2: 1},
)


def test_accuracy_ties_and_interval():
    labels = np.array([[1.0, 0.0]] * 10 + [[0.5, 0.5]])
    scores = np.array([[2.0, 1.0]] * 6 + [[1.0, 2.0]] * 2 + [[3.0, 3.0], [np.nan, 1.0]] + [[1.0, 2.0]])
    found = accuracy(scores, labels)
    assert (found.pairs, found.ties) == (9, 1)
    assert found.value == pytest.approx(6.5 / 9)
    assert 0.35 < found.low < found.value < found.high < 0.95
    assert accuracy(scores[:0], labels[:0]).value is None
    everything = accuracy(scores[:6], labels[:6])
    assert everything.value == 1.0
    assert everything.low < 0.7


def test_the_interval_is_wilsons_for_single_pairs_and_wider_when_pairs_hang_together():
    random = np.random.default_rng(0)
    right = random.random(200) < 0.7
    labels = np.tile([1.0, 0.0], (200, 1))
    scores = np.where(right[:, None], labels, 1 - labels)
    found = accuracy(scores, labels)
    share, z = right.mean(), 1.959964
    half = z * np.sqrt(share * (1 - share) / 200 + z**2 / 160000) / (1 + z**2 / 200)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.01)
    # The same verdict on all six pairs of a row: as many independent facts as rows.
    four = np.tile([3.0, 2.0, 1.0, 0.0], (200, 1))
    together = accuracy(np.where(right[:, None], four, -four), four)
    assert together.pairs == 1200
    assert together.high - together.low == pytest.approx(2 * half, rel=0.01)


def test_intervals_hold_what_they_promise():
    """Simulation: the true share lies in the 95 % interval about 95 times in 100."""
    random = np.random.default_rng(1)
    labels = np.tile([2.0, 1.0, 0.0], (120, 1))
    inside = 0
    for _ in range(400):
        ability = random.normal(1.0, 1.0, (120, 1))  # rows differ: pairs of a row hang together
        scores = ability * labels + random.normal(0, 1.5, labels.shape)
        found = accuracy(scores, labels)
        inside += found.low <= 0.7080 <= found.high
    truth = accuracy(
        random.normal(1.0, 1.0, (400_000, 1)) * np.tile([2.0, 1.0, 0.0], (400_000, 1))
        + random.normal(0, 1.5, (400_000, 3)),
        np.tile([2.0, 1.0, 0.0], (400_000, 1)),
    )
    assert truth.value == pytest.approx(0.7080, abs=0.02)
    assert inside / 400 > 0.9


def test_a_report_side_by_side():
    ds = Dataset.from_list(ROWS)
    report = dm.calibration_report([Length(), First()], ds, layout=LAYOUT, by="set")
    length, first = report.scorers
    assert length.accuracy.value == report.longest.value == pytest.approx(0.75)
    assert length.longer == 1.0
    assert length.length == pytest.approx(1.0)
    assert length.swap == 1.0
    assert first.swap == 0.0
    assert {name: entry.pairs for name, entry in length.subsets.items()} == {"a": 20, "b": 20}
    assert length.subsets["b"].value == 1.0
    assert (report.rows, report.pairs, report.undecided) == (40, 40, 0)
    text = report.to_markdown()
    assert "| length | 75.0 [60-86] | 0 | 100.0 | +1.00 | 100.0 | 100.0 |" in text
    assert json.dumps(report.to_dict())


def test_coverage_and_reasons_are_told():
    rows = [dict(row, output_2="" if i < 10 else "short") for i, row in enumerate(ROWS)]
    entry = dm.calibration_report(Length(), Dataset.from_list(rows), layout=LAYOUT).scorers[0]
    assert entry.coverage == pytest.approx(70 / 80)
    assert entry.failed == {"the scorer gave none": 10}
    assert entry.accuracy.pairs == 30


def test_scores_in_a_column_say_why_they_are_missing():
    rows = [dict(row, mine=[1.0, 2.0] if i % 2 else [1.0, None]) for i, row in enumerate(ROWS)]
    entry = dm.calibration_report(dm.ColumnScorer("mine[]"), Dataset.from_list(rows), layout=LAYOUT).scorers[0]
    assert entry.failed == {"no number in the column": len(ROWS) // 2}
    ds = Dataset.from_list([dict(row, mine={"a": [1.0]}) for row in ROWS])
    entry = dm.calibration_report(dm.ColumnScorer("mine[]"), ds, layout=LAYOUT).scorers[0]
    assert sum(entry.failed.values()) == 2 * len(ROWS)  # no list of scores


def test_a_listwise_judge_that_likes_the_first_is_found_out():
    def script(request, _):
        return completion(request, json.dumps({number: 9 - int(number) for number in responses_of(request)}))

    with LLMServer(script) as server:
        judge = dm.LLMJudge("m", base_url=server.url, mode="listwise")
        entry = dm.calibration_report(judge, Dataset.from_list(ROWS), layout=LAYOUT).scorers[0]
    assert entry.scorer == "judge m listwise"
    assert entry.swap == 0.0


def test_no_labels_and_no_column_are_told():
    ds = Dataset.from_list([{"prompt": "Q", "responses": ["a", "b"]}])
    with pytest.raises(dm.DataMapError, match="human label"):
        dm.calibration_report(Length(), ds)
    with pytest.raises(dm.DataMapError, match="no column 'sett'"):
        dm.calibration_report(Length(), Dataset.from_list(ROWS), layout=LAYOUT, by="sett")


def test_a_panel_is_measured_like_its_members():
    report = dm.calibration_report({"both": dm.Panel([Length(), First()])}, Dataset.from_list(ROWS), layout=LAYOUT)
    assert report.scorers[0].scorer == "both"
    assert report.scorers[0].accuracy.pairs == 40


def test_the_command(tmp_path):
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(json.dumps({**row, "rating_1": 2.0, "rating_2": 1.0}) for row in ROWS))
    layout = LAYOUT.to_json()
    arguments = ["columns:rating_1,rating_2", "--on", str(path), "--layout", layout, "--by", "set"]
    found = CliRunner().invoke(command, [*arguments, "--json"])
    assert found.exit_code == 0, found.output
    entry = json.loads(found.stdout)["scorers"][0]
    assert entry["accuracy"]["value"] == pytest.approx(0.75)
    assert entry["swap"] is None
    assert "| columns:rating_1,rating_2 | 75.0" in CliRunner().invoke(command, arguments).stdout


@pytest.mark.parametrize(
    ("names", "pairs", "longest"),
    [
        (["human_llmbar_natural"], 100, 56.5),
        (["human_pandalm"], 443, 67.0),  # rows with an empty response have no length to speak of
        (["human_llmbar_faireval", "human_llmbar_llmeval2"], 266, 60.7),
    ],
)
def test_length_on_real_human_labels_is_what_was_measured_before(names, pairs, longest):
    files = [SHARED / f"{name}.jsonl.gz" for name in names]
    if not all(path.exists() for path in files):
        pytest.skip(f"needs ../shared/data/{names[0]}.jsonl.gz")
    reports = [dm.calibration_report(Length(), load_source(str(path))) for path in files]
    found = [report.scorers[0].accuracy for report in reports]
    assert sum(one.pairs for one in found) == pairs
    assert 100 * sum(one.value * one.pairs for one in found) / pairs == pytest.approx(longest, abs=0.6)


def test_reward_models_scores_that_ship_with_judgebench():
    path = SHARED / "human_judgebench_gpt4o_with_rm_scores.jsonl.gz"
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{path.name}")
    ds = load_source(str(path))
    scorers = {name: dm.ColumnScorer(format_path(("rm_scores", name))) for name in ds.features["rm_scores"]}
    report = dm.calibration_report(scorers, ds, by="source")
    assert len(report.scorers) == 5
    assert all(0.58 < entry.accuracy.value < 0.65 for entry in report.scorers)  # as its authors publish: 59 to 64 %
    assert all(entry.accuracy.pairs == 350 for entry in report.scorers)


def test_undecided_pairs_stay_undecided_whatever_the_shares_of_wins():
    """1 beats 2, 1 and 3 are equal, 2 and 3 are equal: the shares .75, .25, .5 would rank all three pairs."""
    ds = Dataset.from_dict({"prompt": ["a"] * 3, "responses": [["x", "yy", "zzz"]] * 3, "verdicts": [[1, 0, 0]] * 3})
    layout = dm.Layout(prompt="prompt", responses="responses[]", annotations="verdicts", label="pairwise")
    report = dm.calibration_report(Length(), ds, layout=layout)
    assert report.pairs == 3
    assert report.undecided == 6
    assert report.scorers[0].accuracy.pairs == 3


def test_a_judge_that_sees_no_difference_holds_no_preference():
    class Always(Length):
        def score(self, example):
            return [5.0] * len(example.responses)

    ds = Dataset.from_dict({"prompt": ["a"] * 3, "chosen": ["x"] * 3, "rejected": ["yy"] * 3})
    assert dm.calibration_report(Always(), ds).scorers[0].swap is None
    assert dm.calibration_report(Length(), ds).scorers[0].swap == 1.0

"""``audit``, ``select`` and ``pairs`` as a maintainer of a dataset would use them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from datasets import Dataset, DatasetDict, load_dataset

from hf_datamap.cli import main
from tests.curate.audit import planted


@pytest.fixture
def run(capsys):
    def call(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def release(tmp_path) -> Path:
    """A mapped release with one in ten labels flipped and a pair of equal responses."""
    ds, _ = planted.pairs(300, 0.1)
    data = ds.to_dict()
    data["rejected"][7] = data["chosen"][7]
    path = tmp_path / "release.parquet"
    Dataset.from_dict(data).to_parquet(path)
    return path


def test_audit_read_fix_audit_again(run, release, tmp_path):
    gates = "suspect_rate>0.02,inversion,identical,duplicates>1%"
    code, out, _ = run("audit", release, "--fail-on", gates)
    assert code == 1
    assert out.splitlines()[0].endswith("FAILED")
    assert len(out.splitlines()) <= 25
    assert run("audit", release, "--fail-on", gates, "--markdown")[1].startswith("# Audit: FAILED")
    assert "have a chosen equal to its rejected" in out

    code, _, err = run("audit", release, "--fixes", tmp_path / "fixed", "--fix-rows", "suspects,identical")
    assert code == 1
    assert "removed: suspects" in err
    counts = json.loads((tmp_path / "fixed" / "fixes.json").read_text())
    assert counts["removed: identical"] == 1

    code, out, _ = run("audit", tmp_path / "fixed", "--fail-on", gates, "--against", release, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["passed"]
    assert report["comparison"]["removed"] == 300 - counts["kept"]
    assert report["comparison"]["changed"] == 0
    removed = load_dataset("parquet", data_files=str(tmp_path / "fixed" / "removed" / "*.parquet"), split="train")
    assert len(removed) == 300 - counts["kept"]


def test_flipping_is_by_explicit_choice(run, release, tmp_path):
    run("audit", release, "--fixes", tmp_path / "fixed", "--fix", "flip")
    fixed = load_dataset("parquet", data_files=str(tmp_path / "fixed" / "data" / "*.parquet"), split="train")
    assert len(fixed) == 300
    assert set(fixed["datamap_fix"]) == {"kept", "flipped: suspects"}


def test_reports_in_three_formats(run, release, tmp_path):
    files = [tmp_path / f"report{suffix}" for suffix in (".md", ".json", ".xml")]
    run("audit", release, *(word for file in files for word in ("--report", file)))
    assert files[0].read_text().startswith("# Audit")
    assert json.loads(files[1].read_text())["rows"] == 300
    assert ET.parse(files[2]).getroot().tag == "testsuites"


def test_exit_codes(run, release, tmp_path):
    assert run("audit", release, "--fail-on", "inversion")[0] == 0
    assert run("audit", release)[0] == 1  # the pair of equal responses is an alarm
    for words in (
        ("audit", tmp_path / "nothing.parquet"),
        ("audit", release, "--fail-on", "nonsense"),
        ("audit", release, "--report", "report.docx"),
        ("audit", release, "--fixes", tmp_path),
        ("audit", release, "--fixes", tmp_path / "new", "--fix-rows", "nonsense"),
        ("select", release, "nonsense"),
        ("select", release, "--rows", 5, "--fraction", 0.5),
        ("pairs", release, "--out", tmp_path / "p", "--contrast", "huge"),
        ("pairs", release, "--out", tmp_path / "p", "--contrast", "4,2"),
    ):
        code, _, err = run(*words)
        assert code == 2, words
        assert err.strip()


def test_an_unscored_source_is_audited_with_its_own_scores(run, tmp_path):
    ds, _ = planted.pairs(200, 0.1)
    scores = ds["datamap_scores"][:]
    data = planted.texts(200)
    plain = Dataset.from_dict(
        {**data, "score_chosen": [s[0] for s in scores], "score_rejected": [s[1] for s in scores]}
    )
    plain.to_json(tmp_path / "pairs.jsonl")
    code, out, err = run("audit", tmp_path / "pairs.jsonl", "--json", "--fail-on", "suspect_rate>0.5")
    assert code == 0
    assert "scores that ship with it" in err
    assert json.loads(out)["measures"]["suspect_rate"] > 0.03


def test_a_source_without_scores_says_what_is_left_out(run, tmp_path):
    Dataset.from_dict(planted.texts(40)).to_json(tmp_path / "pairs.jsonl")
    code, out, err = run("audit", tmp_path / "pairs.jsonl", "--json")
    assert code == 0
    assert "No scores" in err
    assert "score it first" in json.loads(out)["left_out"]["suspects"]


def test_several_splits(run, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    Dataset.from_dict(planted.texts(40)).to_parquet(folder / "train.parquet")
    Dataset.from_dict(planted.texts(3)).to_parquet(folder / "test.parquet")
    DatasetDict(train=Dataset.from_dict(planted.texts(40)), test=Dataset.from_dict(planted.texts(3))).save_to_disk(
        tmp_path / "saved"
    )
    for words in (
        (folder, "--split", "train", "--split", "test"),
        (folder, "--split", "all"),
        (tmp_path / "saved", "--split", "all"),
    ):
        code, out, _ = run("audit", *words, "--json")
        assert code == 1
        assert json.loads(out)["measures"]["leaks"] == pytest.approx(3 / 43, rel=1e-4)
    assert json.loads(run("audit", folder, "--split", "train", "--json")[1])["left_out"]["leaks"]


def test_select_writes_rows_and_says_how(run, release, tmp_path):
    code, out, _ = run("select", release, "--out", tmp_path / "good", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["strategy"], told["rows"], told["of"]) == ("high_mean_low_variance", 100, 300)
    assert json.loads((tmp_path / "good" / "selection.json").read_text())["dataset"] == str(release)
    assert run("audit", tmp_path / "good", "--fail-on", "inversion")[0] == 0
    assert run("select", release, "--out", tmp_path / "good")[0] == 2  # never over something else
    code, out, _ = run("select", "--list")
    assert code == 0
    assert "SelectiveDPO" in out


def test_pairs_and_attributes(run, release, tmp_path):
    code, out, _ = run("pairs", release, "--contrast", "high", "--out", tmp_path / "high", "--json")
    assert code == 0
    pairs = load_dataset("parquet", data_files=str(tmp_path / "high" / "data" / "*.parquet"), split="train")
    assert len(pairs) == json.loads(out)["pairs"]
    assert {"prompt", "chosen", "rejected", "margin", "shared_prefix_ratio", "difficulty"} <= set(pairs.column_names)
    code, _, _ = run("pairs", release, "--attributes", "--out", tmp_path / "described")
    described = load_dataset("parquet", data_files=str(tmp_path / "described" / "data" / "*.parquet"), split="train")
    assert code == 0
    assert len(described) == 300


@pytest.mark.parametrize("command", ["audit", "select", "pairs"])
def test_help_shows_examples(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"hf-datamap {command}" in out


def test_reviewed_rows_calibrate_from_a_file(run, release, tmp_path):
    suspects = json.loads(run("audit", release, "--json")[1])["suspects"]
    seen = tmp_path / "seen.jsonl"
    seen.write_text("".join(json.dumps({"row": s["row"], "verdict": "right"}) + "\n" for s in suspects))
    review = json.loads(run("audit", release, "--reviewed", seen, "--json")[1])["review"]
    assert review["reviewed"] == len(suspects)
    assert review["wrong"] == 0
    code, _, err = run("audit", release, "--reviewed", "nowhere.jsonl")
    assert code == 2
    assert "nowhere.jsonl" in err


@pytest.mark.parametrize("old", ["--probability", "--least-probability"])
def test_the_threshold_of_suspects(run, release, old):
    few, many = (
        len(json.loads(run("audit", release, old, value, "--no-texts", "--json")[1])["suspects"])
        for value in ("0.95", "balanced")
    )
    assert few < many
    assert run("audit", release, old, "often")[0] == 2


def test_only_what_is_new_fails_against_a_baseline(run, release, tmp_path):
    first, sarif = tmp_path / "first.json", tmp_path / "second.sarif"
    gates = ("--fail-on", "suspect_rate>0.01,identical")
    assert run("audit", release, *gates, "--report", first)[0] == 1
    assert run("audit", release, *gates, "--baseline", first, "--report", sarif)[0] == 0
    assert json.loads(sarif.read_text())["version"] == "2.1.0"


def test_evaluation_sets_and_personal_data(run, tmp_path):
    data = planted.texts(40)
    data["prompt"][3] = "Compare a heat pump with a gas boiler, please."
    data["chosen"][5] += " Ask jane.doe@university.edu."
    ds, evaluation = tmp_path / "ds.parquet", tmp_path / "eval.txt"
    Dataset.from_dict(data).to_parquet(ds)
    evaluation.write_text("compare a heat pump with a gas boiler, please.\n")
    code, out, _ = run("audit", ds, "--contamination", evaluation, "--personal-data", "--json")
    measures = json.loads(out)["measures"]
    assert code == 1
    assert measures["contamination"] == measures["personal_data"] == pytest.approx(1 / 40)
    code, _, err = run("audit", ds, "--contamination", "nothing")
    assert code == 2
    assert "no evaluation set 'nothing'" in err


def test_a_selection_of_a_selection_remembers_the_first(run, release, tmp_path):
    assert run("select", release, "high_margin", "--rows", "50", "--out", tmp_path / "one")[0] == 0
    assert run("select", tmp_path / "one", "random", "--rows", "10", "--out", tmp_path / "two")[0] == 0
    record = json.loads((tmp_path / "two" / "selection.json").read_text())
    assert record["strategy"] == "random"
    assert record["selected_from"]["strategy"] == "high_margin"

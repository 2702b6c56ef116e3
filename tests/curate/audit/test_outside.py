"""The outside world: evaluation sets whose prompts stand in the data, and personal data."""

from __future__ import annotations

import gzip
import json

import pytest
from datasets import Dataset

from hf_datamap.curate.audit import audit
from hf_datamap.curate.audit.checks.personal_data import personal_items
from hf_datamap.curate.contamination import SHIPPED, PromptHashes, read_evaluation
from hf_datamap.errors import DataMapError
from tests.curate.audit import planted

EVALUATION = [
    "Explain in your own words how a heat pump moves warmth from the cold air outside into a house in winter.",
    "What is 2 + 2?",
]


def contaminated() -> Dataset:
    data = planted.texts(60)
    data["prompt"][3] = "what is  2 + 2?"
    data["prompt"][9] = f"Dear assistant! {EVALUATION[0]} Use five sentences and one picture, please."
    data["prompt"][20] = EVALUATION[0].replace("Explain", "Describe")
    return Dataset.from_dict(data)


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".npz", "dataset", "list"])
def test_prompts_of_an_evaluation_set_are_found(tmp_path, suffix):
    path = tmp_path / f"eval{suffix}"
    rows = [{"question": text} for text in EVALUATION]
    if suffix == ".txt":
        path.write_text("\n".join(EVALUATION))
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif suffix == ".json":
        path.write_text(json.dumps(EVALUATION))
    elif suffix == ".npz":
        PromptHashes.of("mine", EVALUATION).save(path)
    given = {"dataset": Dataset.from_list(rows), "list": EVALUATION}.get(suffix, path)
    report = audit(contaminated(), contamination=[given])
    assert report.finding("contamination").rows.tolist() == [3, 9, 20]
    assert report.finding("contamination").severity == "alarm"
    assert audit(Dataset.from_dict(planted.texts(60)), contamination=[given]).measures["contamination"] == 0


def test_a_gate_on_contamination_that_was_not_looked_for_fails():
    report = audit(Dataset.from_dict(planted.texts(20)), fail_on="contamination,personal_data")
    assert [gate.failed for gate in report.gates] == [True, True]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sets_are_hashes_of_the_published_prompts(name):
    path = planted.SHARED / {"ifeval": "prompts_ifeval_en.jsonl.gz", "mt_bench": "prompts_mtbench.jsonl.gz"}[name]
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {planted.SHARED}")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    prompts = [row["prompt"] if name == "ifeval" else row["turns"][0] for row in rows]
    hashes = read_evaluation(name)
    assert len(hashes.exact) == len(prompts)
    assert hashes.matches(prompts, 0.8).all()
    assert not hashes.matches(planted.texts(200)["prompt"], 0.8).any()


def test_evaluation_sets_that_are_not_there_are_refused(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    for given in ("no-such-set", empty, Dataset.from_dict({"a": [1]})):
        with pytest.raises(DataMapError, match=r"no-such-set|no prompts|no column"):
            audit(contaminated(), contamination=[given])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to jane.doe@university.edu today.", "mail address"),
        ("Call +49 30 123456 or +44 20 7946 0958.", "phone number"),
        ("My card is 4111 1111 1111 1111, hurry.", ""),  # the test number of all payment tutorials
        ("My card is 4539 1488 0343 6467.", "payment card"),
        ("Pay to DE89 3704 0044 0532 0130 00.", "bank account"),
        ("The server is at 8.8.8.8.", "IP address"),
        ("Write to someone@example.com, 192.168.0.1, version 1.2.3.4000.", ""),
        ("The digits are 1234 5678 9012 3456.", ""),
        ("Call +1 for 7 reasons.", ""),
    ],
)
def test_personal_data_is_what_a_checksum_or_a_numbering_plan_confirms(text, kind):
    assert {found for found, _ in personal_items(text)} == ({kind} if kind else set())


def test_personal_data_is_reported_and_not_shown():
    data = planted.texts(40)
    data["chosen"][7] += " Write to jane.doe@university.edu."
    report = audit(Dataset.from_dict(data), personal_data=True)
    assert report.finding("personal_data").rows.tolist() == [7]
    for shown in (report.to_markdown(), report.to_json(), report.to_junit(), report.to_sarif()):
        assert "jane.doe" not in shown

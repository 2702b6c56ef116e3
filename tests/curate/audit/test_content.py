"""What the texts alone tell, with planted faults and on real data."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.curate.audit import audit
from hf_datamap.data import Layout
from hf_datamap.data.view import DatasetView
from tests.curate.audit import planted

CLEAN = (
    "empty",
    "truncated",
    "repetitive",
    "refused",
    "wrong_language",
    "identical",
    "duplicates",
    "duplicate_responses",
    "near_duplicate_responses",
    "swapped",
)


def audited(**changes) -> object:
    data = planted.texts(100)
    for name, cells in changes.items():
        for row, text in cells.items():
            data[name][row] = text(data) if callable(text) else text
    return audit(Dataset.from_dict(data))


def rows(report, check) -> list[int]:
    found = report.finding(check)
    return [] if found is None else found.rows.tolist()


def test_clean_texts_raise_nothing():
    report = audited()
    assert {check: report.measures[check] for check in CLEAN} == dict.fromkeys(CLEAN, 0.0)
    assert report.passed
    assert "no scores" in report.left_out["suspects"]


def test_empty_responses():
    report = audited(rejected={3: "", 40: "  \n"})
    assert rows(report, "empty") == [3, 40]
    assert report.measures["empty"] == 0.02


def test_chosen_equal_to_rejected():
    report = audited(rejected={5: lambda data: f" {data['chosen'][5]} "})
    assert rows(report, "identical") == [5]
    assert report.finding("identical").severity == "alarm"
    assert not report.passed


def test_a_difference_in_case_is_a_difference():
    assert rows(audited(rejected={5: lambda data: data["chosen"][5].upper()}), "identical") == []


def test_repeated_prompts():
    report = audited(prompt={20: lambda data: data["prompt"][4].upper() + " "})
    assert rows(report, "duplicates") == [20]
    assert report.finding("duplicates").evidence[0]["repeats"] == 4


def test_prompts_that_differ_in_a_sign_are_no_duplicates():
    report = audited(prompt={1: "What is 1+1?", 2: "What is 1-1?"})
    assert rows(report, "duplicates") == []


def test_nearly_repeated_prompts():
    words = [f"word{k}" for k in range(60)]
    report = audited(prompt={1: " ".join(words), 2: " ".join([*words[:30], "other", *words[31:]])})
    assert 2 in rows(report, "near_duplicates")
    assert 1 not in rows(report, "near_duplicates")


def test_one_response_under_several_prompts():
    canned = "Thank you for asking; our team will come back to you as soon as it can with all details."
    assert rows(audited(chosen={8: canned, 9: canned}), "duplicate_responses") == [9]


def test_nearly_equal_responses():
    words = [f"word{k}" for k in range(60)]
    one, two = " ".join(words), " ".join([*words[:30], "other", *words[31:]])
    within = audited(chosen={4: one}, rejected={4: two})
    assert rows(within, "near_duplicate_responses") == [4]
    assert "1 of 1 repeat a response of their own row" in within.finding("near_duplicate_responses").detail
    assert rows(audited(chosen={4: one, 9: two}), "near_duplicate_responses") == [9]
    assert rows(audited(chosen={4: one, 9: one}), "near_duplicate_responses") == []  # equal ones are told elsewhere


def test_broken_responses():
    prose = "The town was founded long ago by people who had come over the mountains. " * 3
    report = audited(
        chosen={
            1: prose + "And after many years they went back over the high mountains to the",
            2: "Round and round it goes. " * 40,
        },
        rejected={3: "I'm sorry, but I cannot help with that request."},
    )
    assert rows(report, "truncated") == [1]
    assert rows(report, "repetitive") == [2]
    assert rows(report, "refused") == [3]


def test_a_response_in_another_language():
    english = "Please tell me how the people who live in the town on the hill go to their work in the morning."
    kept = (
        "They go down the hill to the station and take the train that leaves at seven in the morning with their bags."
    )
    french = "Ils descendent la colline pour aller à la gare et ils prennent le train de sept heures avec leurs sacs."
    changes = {"prompt": {1: english}, "chosen": {1: kept}, "rejected": {1: french}}
    assert rows(audited(**changes), "wrong_language") == [1]
    asked = {**changes, "prompt": {1: english + " Answer in French."}}
    assert rows(audited(**asked), "wrong_language") == []
    assert rows(audited(**{**changes, "chosen": {1: french + " Oui."}}), "wrong_language") == []


def test_swapped_responses_are_found_with_the_prompt_they_answer():
    data = planted.texts(100)
    for a, b in ((3, 57), (12, 88)):
        data["rejected"][a], data["rejected"][b] = data["rejected"][b], data["rejected"][a]
    found = audit(Dataset.from_dict(data)).finding("swapped")
    assert found.rows.tolist() == [3, 12, 57, 88]
    assert {entry["row"]: entry["fits row"] for entry in found.evidence} == {3: 57, 57: 3, 12: 88, 88: 12}


def test_prompts_that_leak_between_splits():
    data = Dataset.from_dict(planted.texts(60))
    words = [f"word{k}" for k in range(60)]
    test = {
        "prompt": [data["prompt"][7], " ".join(words), "A new one?"],
        "chosen": ["Yes, surely."] * 3,
        "rejected": ["No, never."] * 3,
    }
    train = data.to_dict()
    train["prompt"][9] = " ".join([*words[:30], "other", *words[31:]])
    report = audit(DatasetDict(train=Dataset.from_dict(train), test=Dataset.from_dict(test)))
    assert rows(report, "leaks") == [60, 61]
    assert report.finding("leaks").evidence[0] | {"prompt": ""} == {
        "split": "test",
        "row": 0,
        "prompt": "",
        "repeats": 7,
    }
    assert not report.passed


def test_length_bias():
    data = planted.texts(100)
    data["chosen"] = [text + " And so on, at great length, for no good reason." * 5 for text in data["chosen"]]
    found = audit(Dataset.from_dict(data)).finding("length_bias")
    assert found.severity == "warning"
    assert found.evidence[-1]["better one is longer"] == 1.0
    assert found.value > 0.9


def test_rows_that_cannot_be_read():
    data = planted.texts(50)
    data["prompt"][7] = ""
    report = audit(Dataset.from_dict(data))
    assert rows(report, "unreadable") == [7]
    assert "prompt is empty" in report.finding("unreadable").evidence[0]["reason"]


def test_an_unknown_layout_is_an_alarm():
    report = audit(Dataset.from_dict({"a": [1], "b": [2]}))
    assert report.measures["unreadable"] == 1
    assert not report.passed


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("pairs_ultrafeedback_binarized/train.jsonl.gz", 0.02),
        ("pairs_lf_dpo_en.jsonl.gz", 0.01),
        ("pairs_lf_dpo_zh.jsonl.gz", 0.02),
    ],
)
def test_swapped_rejected_responses_in_real_data(name, allowed):
    """Few false alarms on the data as they are; of planted swaps a good part is found, and seldom anything else."""
    ds = planted.shared(name)
    assert audit(ds).measures["swapped"] <= allowed
    chosen = np.random.default_rng(0).permutation(len(ds))[: len(ds) // 10 // 2 * 2]
    rejected = ds["rejected"][:]
    for a, b in zip(chosen[::2], chosen[1::2], strict=True):
        rejected[a], rejected[b] = rejected[b], rejected[a]
    planted_ds = Dataset.from_dict({**ds.to_dict(), "rejected": rejected}, features=ds.features)
    found = rows(audit(planted_ds), "swapped")
    hits = np.isin(found, chosen).sum()
    assert hits / len(found) >= 0.75
    assert hits / len(chosen) >= 0.25


REAL = (
    "human_pandalm.jsonl.gz",
    "human_judgebench_gpt4o_with_rm_scores.jsonl.gz",
    "human_qafeedback_n4.jsonl.gz",
    "multi_bon_tulu13b_n16.jsonl.gz",
    "pairs_ja_vicuna_gpt4_judged.jsonl.gz",
    "pairs_ultrafeedback_binarized/test.jsonl.gz",
)


@pytest.mark.parametrize("name", REAL)
def test_columnar_annotations_are_those_of_the_layout(name):
    material = DatasetView(planted.shared(name))
    read = [example.annotations for _, batch in material.batches() for example in batch]
    for columnar, one in zip(material.annotations, read, strict=True):
        expected = [np.nan] * len(columnar) if one is None else [np.nan if v is None else v for v in one]
        np.testing.assert_allclose(columnar[: len(expected)], expected)


def test_equal_responses_without_labels_are_no_fault():
    data = {"prompt": planted.texts(30)["prompt"], "responses": [["same text", "same text", "another"]] * 30}
    found = audit(Dataset.from_dict(data)).finding("identical")
    assert found.severity == "warning"
    assert found.title.endswith("have equal responses")


def test_one_bad_response_among_many_is_no_alarm():
    data = planted.texts(30)
    refusal = "I'm sorry, but I cannot help with that request."
    severities = []
    for width in (2, 60):
        rows_ = [[f"{text} {j}" for j in range(width - 1)] + [refusal] for text in data["chosen"]]
        found = audit(Dataset.from_dict({"prompt": data["prompt"], "responses": rows_})).finding("refused")
        severities.append((found.severity, found.value))
    assert severities == [("warning", 1.0), ("note", 1.0)]


def test_opposite_preferences_on_the_same_pair():
    data = planted.texts(100)
    for name, other in (("chosen", "rejected"), ("rejected", "chosen")):
        data[name].append(data[other][7])
    data["prompt"].append(data["prompt"][7].upper())
    for name in data:  # the same row once more is a duplicate, no contradiction
        data[name].append(data[name][8])
    report = audit(Dataset.from_dict(data))
    assert rows(report, "contradictory_labels") == [7, 100]
    assert report.measures["contradictory_labels"] == pytest.approx(2 / 102)


def test_ratings_of_the_same_responses_that_contradict_each_other():
    ds = Dataset.from_dict(
        {
            "prompt": ["Which one?"] * 3,
            "responses": [["a b c", "d e f", "g h i"]] * 3,
            "scores": [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [3.0, 1.0, 1.0]],
        }
    )
    assert rows(audit(ds), "contradictory_labels") == [0, 1]


def test_length_alone_as_a_judge_by_source():
    data = planted.texts(120)
    data["source"] = ["long", "short"] * 60
    for k in range(120):
        longer = "chosen" if k % 2 == 0 else "rejected"
        data[longer][k] += " and so on" * 5
    report = audit(Dataset.from_dict(data))
    assert report.measures["length_ruler"] == pytest.approx(0.5)
    finding = report.finding("length_ruler")
    assert finding.severity == "warning"  # in one source it is always right
    assert [row["longer wins"] for row in finding.evidence] == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("rows", [1, 3, 200])
@pytest.mark.parametrize("prompt", [None, "", "Question?"])
def test_rows_none_of_which_is_readable_are_an_alarm_and_no_crash(rows, prompt):
    ds = Dataset.from_dict({"prompt": [prompt] * rows, "chosen": [None] * rows, "rejected": [None] * rows})
    layout = Layout(prompt="prompt", responses="chosen,rejected", label="order")
    report = audit(ds, layout=layout, contamination=["mt_bench"])
    assert report.measures["unreadable"] in {0.0, 1.0}
    assert report.to_markdown()
    assert report.to_json()


def test_absurd_scores_and_noise_are_no_crash():
    ds = planted.scored(planted.texts(20), np.tile([1e308, -1e308], (20, 1))).add_column("datamap_noise", [1e308] * 20)
    assert audit(ds, read_texts=False).to_json()

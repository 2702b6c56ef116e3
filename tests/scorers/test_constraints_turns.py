"""Constraints per turn (Multi-IF), text in any script, and how repaired and published verdicts differ."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.data.example import Constraint, Example
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints import check, check_turns, compare_behaviours, parse_constraints, rows_of_turns
from hf_datamap.scorers.constraints.differences import as_markdown
from hf_datamap.scorers.constraints.scripts import count_sentences_of_any_script, count_words_of_any_script

NO_COMMA, QUOTED = "punctuation:no_comma", "startend:quotation"
#: A row as published: every cell is JSON, and kwargs are JSON in JSON.
ROW = {
    "key": "1:en",
    "language": "English",
    "turn_1_prompt": json.dumps({"role": "user", "content": "Say hello."}),
    "turn_1_instruction_id_list": json.dumps([NO_COMMA]),
    "turn_1_kwargs": json.dumps(["{}"]),
    "turn_2_prompt": json.dumps({"role": "user", "content": "Quote it."}),
    "turn_2_instruction_id_list": json.dumps([NO_COMMA, QUOTED]),
    "turn_2_kwargs": json.dumps(["{}", "{}"]),
    "turn_3_prompt": "None",
    "turn_3_instruction_id_list": "None",
    "turn_3_kwargs": "None",
}


def test_each_response_is_checked_against_its_turn():
    constraints = parse_constraints([[NO_COMMA], [NO_COMMA, QUOTED]], None)
    assert check_turns(["a, b", '"a"'], constraints) == [[False], [True, True]]
    assert check_turns(["a", None], constraints) == [[True], None]
    assert check_turns(["Sure, here:\na", "a"], constraints, loose=True) == [[True], [True, False]]
    assert check_turns(["a, b"], [Constraint(NO_COMMA)]) == [[False]]
    with pytest.raises(RowError, match="turn 2, but 1 responses"):
        check_turns(["a"], constraints)


def test_a_row_of_multi_if_becomes_a_row_per_turn():
    (first,) = rows_of_turns(ROW)
    assert first["prompt"] == [{"role": "user", "content": "Say hello."}]
    assert (first["turn"], first["key"], first["language"]) == (1, "1:en", "English")
    first, second = rows_of_turns(ROW, ["Hello."])
    assert [message["role"] for message in second["prompt"]] == ["user", "assistant", "user"]
    assert second["prompt"][1]["content"] == "Hello."
    assert (second["turn"], second["instruction_id_list"], second["kwargs"]) == (2, [NO_COMMA, QUOTED], [{}, {}])
    assert len(rows_of_turns(ROW, ["Hello.", '"Hello."'])) == 2
    with pytest.raises(RowError, match="turn_1_prompt is no message"):
        rows_of_turns({"turn_1_prompt": "Say hello."})


def test_rows_of_turns_are_annotated():
    rows = [{**row, "responses": ["a, b", '"a"']} for row in rows_of_turns(ROW, ["Hello."])]
    ds, _ = dm.annotate(Dataset.from_list(rows), dm.ConstraintScorer(), progress=False)
    assert ds["datamap_scores"] == [[0.0, 1.0], [0.0, 1.0]]


def test_constraints_per_turn_in_one_row():
    """A conversation with a list of constraints per turn: the responses answer its last turn."""
    conversation = [
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": "Hello, you."},
        {"role": "user", "content": "Quote it."},
    ]
    ids = [[NO_COMMA], [NO_COMMA, QUOTED]]
    row = {"prompt": conversation, "instruction_id_list": ids, "kwargs": json.dumps([[{}], [{}, {}]])}
    ds = Dataset.from_list([{**row, "responses": ["a", '"a"']}])
    annotated, _ = dm.annotate(ds, dm.ConstraintScorer(), progress=False)
    assert annotated["datamap_scores"] == [[0.5, 1.0]]


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("It's two. Is it?", 5, 2),
        ("今天天气很好。我们去公园！GPT 4", 13, 3),
        ("今日は晴れです。明日は？", 10, 2),
        ("यह अच्छा है। वह कहाँ है?", 6, 2),
        ("هل هذا جيد؟ نعم.", 4, 2),
        ("오늘은 날씨가 좋다. 가자!", 4, 2),
        ("He said “好。” and left. Then he came back.", 9, 2),
    ],
)
def test_words_and_sentences_of_any_script(text, words, sentences):
    assert count_words_of_any_script(text) == words
    assert count_sentences_of_any_script(text) == sentences


def test_scripts_without_marks_are_refused_rather_than_miscounted():
    for kind, name in (("number_words", "num_words"), ("number_sentences", "num_sentences")):
        constraint = Constraint(f"length_constraints:{kind}", {name: 2, "relation": "at least"})
        with pytest.raises(RowError, match="Thai"):
            check("สวัสดีครับ วันนี้อากาศดี", [constraint])
        assert check("Thai: ไทย is one word here. Yes.", [constraint]) == [True]
        assert check("สวัสดีครับ วันนี้อากาศดี", [constraint], behaviour="published")[0] in (True, False)


@pytest.mark.parametrize("text", ["“a”", "„a“", "「a」"])
def test_curly_quotation_marks_are_quotation_marks(text):
    assert check(text, [Constraint(QUOTED)]) == [True]
    assert check(text, [Constraint(QUOTED)], behaviour="published") == [False]


def test_differences_between_the_behaviours_are_reported():
    examples = [
        Example((), ["“a, b”", '"a"', None, ""], constraints=(Constraint(QUOTED), Constraint(NO_COMMA))),
        Example((), ["I like c"], constraints=(Constraint("keywords:existence", {"keywords": ["c+"]}),)),
        Example((), ["a"], constraints=(Constraint("no:such"),)),
    ]
    found = compare_behaviours(examples)
    assert [(row.kind, row.verdicts, row.repaired_only, row.published_only) for row in found] == [
        ("keywords:existence", 1, 0, 1),
        (QUOTED, 2, 1, 0),
        (NO_COMMA, 2, 0, 0),
    ]
    assert as_markdown(found).splitlines()[2:] == ["| keywords:existence | 1 | 0 | 1 |", f"| {QUOTED} | 2 | 1 | 0 |"]

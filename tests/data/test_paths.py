"""Paths: how they are written, and what they lead to."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hf_datamap.data import EACH, format_path, parse_path, parse_paths, read_path, read_paths
from hf_datamap.errors import LayoutError, RowError


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("prompt", ("prompt",)),
        ("completions[].overall_score", ("completions", EACH, "overall_score")),
        ("completions[].fine-grained_score", ("completions", EACH, "fine-grained_score")),
        ("prediction 1", ("prediction 1",)),
        ('scores."org/model-1.5"', ("scores", "org/model-1.5")),
        ("scores.org/model", ("scores", "org/model")),
        ('"a.b"[0].c', ("a.b", 0, "c")),
        ("turns[-1]", ("turns", -1)),
        (r'"say ""', None),
        (r'"say \""', ('say "',)),
        ("rm[][]", ("rm", EACH, EACH)),
    ],
)
def test_spelling(text, steps):
    if steps is None:
        with pytest.raises(LayoutError, match="is not a path"):
            parse_path(text)
    else:
        assert parse_path(text) == steps
        assert parse_path(format_path(steps)) == steps


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "[]", "[0]", "a[", "a[x]", "a]", 'a"b"', '"a', "a.[0]"])
def test_what_is_not_a_path(text):
    with pytest.raises(LayoutError, match="is not a path"):
        parse_path(text)


def test_several_paths_in_one_text():
    assert parse_paths("score_chosen, score_rejected") == ("score_chosen", "score_rejected")
    assert parse_paths('s."a,b",t') == ('s."a,b"', "t")
    assert parse_paths(["x"]) == ("x",)
    assert parse_paths(None) == parse_paths("") == ()


ROW = {
    "completions": [{"response": "x", "scores": [1, 2]}, {"response": None, "scores": None}, None],
    "as_json": '{"a": [{"b": 1}, {"b": "two"}]}',
    "nested_json": {"cell": '["p", null]'},
    "text": "plain [text]",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("completions[].response", ["x", None, None]),
        ("completions[].scores[]", [[1, 2], None, None]),
        ("completions[0].scores[-1]", 2),
        ("completions[9].scores", None),
        ("as_json.a[].b", [1, "two"]),
        ("nested_json.cell[]", ["p", None]),
        ("text[]", None),
        ("text.field", None),
        ("completions.response", None),
    ],
)
def test_on_a_row_and_on_a_batch(path, value):
    assert read_path(ROW, path) == value
    assert read_paths({name: [cell, cell] for name, cell in ROW.items()}, [path]) == {path: [value, value]}
    table = pa.Table.from_pylist([ROW, ROW])
    assert read_paths(table, [path]) == {path: [value, value]}


def test_a_missing_column_is_an_error_that_names_those_there_are():
    with pytest.raises(RowError, match=r"lacks the column 'prompt'.*'text'"):
        read_path(ROW, "prompt")
    with pytest.raises(LayoutError, match="there is no column 'prompt'; there are: x"):
        read_paths(pa.table({"x": [1]}), ["prompt"])

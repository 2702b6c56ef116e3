"""One example in all its physical encodings reads the same, from batches, row by row and from streams."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_datamap.data.decode import decoded
from hf_datamap.data.detect import detect_layout

try:
    from datasets import Json
except ImportError:
    pytest.skip("datasets before 4.7 has no Json features", allow_module_level=True)

#: Texts that are not JSON by accident: the ``Json`` feature itself takes the text "0" for the number.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: f"T{text}")
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = Features({"role": Value("string"), "content": Value("string")})


def conversations(asked, answers):
    return [[{"role": "user", "content": asked}, {"role": "assistant", "content": answer}] for answer in answers]


def as_structs(turns):
    return turns, List(dict(MESSAGE))


def as_list_of_json(turns):
    return turns, List(Json())


def as_json_feature(turns):
    return turns, Json()


def as_json_text(turns):
    return json.dumps(turns, ensure_ascii=False), Value("string")


def as_indented_json(turns):
    return json.dumps(turns, indent=1), Value("string")


def as_python_repr(turns):
    return repr(turns), Value("string")


def as_numpy_repr(turns):
    with np.printoptions(threshold=10**6, linewidth=10**6):
        return str(np.array(turns, dtype=object)), Value("string")


def as_struct_of_lists(turns):
    columns = {key: [turn[key] for turn in turns] for key in ("role", "content")}
    return columns, {key: List(Value("string")) for key in columns}


def as_object(turns):
    return {"messages": turns}, {"messages": List(dict(MESSAGE))}


def as_blocks(turns):
    blocks = [{"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in turns]
    return blocks, List({"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})})


def as_sharegpt(turns):
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names[t["role"]], "value": t["content"]} for t in turns], List(
        {"from": Value("string"), "value": Value("string")}
    )


ENCODINGS = [
    as_structs, as_list_of_json, as_json_feature, as_json_text, as_indented_json, as_python_repr, as_numpy_repr,
    as_struct_of_lists, as_object, as_blocks, as_sharegpt,
]  # fmt: skip


def readings(ds):
    """Return what every way of reading makes of a dataset."""
    layout = detect_layout(ds)
    stream = ds.to_iterable_dataset()
    arrow = ds.with_format("arrow")
    return {
        "arrow": layout.read_batch(arrow[:]),
        "record batch": layout.read_batch(arrow[:].to_batches()[0]),
        "batch": layout.read_batch(ds[:]),
        "rows": [layout.read(row) for row in ds],
        "stream": [detect_layout(stream).read(row) for row in stream],
    }


@pytest.mark.parametrize("encode", ENCODINGS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=3))
def test_conversations(encode, rows):
    table, features = [], {}
    for asked, *answers in rows:
        cells = [encode(turns) for turns in conversations(asked, answers)]
        table.append({"chosen": cells[0][0], "rejected": cells[1][0]})
        features = {"chosen": cells[0][1], "rejected": cells[1][1]}
    ds = Dataset.from_list(table, features=Features(features))
    for way, examples in readings(ds).items():
        for (asked, good, bad), example in zip(rows, examples, strict=True):
            assert list(example.prompt) == [{"role": "user", "content": asked}], way
            assert example.responses == [good, bad], way
            assert example.annotations == [1.0, 0.0], way


@pytest.mark.parametrize("encode", ["list", "json", "repr", "list of json"])
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, st.integers(0, 9), TEXT, st.integers(0, 9)), min_size=1, max_size=3))
def test_lists_of_responses_and_scores(encode, rows):
    forms = {
        "list": lambda values: values, "json": json.dumps, "repr": repr, "list of json": lambda values: values,
    }  # fmt: skip
    form = forms[encode]
    table = [{"prompt": f"Q{q}", "responses": form([a, b]), "scores": form([m, n])} for q, a, m, b, n in rows]
    plain = Value("string")
    listed = {"list": (List(plain), List(Value("int64"))), "list of json": (List(Json()), List(Json()))}
    responses, scores = listed.get(encode, (plain, plain))
    ds = Dataset.from_list(table, features=Features({"prompt": plain, "responses": responses, "scores": scores}))
    for way, examples in readings(ds).items():
        for (_, a, m, b, n), example in zip(rows, examples, strict=True):
            assert example.responses == [a, b], way
            assert example.annotations == [float(m), float(n)], way


@given(value=NESTED)
def test_a_repr_is_decoded_as_what_it_was(value):
    if isinstance(value, (list, dict)):
        assert decoded(repr(value)) in (value, repr(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['a' 'b'\n 'c']", ["a", "b", "c"]),
        ("[1. 2.5 nan]", [1.0, 2.5, None]),
        (
            "array([{'a': array(['x', 'y'], dtype=object)}, {'b': None}], dtype=object)",
            [{"a": ["x", "y"]}, {"b": None}],
        ),
        ("[{'role': 'user'}\n {'role': \"it's\"}]", [{"role": "user"}, {"role": "it's"}]),
        ("[A] is a letter", "[A] is a letter"),
        ("['a' ... 'z']", "['a' ... 'z']"),
        ("{x for x in y}", "{x for x in y}"),
        ("[__import__('os')]", "[__import__('os')]"),
    ],
)
def test_reprs_of_numpy_and_texts_that_are_none(text, value):
    assert decoded(text) == value


def test_json_within_structs_and_nulls():
    rows = [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}, None]
    from hf_datamap.data.decode import to_python

    features = Features({"turn": {"role": Value("string"), "tool_calls": List(Json())}})
    ds = Dataset.from_list([{"turn": row} for row in rows], features=features)
    column = ds.with_format("arrow")[:].column("turn")
    assert [value for chunk in column.chunks for value in to_python(chunk)] == ds["turn"][:]
    assert to_python(pa.array([[1], None])) == [[1], None]

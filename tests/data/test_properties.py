"""Whatever a row holds: a `DataMapError`, or an Example that is aligned and clean. Never anything else."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_datamap.data import (
    Example,
    Layout,
    detect_layout,
    format_path,
    parse_constraints,
    parse_layout,
    parse_path,
    read_path,
)
from hf_datamap.data.group_rows import group_rows
from hf_datamap.data.paths import EACH, arrow_walk, walk
from hf_datamap.errors import DataMapError, LayoutError, RowError
from tests.data.rows import CASES

RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: Text with surrogates, controls, right-to-left marks and whatever else hypothesis likes, and words that layouts know.
TEXT = st.one_of(
    st.text(st.characters(codec=None), max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "N/A",
            "4",
            "7/10",
            "nan",
            "inf",
            "1e999",
            "tie",
            "model_a",
            "A>B",
            "[]",
            "[null]",
            '["x", 1]',
            "{}",
            '{"a": 1}',
            '[{"role": "user", "content": "x"}]',
            "\n\nHuman: x\n\nAssistant: y",
            "Human:",
            "[" * 3000,
            "[" * 900 + "]" * 900,
            chr(0xD83D),
            chr(0xD83D) + chr(0xDE00),
        ]
    ),
)
KEYS = st.sampled_from(
    ["role", "content", "from", "value", "text", "type", "image", "model", "response", "rank", "a.b"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
LAYOUTS = {case.name: parse_layout(case.layout) if case.layout else detect_layout(case.row) for case in CASES}


@st.composite
def damaged(draw, value, chance=4):
    """A value in which some parts are replaced by anything."""
    if draw(st.integers(0, chance)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        return {key: draw(damaged(item, chance)) for key, item in value.items() if draw(st.integers(0, 20))}
    if isinstance(value, list):
        return [draw(damaged(item, chance)) for item in value]
    return value


def check(example: Example) -> None:
    assert example.prompt
    for message in example.prompt:
        assert set(message) == {"role", "content"}
        assert message["role"] in {"system", "user", "assistant", "tool"}
        message["content"].encode()
    assert example.responses
    for text in example.responses:
        assert text is None or text.encode() is not None
    if example.annotations is not None:
        assert len(example.annotations) == len(example.responses)
        assert all(value is None or math.isfinite(value) for value in example.annotations)
    assert all(text.strip() for text in example.references)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@RELAXED
@given(data=st.data())
def test_a_damaged_row_reads_aligned_or_says_why(case, data):
    layout = LAYOUTS[case.name]
    row = data.draw(damaged(case.row))
    row = row if isinstance(row, dict) else {"prompt": row}
    try:
        example = layout.read(row)
    except RowError as error:
        told = str(error)
        assert told.isprintable()
        return
    check(example)
    if len(layout.responses) > 1 and not any(path.endswith("[]") for path in layout.responses):
        assert len(example.responses) == len(layout.responses)
    batched = layout.read_batch({name: [value] for name, value in row.items()})
    assert batched == [example] or not math.isfinite(sum(example.annotations or [0]) or 0)


@RELAXED
@given(st.dictionaries(st.one_of(TEXT, st.sampled_from(sorted({n for c in CASES for n in c.row}))), VALUES, max_size=6))
def test_detection_of_any_row_refuses_in_words(row):
    with suppress(DataMapError):
        check(detect_layout(row).read(row))


@RELAXED
@given(
    st.lists(
        st.one_of(st.text(min_size=1).filter(lambda t: t == t.strip()), st.integers(-9, 9), st.just(EACH)), max_size=4
    ),
    st.text(min_size=1),
)
def test_paths_survive_their_text(steps, first):
    path = (first.strip() or "x", *steps)
    assert parse_path(format_path(path)) == path


@RELAXED
@given(TEXT)
def test_no_text_breaks_the_parsers(text):
    for parse in (parse_path, parse_layout, Layout.from_json):
        with suppress(LayoutError):
            parse(text)


@RELAXED
@given(VALUES)
def test_no_json_breaks_a_layout(value):
    for given_value in (value, {"prompt": value, "responses": value}, {"responses": ["a", "b"], "choices": value}):
        with suppress(LayoutError):
            Layout.from_json(json.dumps(given_value, default=str))


@RELAXED
@given(VALUES, VALUES)
def test_constraints_have_ids_and_no_nulls(ids, kwargs):
    try:
        found = parse_constraints(ids, kwargs)
    except RowError:
        return
    assert all(c.id and None not in c.kwargs.values() for c in found)


ROWS = st.lists(
    st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {
                "a": st.one_of(
                    st.none(),
                    st.lists(
                        st.fixed_dictionaries(
                            {
                                "t": st.one_of(st.none(), st.text(max_size=3)),
                                "n": st.floats(allow_nan=False) | st.none(),
                            }
                        ),
                        max_size=3,
                    ),
                )
            }
        ),
    ),
    max_size=5,
)


@RELAXED
@given(ROWS, st.integers(0, 3))
def test_arrow_and_python_walk_the_same_way(rows, skip):
    kind = pa.struct([("a", pa.list_(pa.struct([("t", pa.string()), ("n", pa.float64())])))])
    array = pa.array(rows, kind).slice(skip)
    for path in ("x.a[].t", "x.a[].n", "x.a", "x.a[]", "x.a[0].t", "x.a[-1]", "x.missing", "x.a[].missing"):
        steps = parse_path(path)[1:]
        assert arrow_walk(array, steps) == [walk(value, steps) for value in array.to_pylist()], path
    assert [read_path({"x": row}, "x.a[].t") for row in rows] == [walk(row, parse_path("x.a[].t")[1:]) for row in rows]


def test_sliced_and_chunked_batches_read_alike():
    case = next(case for case in CASES if case.name == "openbmb/UltraFeedback")
    rows = [{**case.row, "instruction": f"Question {k}"} for k in range(10)]
    ds = Dataset.from_list(rows)
    layout = detect_layout(ds.features)
    whole = layout.read_batch(ds.data.table)
    chunked = pa.concat_tables([ds.data.table.slice(0, 3), ds.data.table.slice(3)])
    assert layout.read_batch(chunked) == whole
    assert layout.read_batch(ds.data.table.slice(4, 3)) == whole[4:7]


NAMES = st.sampled_from([None, "1", "2", "3", "4", "5"])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "message_id": NAMES,
            "parent_id": NAMES,
            "text": st.sampled_from([None, "", "Frage", "답"]),
            "role": st.sampled_from([None, "prompter", "assistant", "owner"]),
            "rank": st.sampled_from([None, 0, 1, 2]),
            "deleted": st.sampled_from([None, True, False]),
        }
    ),
    min_size=1,
    max_size=8,
)
TREE = pa.schema(
    [(name, pa.string()) for name in ("message_id", "parent_id", "text", "role")]
    + [("rank", pa.int64()), ("deleted", pa.bool_())]
)
PAIRS = st.lists(
    st.fixed_dictionaries(
        {
            "post_id": NAMES,
            "history": st.sampled_from([None, "h"]),
            "human_ref_A": st.sampled_from([None, "a", "b"]),
            "human_ref_B": st.sampled_from([None, "a", "b"]),
            "score_A": st.sampled_from([None, 1, 2]),
            "score_B": st.sampled_from([None, 1, 2]),
        }
    ),
    min_size=1,
    max_size=8,
)
SHP = pa.schema(
    [(name, pa.string()) for name in ("post_id", "history", "human_ref_A", "human_ref_B")]
    + [("score_A", pa.int64()), ("score_B", pa.int64())]
)


@RELAXED
@given(st.one_of(MESSAGES.map(lambda rows: (rows, TREE)), PAIRS.map(lambda rows: (rows, SHP))))
def test_grouping_keeps_responses_and_annotations_together(given_rows):
    rows, schema = given_rows
    reports = []
    with suppress(LayoutError):
        ds = group_rows(Dataset(pa.Table.from_pylist(rows, schema)), on_report=reports.append)
        assert ds.num_rows == reports[0].groups
        for row in ds:
            assert len(row["responses"]) == len(row["annotations"]) >= 2
        if schema is SHP:
            shown = {
                (r["post_id"], r[f"human_ref_{s}"], r[f"score_{s}"])
                for r in rows
                for s in "AB"
                if r["post_id"] is not None
            }
            for row in ds:
                for text, score in zip(row["responses"], row["annotations"], strict=True):
                    assert (row["post_id"], text, score) in shown
        for example in detect_layout(ds).read_batch(ds.with_format("arrow")[:]):
            assert isinstance(example, RowError) or check(example) is None

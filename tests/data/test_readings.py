"""The table of readings: rows in the shapes in which preference data are published, and how they must read.

``readings.jsonl`` has one JSON object per line: ``rows``, and either ``refused`` (words of the refusal) or ``layout``,
``responses`` (per row), ``preferred`` (per row: the place of the best, several places, null for a tie, "none" for no
label), ``prompt`` (texts that the prompts hold) and ``scores``. Texts are invented. To add a layout, declare it in
``known_layouts.py`` and add one line here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hf_datamap.data.columns import padded
from hf_datamap.data.detect import detect_layout
from hf_datamap.data.known_layouts import KNOWN
from hf_datamap.data.layout import Layout
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import LayoutError, RowError
from tests.data.rows import CASES

READINGS = [json.loads(line) for line in (Path(__file__).parent / "readings.jsonl").read_text("utf-8").splitlines()]


def preference(annotations):
    """Return the place of the best response, several places, None for a tie, "none" without a label."""
    if annotations is None or all(value is None for value in annotations):
        return "none"
    best = max(value for value in annotations if value is not None)
    places = [place for place, value in enumerate(annotations) if value == best]
    return None if len(places) == len(annotations) else places[0] if len(places) == 1 else places


def dataset(rows):
    return Dataset.from_list(rows, on_mixed_types="use_json")


@pytest.mark.parametrize("case", [case for case in READINGS if "refused" not in case], ids=lambda case: case["name"])
def test_reads(case):
    ds = dataset(case["rows"])
    layout = detect_layout(ds)
    assert layout.name == case["layout"]
    examples = layout.read_batch(ds.with_format("arrow")[:])
    assert not [example for example in examples if isinstance(example, RowError)]
    assert [[text.strip() for text in example.responses] for example in examples] == case["responses"]
    assert [preference(example.annotations) for example in examples] == case["preferred"]
    told = "\n".join(message["content"] for example in examples for message in example.prompt)
    assert [text for text in case["prompt"] if text not in told] == []
    if "scores" in case:
        assert layout.scores == case["scores"]


@pytest.mark.parametrize("case", [case for case in READINGS if "refused" not in case], ids=lambda case: case["name"])
def test_batches_rows_and_streams_agree(case):
    ds = dataset(case["rows"])
    expected = detect_layout(ds).read_batch(ds.with_format("arrow")[:])
    stream = ds.to_iterable_dataset()
    assert detect_layout(stream) == detect_layout(ds)
    layout = detect_layout(stream)
    assert layout.read_batch(ds[:]) == expected
    assert [layout.read(row) for row in ds] == expected
    assert [layout.read(row) for row in stream] == expected
    assert [layout.read(row) for row in case["rows"]] == expected, "the rows before they became a dataset"
    raw = ds.with_format("arrow")[:].to_pylist()
    assert detect_layout(ds.features, sample=raw) == layout, "rows straight from Arrow, with Json as text"
    assert Layout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize("case", [case for case in READINGS if "refused" not in case], ids=lambda case: case["name"])
def test_labels_read_as_columns_are_those_read_row_by_row(case):
    ds = dataset(case["rows"])
    view = DatasetView(ds)
    lists = [example.annotations or [] for example in view.layout.read_batch(ds.with_format("arrow")[:])]
    rows = padded(pa.array(lists, pa.list_(pa.float64())))
    by_column = view.annotations
    assert np.isfinite(rows).any() == (by_column is not None)
    if by_column is not None:
        np.testing.assert_array_equal(by_column, rows)


@pytest.mark.parametrize("case", [case for case in READINGS if "refused" in case], ids=lambda case: case["name"])
def test_is_refused_in_words_that_help(case):
    for source in (dataset(case["rows"]), dataset(case["rows"]).to_iterable_dataset()):
        with pytest.raises(LayoutError) as refusal:
            detect_layout(source)
        assert case["refused"].lower() in str(refusal.value).partition("\ncolumns:")[0].lower()


def test_every_known_layout_has_a_reading():
    shown = {case["layout"] for case in READINGS if "layout" in case} | {case.found or case.layout for case in CASES}
    assert [entry.name for entry in KNOWN if entry.name not in shown] == []

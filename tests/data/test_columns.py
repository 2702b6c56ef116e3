"""Mean, variance, agreement and margin, against the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from datasets import Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.data import columns

SCORE = st.one_of(st.none(), st.floats(-1e3, 1e3, width=32))
ROWS = st.lists(st.lists(SCORE, max_size=6), min_size=1, max_size=8)


def matrix(rows):
    return columns.padded(pa.array(rows, pa.list_(pa.float64())))


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_moments_are_population_moments_of_the_valid_scores(rows):
    means, variances = columns.moments(matrix(rows))
    for row, mean, variance in zip(rows, means, variances, strict=True):
        valid = [score for score in row if score is not None]
        if not valid:
            assert math.isnan(mean)
        else:
            assert mean == pytest.approx(np.mean(valid), rel=1e-5, abs=1e-5)
        if len(valid) < 2:
            assert math.isnan(variance)
        else:
            assert variance == pytest.approx(np.var(valid), rel=1e-4, abs=1e-4)


@given(ROWS, ROWS)
@settings(max_examples=100, deadline=None)
def test_a_row_does_not_depend_on_its_neighbours(rows, others):
    alone, together = columns.moments(matrix(rows)), columns.moments(matrix([*rows, *others]))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b[: len(rows)])


def test_equal_scores_have_no_variance():
    assert columns.moments(np.full((1, 3), 0.1))[1].tolist() == [0.0]


def test_agreement_is_the_uncentred_cosine():
    scores, labels = np.array([[1.0, 2.0, 3.0]]), np.array([[3.0, 2.0, 1.0]])
    assert columns.agreement(scores, labels)[0] == pytest.approx(10 / 14)
    partial = columns.agreement(np.array([[1.0, np.nan, 3.0]]), labels)
    assert partial[0] == pytest.approx(6 / (math.sqrt(10) * math.sqrt(10)))


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([1.0, np.nan], [1.0, 0.0]),
        ([0.0, 0.0], [1.0, 0.0]),
        ([np.nan, np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [np.nan, 1.0]),
    ],
)
def test_agreement_that_means_nothing_is_missing(scores, labels):
    assert math.isnan(columns.agreement(np.array([scores]), np.array([labels]))[0])


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([8.0, 3.0], [1.0, 0.0], 5.0),
        ([8.0, 3.0], [0.0, 1.0], -5.0),
        ([8.0, 3.0], [1.0, 1.0], None),
        ([1.0, 5.0, 9.0], [3.0, 1.0, 2.0], -4.0),
        ([1.0, 5.0, 9.0], [3.0, 3.0, 2.0], -6.0),
        ([np.nan, 5.0, 9.0], [3.0, 2.0, 1.0], -4.0),
        ([np.nan, 5.0], [1.0, 0.0], None),
    ],
)
def test_margin_is_preferred_minus_disliked(scores, labels, expected):
    margin = columns.margin(np.array([scores]), np.array([labels]))[0]
    assert math.isnan(margin) if expected is None else margin == pytest.approx(expected)


def test_no_responses_at_all():
    nothing = matrix([[], None])
    assert nothing.shape == (2, 0)
    for values in (*columns.moments(nothing), columns.agreement(nothing, nothing), columns.margin(nothing, nothing)):
        assert np.isnan(values).all()


def test_slices_and_chunks_are_read_right():
    whole = pa.chunked_array([pa.array([[9.0], [1.0, 2.0]]), pa.array([[3.0, None]])])
    np.testing.assert_array_equal(columns.padded(whole.slice(1)), [[1.0, 2.0], [3.0, np.nan]])


def test_features_of_the_contract():
    assert columns.features(Features({"prompt": Value("string")})) == Features(
        {
            "prompt": Value("string"),
            "datamap_scores": List(Value("float32")),
            "datamap_mean": Value("float32"),
            "datamap_variance": Value("float32"),
            "datamap_noise": Value("float32"),
            "datamap_status": Value("string"),
            "datamap_error": Value("string"),
        }
    )

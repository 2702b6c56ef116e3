from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from scipy import stats

from hf_datamap.data import statistics as st
from hf_datamap.data.columns import agreement

MATRICES = arrays(np.float64, (4, 5), elements=some.sampled_from([0.0, 1.0, 2.0, 3.5, np.nan]))


def slow_tau(scores, labels):
    pairs = [
        (i, j)
        for i, j in combinations(range(len(scores)), 2)
        if np.isfinite([scores[i], scores[j], labels[i], labels[j]]).all()
    ]
    a = [np.sign(scores[i] - scores[j]) for i, j in pairs]
    b = [np.sign(labels[i] - labels[j]) for i, j in pairs]
    norm = math.sqrt(sum(x != 0 for x in a) * sum(x != 0 for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else math.nan


@settings(deadline=None)
@given(MATRICES, MATRICES)
def test_kendall_equals_counting_pairs(scores, labels):
    expected = [slow_tau(s, a) for s, a in zip(scores, labels, strict=True)]
    np.testing.assert_allclose(st.kendall(scores, labels), expected)


@settings(deadline=None)
@given(MATRICES, MATRICES)
def test_pearson_equals_numpy(scores, labels):
    for got, s, a in zip(st.pearson(scores, labels), scores, labels, strict=True):
        both = np.isfinite(s) & np.isfinite(a)
        one, two = s[both], a[both]
        if len(one) < 2 or one.std() == 0 or two.std() == 0:
            assert np.isnan(got)
        else:
            assert got == pytest.approx(np.corrcoef(one, two)[0, 1])


def test_cramers_v():
    assert st.cramers_v(np.array([[50, 0], [0, 50]]))[0] == pytest.approx(1.0, abs=0.02)
    v, p = st.cramers_v(np.array([[25, 25], [25, 25]]))
    assert (v, p) == (0.0, 1.0)
    assert st.cramers_v(np.array([[10, 0], [0, 0]])) == (0.0, 1.0)


@settings(deadline=None)
@given(arrays(np.float64, 12, elements=some.sampled_from([0.0, 1.0, 2.5, np.nan])))
def test_rank_shares_run_from_0_to_1_and_share_ties(values):
    shares = st.rank_shares(values)
    np.testing.assert_array_equal(np.isnan(shares), np.isnan(values))
    known = values[~np.isnan(values)]
    for value, share in zip(known, shares[~np.isnan(values)], strict=True):
        below, equal = (known < value).sum(), (known == value).sum()
        assert share == pytest.approx((below + (equal - 1) / 2) / max(len(known) - 1, 1))


@settings(deadline=None)
@given(some.integers(0, 50), some.integers(1, 50))
def test_wilson_holds_the_share(hits, more):
    low, high = st.wilson_interval(hits / (hits + more), hits + more, 3.0)
    assert 0 <= low <= hits / (hits + more) <= high <= 1


def test_missing_values_are_left_out_as_by_scipy():
    """Kendall, Pearson and the cosine of 10,000 rows with missing entries, against one row at a time without them."""
    rng = np.random.default_rng(0)
    for width, scale, whole in ((2, 1.0, True), (4, 1.0, True), (4, 1e-9, False), (7, 1e6, False)):
        scores = rng.integers(0, 5, (2500, width)) * scale if whole else rng.normal(size=(2500, width)) * scale
        annotations = rng.integers(0, 4, (2500, width)).astype(float)
        scores[rng.random(scores.shape) < 0.3] = np.nan
        annotations[rng.random(scores.shape) < 0.3] = np.nan
        ours = (st.kendall(scores, annotations), st.pearson(scores, annotations), agreement(scores, annotations))
        for row, (s, a) in enumerate(zip(scores, annotations, strict=True)):
            both = np.isfinite(s) & np.isfinite(a)
            for value, expected in zip(ours, _by_scipy(s[both], a[both]), strict=True):
                assert value[row] == pytest.approx(expected, abs=2e-6, nan_ok=True), (s, a)


def _by_scipy(s, a):
    """Tau-b, Pearson's r and the uncentred cosine; NaN where one of them is not defined."""
    if len(s) < 2:
        return [np.nan] * 3
    varies = np.ptp(s) > 0 and np.ptp(a) > 0
    cosine = s @ a / np.sqrt((s @ s) * (a @ a)) if s.any() and a.any() else np.nan
    if not varies:
        return [np.nan, np.nan, cosine]
    return [stats.kendalltau(s, a).statistic, stats.pearsonr(s, a).statistic, cosine]


def test_a_corrected_share_holds_the_truth():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        truth = rng.random(3000) < 0.85
        says = np.where(truth, rng.random(3000) < 0.9, rng.random(3000) < 0.3)
        known = rng.choice(3000, 200, replace=False)
        right, wrong = truth[known], ~truth[known]
        share, low, high = st.corrected_share(
            says.mean(), 3000, (int((says[known] & right).sum()), int(right.sum())),
            (int((~says[known] & wrong).sum()), int(wrong.sum())),
        )  # fmt: skip
        inside += low <= 0.85 <= high
    assert inside > 180
    assert abs(share - 0.85) < 0.1
    assert math.isnan(st.corrected_share(0.5, 100, (5, 10), (5, 10))[0])
    assert math.isnan(st.corrected_share(0.5, 100, (5, 10), (0, 0))[0])

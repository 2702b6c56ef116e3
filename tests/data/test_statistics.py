from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from hf_datamap.data import statistics as st

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

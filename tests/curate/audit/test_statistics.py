from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from hf_datamap.curate.audit import statistics as st

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


@given(MATRICES, MATRICES)
def test_kendall_equals_counting_pairs(scores, labels):
    expected = [slow_tau(s, a) for s, a in zip(scores, labels, strict=True)]
    np.testing.assert_allclose(st.kendall(scores, labels), expected)


@given(MATRICES, MATRICES)
def test_pearson_equals_numpy(scores, labels):
    for got, s, a in zip(st.pearson(scores, labels), scores, labels, strict=True):
        both = np.isfinite(s) & np.isfinite(a)
        one, two = s[both], a[both]
        if len(one) < 2 or one.std() == 0 or two.std() == 0:
            assert np.isnan(got)
        else:
            assert got == pytest.approx(np.corrcoef(one, two)[0, 1])


def test_alignment_of_a_pair_is_its_margin():
    scores = np.array([[3.0, 1.0], [1.0, 3.0], [1.0, 1.0], [np.nan, 1.0]])
    labels = np.array([[1.0, 0.0], [9.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(st.alignment(scores, labels, 0.0), [2.0, -2.0, 0.0, np.nan])


def test_alignment_turns_its_sign_with_the_annotations():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    np.testing.assert_allclose(st.alignment(scores, labels, 0.0), -st.alignment(scores, -labels, 0.0))


def test_worst_pair_is_the_greatest_contradiction():
    better, worse = st.worst_pair(np.array([[0.1, 0.9, 0.5]]), np.array([[10.0, 1.0, 5.0]]))
    assert (better[0], worse[0]) == (0, 1)


@pytest.mark.parametrize("error", [0.02, 0.05, 0.15, 0.30])
def test_reliability_finds_the_share_of_wrong_labels(error):
    rng = np.random.default_rng(1)
    truth = rng.logistic(0, 1 / 3, 20_000) + np.abs(rng.normal(1.5, 1, 20_000))
    signed = np.where(rng.random(20_000) < error, -truth, truth)
    found = st.Reliability.fit(signed)
    assert found.error == pytest.approx(error, abs=0.03)
    assert found.interval[0] - 0.02 <= error <= found.interval[1] + 0.02


def test_probabilities_are_calibrated():
    """Of labels said to be wrong with some probability about that many are, when the scorer is as assumed."""
    rng = np.random.default_rng(2)
    size = rng.exponential(1.0, 100_000)
    named = rng.random(100_000) < 1 / (1 + np.exp(-3 * size))
    wrong = rng.random(100_000) < 0.1
    signed = np.where(named ^ wrong, size, -size)
    told = st.Reliability.fit(signed).mislabelled(-signed)
    for low, high in ((0.2, 0.5), (0.6, 0.9), (0.9, 1.0)):
        inside = (told >= low) & (told < high)
        assert wrong[inside].mean() == pytest.approx(told[inside].mean(), abs=0.05)


def test_a_good_scorer_without_wrong_labels_gives_no_suspects():
    rng = np.random.default_rng(3)
    found = st.Reliability.fit(rng.normal(2, 1, 5_000))
    assert (found.mislabelled(-rng.normal(2, 1, 5_000)) >= 0.5).sum() <= 5


def test_noise_shrinks_margins():
    margin = st.effective_margin(np.array([1.0, 1.0]), np.array([0.0, 10.0]), scale=1.0)
    assert margin[0] == 1.0
    assert margin[1] < 0.25


def test_reliability_without_comparisons():
    assert st.Reliability.fit(np.array([0.0, np.nan])) is None


def test_cramers_v():
    assert st.cramers_v(np.array([[50, 0], [0, 50]]))[0] == pytest.approx(1.0, abs=0.02)
    v, p = st.cramers_v(np.array([[25, 25], [25, 25]]))
    assert (v, p) == (0.0, 1.0)
    assert st.cramers_v(np.array([[10, 0], [0, 0]])) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("chi2", "free", "p"), [(3.841, 1, 0.05), (9.488, 4, 0.05), (18.307, 10, 0.05), (23.209, 10, 0.01)]
)
def test_chi2_against_tables(chi2, free, p):
    assert st.chi2_p(chi2, free) == pytest.approx(p, rel=0.05)


def test_kolmogorov_smirnov():
    rng = np.random.default_rng(0)
    a = rng.normal(size=2_000)
    assert st.kolmogorov_smirnov(a, rng.normal(size=2_000))[1] > 0.001
    d, p = st.kolmogorov_smirnov(a, a + 1)
    assert d > 0.3
    assert p < 1e-6
    assert st.kolmogorov_smirnov(a, np.array([])) == (0.0, 1.0)


@given(some.integers(0, 50), some.integers(1, 50))
def test_wilson_holds_the_share(hits, more):
    low, high = st.wilson(hits, hits + more)
    assert 0 <= low <= hits / (hits + more) <= high <= 1

from __future__ import annotations

import numpy as np
import pytest

from hf_datamap.curate.audit import contradiction as st
from hf_datamap.curate.audit.label_errors import LabelErrorModel


def test_alignment_of_a_pair_is_its_margin():
    scores = np.array([[3.0, 1.0], [1.0, 3.0], [1.0, 1.0], [np.nan, 1.0]])
    labels = np.array([[1.0, 0.0], [9.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(st.signed_margin(scores, labels, 0.0), [2.0, -2.0, 0.0, np.nan])


def test_alignment_turns_its_sign_with_the_annotations():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    np.testing.assert_allclose(st.signed_margin(scores, labels, 0.0), -st.signed_margin(scores, -labels, 0.0))


def test_worst_pair_is_the_greatest_contradiction():
    better, worse = st.most_contradicted_pair(np.array([[0.1, 0.9, 0.5]]), np.array([[10.0, 1.0, 5.0]]))
    assert (better[0], worse[0]) == (0, 1)


@pytest.mark.parametrize("error", [0.02, 0.05, 0.15, 0.30])
def test_reliability_finds_the_share_of_wrong_labels(error):
    rng = np.random.default_rng(1)
    truth = rng.logistic(0, 1 / 3, 20_000) + np.abs(rng.normal(1.5, 1, 20_000))
    signed = np.where(rng.random(20_000) < error, -truth, truth)
    found = LabelErrorModel.fit(signed)
    assert found.error == pytest.approx(error, abs=0.03)
    assert found.interval[0] - 0.02 <= error <= found.interval[1] + 0.02


def test_probabilities_are_calibrated():
    """Of labels said to be wrong with some probability about that many are, when the scorer is as assumed."""
    rng = np.random.default_rng(2)
    size = rng.exponential(1.0, 100_000)
    named = rng.random(100_000) < 1 / (1 + np.exp(-3 * size))
    wrong = rng.random(100_000) < 0.1
    signed = np.where(named ^ wrong, size, -size)
    told = LabelErrorModel.fit(signed).wrong(-signed)
    for low, high in ((0.2, 0.5), (0.6, 0.9), (0.9, 1.0)):
        inside = (told >= low) & (told < high)
        assert wrong[inside].mean() == pytest.approx(told[inside].mean(), abs=0.05)


def test_a_good_scorer_without_wrong_labels_gives_no_suspects():
    rng = np.random.default_rng(3)
    found = LabelErrorModel.fit(rng.normal(2, 1, 5_000))
    assert (found.wrong(-rng.normal(2, 1, 5_000)) >= 0.5).sum() <= 5


def test_noise_shrinks_margins():
    margin = st.effective_margin(np.array([1.0, 1.0]), np.array([0.0, 10.0]), scale=1.0)
    assert margin[0] == 1.0
    assert margin[1] < 0.25


def test_reliability_without_comparisons():
    assert LabelErrorModel.fit(np.array([0.0, np.nan])) is None

from __future__ import annotations

import numpy as np
import pytest

from hf_datamap.data import Layout
from hf_datamap.data.independence import SAME, independent_labels, label_basis, same_values

COLUMNS = {"kind": "columns", "path": None}
PAIRS = Layout(prompt="prompt", responses="chosen,rejected", annotations="score_chosen,score_rejected")
LISTS = Layout(prompt="prompt", responses="answers[].text", annotations="answers[].score")
ORDER = Layout(prompt="prompt", responses="chosen,rejected", label="order", scores="a,b")


@pytest.mark.parametrize(
    ("layout", "identity", "labels"),
    [
        (LISTS, COLUMNS, "none"),
        (LISTS, {"kind": "columns", "path": "answers[].score"}, "none"),
        (LISTS, {"kind": "columns", "path": "answers[].other"}, "annotations"),
        (LISTS, {"kind": "judge", "model": "m"}, "annotations"),
        (LISTS, None, "annotations"),
        (LISTS, {"kind": "panel", "members": {"a": {"kind": "judge"}, "b": COLUMNS}}, "none"),
        (LISTS, {"kind": "cascade", "stages": [{"kind": "judge"}, COLUMNS]}, "none"),
        (PAIRS, COLUMNS, "order"),
        (PAIRS, {"kind": "reward"}, "annotations"),
        (ORDER, COLUMNS, "annotations"),
        (None, COLUMNS, "none"),
    ],
)
def test_labels_that_the_scores_were_made_of_are_not_compared_with_them(layout, identity, labels):
    basis = label_basis(layout, identity)
    assert basis.labels == labels
    assert basis.measured == (not basis.reason)
    if layout is LISTS and labels == "none":
        assert basis.reason == SAME


def test_the_order_of_chosen_and_rejected_stands_in_for_annotations():
    labels = independent_labels(label_basis(PAIRS, COLUMNS), np.array([[1.0, 5.0]]), 1)
    np.testing.assert_array_equal(labels, [[1.0, 0.0]])
    assert independent_labels(label_basis(LISTS, COLUMNS), np.array([[1.0, 5.0]]), 1) is None


def test_copies_are_known_by_their_numbers():
    rng = np.random.default_rng(0)
    annotations = rng.integers(1, 11, (200, 4)).astype(float)
    assert same_values(annotations, annotations)
    assert same_values(annotations * 3 - 7 + rng.normal(size=(200, 1)), annotations)  # rescaled, shifted row by row
    assert same_values(np.exp(annotations), annotations)  # the same order throughout
    assert not same_values(annotations + rng.normal(size=(200, 4)), annotations)
    assert not same_values(-annotations, annotations)
    assert not same_values(np.full((200, 4), np.nan), annotations)


def test_a_choice_that_a_good_scorer_always_meets_is_no_copy():
    margin = np.abs(np.random.default_rng(0).normal(2, 1, 300))
    scores = np.stack([margin, np.zeros(300)], axis=1)
    assert not same_values(scores, np.tile([1.0, 0.0], (300, 1)))

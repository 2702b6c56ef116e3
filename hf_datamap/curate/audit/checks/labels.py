"""Which annotations are held against the scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, as_wide
from hf_datamap.data import columns
from hf_datamap.data.independence import SAME, LabelBasis, has_order, label_basis, same_values
from hf_datamap.data.view import DatasetView

#: Measures that need annotations which are independent of the scores.
LABEL_MEASURES: Final = ("suspect_rate", "label_error", "expected_precision", "inversion")


def labels_to_check(context: AuditContext, identity: Mapping[str, Any] | None) -> np.ndarray | None:
    """The annotations to hold against the scores, as wide as the scores; None (and why) when there are none.

    Scores that are the annotations say nothing about them: then the order of chosen and rejected is taken instead,
    where there is one.

    Args:
        context: the audit.
        identity: of the scorer, None where it is not known; then the numbers themselves must tell.
    """
    labels, why = _choose(context.view, identity)
    if labels is None:
        context.log.left_out["suspects"] = why
        context.log.not_measured.update(dict.fromkeys(LABEL_MEASURES, why))
    return labels


def _choose(view: DatasetView, identity: Mapping[str, Any] | None) -> tuple[np.ndarray | None, str]:
    """The labels, or None and why there are none."""
    scores = view.scores
    if scores is None:
        return None, "the dataset has no scores: score it first (hf-datamap map, or dm.annotate)"
    if view.layout is None:
        return None, view.layout_error
    basis = label_basis(view.layout, identity)
    if basis.labels == "annotations" and view.annotations is not None and _made_of_annotations(view, scores):
        basis = LabelBasis("order") if has_order(view.layout) else LabelBasis("none", SAME)
    labels = {"annotations": view.annotations, "order": view.order}.get(basis.labels)
    if basis.labels == "order" and labels is not None and same_values(scores, labels):
        basis, labels = LabelBasis("none", SAME), None
    if labels is not None:
        return as_wide(labels, scores.shape[1]), ""
    if basis.reason == SAME:
        return None, f"{SAME}, which says nothing about either: score with a judge, a reward model or a reference"
    return None, basis.reason or "nothing ships with the data that says which response is better"


def _made_of_annotations(view: DatasetView, scores: np.ndarray) -> bool:
    """Whether the numbers show that the scores, or those of a panel's member, are the annotations.

    Mapping leaves the margin of every row null where it knows that the scores are the annotations, so that a dataset
    read without its map still tells.
    """
    assert view.annotations is not None  # noqa: S101 - the caller has looked
    members = [view.padded(name) for name in view.names if name.startswith(f"{columns.SCORES}_")]
    if any(same_values(m, view.annotations) for m in (scores, *members) if m is not None):
        return True
    margin = view.floats(columns.MARGIN)
    if margin is None or np.isfinite(margin).any():
        return False
    return bool(np.isfinite(columns.margin(scores, as_wide(view.annotations, scores.shape[1]))).any())

"""Which annotations are held against the scores."""

from __future__ import annotations

import numpy as np

from hf_datamap.curate.audit.context import as_wide
from hf_datamap.curate.audit.findings import AuditLog
from hf_datamap.data.view import DatasetView


def labels_to_check(view: DatasetView, log: AuditLog) -> np.ndarray | None:
    """The annotations to hold against the scores, as wide as the scores; None (and why) when there are none.

    Scores that are the annotations themselves say nothing about them: then the order of chosen and rejected is taken
    instead, where there is one.
    """
    scores = view.scores
    if scores is None:
        log.left_out["suspects"] = "the dataset has no scores: score it first (hf-datamap map, or dm.annotate)"
        return None
    shipped = [labels for labels in (view.annotations, view.order) if labels is not None]
    for labels in shipped:
        if not _same(scores, labels):
            return as_wide(labels, scores.shape[1])
    log.left_out["suspects"] = (
        "the scores are the annotations themselves, which says nothing about either: score with a judge, a reward "
        "model or a reference"
        if shipped
        else view.layout_error or "nothing ships with the data that says which response is better"
    )
    return None


def _same(scores: np.ndarray, labels: np.ndarray) -> bool:
    if scores.shape != labels.shape:
        return False
    both = np.isfinite(scores) & np.isfinite(labels)
    return bool(both.any()) and bool(np.allclose(scores[both], labels[both].astype(np.float32), rtol=1e-5, atol=1e-6))

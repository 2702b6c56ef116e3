"""Scores and annotations far outside the scale of all others."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext

_LEAST: Final = 20


def outliers(context: AuditContext) -> None:
    """Scores and annotations more than ten times the spread of the middle half away from the median (ours).

    A percentage among ratings of 1 to 10, a sentinel like -1000, a reward model's overflow.
    """
    view, log = context.view, context.log
    rows: list[np.ndarray] = []
    evidence: list[dict[str, Any]] = []
    for name, matrix in (("score", view.scores), ("annotation", view.annotations)):
        valid = matrix[np.isfinite(matrix)] if matrix is not None else np.empty(0)
        if matrix is None or valid.size < _LEAST:
            continue
        low, middle, high = np.quantile(valid, [0.25, 0.5, 0.75])
        with np.errstate(over="ignore", invalid="ignore"):  # absurd numbers are what is looked for
            far = np.isfinite(matrix) & (np.abs(matrix - middle) > 10 * (high - low)) & (high > low)
        places = np.argwhere(far)
        rows.append(places[:, 0])
        evidence += [
            {"row": int(row), name: float(matrix[row, place]), "median": float(middle)}
            for row, place in places[: context.evidence]
        ]
    if rows:
        log.rows_finding(
            "outliers",
            np.unique(np.concatenate(rows)),
            view.rows,
            "have a score or annotation far outside the scale of all others",
            alarm=0.001,
            detail="Another scale, a sentinel for a failure, an overflow. They pull the mean and burst the variance.",
            evidence=evidence,
        )

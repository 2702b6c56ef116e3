"""Annotators and scorers that give everything the same value, and rows whose annotations all tie."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, row_range
from hf_datamap.data.view import Group

_LEAST: Final = 20


def constant_annotators(context: AuditContext) -> None:
    """Annotators and scorers that give everything the same value, and rows whose annotations all tie."""
    view, log = context.view, context.log
    evidence: list[dict[str, Any]] = []
    if view.annotations is not None and view.order is None and view.layout and view.layout.label != "order":
        low, high = row_range(view.annotations)
        log.rows_finding(
            "tied_labels",
            np.flatnonzero((high == low) & (np.isfinite(view.annotations).sum(axis=1) > 1)),
            view.rows,
            "have annotations that are all equal",
            warning=0.2,
            alarm=0.95,
            detail="Such rows prefer nothing and make no pair.",
        )
        everyone = Group("everyone", "annotator", np.zeros(view.rows, np.int64), ("all rows",))
        for group in [everyone, *(group for group in view.groups if group.kind == "annotator")]:
            evidence += _constant_members(group, view.annotations)
    if view.scores is not None:
        scores = view.scores[np.isfinite(view.scores)]
        if scores.size >= _LEAST and scores.min() == scores.max():
            evidence.append({"annotator": "the scorer", "annotations": scores.size, "always": float(scores[0])})
    log.measures["constant"] = float(bool(evidence))
    if evidence:
        first = evidence[0]
        value = f"{first['always']:.4g}" if isinstance(first["always"], float) else first["always"]
        log.finding(
            "constant",
            "alarm",
            f"A constant annotator: {first['annotator']} always says {value} ({first['annotations']:,} annotations)",
            1.0,
            detail="A constant tells nothing. Responses sorted by preference need the layout's rule 'order'.",
            evidence=tuple(evidence),
        )


def _constant_members(group: Group, annotations: np.ndarray) -> list[dict[str, Any]]:
    """Members of a group that always give one value, or always prefer the same position."""
    evidence: list[dict[str, Any]] = []
    for code, name in enumerate(group.values):
        given = annotations[group.codes == code]
        positions = given.argmax(axis=1) if given.size and np.isfinite(given).all() else np.empty(0)
        given = given[np.isfinite(given)]
        if given.size < _LEAST:
            continue
        if given.min() == given.max():
            evidence.append({"annotator": name, "annotations": given.size, "always": float(given[0])})
        elif positions.size >= _LEAST and (positions == positions[0]).all():
            evidence.append({"annotator": name, "annotations": given.size, "always": f"response {positions[0] + 1}"})
    return evidence

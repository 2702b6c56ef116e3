"""Sources and annotators whose annotations lie on another scale than all others', or point the other way."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, as_wide
from hf_datamap.data.statistics import centred, pooled_correlation
from hf_datamap.data.view import Group

_LEAST: Final = 20  # annotations of a group
_TIMES: Final = 4.0  # spread of a group against that of the others
_LEAST_MODELS: Final = 4
_AGAINST: Final = -0.5
_LENGTH: Final = 0.2
_MANY: Final = 30


def groups_apart(context: AuditContext) -> None:
    """Groups on another scale or of the other polarity, told from annotations alone: no score is needed.

    Another scale: the middle half of a group's annotations is at least four times as wide, or as narrow, as that of
    others, or lies outside their whole range. Polarity: the models that a group likes are those that others do not
    (correlation of the models' mean annotations below -.5), or, where models are not known, it likes short responses
    where others like long ones. Thresholds are ours.
    """
    annotations, log = context.view.annotations, context.log
    if annotations is None or context.view.order is not None:
        return
    evidence = [entry for group in context.view.groups for entry in _apart(context, group, annotations)]
    log.measures["group_scale"] = float(bool(evidence))
    if evidence:
        first = evidence[0]
        name = next(str(value) for key, value in first.items() if key not in {"rows", "what"})
        log.finding(
            "group_scale",
            "alarm",
            f"The annotations of {name} stand apart: {first['what']} ({len(evidence)} such groups)",
            1.0,
            detail="A source that was exported on another scale, or with the polarity turned round. Scores that ship "
            "with the data share the fault: bring the group to the common scale, or leave it out.",
            rows=_rows_of(context.view.groups, evidence),
            evidence=tuple(evidence[: context.evidence]),
        )


def _apart(context: AuditContext, group: Group, annotations: np.ndarray) -> list[dict[str, Any]]:
    """Members of a group that stand apart from more than half of the other members, and how.

    Held against the others one by one, because a single one on another scale spoils the pool of all others; against
    the pool where there are so many that it hardly does.
    """
    members = {
        code: np.flatnonzero(group.codes == code)
        for code in range(len(group.values))
        if np.isfinite(annotations[group.codes == code]).sum() >= _LEAST
    }
    entries = []
    for code, rows in members.items():
        others = [other for member, other in members.items() if member != code]
        if len(members) > _MANY:
            others = [np.flatnonzero(group.codes != code)]
        reasons = [why for other in others if (why := _difference(context, annotations, rows, other))]
        if len(reasons) > len(others) / 2:
            entries.append({group.name: group.values[code], "rows": len(rows), "what": reasons[0]})
    return entries


def _difference(context: AuditContext, annotations: np.ndarray, rows: np.ndarray, others: np.ndarray) -> str:
    """How the annotations of some rows differ from those of others in scale or polarity; empty where they do not."""
    return _other_scale(annotations[rows], annotations[others]) or _other_way(context, annotations, rows, others)


def _other_scale(inside: np.ndarray, outside: np.ndarray) -> str:
    values, others = inside[np.isfinite(inside)], outside[np.isfinite(outside)]
    low, high = np.quantile(values, [0.25, 0.75])
    other_low, other_high = np.quantile(others, [0.25, 0.75])
    if low > others.max() or high < others.min():
        return (
            f"half of them lie between {low:.4g} and {high:.4g}, others between {others.min():.4g} and "
            f"{others.max():.4g}"
        )
    if high > low and other_high > other_low:
        times = (high - low) / (other_high - other_low)
        if times >= _TIMES or times <= 1 / _TIMES:
            return f"they spread {times:.3g} times as wide as others"
    return ""


def _other_way(context: AuditContext, annotations: np.ndarray, rows: np.ndarray, others: np.ndarray) -> str:
    if context.view.models is not None:
        one, two = (_model_means(context, annotations, part) for part in (rows, others))
        known = np.isfinite(one) & np.isfinite(two)
        if known.sum() >= _LEAST_MODELS and one[known].std() > 0 and two[known].std() > 0:
            correlation = float(np.corrcoef(one[known], two[known])[0, 1])
            words = f"models it rates high others rate low (correlation {correlation:+.2f})"
            return words if correlation < _AGAINST else ""
    if context.texts is None:
        return ""
    length = np.log1p(context.texts.matrix(context.texts.responses.style["length"], annotations.shape[1]))
    inside, outside = (pooled_correlation(length[part], annotations[part]) for part in (rows, others))
    if min(abs(inside), abs(outside)) > _LENGTH and inside * outside < 0:
        return f"length counts {inside:+.2f} in it and {outside:+.2f} in others"
    return ""


def _model_means(context: AuditContext, annotations: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean annotation of each model over some rows, less the row's mean; NaN below five responses."""
    models = context.view.models
    assert models is not None  # noqa: S101 - the caller has looked
    codes = as_wide(models[0].astype(float), annotations.shape[1])[rows]
    known = np.isfinite(annotations[rows]) & np.isfinite(codes) & (codes >= 0)
    lead, code = centred(annotations[rows], known)[known], codes[known].astype(int)
    count = np.bincount(code, minlength=len(models[1]))
    total = np.bincount(code, weights=lead, minlength=len(models[1]))
    return np.where(count >= 5, total / np.maximum(count, 1), np.nan)


def _rows_of(groups: list[Group], evidence: list[dict[str, Any]]) -> np.ndarray:
    rows = [
        np.flatnonzero(group.codes == group.values.index(entry[group.name]))
        for entry in evidence
        for group in groups
        if group.name in entry
    ]
    return np.unique(np.concatenate(rows)) if rows else np.empty(0, np.int64)

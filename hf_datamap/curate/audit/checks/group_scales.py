"""Sources and annotators whose annotations lie on another scale than all others', or point the other way."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
_COMPARED: Final = 50  # other members that each is held against


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


@dataclass(frozen=True)
class _Profile:
    """What is compared of some rows' annotations.

    Attributes:
        rows: how many rows.
        quartiles: first and third.
        span: least and greatest.
        models: mean annotation of each model less the row's mean, NaN where unknown; None without models.
        length: correlation of length and annotation within rows, NaN where unknown.
    """

    rows: int
    quartiles: tuple[float, float]
    span: tuple[float, float]
    models: np.ndarray | None
    length: float


def _profile(context: AuditContext, annotations: np.ndarray, rows: np.ndarray, length: np.ndarray | None) -> _Profile:
    values = annotations[rows]
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.25, 0.75])
    return _Profile(
        len(rows),
        (float(low), float(high)),
        (float(values.min()), float(values.max())),
        _model_means(context, annotations, rows) if context.view.models is not None else None,
        pooled_correlation(length[rows], annotations[rows]) if length is not None else math.nan,
    )


def _apart(context: AuditContext, group: Group, annotations: np.ndarray) -> list[dict[str, Any]]:
    """Members of a group that stand apart from more than half of the other members, and how.

    Held against the others one by one, because a single one on another scale spoils the pool of all others.
    """
    length = None
    if context.texts is not None and context.view.models is None:
        length = np.log1p(context.texts.matrix(context.texts.responses.style["length"], annotations.shape[1]))
    known = np.isfinite(annotations).sum(axis=1)
    order = np.argsort(group.codes, kind="stable")
    begin = np.searchsorted(group.codes[order], np.arange(len(group.values) + 1))
    profiles = {}
    for code in range(len(group.values)):
        rows = order[begin[code] : begin[code + 1]]
        if known[rows].sum() >= _LEAST:
            profiles[code] = _profile(context, annotations, rows, length)
    entries = []
    for code, profile in profiles.items():
        others = [other for member, other in profiles.items() if member != code]
        others = others[:: max(1, len(others) // _COMPARED)]
        reasons = [why for other in others if (why := _other_scale(profile, other) or _other_way(profile, other))]
        if len(reasons) > len(others) / 2:
            entries.append({group.name: group.values[code], "rows": profile.rows, "what": reasons[0]})
    return entries


def _other_scale(one: _Profile, other: _Profile) -> str:
    (low, high), (other_low, other_high) = one.quartiles, other.quartiles
    if low > other.span[1] or high < other.span[0]:
        return (
            f"half of them lie between {low:.4g} and {high:.4g}, others between {other.span[0]:.4g} and "
            f"{other.span[1]:.4g}"
        )
    if high > low and other_high > other_low:
        times = (high - low) / (other_high - other_low)
        if times >= _TIMES or times <= 1 / _TIMES:
            return f"they spread {times:.3g} times as wide as others"
    return ""


def _other_way(one: _Profile, other: _Profile) -> str:
    if one.models is not None and other.models is not None:
        known = np.isfinite(one.models) & np.isfinite(other.models)
        left, right = one.models[known], other.models[known]
        if known.sum() < _LEAST_MODELS or not left.std() or not right.std():
            return ""
        correlation = float(np.corrcoef(left, right)[0, 1])
        words = f"models it rates high others rate low (correlation {correlation:+.2f})"
        return words if correlation < _AGAINST else ""
    if min(abs(one.length), abs(other.length)) > _LENGTH and one.length * other.length < 0:
        return f"length counts {one.length:+.2f} in it and {other.length:+.2f} in others"
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

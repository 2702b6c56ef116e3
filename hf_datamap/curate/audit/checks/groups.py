"""Agreement of scores and labels by source, language and annotator, and the models that the scorer favours."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, as_wide
from hf_datamap.data import columns
from hf_datamap.data.statistics import centred, wilson_interval
from hf_datamap.data.view import Group

_LEAST_COMPARISONS: Final = 20
_LEAST_GROUP: Final = 10
_SURE: Final = 3.0  # standard errors


def agreement_by_group(context: AuditContext, labels: np.ndarray) -> None:
    """How far scores and labels agree in each source, language and annotator, and for each model."""
    view, log, scores = context.view, context.log, context.scores
    margin = columns.margin(scores, labels)
    compared = np.isfinite(margin) & (margin != 0)
    whole = float((margin[compared] > 0).mean()) if compared.any() else math.nan
    for group in view.groups:
        rows = _agreement_of_members(group, margin, compared, whole)
        if len(rows) < 2:
            continue
        rows.sort(key=lambda row: float(row["agreement"]))
        odd = sum(bool(row["unusual"]) for row in rows)
        log.finding(
            f"agreement_by_{group.kind}",
            "warning" if odd else "note",
            f"Agreement of scores and labels by {group.name}: {rows[0]['agreement']:.1%} "
            f"({rows[0][group.name]}) to {rows[-1]['agreement']:.1%} ({rows[-1][group.name]}); {odd} of "
            f"{len(rows)} differ from the whole by more than three standard errors",
            detail="Where one group stands apart, the scorer or the annotators treat it differently.",
            evidence=tuple(rows[:20]),
        )
    if view.models is not None:
        _favoured_models(context, view.models, labels)


def _agreement_of_members(group: Group, margin: np.ndarray, compared: np.ndarray, whole: float) -> list[dict[str, Any]]:
    """For each member of a group with enough rows: agreement, and whether it is unlike that of the whole."""
    rows: list[dict[str, Any]] = []
    for code, value in enumerate(group.values):
        in_group = compared & (group.codes == code)
        total = int(in_group.sum())
        if total < _LEAST_GROUP:
            continue
        agreement = float((margin[in_group] > 0).mean())
        low, high = wilson_interval(agreement, total, z=_SURE)
        unusual = not low <= whole <= high
        rows.append({group.name: value, "comparisons": total, "agreement": agreement, "unusual": unusual})
    return rows


def _favoured_models(context: AuditContext, models: tuple[np.ndarray, tuple[str, ...]], labels: np.ndarray) -> None:
    """Whether the scorer likes a model's responses more than the annotators do (standardised, centred by row)."""
    scores = context.scores
    codes, names = as_wide(models[0].astype(float), scores.shape[1]), models[1]
    both = np.isfinite(scores) & np.isfinite(labels) & np.isfinite(codes) & (codes >= 0)
    s, a = centred(scores, both), centred(labels, both)
    s, a = s / (s[both].std() or 1.0), a / (a[both].std() or 1.0)
    excess, model_of = (s - a)[both], codes[both].astype(int)
    rows: list[dict[str, Any]] = []
    for code, name in enumerate(names):
        of_model = excess[model_of == code]
        if of_model.size >= _LEAST_COMPARISONS:
            error = float(of_model.std()) / math.sqrt(of_model.size)
            rows.append(
                {"model": name, "responses": of_model.size, "lead": float(of_model.mean()), "standard error": error}
            )
    if len(rows) > 1:
        rows.sort(key=lambda row: -abs(float(row["lead"])))
        first = rows[0]
        context.log.finding(
            "favours",
            "note",
            f"The scorer differs most from the annotators on {first['model']}: {first['lead']:+.2f} "
            "standard deviations",
            detail="A positive lead: the scorer likes the model's responses more than the annotators do.",
            evidence=tuple(rows[:20]),
        )

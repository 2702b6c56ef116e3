"""What scores owe to style and to kinship: margins freed from length, lists and headings, and a judge's own family."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from hf_datamap.curate.audit.checks.suspects import SuspectOptions, decide, row_margins
from hf_datamap.curate.audit.context import AuditContext, as_wide
from hf_datamap.curate.audit.label_errors import LabelErrorModel
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.data.statistics import centred

_Z: Final = 1.96
_LEAST_RESPONSES: Final = 40
#: Families of models by what their names begin with or hold.
_FAMILIES: Final[Mapping[str, str]] = {
    "openai": r"\bgpt|chatgpt|text-davinci|\bo[134]\b|openai",
    "anthropic": r"claude|anthropic",
    "google": r"gemini|gemma|palm|bard",
    "meta": r"llama",
    "mistral": r"mistral|mixtral|ministral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "microsoft": r"\bphi\b|phi-|wizardlm|orca",
    "allenai": r"olmo|tulu|t\u00fclu",
    "cohere": r"command|cohere|aya",
    "xai": r"grok",
}


def style_control(context: AuditContext, texts: TextFacts, suspects: np.ndarray, options: SuspectOptions) -> None:
    """Which suspects vanish when scores are freed from length, lists and headings.

    Scores are regressed, within rows, on the annotation and on the logarithms of length, list items and headings; what
    style explains beside the annotation is taken out. Intervals are 95 %, robust against responses of one row hanging
    together.

    Args:
        context: the audit.
        texts: facts of the texts.
        suspects: rows that are suspects.
        options: what decided who is one.
    """
    labels, scores = context.labels, context.scores
    if labels is None:
        return
    width = scores.shape[1]
    features = [np.log1p(texts.matrix(values, width)) for values in texts.responses.style.values()]
    both = np.isfinite(scores) & np.isfinite(labels) & np.all([np.isfinite(f) for f in features], axis=0)
    if both.sum() < _LEAST_RESPONSES or not len(suspects):
        return
    outcome, merit = centred(scores, both)[both], centred(labels, both)[both]
    style = np.stack([centred(feature, both)[both] for feature in features], axis=1)
    varies = style.std(axis=0) > 1e-9
    row = np.nonzero(both)[0]
    slopes, errors = _clustered(np.column_stack([merit, style[:, varies]]), outcome, row)
    freed = np.where(both, scores, np.nan)
    freed[both] -= style[:, varies] @ slopes[1:]
    margin, _ = row_margins(context.view, labels, freed, None)
    model = LabelErrorModel.fit(margin)
    if model is None:
        return
    still = decide(model, margin, options)[1]
    vanished = suspects[~still[suspects]]
    names = [name for name, kept in zip(texts.responses.style, varies, strict=True) if kept]
    context.log.measures["style_control"] = len(vanished) / len(suspects)
    context.log.finding(
        "style_control",
        "warning" if len(vanished) > 0.3 * len(suspects) else "note",
        f"{len(vanished):,} of {len(suspects):,} suspects vanish when length, lists and headings are taken out of the "
        "scores",
        len(vanished) / len(suspects),
        detail="These rows are suspects because the scorer likes a style that the annotators did not reward. What "
        "style adds to a score beside what the annotation explains, per unit of log(1 + count):",
        rows=np.sort(vanished),
        evidence=tuple(
            {
                "style": name,
                "adds": float(slope),
                "95 % from": float(slope - _Z * error),
                "to": float(slope + _Z * error),
            }
            for name, slope, error in zip(names, slopes[1:], errors[1:], strict=True)
        ),
    )


def _clustered(design: np.ndarray, outcome: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares and standard errors that allow responses of one row to hang together (Liang and Zeger 1986)."""
    inverse = np.linalg.pinv(design.T @ design)
    slopes = inverse @ (design.T @ outcome)
    pulls = design * (outcome - design @ slopes)[:, None]
    by_row = np.stack([np.bincount(row, weights=column) for column in pulls.T], axis=1)
    return slopes, np.sqrt(np.maximum(np.diag(inverse @ (by_row.T @ by_row) @ inverse), 0.0))


def self_preference(context: AuditContext, identity: Mapping[str, Any] | None) -> None:
    """Whether a judge favours responses of its own family more than the annotators do (standardised, by row)."""
    labels, models = context.labels, context.view.models
    families = {family for name in _model_names(identity or {}) if (family := family_of(name))}
    if labels is None or models is None or not families:
        return
    scores = context.scores
    of_model = np.array([family_of(name) in families for name in models[1]] + [False])
    codes = as_wide(models[0].astype(float), scores.shape[1])
    both = np.isfinite(scores) & np.isfinite(labels) & np.isfinite(codes) & (codes >= 0)
    own = of_model[codes[both].astype(int)]
    if own.sum() < _LEAST_RESPONSES or (~own).sum() < _LEAST_RESPONSES:
        return
    s, a = centred(scores, both)[both], centred(labels, both)[both]
    excess = s / (s.std() or 1.0) - a / (a.std() or 1.0)
    lead = float(excess[own].mean() - excess[~own].mean())
    error = math.sqrt(float(excess[own].var() / own.sum() + excess[~own].var() / (~own).sum()))
    low, high = lead - _Z * error, lead + _Z * error
    context.log.measures["self_preference"] = lead
    context.log.finding(
        "self_preference",
        "warning" if low > 0.1 else "note",
        f"The judge scores responses of its own family ({', '.join(sorted(families))}) {lead:+.2f} standard deviations "
        f"against the annotators' view of them (95 % interval {low:+.2f} to {high:+.2f})",
        lead,
        detail="A judge that favours its kin makes suspects of rows that prefer another model. Ask a judge of another "
        "family, or a panel of several.",
        evidence=({"responses of the family": int(own.sum()), "others": int((~own).sum())},),
    )


def family_of(model: str) -> str | None:
    """The family of a model, by its name; None where it is not known."""
    lowered = model.lower()
    return next((family for family, pattern in _FAMILIES.items() if re.search(pattern, lowered)), None)


def _model_names(identity: Mapping[str, Any]) -> Iterator[str]:
    """Names of all models that a scorer asks."""
    for key, value in identity.items():
        if key == "model" and isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _model_names(value)

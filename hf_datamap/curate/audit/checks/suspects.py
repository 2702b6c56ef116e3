"""Rows whose annotation the scores contradict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from hf_datamap.curate.audit import contradiction
from hf_datamap.curate.audit.checks.agreement import agreement, inversion, tells_nothing
from hf_datamap.curate.audit.context import AuditContext, as_wide
from hf_datamap.curate.audit.judges import combined_margin
from hf_datamap.curate.audit.label_errors import LabelErrorModel, balanced_threshold
from hf_datamap.curate.audit.review import Review, ReviewSummary, calibrated, summarise
from hf_datamap.curate.audit.suspects import Suspects
from hf_datamap.data import columns
from hf_datamap.data.statistics import kendall, pearson
from hf_datamap.data.view import DatasetView

_SHOWN: Final = 400
_LEAST_JUDGES: Final = 3
_BEYOND_DOUBT: Final = 0.9


@dataclass(frozen=True)
class SuspectOptions:
    """What decides who is a suspect.

    Attributes:
        least_probability: of a wrong label; ``balanced`` finds the one with the greatest expected F1 score.
        identity: of the scorer; the members of a panel are weighed one by one.
        review: verdicts of a person, None without any.
    """

    least_probability: float | Literal["balanced"] = 0.5
    identity: Mapping[str, Any] | None = None
    review: Review | None = None


def find_suspects(
    context: AuditContext, labels: np.ndarray, options: SuspectOptions
) -> tuple[Suspects, ReviewSummary | None]:
    """Find rows whose annotation the scores contradict; write down how far labels and scores agree.

    Args:
        context: the audit.
        labels: annotations, shape (rows, responses), NaN where missing.
        options: what decides who is a suspect.

    Returns:
        The suspects, and what reviewed rows say about them.
    """
    view, log, scores = context.view, context.log, context.scores
    margin, judges = row_margins(view, labels, scores, options.identity)
    model = LabelErrorModel.fit(margin)
    if model is None:
        return _none(context, "no row has two responses that differ both in annotation and in score")
    agreement(context, labels, model)
    inversion(context, labels)
    if tells_nothing(model):
        return _none(
            context,
            f"scores and annotations agree in {model.agreement:.1%} of {model.comparisons:,} rows, hardly more than "
            "by chance: these scores cannot judge these annotations",
        )
    probability, chosen, threshold = decide(model, margin, options)
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((rows, margin[rows]))]
    summary = None
    if options.review is not None:
        summary = summarise(probability, margin < 0, chosen, options.review, threshold)
    log.measures["label_error"] = summary.label_error[0] if summary else model.error
    log.measures["expected_precision"] = float(probability[rows].mean()) if len(rows) else 1.0
    log.rows_finding(
        "suspect_rate",
        np.sort(rows),
        view.rows,
        "have an annotation that the scores contradict",
        alarm=0.1,
        detail=_detail(model, probability[rows], judges, threshold, summary),
    )
    table = _table(scores[rows], labels[rows], probability[rows])
    return Suspects(rows, table, view.where, partial(_texts, view)), summary


def row_margins(
    view: DatasetView, labels: np.ndarray, scores: np.ndarray, identity: Mapping[str, Any] | None
) -> tuple[np.ndarray, int]:
    """Signed margin of each row, NaN where nothing is compared, and how many judges had a say in it."""
    # A pair is trained on however small its margin; ratings that differ by little are near ties.
    least = 0.0 if labels.shape[1] == 2 else contradiction.least_preference(labels)
    scale = contradiction.typical_difference(scores)
    margin = contradiction.effective_margin(
        contradiction.signed_margin(scores, labels, least), view.floats(columns.NOISE), scale
    )
    members = []
    for name in (identity or {}).get("members", ()) if (identity or {}).get("kind") == "panel" else ():
        matrix = view.padded(f"{columns.SCORES}_{name}")
        if matrix is not None:
            members.append(contradiction.signed_margin(as_wide(matrix, scores.shape[1]), labels, least))
    model = LabelErrorModel.fit(margin) if len(members) >= _LEAST_JUDGES else None
    if model is None:
        return margin, 1
    return combined_margin(members, model.wrong(-margin)), len(members)


def _none(context: AuditContext, why: str) -> tuple[Suspects, None]:
    context.log.left_out["suspects"] = why
    context.log.not_measured["suspect_rate"] = context.log.not_measured["label_error"] = why
    return Suspects.none(context.view.where), None


def decide(model: LabelErrorModel, margin: np.ndarray, options: SuspectOptions) -> tuple[np.ndarray, np.ndarray, float]:
    """Probability of a wrong label, who is a suspect, and the probability from which.

    Without a review a suspect must pass two rules: the probability, and confident learning's cut unless the
    probability is beyond doubt. Each is right where the other errs: the probability where judges are weak, the cut
    where only labels with wide gaps are wrong.
    """
    probability, contradicted = model.wrong(-margin), margin < 0
    if options.review is not None:
        probability = calibrated(probability, options.review)
    if options.least_probability == "balanced":
        threshold = balanced_threshold(probability[contradicted])
        return probability, contradicted & (probability >= threshold), threshold
    threshold = options.least_probability
    chosen = contradicted & (probability >= threshold)
    if options.review is None:
        chosen &= (-margin >= model.confident_strength) | (probability >= _BEYOND_DOUBT)
    return probability, chosen, threshold


def _detail(
    model: LabelErrorModel,
    probability: np.ndarray,
    judges: int,
    threshold: float,
    summary: ReviewSummary | None,
) -> str:
    """What the suspects mean, with the precision to expect of them."""
    low, high = model.interval
    text = (
        f"Scores and annotations agree in {model.agreement:.1%} of {model.comparisons:,} rows. Of these "
        f"{len(probability):,} suspects about {probability.sum():,.0f} are expected to be wrong (probability "
        f"{threshold:.2f} or more); of all labels about {model.error:.1%} (90 % interval {low:.1%} to {high:.1%}), if "
        "the scorer errs only where its margins are small. "
    )
    if judges > 1:
        text += f"The {judges} judges of the panel were weighed by how well each tells wrong labels from right ones. "
    if summary is not None:
        text += _reviewed(summary)
    return text + "Removing suspects is the safer repair: published comparisons found it better than flipping."


def _reviewed(summary: ReviewSummary) -> str:
    share, low, high = summary.label_error
    text = (
        f"By {summary.reviewed:,} reviewed rows {share:.1%} of all labels are wrong (95 % interval {low:.1%} to "
        f"{high:.1%}). "
    )
    if summary.suspects_reviewed:
        precision, low, high = summary.precision
        text += (
            f"Of {summary.suspects_reviewed:,} reviewed suspects {precision:.0%} are wrong ({low:.0%} to {high:.0%}); "
            f"{summary.more_reviews:,} more reviews of suspects would halve that interval. "
        )
    return text


def _table(scores: np.ndarray, labels: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of each suspect, see `hf_datamap.curate.audit.suspects.Suspect`."""
    better, worse = contradiction.most_contradicted_pair(scores, labels)
    rows = np.arange(len(scores))
    return {
        "probability": probability,
        "margin": scores[rows, worse] - scores[rows, better],
        "better": better,
        "worse": worse,
        "score_better": scores[rows, better],
        "score_worse": scores[rows, worse],
        "label_better": labels[rows, better],
        "label_worse": labels[rows, worse],
        "agreement": columns.agreement(scores, labels),
        "kendall": kendall(scores, labels),
        "pearson": pearson(scores, labels),
    }


def _texts(view: DatasetView, row: int, better: int, worse: int) -> tuple[str, str] | None:
    """The two responses of a suspect, shortened; None when the row cannot be read."""
    example = view.example(row)
    texts = example.responses if example else []
    if max(better, worse) >= len(texts):
        return None
    return _short(texts[better] or ""), _short(texts[worse] or "")


def _short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= _SHOWN else text[:_SHOWN].rstrip() + " …"

"""Rows whose annotation the scores contradict."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from hf_datamap.curate.audit import contradiction
from hf_datamap.curate.audit.checks.agreement import agreement, inversion, tells_nothing
from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.audit.label_errors import LabelErrorModel
from hf_datamap.curate.audit.suspects import Suspects
from hf_datamap.data import columns
from hf_datamap.data.statistics import kendall, pearson
from hf_datamap.data.view import DatasetView

_SHOWN: Final = 400


def find_suspects(context: AuditContext, labels: np.ndarray, least_probability: float) -> Suspects:
    """Find rows whose annotation the scores contradict; write down how far labels and scores agree.

    Args:
        context: the audit.
        labels: annotations, shape (rows, responses), NaN where missing.
        least_probability: of a wrong label from which a row is a suspect.
    """
    view, log, scores = context.view, context.log, context.scores
    # A pair is trained on however small its margin; ratings that differ by little are near ties.
    least = 0.0 if labels.shape[1] == 2 else contradiction.least_preference(labels)
    margin = contradiction.effective_margin(
        contradiction.signed_margin(scores, labels, least),
        view.floats(columns.NOISE),
        contradiction.typical_difference(scores),
    )
    model = LabelErrorModel.fit(margin)
    if model is None:
        log.left_out["suspects"] = "no row has two responses that differ both in annotation and in score"
        return Suspects.none(view.where)
    log.measures["label_error"] = model.error
    agreement(context, labels, model)
    inversion(context, labels)
    if tells_nothing(model):
        log.left_out["suspects"] = (
            f"scores and annotations agree in {model.agreement:.1%} of {model.comparisons:,} rows, hardly more than "
            "by chance: these scores cannot judge these annotations"
        )
        return Suspects.none(view.where)
    probability = model.mislabelled(-margin)
    rows = np.flatnonzero(probability >= least_probability)
    rows = rows[np.lexsort((rows, margin[rows]))]
    low, high = model.interval
    log.rows_finding(
        "suspect_rate",
        np.sort(rows),
        view.rows,
        "have an annotation that the scores contradict",
        alarm=0.1,
        detail=f"Scores and annotations agree in {model.agreement:.1%} of {model.comparisons:,} rows. About "
        f"{model.error:.1%} of the labels are estimated to be wrong (90 % interval "
        f"{low:.1%} to {high:.1%}), if the scorer errs only where its margins are small. Removing suspects is the "
        "safer repair: published comparisons found it better than flipping.",
    )
    return Suspects(rows, _table(scores[rows], labels[rows], probability[rows]), view.where, partial(_texts, view))


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

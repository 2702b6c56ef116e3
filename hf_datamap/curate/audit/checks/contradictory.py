"""The same responses to the same prompt, with opposite preferences in different rows."""

from __future__ import annotations

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.curate.texts.words import mix


def contradictory_labels(context: AuditContext, texts: TextFacts) -> None:
    """Rows whose best and worst response stand the other way round in another row of the same prompt."""
    labels = context.view.annotations if context.view.annotations is not None else context.view.order
    if labels is None:
        context.log.left_out["contradictory_labels"] = "nothing ships with the data that says which response is better"
        return
    best, worst = _extremes(texts, labels)
    known = (best != 0) & (worst != 0) & (best != worst) & texts.prompts.readable
    rows = np.flatnonzero(known)
    # The same number for a pair of texts whichever is preferred; the lesser hash says which one it is.
    pair = mix(
        texts.prompts.folded[rows] ^ mix(np.minimum(best, worst)[rows]) ^ mix(mix(np.maximum(best, worst)[rows]))
    )
    prefers_lesser = best[rows] < worst[rows]
    _, group = np.unique(pair, return_inverse=True)
    either = np.bincount(group, weights=prefers_lesser)
    size = np.bincount(group)
    opposed = rows[((either > 0) & (either < size))[group]]
    context.log.rows_finding(
        "contradictory_labels",
        opposed,
        texts.rows,
        "prefer one response to another that a row of the same prompt prefers to it",
        alarm=0.01,
        detail="Two annotators who disagree, or one label turned round. Training on both teaches nothing: keep the "
        "majority's, or none.",
        evidence=context.example_rows(opposed),
    )


def _extremes(texts: TextFacts, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the response that each row likes best, and least; 0 where no single one is."""
    responses = texts.responses
    hashes = np.zeros((texts.rows, labels.shape[1]), np.uint64)
    inside = responses.place < labels.shape[1]
    hashes[responses.row[inside], responses.place[inside]] = responses.exact[inside]
    rows = np.arange(texts.rows)
    sides = []
    for sign in (1, -1):
        ordered = np.where(np.isfinite(labels), sign * labels, -np.inf)
        top = ordered.max(axis=1, initial=-np.inf)
        single = (ordered == top[:, None]).sum(axis=1) == 1
        sides.append(np.where(single & np.isfinite(top), hashes[rows, ordered.argmax(axis=1)], np.uint64(0)))
    return sides[0], sides[1]

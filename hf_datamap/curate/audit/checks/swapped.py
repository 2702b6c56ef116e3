"""Responses that answer another row's prompt."""

from __future__ import annotations

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.curate.texts.misplaced import find_misplaced


def swapped_responses(context: AuditContext, texts: TextFacts) -> None:
    """Responses that fit another row's prompt better than their own."""
    responses, misplaced = texts.responses, find_misplaced(texts)
    order = np.argsort(misplaced.own_similarity - misplaced.other_similarity, kind="stable")
    evidence = []
    for k in order[: context.evidence]:
        row, fits = int(responses.row[misplaced.response[k]]), int(misplaced.fits_row[k])
        entry = context.example_rows([row])[0]
        entry["response"] = int(responses.place[misplaced.response[k]]) + 1
        entry["fits row"] = fits
        entry["whose prompt is"] = context.example_rows([fits])[0]["prompt"]
        entry["similarity"] = f"{misplaced.other_similarity[k]:.2f} there, {misplaced.own_similarity[k]:.2f} here"
        evidence.append(entry)
    context.log.rows_finding(
        "swapped",
        np.unique(responses.row[misplaced.response]),
        texts.rows,
        "have a response that fits another row's prompt better than its own",
        alarm=0.05,
        detail="By rare words shared; finds a third to a half of swapped responses, and is seldom wrong on single-turn "
        "data. "
        "In dialogues, short replies with few words of their own can look like it.",
        evidence=evidence,
    )

"""Prompts and responses that repeat others, exactly or nearly, and prompts that stand in several splits."""

from __future__ import annotations

from typing import Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.audit.contradiction import least_preference
from hf_datamap.curate.texts.facts import TextFacts
from hf_datamap.curate.texts.minhash import first_with_same, near_duplicates

_NEAR_WORDS: Final = 12


def identical_responses(context: AuditContext, texts: TextFacts) -> None:
    """Equal responses in one row: two that are labelled differently, or both sides of a pair."""
    view, responses = context.view, texts.responses
    key = np.stack([responses.row.astype(np.uint64), responses.exact])
    order = np.lexsort((key[1], key[0]))
    same = (key[:, order[1:]] == key[:, order[:-1]]).all(axis=0)
    first, second = order[:-1][same], order[1:][same]
    labels = view.annotations
    if labels is not None and len(first):
        width = labels.shape[1]
        inside = (responses.place[first] < width) & (responses.place[second] < width)
        first, second = first[inside], second[inside]
        one, two = (labels[responses.row[side], responses.place[side]] for side in (first, second))
        apart = np.abs(one - two) > least_preference(labels)  # nearly equal ratings of equal texts are no fault
        first = first[apart] if view.order is None else first
    rows = np.unique(responses.row[first])
    what = "have equal responses with different labels" if labels is not None else "have equal responses"
    context.log.rows_finding(
        "identical",
        rows,
        view.rows,
        what if view.order is None else "have a chosen equal to its rejected",
        alarm=0.0 if labels is not None else np.inf,
        detail="Such a pair has no gradient that means anything. Remove them.",
        evidence=context.example_rows(rows),
    )


def repeated_prompts(context: AuditContext, texts: TextFacts) -> None:
    """Prompts that repeat an earlier row's, and those that leak into another split."""
    view, log, prompts = context.view, context.log, texts.prompts
    rows = np.arange(view.rows)
    # An unreadable row is a duplicate of nothing: its own number stands for its prompt.
    exact = first_with_same(np.where(prompts.readable, prompts.folded, rows.astype(np.uint64)))
    repeats = np.flatnonzero(exact != rows)
    log.rows_finding(
        "duplicates",
        repeats,
        view.rows,
        "repeat an earlier row's prompt",
        warning=0.001,
        alarm=0.05,
        detail="Equal but for case and white space. Rows of one prompt belong in one row with all its responses "
        "(dm.group_rows), or weigh more than others in training.",
        evidence=context.example_rows(repeats, repeats=exact),
    )
    near = near_duplicates(prompts.sketch, prompts.readable & (prompts.words >= _NEAR_WORDS), context.least_similarity)
    near[exact != rows] = -1
    log.rows_finding(
        "near_duplicates",
        np.flatnonzero(near >= 0),
        view.rows,
        "have a prompt that nearly repeats an earlier one",
        warning=0.01,
        alarm=0.2,
        detail=_shared(context),
        evidence=context.example_rows(np.flatnonzero(near >= 0), repeats=near),
    )
    if len(view.splits) < 2:
        log.left_out["leaks"] = "there is one split only"
        return
    split = np.searchsorted(view.starts, rows, "right")
    other = np.where(exact != rows, exact, near)
    leaked = np.flatnonzero((other >= 0) & (split[np.maximum(other, 0)] != split))
    log.rows_finding(
        "leaks",
        leaked,
        view.rows,
        "have a prompt that also stands in another split, exactly or nearly",
        alarm=0.0,
        detail="What is measured on such rows was seen in training. Remove them from one of the splits.",
        evidence=context.example_rows(leaked, repeats=other),
    )


def repeated_responses(context: AuditContext, texts: TextFacts) -> None:
    """Responses that nearly repeat another one, and those that stand under several prompts."""
    log, prompts, responses = context.log, texts.prompts, texts.responses
    comparable = (responses.words >= _NEAR_WORDS) & ~responses.flags["refused"]
    near = near_duplicates(responses.sketch, comparable, context.least_similarity)
    near[responses.folded == responses.folded[np.maximum(near, 0)]] = -1
    repeats = near >= 0
    of_own_row = int((responses.row[near[repeats]] == responses.row[repeats]).sum())
    log.rows_finding(
        "near_duplicate_responses",
        texts.rows_with(repeats),
        texts.rows,
        "have a response that nearly repeats another",
        warning=0.05,
        alarm=0.5,
        of_responses=float(repeats.mean()) if repeats.size else 0.0,
        detail=f"{_shared(context)} {of_own_row:,} of "
        f"{int(repeats.sum()):,} repeat a response of their own row: such pairs differ in little.",
        evidence=context.example_responses(repeats),
    )
    first = first_with_same(responses.folded)
    elsewhere = prompts.folded[responses.row] != prompts.folded[responses.row[first]]
    canned = elsewhere & comparable
    log.rows_finding(
        "duplicate_responses",
        texts.rows_with(canned),
        texts.rows,
        "have a response that also stands under another prompt",
        warning=0.001,
        alarm=0.05,
        detail="Copies of one text under several prompts: a canned answer, or rows that slipped against each other.",
        evidence=context.example_responses(canned),
    )


def _shared(context: AuditContext) -> str:
    return f"At least {context.least_similarity:.0%} of three-word sequences are shared (estimated)."

"""Rows that cannot be read, and responses that are empty, break off, repeat themselves, refuse, or change language."""

from __future__ import annotations

from typing import Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import TextFacts

#: By flag of `ResponseFacts`: what such rows have, shares of responses for a warning and an alarm, what it means.
_FLAGS: Final = (
    ("empty", "an empty response", 0.0, 0.005, "Remove them: an empty side teaches nothing."),
    (
        "truncated",
        "a response that breaks off",
        0.01,
        0.2,
        "They end in the middle of a sentence or of a code block: often a limit on new tokens.",
    ),
    (
        "repetitive",
        "a response that repeats itself",
        0.002,
        0.1,
        "More than six in ten four-word sequences are repeats.",
    ),
    (
        "refused",
        "a refusal",
        0.02,
        0.5,
        "Fine in safety data. Elsewhere a preferred refusal teaches refusing, and one on both sides teaches nothing.",
    ),
    (
        "judge_directed",
        "a response that speaks to a judge",
        0.0,
        0.01,
        "It asks for a score, overrides instructions, or poses as a judge's markers: what a judge gives it is not "
        "to be trusted. Look at them; in data about judging they may be in place.",
    ),
    (
        "thoughts",
        "a response that holds the model's thoughts",
        0.0,
        0.5,
        "They stand in <think> or another form within the text: scores of constraints and lengths count them, and "
        "training on them teaches thinking aloud. ConstraintScorer(strip_thoughts=True) scores without them.",
    ),
    (
        "wrong_language",
        "a response in the wrong language",
        0.0,
        0.02,
        "Another language than the prompt and a sibling response, and the prompt asks for none.",
    ),
)


def unreadable_rows(context: AuditContext, texts: TextFacts) -> None:
    """Rows that the layout cannot read."""
    context.log.rows_finding(
        "unreadable",
        np.flatnonzero(~texts.prompts.readable),
        texts.rows,
        "cannot be read",
        alarm=0.01,
        evidence=[{"row": row, "reason": reason} for row, reason in texts.unreadable.items()],
    )


def broken_responses(context: AuditContext, texts: TextFacts) -> None:
    """Responses with a flag, see `hf_datamap.curate.texts.facts.ResponseFacts`."""
    for check, what, warning, alarm, detail in _FLAGS:
        flags = texts.responses.flags[check]
        context.log.rows_finding(
            check,
            texts.rows_with(flags),
            texts.rows,
            f"have {what}",
            warning=warning,
            alarm=alarm,
            of_responses=float(flags.mean()) if flags.size else 0.0,
            detail=detail,
            evidence=context.example_responses(flags),
        )

"""`Example`: one row of any preference dataset, as every scorer sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict


class Message(TypedDict):
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """One verifiable constraint of a prompt.

    Attributes:
        id: the IFEval instruction id, for example ``punctuation:no_comma`` (a language prefix such as ``en:`` is kept).
        kwargs: its keyword arguments, without nulls.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with its N responses and whatever ships with them.

    Attributes:
        prompt: chat messages up to the point of response (system kept), oldest first.
        responses: N texts in the row's own order; None where the row has no text for that response.
        annotations: N labels or scores that ship with the row, higher is better, None where one is missing;
            None as a whole when the row has none.
        references: reference answers to the prompt, if any.
        constraints: verifiable constraints of the prompt, if any.
        source_id: where the row came from (an id column), if any.
        scores: scores that were read beside, N each, by the name of who wants them (members of a panel).
    """

    prompt: tuple[Message, ...]
    responses: list[str | None]
    annotations: list[float | None] | None = None
    references: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    source_id: str | None = None
    scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

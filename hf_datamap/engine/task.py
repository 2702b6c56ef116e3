"""What the engine works on: tasks, the answers to them, and whoever gives those answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one response.

    Attributes:
        value: the alignment score, higher is better; None when the response could not be scored.
        error: why not, or what is wrong with ``value`` (a panel that lacks a member); empty when all is well.
        noise: estimated variance of ``value`` due to the scorer itself, None when unknown.
        rationale: the scorer's own words, when asked for.
        parts: the scores that ``value`` was made of, in a fixed order (those of a panel's members).
    """

    value: float | None
    error: str = ""
    noise: float | None = None
    rationale: str | None = None
    parts: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One separately paid piece of work.

    Attributes:
        content: what the answer depends on besides the scorer's identity; addresses the answer in the store.
        payload: what `Answerer.answer` needs; never stored.
        scorer: who answers it and whose identity addresses it, when that is not the scorer that cut it.
        after: a task that must be answered before this one can be asked.
        given: the answer to `after`, once there is one.
    """

    content: JSON
    payload: Any
    scorer: Answerer | None = None
    after: Task | None = None
    given: Answer | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a task: a JSON value worth keeping, and what it cost.

    Attributes:
        value: JSON, kept in the store.
        input_tokens: tokens sent, 0 when the scorer does not count them.
        output_tokens: tokens received, 0 when the scorer does not count them.
        keep: whether the store keeps it; not when a part of it failed.
    """

    value: JSON
    input_tokens: int = 0
    output_tokens: int = 0
    keep: bool = True


class Answerer(ABC):
    """Whoever answers tasks: a model behind an endpoint, or one in this process.

    Attributes:
        max_in_flight: greatest number of tasks that may be answered at the same time.
        max_retries: how often a task is tried again after 5xx, resets and timeouts (four times as often after 429).
    """

    max_in_flight: int = 1
    max_retries: int = 6

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, JSON]:
        """What the answers depend on: JSON, no secrets, no run-time knobs."""

    @abstractmethod
    async def answer(self, task: Task) -> Answer:
        """Answer one task once.

        Raises:
            Unanswered: no usable answer; asking again would not help.
            Overloaded: try again later.
            EndpointError: nothing will work; the run stops.
        """

    @property
    def adaptations(self) -> Mapping[str, JSON]:
        """What is sent otherwise than asked for, as the endpoint takes it in no other way; null is left out."""
        return {}

    def check(self) -> None:  # noqa: B027 - most need nothing
        """Find out, before anything is read, what would end every request: a missing key, a proxy of no use.

        Raises:
            EndpointError: nothing will be answered.
            ScorerError: the environment holds what cannot be used.
        """

    def estimate(self, task: Task) -> tuple[int, int]:  # noqa: ARG002 - for those who override it
        """Roughly how many tokens a task sends and receives; (0, 0) for an answerer that sends nothing."""
        return 0, 0

    async def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close the connections that the running event loop holds."""


#: Puts a question to the engine: from the store, or bought. Raises `Unanswered`, and `Interrupted` beyond the budget.
Ask: TypeAlias = Callable[[Task], Awaitable[Answer]]


class Job(Answerer):
    """Work that is bought piece by piece: an item is cut into tasks, the answers are put together again.

    Attributes:
        may_lose: how many of the answerers that its tasks name (`Task.scorer`) may turn out unable to work before the
            run stops; a panel goes on without all its members but one.
    """

    may_lose: int = 0

    @abstractmethod
    def tasks(self, item: Any) -> Sequence[Task]:  # noqa: ANN401 - the engine only hands items through
        """Cut an item into tasks."""

    @abstractmethod
    def combine(self, item: Any, answers: Sequence[Answer | str]) -> list[Score]:  # noqa: ANN401
        """Turn the answers (or the reason for a missing one), in the order of `tasks`, into scores."""

"""What a scorer is: a secret-free identity and a way to give each response of an example a score.

Two shapes, so that the simple stays simple:

* `Scorer` - one method, ``score(example)``, sync or async, gives N scores. Anyone can write one.
* `TaskScorer` - for scorers that pay per request: it cuts an example into tasks, answers one task at a time and
  puts the answers together again. The engine schedules, stores, retries and budgets the tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from hf_datamap.data.example import Example
from hf_datamap.errors import DataMapError

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


@runtime_checkable
class Scorer(Protocol):
    """Gives every response of an example a score. ``identity`` is what the score depends on, without secrets."""

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What the scores depend on (kind, model, version, options): JSON, no secrets, no run-time knobs."""
        ...

    def score(self, example: Example) -> Sequence[Score | float | None] | Awaitable[Sequence[Score | float | None]]:
        """Return one score per response, in the responses' order. May be a coroutine function."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One separately paid piece of work.

    Attributes:
        content: what the answer depends on besides the scorer's identity; addresses the answer in the store.
        payload: what `TaskScorer.answer` needs; never stored.
        scorer: who answers it and whose identity addresses it, when that is not the scorer that cut it.
        after: a task that must be answered before this one can be asked.
        given: the answer to `after`, once there is one.
    """

    content: JSON
    payload: Any
    scorer: TaskScorer | None = None
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


class Unanswered(DataMapError):  # noqa: N818 - says what happened to a task, not that code is wrong
    """A task got no answer worth keeping (refusal, truncation, nonsense): the reason becomes the row's error.

    Args:
        reason: what happened.
        spent: tokens sent and received all the same.
    """

    def __init__(self, reason: str, spent: tuple[int, int] = (0, 0)) -> None:
        super().__init__(reason)
        self.spent = spent


class Overloaded(DataMapError):  # noqa: N818
    """The answering side asks for patience (429, 5xx, reset, timeout): the engine backs off and tries again.

    Args:
        reason: what happened.
        retry_after: seconds the other side asked for, None when it did not say.
        congestion: whether fewer requests in flight would help (429, 503) or not (a reset, a timeout).
        fatal: whether, when patience runs out before anything was ever answered, the whole run should stop.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, *, congestion: bool = True, fatal: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.congestion = congestion
        self.fatal = fatal


@runtime_checkable
class Asked(Protocol):
    """Whoever answers tasks (an endpoint)."""

    max_in_flight: int

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What the answers depend on: JSON, no secrets, no run-time knobs."""
        ...

    async def answer(self, task: Task) -> Answer:
        """Answer one task once.

        Raises:
            Unanswered: no usable answer; asking again would not help.
            Overloaded: try again later.
            EndpointError: nothing will work; the run stops.
        """
        ...


#: Puts a question to the engine: from the store, or bought. Raises `Unanswered`, and `Interrupted` beyond the budget.
Ask: TypeAlias = Callable[[Task], Awaitable[Answer]]


@runtime_checkable
class TaskScorer(Asked, Protocol):
    """A scorer whose work is bought piece by piece (requests to an endpoint)."""

    def tasks(self, example: Example) -> Sequence[Task]:
        """Cut an example into tasks."""
        ...

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Turn the answers (or the reason for a missing one), in the order of `tasks`, into N scores."""
        ...

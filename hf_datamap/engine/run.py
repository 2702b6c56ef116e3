"""One run of a scorer: what is asked about, what may be spent, where the scores go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.limiter import Limiter
from hf_datamap.engine.store import Answers
from hf_datamap.engine.task import Answer, Ask, Job, Score, Task

SKIPPED_MARK = "skipped: "  # begins the reason of a response that was never asked about

_RELEASED_TOGETHER = 64  # claims given up in one transaction

Deliver: TypeAlias = Callable[[int, list[Score]], None]
Talk: TypeAlias = Callable[[int, Any, Ask], Awaitable[None]]


@dataclass(slots=True)
class RunState:
    """What the engine keeps about a run while it goes on.

    Attributes:
        stopping: whether no further request is sent.
        error: the first error that ended the run.
        failed_members: members of a panel that cannot work (by ``id``), and why.
        limiters: of each scorer, by ``id``.
        store: where answers are kept.
        claimed_keys: keys whose answers no other process buys meanwhile.
        released_keys: keys that need no claim any more; they are given up many at a time.
    """

    stopping: bool = False
    error: BaseException | None = None
    failed_members: dict[int, str] = field(default_factory=dict)
    limiters: dict[int, Limiter] = field(default_factory=dict)
    store: Answers | None = None
    claimed_keys: set[bytes] = field(default_factory=set)
    released_keys: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """One run of a scorer over examples.

    Attributes:
        scorer: what to ask.
        examples: what to ask about, read as the run goes on.
        deliver: called once per example with its position and its scores, as they complete, in the engine's thread.
        budget: what the run may spend.
        usage: what it has spent.
        talk: given an example and a way to ask, does the work for it, instead of tasks and scores; for work whose next
            question depends on the last answer.
        state: kept by the engine.
    """

    scorer: Job
    examples: Iterable[Any]
    deliver: Deliver
    budget: Budget = field(default_factory=Budget)
    usage: Usage = field(default_factory=Usage)
    talk: Talk | None = None
    state: RunState = field(default_factory=RunState)

    def stop(self) -> None:
        """Send no further request."""
        self.state.stopping = True

    def fail(self, error: BaseException) -> None:
        """End the run with an error: the first one counts."""
        self.state.stopping = True
        if self.state.error is None and not isinstance(error, asyncio.CancelledError):
            self.state.error = error

    @property
    def stopping(self) -> bool:
        """Whether no further request is sent."""
        return self.state.stopping

    @property
    def store(self) -> Answers:
        """Where answers are kept; the engine sets it when the run begins."""
        if self.state.store is None:
            raise RuntimeError("the run has not begun")
        return self.state.store

    def release(self, key: bytes, *, at_once: bool = False) -> None:
        """Give up the claim to a key: its answer is stored, or will not be bought."""
        if key in self.state.claimed_keys:
            self.state.claimed_keys.discard(key)
            self.state.released_keys.append(key)
            if at_once or len(self.state.released_keys) >= _RELEASED_TOGETHER:
                self.release_rest()

    def release_rest(self, *, unused: bool = False) -> None:
        """Write down which claims were given up.

        Args:
            unused: whether those are given up as well that are still held.
        """
        if unused:
            self.state.released_keys += self.state.claimed_keys
            self.state.claimed_keys.clear()
        if self.state.released_keys:
            self.store.release(self.state.released_keys)
            self.state.released_keys = []

    def __repr__(self) -> str:
        return f"Run({type(self.scorer).__name__}, {self.usage.rows} rows done, {self.usage.requests} requests)"


@dataclass(slots=True)
class Row:
    """An example whose answers are being collected."""

    index: int
    example: Any
    answers: list[Answer | str]
    unanswered: int


@dataclass(frozen=True, slots=True)
class MissingTask:
    """A task that the store has no answer to.

    Attributes:
        row: the row that it belongs to.
        position: which of the row's answers it gives.
        task: the task.
        key: its key in the store.
    """

    row: Row
    position: int
    task: Task
    key: bytes


def kind_of(error: str) -> str:
    """Return the kind of a failure: its words up to the first detail."""
    return re.split(r": | \(|, ", error, maxsplit=1)[0][:80] or "unknown"

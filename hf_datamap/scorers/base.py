"""What a scorer is: a secret-free identity and a way to give each response of an example a score.

Two shapes, so that the simple stays simple:

* `Scorer` - one method, ``score(example)``, sync or async, gives N scores. Anyone can write one.
* `TaskScorer` - for scorers that pay per request: it cuts an example into tasks, answers one task at a time and
  puts the answers together again. The engine schedules, stores, retries and budgets the tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from hf_datamap.data.example import Example
from hf_datamap.engine.task import JSON, Answer, Answerer, Score, Task


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


@runtime_checkable
class TaskScorer(Answerer, Protocol):
    """A scorer whose work is bought piece by piece (requests to an endpoint)."""

    def tasks(self, example: Example) -> Sequence[Task]:
        """Cut an example into tasks."""
        ...

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Turn the answers (or the reason for a missing one), in the order of `tasks`, into N scores."""
        ...

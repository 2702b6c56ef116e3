"""`Whole`: the simple `Scorer` of a third party, as the engine runs it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hf_datamap.data.example import Example
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.errors import DataMapError, EndpointError, Overloaded, Unanswered
from hf_datamap.scorers.base import Scorer
from hf_datamap.scorers.judge_reply import has_text

_MISSING = "the response is missing"
_LARGEST = 3.4e38  # what a float32 column holds


class Whole:
    """Lets the engine run a simple `Scorer`: one task per example, stored like any other.

    Args:
        scorer: a scorer with ``score(example)``, sync or async. ``max_in_flight`` on it bounds concurrent calls (1 for
            sync scorers by default, 64 for async ones).
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._is_async = inspect.iscoroutinefunction(scorer.score)
        self.max_in_flight = int(getattr(scorer, "max_in_flight", 64 if self._is_async else 1))

    @property
    def identity(self) -> dict[str, JSON]:
        """The scorer's own identity."""
        return dict(self._scorer.identity)

    def tasks(self, example: Example) -> list[Task]:
        """The example as a whole."""
        prompt: JSON = [[message["role"], message["content"]] for message in example.prompt]
        constraints: JSON = [[constraint.id, dict(constraint.kwargs)] for constraint in example.constraints]
        return [Task([prompt, list(example.responses), list(example.references), constraints], example)]

    async def answer(self, task: Task) -> Answer:
        """Call the scorer, in a thread if it is not async.

        Raises:
            Unanswered: the scorer raised something of its own.
        """
        try:
            result: Any = (
                await self._scorer.score(task.payload)  # type: ignore[misc] # a coroutine function
                if self._is_async
                else await asyncio.to_thread(self._scorer.score, task.payload)
            )
            if inspect.isawaitable(result):  # of a plain function that hands back a coroutine
                result = await result
            scores = as_scores(result, task.payload)
        except (Overloaded, Unanswered, EndpointError):
            raise
        except Exception as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        if all(score.value is None for score in scores) and scores:
            raise Unanswered(scores[0].error or "no score")
        # What failed is asked again another time; what has no text to score is not.
        told = zip(scores, task.payload.responses, strict=True)
        whole = all(score.value is not None or not has_text(text) for score, text in told)
        return Answer(keep=whole, value=[[score.value, score.error, score.noise, score.rationale] for score in scores])

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """The scores as they were given."""
        (answer,) = answers
        if isinstance(answer, str):
            return [Score(None, answer)] * len(example.responses)
        return [Score(*fields) for fields in answer.value]  # type: ignore[union-attr, misc] # written by answer()


def score_inline(scorer: Scorer, example: Example) -> list[Score]:
    """Score an example here and now; what the scorer complains of becomes the responses' error."""
    try:
        result: Any = scorer.score(example)
        return as_scores(result, example)
    except DataMapError as error:
        return [Score(None, str(error))] * len(example.responses)


def as_scores(result: Sequence[Score | float | None], example: Example) -> list[Score]:
    """Numbers and `Score` objects as `Score` objects; what is no finite number is a failure, never a score.

    Raises:
        Unanswered: not one score per response.
    """
    given = list(result)
    if len(given) != len(example.responses):
        raise Unanswered(
            f"the scorer gave {len(given)} scores for {len(example.responses)} responses; one each is wanted"
        )
    return [_as_score(value, text) for value, text in zip(given, example.responses, strict=True)]


def _as_score(value: Score | float | None, text: str | None) -> Score:
    score = value if isinstance(value, Score) else Score(value)
    if score.value is None:
        return replace(score, error=score.error or ("the scorer gave none" if text is not None else _MISSING))
    if not _finite(score.value):
        return Score(None, f"not a finite score: {score.value}")
    noise = float(score.noise) if score.noise is not None and _finite(score.noise) else None
    return replace(score, value=float(score.value), noise=noise)  # numpy's numbers are no JSON


def _finite(value: object) -> bool:
    try:
        number = float(value)  # type: ignore[arg-type] # anything that is a number, numpy's too
    except (TypeError, ValueError):
        return False
    return abs(number) <= _LARGEST  # false for NaN

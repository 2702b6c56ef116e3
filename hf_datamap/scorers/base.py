"""`Scorer`: what every scorer is, and where its scores come from.

A simple scorer overrides `Scorer.score` and nothing else: an example goes in, one score per response comes out, and
the engine treats the example as one task. A scorer that pays per request overrides `tasks`, `answer` and `combine`
instead: it cuts an example into tasks, answers one at a time, and puts the answers together again. Scores that stand
in the data already come from `score_table`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self, TypeAlias, runtime_checkable

from hf_datamap.data import columns
from hf_datamap.data.example import Example
from hf_datamap.engine.adaptations import recorded_adaptations
from hf_datamap.engine.task import JSON, Answer, Job, Score, Task
from hf_datamap.errors import DataMapError, EndpointError, Overloaded, RowError, ScorerError, Unanswered

if TYPE_CHECKING:
    import pyarrow as pa

    from hf_datamap.data.layout import Layout

Scores: TypeAlias = "Sequence[Score | float | None]"

_MISSING: Final = "the response is missing"
_LONGEST_REPR: Final = 100  # characters of what stands in the brackets of a repr
CONCURRENT_CALLS: Final = 64  # of an async `score`, which waits for something else most of the time


class Way(Enum):
    """Where a scorer's scores come from."""

    COLUMNS = "columns"  #: from columns of the data, a table at a time
    INLINE = "inline"  #: computed at once, quicker than an answer is looked up in the store
    ENGINE = "engine"  #: through the engine: scheduled, stored, retried, within the budget


@runtime_checkable
class SupportsScore(Protocol):
    """A scorer of another party that does not inherit from `Scorer`: it needs no more than this."""

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What the scores depend on (kind, model, version, options): JSON, no secrets, no run-time knobs."""
        ...

    def score(self, example: Example) -> Scores | Awaitable[Scores]:
        """Return one score per response, in the responses' order. May be a coroutine function."""
        ...


class Scorer(Job):
    """Gives every response of an example a score. All scorers are of this class, or are adapted to it.

    Subclasses need an ``identity`` and one of three: ``score``; ``tasks``, ``answer`` and ``combine``; or
    ``score_table``. Everything else here is a hook with a default.

    Attributes:
        stored: whether answers are kept in the score store. False for a scorer that is quicker computed than looked up:
            its `score` is then called directly, without the engine.
        max_in_flight: greatest number of concurrent calls: 1 by default, 64 where ``score`` is a coroutine function.
        rationales: whether it gives reasons, which become the column ``datamap_rationales``.
        part_names: names of the scores that its score is made of; each adds a column ``datamap_scores_NAME``.
        vision: whether it sees the images of a prompt.
        text_only: whether it is told to judge the text of prompts with images alone.
        loads_weights: whether a model runs in this process, where it wants a GPU.
    """

    stored: ClassVar[bool] = True
    rationales: bool = False
    part_names: tuple[str, ...] = ()
    vision: bool = False
    text_only: bool = False
    loads_weights: bool = False

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - for other base classes
        super().__init_subclass__(**options)
        # A subclass should not have to know about concurrency: an async `score` is one that waits.
        if "score" in vars(cls) and "max_in_flight" not in vars(cls) and inspect.iscoroutinefunction(cls.score):
            cls.max_in_flight = CONCURRENT_CALLS

    def __repr__(self) -> str:
        return describe(type(self).__name__, self.identity)

    @property
    def way(self) -> Way:
        """Where its scores come from: the one place that decides."""
        return Way.ENGINE if self.stored else Way.INLINE

    @property
    def takes_images(self) -> bool:
        """Whether rows with images may be given to it: it sees them, is told to do without, or reads no texts."""
        return self.vision or self.text_only or self.way is Way.COLUMNS

    @property
    def name(self) -> str:
        """A short name for tables: kind and model or columns, for example ``judge gpt-4o``."""
        return short_name(type(self).__name__, self.identity)

    # Scoring

    def score(self, example: Example) -> Scores | Awaitable[Scores]:  # noqa: ARG002 - for those who override it
        """Return one score per response, in the responses' order. May be a coroutine function.

        Raises:
            ScorerError: the scorer works another way.
        """
        raise ScorerError(f"{type(self).__name__} scores no single example by itself; use dm.annotate or dm.score_fn")

    def tasks(self, example: Example) -> Sequence[Task]:
        """Cut an example into tasks; by default the example as a whole is the only one."""
        prompt: JSON = [[message["role"], message["content"]] for message in example.prompt]
        constraints: JSON = [[constraint.id, dict(constraint.kwargs)] for constraint in example.constraints]
        return [Task([prompt, list(example.responses), list(example.references), constraints], example)]

    async def answer(self, task: Task) -> Answer:
        """Answer one task; by default `score` is called on the whole example, in a thread if it is not async.

        Raises:
            Unanswered: there is no score, or ``score`` raised something of its own.
            Overloaded: try again later.
            EndpointError: nothing will work; the run stops.
        """
        example: Example = task.payload
        try:
            scores = as_scores(await self._call(example), example)
        except (Overloaded, Unanswered, EndpointError):
            raise
        except Exception as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        if scores and all(score.value is None for score in scores):
            raise Unanswered(scores[0].error or "no score")
        # What failed is asked again another time; a response without text is not, since nothing would change.
        is_final = all(
            score.value is not None or not has_text(text) for score, text in zip(scores, example.responses, strict=True)
        )
        return Answer([[score.value, score.error, score.noise, score.rationale] for score in scores], keep=is_final)

    async def _call(self, example: Example) -> Any:  # noqa: ANN401 - whatever another party's code returns
        if inspect.iscoroutinefunction(self.score):
            return await self.score(example)
        result = await asyncio.to_thread(self.score, example)
        return await result if inspect.isawaitable(result) else result

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Turn the answers (or the reason for a missing one), in the order of `tasks`, into one score per response."""
        (answer,) = answers
        if isinstance(answer, str):
            return [Score(None, answer)] * len(example.responses)
        return [Score(*fields) for fields in answer.value]  # type: ignore[union-attr, misc] # written by answer()

    def score_table(self, table: pa.Table, layout: Layout | None) -> pa.ListArray:  # noqa: ARG002 - for those who override it
        """Return the scores that stand in a table: lists of float64, null where there is no number.

        Raises:
            ScorerError: the scorer works another way.
        """
        raise ScorerError(f"{type(self).__name__} reads no columns")

    def score_inline(self, example: Example) -> list[Score]:
        """Score an example in this thread, without the store; errors of the scorer become those of the responses."""
        try:
            result: Any = self.score(example)
            return as_scores(result, example)
        except DataMapError as error:
            return [Score(None, str(error))] * len(example.responses)

    # What it reads

    def read_with(self, layout: Layout) -> Layout:
        """Return the layout as the scorer wants rows read, for example with references from another column."""
        return layout

    @property
    def column_members(self) -> Mapping[str, Scorer]:
        """Members of a panel whose scores stand in the data, by name; what they read arrives in `Example.scores`."""
        return {}

    def score_paths(self, layout: Layout | None) -> tuple[str, ...]:  # noqa: ARG002 - for those who override it
        """Paths of scores in the data that are read beside what the layout names."""
        return ()

    # Scales that take the whole data

    @property
    def needs_fit(self) -> bool:
        """Whether it must see the whole data before it can score a row; see `unfitted` and `fitted`."""
        return False

    def unfitted(self) -> Scorer:
        """The scorer as it gathers what `fitted` needs: its scores of all rows go there."""
        return self

    def fitted(self, outcomes: Sequence[Sequence[Score] | RowError]) -> Scorer:  # noqa: ARG002
        """Return the scorer that can score single rows, from what `unfitted` gave to all rows."""
        return self

    def standardised(self, gathered: Sequence[Score]) -> list[Score]:
        """Turn what `unfitted` gave to one row into its scores on the scales that `fitted` found."""
        return list(gathered)

    def provenance(self) -> dict[str, Any]:
        """What it has found out about itself (a panel: how far its members agree), for ``datamap.json``."""
        return {}

    def sent_otherwise(self) -> Mapping[str, JSON]:
        """What was sent otherwise than the identity says, since the endpoint takes it in no other way."""
        return recorded_adaptations(self) if self.way is Way.ENGINE else {}

    # Variants, and the end

    def swapped(self) -> Self | None:
        """The same scorer that sees the responses the other way round; None if it sees one at a time."""
        return None

    def release(self) -> None:
        """Give back what is held beyond a run, for example a server of its own; the next question starts it again."""


ScorerLike: TypeAlias = Scorer | SupportsScore


def has_text(response: str | None) -> bool:
    """Whether there is anything to judge."""
    return response is not None and bool(response.strip())


def scores_of_texts(example: Example, answers: Sequence[Answer | str]) -> list[Score]:
    """Return one score per response from answers that are a number for each response with text, in order."""
    rest = iter(answers)
    return [_score_of(next(rest)) if has_text(text) else Score(None, "empty response") for text in example.responses]


def _score_of(answer: Answer | str) -> Score:
    return Score(None, answer) if isinstance(answer, str) else Score(float(answer.value))  # type: ignore[arg-type] # by answer()


def as_scores(given: Scores, example: Example) -> list[Score]:
    """Numbers and `Score` objects as `Score` objects; what is no finite number is a failure, never a score.

    Raises:
        Unanswered: not one score per response.
    """
    values = list(given)
    if len(values) != len(example.responses):
        raise Unanswered(
            f"the scorer gave {len(values)} scores for {len(example.responses)} responses; one each is wanted"
        )
    return [_as_score(value, text) for value, text in zip(values, example.responses, strict=True)]


def _as_score(value: Score | float | None, text: str | None) -> Score:
    score = value if isinstance(value, Score) else Score(value)
    if score.value is None:
        return replace(score, error=score.error or ("the scorer gave none" if text is not None else _MISSING))
    if not _is_finite(score.value):
        return Score(None, f"not a finite score: {score.value}")
    noise = float(score.noise) if score.noise is not None and _is_finite(score.noise) else None
    return replace(score, value=float(score.value), noise=noise)  # NumPy's numbers cannot be written as JSON


def _is_finite(value: object) -> bool:
    try:
        number = float(value)  # type: ignore[arg-type] # anything that is a number, numpy's too
    except (TypeError, ValueError):
        return False
    return abs(number) <= columns.LARGEST_FLOAT  # false for NaN


def short_name(class_name: str, identity: Mapping[str, JSON]) -> str:
    """Kind of a scorer, with its model or columns."""
    words = [
        str(identity.get("kind") or class_name),
        str(identity.get("model") or "").rpartition("/")[2],
        str(identity.get("path") or ""),
    ]
    return " ".join(filter(None, words))


def describe(class_name: str, identity: Mapping[str, JSON]) -> str:
    """One short line for a `repr`: the class and the texts in the identity, which holds no secrets."""
    shown = [
        f"{name}={value!r}"
        for name, value in identity.items()
        if name != "kind" and isinstance(value, str) and not name.endswith("digest")
    ]
    line = ", ".join(shown)
    return f"{class_name}({line if len(line) <= _LONGEST_REPR else line[: _LONGEST_REPR - 3] + '...'})"

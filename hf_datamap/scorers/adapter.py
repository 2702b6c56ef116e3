"""Scorers of other parties, which need not inherit from `Scorer`, as scorers like any other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from hf_datamap.engine.store import canonical
from hf_datamap.engine.task import JSON
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.base import CONCURRENT_CALLS, Scorer, ScorerLike, describe, short_name

#: Hooks of `Scorer` that are taken over from any object that has them.
_HOOKS: Final = (
    "score",
    "tasks",
    "answer",
    "combine",
    "max_in_flight",
    "max_retries",
    "stored",
    "rationales",
    "part_names",
    "loads_weights",
    "vision",
    "text_only",
    "estimate",
    "read_with",
    "swapped",
    "release",
    "close",
)
_TASK_METHODS: Final = ("tasks", "answer", "combine")


def as_scorer(scorer: ScorerLike) -> Scorer:
    """Return a scorer of the one class, whatever has an identity and a ``score`` method.

    Raises:
        ScorerError: it lacks an identity or a score method, or its identity cannot be written as JSON.
    """
    if isinstance(scorer, type) or not (isinstance(scorer, Scorer) or _can_score(scorer)):
        raise ScorerError(
            f"{scorer.__name__ if isinstance(scorer, type) else type(scorer).__name__} is no scorer: it must be an "
            "instance with an `identity` and a `score(example)` method, see the README's example"
        )
    try:
        canonical(dict(scorer.identity))
    except (TypeError, ValueError) as error:
        raise ScorerError(
            f"the identity of {type(scorer).__name__} must be a dict of JSON values that say what its scores depend "
            f"on: {error}"
        ) from None
    return scorer if isinstance(scorer, Scorer) else AdaptedScorer(scorer)


def as_fitted_scorer(scorer: ScorerLike) -> Scorer:
    """Return a scorer that can score some rows without having seen all.

    Raises:
        ScorerError: see `as_scorer`; or it is a panel whose members' scales are not known yet.
    """
    adapted = as_scorer(scorer)
    if adapted.needs_fit:
        raise ScorerError(
            "the panel does not know its members' scales, which take the whole dataset: use dm.annotate on a Dataset, "
            "or panel = dm.fit_panel(panel, some_rows) before"
        )
    return adapted


def _can_score(scorer: object) -> bool:
    """Whether an object has what a scorer needs, under the names that a scorer gives it."""
    if not hasattr(scorer, "identity"):
        return False
    return callable(getattr(scorer, "score", None)) or all(
        callable(getattr(scorer, name, None)) for name in _TASK_METHODS
    )


class AdaptedScorer(Scorer):
    """A scorer that does not inherit from `Scorer`; the hooks of `Scorer` that it has are used too.

    Args:
        wrapped: has an ``identity``, and ``score`` or all of ``tasks``, ``answer`` and ``combine``.
    """

    def __init__(self, wrapped: Any) -> None:  # noqa: ANN401 - any object that passes `as_scorer`
        self.wrapped = wrapped
        hooks = {name: getattr(wrapped, name) for name in _HOOKS if hasattr(wrapped, name)}
        if inspect.iscoroutinefunction(hooks.get("score")):
            hooks.setdefault("max_in_flight", CONCURRENT_CALLS)
        # On the instance they stand before the defaults of the class.
        vars(self).update(hooks)

    def __reduce__(self) -> tuple[Callable[..., Scorer], tuple[Any, ...]]:
        return AdaptedScorer, (self.wrapped,)

    def __repr__(self) -> str:
        return describe(type(self.wrapped).__name__, self.identity)

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The scorer's own identity."""
        return dict(self.wrapped.identity)

    @property
    def name(self) -> str:
        """The scorer's own short name."""
        return short_name(type(self.wrapped).__name__, self.identity)

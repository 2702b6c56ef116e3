"""Errors: each says what was seen, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataMapError(Exception):
    """Base of every error this package raises on purpose."""


class LayoutError(DataMapError):
    """The columns of a dataset do not fit a known layout, fit several, or lack something asked for."""


class RowError(DataMapError):
    """One row cannot be read as a prompt with responses; the row is skipped, nothing else is harmed.

    Args:
        reason: what is wrong, the same words for every row with this fault, so that faults can be counted.
        seen: the value that was seen, shortened; empty when there is nothing to show.
    """

    def __init__(self, reason: str, seen: str = "") -> None:
        super().__init__(reason, seen)
        self.reason = reason
        self.seen = seen

    def __str__(self) -> str:
        return f"{self.reason} (saw {self.seen})" if self.seen else self.reason


class ScorerError(DataMapError):
    """A scorer was set up wrongly or cannot work at all (bad options, missing extra, no endpoint)."""


class EndpointError(ScorerError):
    """An endpoint refuses every request alike (wrong key, unknown model, not reachable): work stops at once."""


class StoreError(DataMapError):
    """The score store cannot be opened, read or written; what was bought before is still in it."""


class BudgetError(DataMapError):
    """A budget is malformed."""


class SourceError(DataMapError):
    """A data source (Hub id, folder, file) cannot be opened or is empty."""


class MapError(DataMapError):
    """A map cannot be fitted, assigned or read."""


class CardError(DataMapError):
    """A dataset card cannot be merged or would be refused by the Hub."""


class HubError(DataMapError):
    """The Hub refused a request or could not be reached; nothing half-made is visible there."""


class GenerateError(DataMapError):
    """Prompts or responses cannot be generated as asked."""


class Unanswered(DataMapError):  # noqa: N818 - says what happened to a task, not that code is wrong
    """A task got no answer worth keeping (refusal, truncation, nonsense): the reason becomes the row's error.

    Args:
        reason: what happened.
        spent: tokens sent and received all the same.
        refused_as: the endpoint's words where every request may meet the same refusal; when the first few do, the run
            stops. Empty where only this task is concerned.
    """

    def __init__(self, reason: str, spent: tuple[int, int] = (0, 0), *, refused_as: str = "") -> None:
        super().__init__(reason)
        self.spent = spent
        self.refused_as = refused_as


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


class PairError(DataMapError):
    """Pairs cannot be built: nothing to order responses by, an unknown option, no eligible pair."""


class GateError(DataMapError):
    """A release gate (``fail_on``) is malformed or names something the audit does not measure."""


class SelectionError(DataMapError):
    """A selection cannot be made: an unknown strategy, a missing column, a budget that makes no sense."""


class Interrupted(DataMapError):  # noqa: N818
    """A run was stopped before its end; what was answered is in the store."""


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about a mistyped name: the one that was most likely meant, and nothing else.

    Args:
        name: what was written.
        names: what could have been.
        otherwise: what to say when none of them is like it.
    """
    by_folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"Did you mean {by_folded[close[0]]}?" if close else otherwise

"""What workers on several machines share: one score store, one budget and rate, and what they may know of secrets.

Nothing in here knows how the office is reached: `hf_datamap.ray` puts it into an actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.store import Store
from hf_datamap.engine.task import Answer

_MOST: Final = 16  # requests that a worker may send before it asks again


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has done since its last report.

    Attributes:
        finished: requests that are over, however they ended.
        answered: replies paid for.
        input_tokens: tokens sent.
        output_tokens: tokens received.
        unused: requests that were granted and will not be sent.
    """

    finished: int = 0
    answered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unused: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker may do.

    Attributes:
        granted: requests it may send.
        delay: seconds until the first of them.
        spacing: seconds between two.
        reason: why there are no more; empty when there may be.
    """

    granted: int
    delay: float
    spacing: float
    reason: str


class Office:
    """Keeps answers, grants requests. One per job, on the machine of the driver.

    Args:
        budget: what all workers together may spend.
        folder: where the score store lives.
    """

    def __init__(self, budget: Budget, folder: str) -> None:
        self._store = Store(Path(folder))
        self._budget, self._usage = budget, Usage()
        self._secrets: dict[str, str] = {}
        self._next = 0.0  # when the next request may be sent, on the clock of this process

    def give_secrets(self, secrets: Mapping[str, str]) -> None:
        """Keep in memory what workers need to ask in the driver's name."""
        self._secrets = dict(secrets)

    def secrets(self) -> dict[str, str]:
        """What `give_secrets` left."""
        return self._secrets

    def look_up(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """Answers that are there already."""
        return self._store.get(keys)

    def keep(self, key: bytes, answer: Answer) -> None:
        """Keep an answer; safe from the death of the worker that bought it, and of this process, on return."""
        self._store.put(key, answer)

    def lease(self, wanted: int, report: Report, guess: tuple[int, int], now: float) -> Lease:
        """Take a report, and grant further requests.

        Args:
            wanted: how many at most.
            report: what the worker has done.
            guess: tokens sent and received for a request, as long as no answer tells.
            now: this process's clock.
        """
        usage = self._usage
        usage.requests -= report.unused
        usage.in_flight -= report.finished + report.unused
        usage.answered += report.answered
        usage.input_tokens += report.input_tokens
        usage.output_tokens += report.output_tokens
        granted, reason = 0, ""
        while granted < min(wanted, _MOST) and not (reason := usage.exceeds(self._budget, guess)):
            usage.requests += 1
            usage.in_flight += 1
            granted += 1
        if self._budget.rate is None:
            return Lease(granted, 0.0, 0.0, reason)
        spacing = 1 / self._budget.rate
        start = max(now, self._next)
        self._next = start + granted * spacing
        return Lease(granted, start - now, spacing, reason)


class Reached(Protocol):
    """How a worker reaches the office."""

    def look_up(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """See `Office`; waits for the result."""
        ...

    def keep(self, key: bytes, answer: Answer) -> None:
        """See `Office`; returns at once."""
        ...

    def settle(self) -> None:
        """Wait until everything that was given to `keep` is kept."""
        ...

    async def lease(self, wanted: int, report: Report, guess: tuple[int, int]) -> Lease:
        """See `Office`."""
        ...


class SharedStore:
    """The office's store, as the engine of a worker uses it.

    The engine looks keys up many at a time, and each once more before it is bought, in case another run has bought it
    in between: that second look asks nobody.

    Args:
        office: the office.
    """

    def __init__(self, office: Reached) -> None:
        self._office = office
        self._absent: set[bytes] = set()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the answers there are among ``keys``."""
        wanted = list(keys)
        if len(wanted) == 1 and wanted[0] in self._absent:
            self._absent.discard(wanted[0])
            return {}
        found = self._office.look_up(wanted) if wanted else {}
        self._absent.update(key for key in wanted if key not in found)
        return found

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        self._office.keep(key, answer)

    def settle(self) -> None:
        """Wait until all answers are kept, and forget what was absent."""
        self._office.settle()
        self._absent.clear()


@dataclass(slots=True)
class LeasedUsage(Usage):
    """What a worker spends of a budget that all workers share: every request needs a grant of the office.

    Attributes:
        office: the office.
    """

    office: Any = None
    _left: int = 0
    _turn: float = 0.0
    _spacing: float = 0.0
    _over: str = ""
    _told: Report = field(default_factory=Report)
    _asking: asyncio.Lock | None = None

    async def admit(self, budget: Budget, guess: tuple[int, int] = (0, 0)) -> str:
        """See `Usage.admit`; the budget is the office's."""
        del budget
        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            if not self._left and not self._over:
                await self._ask(guess)
            if not self._left:
                return self._over
            self._left -= 1
            turn, self._turn = self._turn, self._turn + self._spacing
        if (wait := turn - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait)
        return ""

    async def _ask(self, guess: tuple[int, int]) -> None:
        lease = await self.office.lease(_MOST, self.report(), guess)
        self._left, self._over = lease.granted, "" if lease.granted else lease.reason
        self._turn, self._spacing = asyncio.get_running_loop().time() + lease.delay, lease.spacing

    def report(self, *, last: bool = False) -> Report:
        """What was done since the last report.

        Args:
            last: whether no request will follow: grants that are left are given back.
        """
        before, finished = self._told, self.requests - self.in_flight
        self._told = Report(finished, self.answered, self.input_tokens, self.output_tokens)
        unused, self._left = (self._left, 0) if last else (0, self._left)
        return Report(
            finished - before.finished,
            self.answered - before.answered,
            self.input_tokens - before.input_tokens,
            self.output_tokens - before.output_tokens,
            unused,
        )

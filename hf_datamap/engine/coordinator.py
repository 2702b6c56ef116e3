"""What workers on several machines share: one score store, one budget and rate, and the secrets they need.

Nothing in here knows how the coordinator is reached: `hf_datamap.scoring.ray` puts it into an actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.store import Lookup, Store
from hf_datamap.engine.task import Answer

_MAX_GRANT: Final = 16  # requests that a worker may send before it asks again


@dataclass(frozen=True, slots=True)
class WorkerReport:
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
class RequestGrant:
    """How many requests a worker may send, and when.

    Attributes:
        requests: requests that it may send.
        delay: seconds until the first of them.
        spacing: seconds between two.
        reason: why no more are granted; empty when more may be.
    """

    requests: int
    delay: float
    spacing: float
    reason: str


class Coordinator:
    """Keeps answers and grants requests. One per job, on the machine of the driver.

    Args:
        budget: what all workers together may spend.
        folder: where the score store lives.
    """

    def __init__(self, budget: Budget, folder: str) -> None:
        self._store = Store(Path(folder))
        self._budget, self._usage = budget, Usage()
        self._secrets: dict[str, str] = {}
        self._next_turn = 0.0  # when the next request may be sent, on the clock of this process

    def set_secrets(self, secrets: Mapping[str, str]) -> None:
        """Hold in memory what workers need to send requests in the driver's name."""
        self._secrets = dict(secrets)

    def secrets(self) -> dict[str, str]:
        """Return what `set_secrets` was given."""
        return self._secrets

    def get(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers among ``keys``."""
        return self._store.get(keys)

    def put(self, key: bytes, answer: Answer) -> None:
        """Store an answer; on return it survives the death of this process and of the worker that bought it."""
        self._store.put(key, answer)

    def grant(self, requested: int, report: WorkerReport, estimate: tuple[int, int], now: float) -> RequestGrant:
        """Take a report, and grant further requests.

        Args:
            requested: how many at most.
            report: what the worker has done.
            estimate: tokens sent and received by one request, used until an answer says how many it takes.
            now: this process's clock.
        """
        usage = self._usage
        usage.requests -= report.unused
        usage.in_flight -= report.finished + report.unused
        usage.answered += report.answered
        usage.input_tokens += report.input_tokens
        usage.output_tokens += report.output_tokens
        granted, reason = 0, ""
        while granted < min(requested, _MAX_GRANT) and not (reason := usage.exceeds(self._budget, estimate)):
            usage.requests += 1
            usage.in_flight += 1
            granted += 1
        if self._budget.rate is None:
            return RequestGrant(granted, 0.0, 0.0, reason)
        spacing = 1 / self._budget.rate
        start = max(now, self._next_turn)
        self._next_turn = start + granted * spacing
        return RequestGrant(granted, start - now, spacing, reason)


class CoordinatorClient(Protocol):
    """How a worker reaches the coordinator."""

    def get(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """See `Coordinator`; waits for the result."""
        ...

    def put(self, key: bytes, answer: Answer) -> None:
        """See `Coordinator`; returns at once."""
        ...

    def flush(self) -> None:
        """Wait until everything that was given to `put` is stored."""
        ...

    async def grant(self, requested: int, report: WorkerReport, estimate: tuple[int, int]) -> RequestGrant:
        """See `Coordinator`."""
        ...


class SharedStore:
    """The coordinator's store, as the engine of a worker uses it.

    The engine looks keys up many at a time, and each once more before it is bought, in case another run has bought it
    in between. That second look is answered from memory.

    Args:
        client: reaches the coordinator.
    """

    def __init__(self, client: CoordinatorClient) -> None:
        self._client = client
        self._missing_keys: set[bytes] = set()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers among ``keys``."""
        requested_keys = list(keys)
        if len(requested_keys) == 1 and requested_keys[0] in self._missing_keys:
            self._missing_keys.discard(requested_keys[0])
            return {}
        cached_answers = self._client.get(requested_keys) if requested_keys else {}
        self._missing_keys.update(key for key in requested_keys if key not in cached_answers)
        return cached_answers

    def claim(self, keys: Sequence[bytes]) -> Lookup:
        """Look keys up; the rest may be bought, since the workers of one job have different rows."""
        cached_answers = self.get(keys)
        return Lookup(cached_answers, frozenset(keys) - cached_answers.keys())

    def put(self, key: bytes, answer: Answer) -> None:
        """Store an answer."""
        self._client.put(key, answer)

    def release(self, keys: Iterable[bytes]) -> None:
        """Nothing is claimed."""

    def beat(self) -> None:
        """Nothing is claimed."""

    def flush(self) -> None:
        """Wait until all answers are stored, and forget which keys were missing."""
        self._client.flush()
        self._missing_keys.clear()


@dataclass(slots=True)
class SharedUsage(Usage):
    """What a worker spends of a budget that all workers share: every request needs a grant of the coordinator.

    Attributes:
        client: reaches the coordinator.
    """

    client: Any = None
    _granted: int = 0
    _turn: float = 0.0
    _spacing: float = 0.0
    _ended: str = ""
    _reported: WorkerReport = field(default_factory=WorkerReport)
    _grant_lock: asyncio.Lock | None = None

    async def admit(self, budget: Budget, estimate: tuple[int, int] = (0, 0)) -> str:
        """See `Usage.admit`; the budget is the coordinator's."""
        del budget
        self._grant_lock = self._grant_lock or asyncio.Lock()
        async with self._grant_lock:
            if not self._granted and not self._ended:
                await self._request_grant(estimate)
            if not self._granted:
                return self._ended
            self._granted -= 1
            turn, self._turn = self._turn, self._turn + self._spacing
        if (wait := turn - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait)
        return ""

    async def _request_grant(self, estimate: tuple[int, int]) -> None:
        grant = await self.client.grant(_MAX_GRANT, self.report(), estimate)
        self._granted, self._ended = grant.requests, "" if grant.requests else grant.reason
        self._turn, self._spacing = asyncio.get_running_loop().time() + grant.delay, grant.spacing

    def report(self, *, last: bool = False) -> WorkerReport:
        """Return what was done since the last report.

        Args:
            last: whether no request will follow: grants that are left are given back.
        """
        before, finished = self._reported, self.requests - self.in_flight
        self._reported = WorkerReport(finished, self.answered, self.input_tokens, self.output_tokens)
        unused, self._granted = (self._granted, 0) if last else (0, self._granted)
        return WorkerReport(
            finished - before.finished,
            self.answered - before.answered,
            self.input_tokens - before.input_tokens,
            self.output_tokens - before.output_tokens,
            unused,
        )

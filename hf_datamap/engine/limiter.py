"""How many requests may be under way towards one endpoint at a time."""

from __future__ import annotations

import asyncio
import collections

from hf_datamap.engine.store import Keys
from hf_datamap.engine.task import JSON, Answer
from hf_datamap.errors import Overloaded

MAX_WAIT = 600.0  # seconds an endpoint may ask us to wait before we give the request up
_LOWERED = 0.7  # share of the concurrency that is kept after "too many requests"
_ALIKE = 3  # refusals in the same words, before any answer, that mean that nothing will ever be answered
_RAISED = 0.05  # share that is added for every round of answers without trouble


class Limiter:
    """Limits concurrency towards one endpoint: additive increase, multiplicative decrease, as TCP does.

    Args:
        max_in_flight: greatest number of requests under way; fewer while the endpoint is overloaded.
        identity: what the answers depend on; makes their keys.
    """

    def __init__(self, max_in_flight: int, identity: JSON) -> None:
        self.max_in_flight = max_in_flight
        self.limit = float(max_in_flight)
        self.keys = Keys(identity if isinstance(identity, dict) else {"identity": identity})
        self.pending: dict[bytes, asyncio.Future[Answer]] = {}
        self.answered = 0
        self._refusals: collections.Counter[str] = collections.Counter()
        self._active = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._paused_until = 0.0
        self._lowered_at = 0.0

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            pause = self._paused_until - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._active < self.limit:
                self._active += 1
                return
            else:
                turn = loop.create_future()
                self._waiting.append(turn)
                try:
                    await turn
                except asyncio.CancelledError:
                    self._wake()  # the turn may have been given to us already: pass it on
                    raise

    async def __aexit__(self, *_: object) -> None:
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self._active
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def succeeded(self) -> None:
        """Count an answer, and allow a little more."""
        self.answered += 1
        if self.limit < self.max_in_flight:
            step = max(1.0, _RAISED * self.limit) / max(self.limit, 1.0)
            self.limit = min(float(self.max_in_flight), self.limit + step)

    def refused(self, words: str) -> bool:
        """Count a refusal that may be every request's; whether the first few were alike and none was answered."""
        if self.answered:
            return False
        self._refusals[words] += 1
        return self._refusals[words] >= _ALIKE

    def fail_waiting(self, error: Exception) -> None:
        """After a fatal error, fail every request that waits for this endpoint."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    def overloaded(self, trouble: Overloaded) -> None:
        """Allow less, and wait as long as the endpoint asked."""
        now = asyncio.get_running_loop().time()
        # All requests of a burst are refused together: that is one reason to slow down, not many.
        if trouble.congestion and now - self._lowered_at > 1.0:
            self.limit = max(1.0, _LOWERED * self.limit)
            self._lowered_at = now
        if trouble.congestion and trouble.retry_after:
            self._paused_until = max(self._paused_until, now + min(trouble.retry_after, MAX_WAIT))

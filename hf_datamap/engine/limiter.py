"""How many requests may be under way towards one endpoint at a time."""

from __future__ import annotations

import asyncio
import collections

from hf_datamap.engine.store import Keys
from hf_datamap.engine.task import JSON, Answer
from hf_datamap.errors import Overloaded

TOO_LONG = 600.0  # seconds an endpoint may ask us to wait before we give the request up


class Lane:
    """Concurrency towards one endpoint: at most ``limit`` in flight, fewer when it is overloaded."""

    def __init__(self, greatest: int, identity: JSON) -> None:
        self.greatest = greatest
        self.limit = float(greatest)
        self.keys = Keys(identity if isinstance(identity, dict) else {"identity": identity})
        self.pending: dict[bytes, asyncio.Future[Answer]] = {}
        self.answered = 0
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
                    self._wake()  # the turn may have been ours already: pass it on
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
        if self.limit < self.greatest:  # 5 % more for every round of answers without trouble
            self.limit = min(float(self.greatest), self.limit + max(1.0, 0.05 * self.limit) / max(self.limit, 1.0))

    def refused(self, error: Exception) -> None:
        """Send nobody after the one who was told that nothing will be answered."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    def overloaded(self, trouble: Overloaded) -> None:
        """Allow less, and wait as long as was asked."""
        now = asyncio.get_running_loop().time()
        if trouble.congestion and now - self._lowered_at > 1.0:  # one cut per burst of refusals
            self.limit = max(1.0, 0.7 * self.limit)
            self._lowered_at = now
        if trouble.congestion and trouble.retry_after:
            self._paused_until = max(self._paused_until, now + min(trouble.retry_after, TOO_LONG))

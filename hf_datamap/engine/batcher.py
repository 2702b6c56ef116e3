"""Batches for scorers that work on many texts at a time, formed by length from the tasks that are waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from hf_datamap.errors import DataMapError, ScorerError, Unanswered

Item = TypeVar("Item")

_QUIET = 0.005  # seconds without a new item after which a batch is formed from what is there
WINDOW = 32  # batches' worth of items to choose from: padding is then within a few percent of a global sort


@dataclass(slots=True)
class _Waiting(Generic[Item]):
    item: Item
    length: int
    arrival: int
    result: asyncio.Future[Any]


class Batcher(Generic[Item]):
    """Runs single items in batches of similar length, in one thread of its own.

    The engine keeps ``WINDOW * size`` tasks waiting (a scorer's ``max_in_flight``); each batch is the longest of them,
    as in a sort of everything, unless one has waited for two windows: then it and the next longer ones, so that nothing
    waits for ever.

    Args:
        work: from items to one result each; runs in the thread. When it raises on several items they are tried again
            by halves, so that one bad item (or too large a batch) costs no other its result.
        size: greatest number of items in a batch.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Any]], size: int) -> None:
        self._work, self._size = work, size
        self._loop: asyncio.AbstractEventLoop | None = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start afresh in another loop: a forked child has its own, and none of our threads."""
        self._loop = loop
        self._waiting: list[_Waiting[Item]] = []
        self._arrivals = count()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hf_datamap-batches")
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item, length: int) -> Any:  # noqa: ANN401 - whatever work gives
        """Return the result for one item.

        Args:
            item: what ``work`` takes.
            length: its size, in any unit that padding goes by.

        Raises:
            Unanswered: ``work`` fails on this item.
            DataMapError: ``work`` cannot work at all.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin(loop)
        result = loop.create_future()
        self._waiting.append(_Waiting(item, length, next(self._arrivals), result))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.ensure_future(self._run())
        return await result

    async def _run(self) -> None:
        seen = 0
        while seen != len(self._waiting):
            seen = len(self._waiting)
            await asyncio.sleep(_QUIET)
        while batch := self._next():
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._results, batch)
            if hopeless := next((result for result in results if isinstance(result, ScorerError)), None):
                # Loading a model that is not there can take a minute: not again for each batch.
                batch, self._waiting = [*batch, *self._waiting], []
                results = [hopeless] * len(batch)
            for waiting, result in zip(batch, results, strict=True):
                if waiting.result.done():
                    continue
                if isinstance(result, BaseException):
                    waiting.result.set_exception(result)
                else:
                    waiting.result.set_result(result)
            await asyncio.sleep(0)  # those who got their results bring new items

    def _next(self) -> list[_Waiting[Item]]:
        self._waiting = [waiting for waiting in self._waiting if not waiting.result.done()]
        if not self._waiting:
            return []
        self._waiting.sort(key=lambda waiting: (waiting.length, waiting.arrival))
        start = len(self._waiting) - self._size
        oldest = min(range(len(self._waiting)), key=lambda place: self._waiting[place].arrival)
        if self._waiting[-1].arrival - self._waiting[oldest].arrival > 2 * WINDOW * self._size:
            start = min(start, oldest)
        start = max(0, start)
        batch = self._waiting[start : start + self._size]
        del self._waiting[start : start + self._size]
        return batch

    def _results(self, batch: Sequence[_Waiting[Item]]) -> list[Any]:
        try:
            return list(self._work([waiting.item for waiting in batch]))
        except DataMapError as error:
            return [error] * len(batch)
        except Exception as error:  # a model's own troubles: memory, a text that it cannot take
            if len(batch) == 1:
                return [Unanswered(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]
        half = len(batch) // 2
        return self._results(batch[:half]) + self._results(batch[half:])

"""Runs scorers: many requests in flight, retries, budgets, and the store, in a thread of its own.

One engine per process. Its event loop is its own, so that it works the same in a script, inside a running loop
(Jupyter, Gradio) and in the worker processes of ``map(num_proc=...)``.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, cast

from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.dispatcher import Dispatcher
from hf_datamap.engine.run import Deliver, MissingTask, Row, Run, Talk, kind_of
from hf_datamap.engine.store import Answers, Lookup, Store
from hf_datamap.engine.task import Answer, Answerer, Job, Task
from hf_datamap.errors import ScorerError

_ROWS_PER_LOOKUP = 64  # rows looked up in the store at a time: few enough not to hold up requests under way
_POSTPONED = 2_000  # tasks that wait for another process before the run stops to wait with them
_BEAT = 3.0  # seconds between signs of life, for the claims in the store
_GRACE = 10.0  # seconds that requests under way get to finish when a run is stopped


class Engine:
    """The process's scheduler. Get it with `engine()`."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._dispatcher = Dispatcher()
        self._stores: dict[Path, Store] = {}
        self._runs: list[Run] = []
        self.shared: Answers | None = None  # instead of a store of this machine, when several machines work together
        self._thread = threading.Thread(target=self._loop.run_forever, name="hf_datamap", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def start(self, run: Run) -> Future[None]:
        """Begin a run; the future ends with it."""
        return asyncio.run_coroutine_threadsafe(self._run(run), self._loop)

    def run(self, run: Run, poll: Callable[[], None] = lambda: None, every: float = 0.2) -> None:
        """Do a run to its end, calling ``poll`` now and then.

        On Ctrl-C no further request is sent, those under way get some seconds to be answered and kept.

        Raises:
            EndpointError: the endpoint refuses every request.
        """
        future = self.start(run)
        try:
            while not wait((future,), timeout=every).done:
                poll()
            future.result()
        except BaseException:
            run.stop()
            with contextlib.suppress(BaseException):
                future.result(timeout=_GRACE)
            future.cancel()
            raise
        finally:
            poll()

    def interrupt(self) -> None:
        """Let every run of the process end: no further request is sent, what is under way is waited for and kept."""
        for run in list(self._runs):
            run.stop()

    def __repr__(self) -> str:
        return f"Engine(process {self.pid}, {len(self._runs)} runs)"

    def close(self) -> None:
        """Close connections and the store, and end the thread."""
        if self.pid != os.getpid() or not self._thread.is_alive():
            return

        async def shut() -> None:
            await self._dispatcher.close()
            for store in self._stores.values():
                store.close()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(shut(), self._loop).result(timeout=2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2)

    def converse(
        self,
        answerer: Answerer,
        items: Iterable[Any],
        talk: Talk,
        *,
        budget: Budget | None = None,
        usage: Usage | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Talk about every item with whoever answers; several conversations go on side by side.

        Args:
            answerer: answers the tasks that ``talk`` asks.
            items: what to talk about.
            talk: called with the position of an item, the item and a way to ask; in the engine's thread.
            budget: what may be spent. Questions beyond it raise `Interrupted` in ``talk``.
            usage: what was spent, filled on the way.
            poll: called now and then.

        Raises:
            EndpointError: the endpoint refuses every request.
        """
        answerer.check()
        unused: Deliver = lambda _index, _scores: None  # noqa: E731 - nothing is scored
        run = Run(cast("Job", answerer), items, unused, budget or Budget(), usage or Usage(), talk)
        self.run(run, poll)

    async def _run(self, run: Run) -> None:
        run.state.store = self._open_store()
        pieces = self._missing_tasks(run)
        workers: set[asyncio.Task[None]] = set()
        if run.talk is not None:
            items = enumerate(run.examples)
            workers = {asyncio.ensure_future(self._converse(run, items)) for _ in range(run.scorer.max_in_flight)}
            pieces = iter(())
        beat = asyncio.ensure_future(_beat(run))
        # Workers are added one by one while there is work: a run of one row costs as many as it has tasks.
        self._runs.append(run)
        try:
            for piece in itertools.islice(pieces, run.scorer.max_in_flight):
                workers.add(asyncio.ensure_future(self._work(run, itertools.chain((piece,), pieces))))
                if len(workers) % _ROWS_PER_LOOKUP == 0:
                    await asyncio.sleep(0)  # let the first requests leave before the rest is read
        except BaseException as error:
            run.fail(error)
        try:
            if workers:
                await self._finish(run, workers)
        finally:
            beat.cancel()
            run.release_rest(unused=True)
            self._runs = [other for other in self._runs if other is not run]
        if run.state.error is not None:
            raise run.state.error

    async def _finish(self, run: Run, workers: set[asyncio.Task[None]]) -> None:
        ended: set[asyncio.Task[None]] = set()
        try:
            while workers and not run.stopping:
                done, workers = await asyncio.wait(workers, timeout=0.5, return_when=asyncio.FIRST_EXCEPTION)
                ended |= done
            if workers:
                done, workers = await asyncio.wait(workers, timeout=_GRACE)
                ended |= done
        finally:
            for worker in workers:
                worker.cancel()
            for worker in ended:  # the first error is in run.state.error; asyncio would complain of the others
                _ = worker.cancelled() or worker.exception()

    def _open_store(self) -> Answers:
        if self.shared is not None:
            return self.shared
        folder = config.cache_dir()
        store = self._stores.get(folder)
        if store is None or not store.path.exists():  # it may be deleted under us, in a notebook
            store = self._stores[folder] = Store(folder)
        return store

    def _missing_tasks(self, run: Run) -> Iterator[MissingTask]:
        """The tasks that are not in the store; rows without any are delivered on the way.

        Tasks that another process has claimed are postponed: meanwhile this one goes on with others.
        """
        examples = enumerate(run.examples)
        postponed: list[MissingTask] = []
        while not run.stopping and (chunk := list(itertools.islice(examples, _ROWS_PER_LOOKUP))):
            pieces: list[MissingTask] = []
            for index, example in chunk:
                tasks = run.scorer.tasks(example)
                row = Row(index, example, [""] * len(tasks), len(tasks))
                if not tasks:
                    _deliver(run, row)
                pieces += [
                    MissingTask(row, position, task, self._dispatcher.key_of(run, task))
                    for position, task in enumerate(tasks)
                ]
            missing = _record_stored(run, pieces, run.store.get(piece.key for piece in pieces))
            lookup = run.store.claim([piece.key for piece in missing]) if missing else Lookup()
            run.state.claimed_keys |= lookup.granted
            missing = _record_stored(run, missing, lookup.answers)
            yield from (piece for piece in missing if piece.key in lookup.granted)
            postponed += [piece for piece in missing if piece.key not in lookup.granted]
            if postponed:
                postponed = _record_stored(run, postponed, run.store.get(piece.key for piece in postponed))
            if len(postponed) > _POSTPONED:
                yield from postponed
                postponed = []
        yield from postponed

    async def _work(self, run: Run, pieces: Iterator[MissingTask]) -> None:
        """Answer one task after another."""
        try:
            for piece in pieces:
                _record(run, piece, await self._dispatcher.answer_or_reason(run, piece.task, piece.key))
                if run.stopping:
                    return
        except BaseException as error:
            run.fail(error)
            raise

    async def _converse(self, run: Run, items: Iterator[tuple[int, Any]]) -> None:
        """Talk about one item after another."""

        async def ask(task: Task) -> Answer:
            return await self._dispatcher.answer(run, task, self._dispatcher.key_of(run, task))

        for index, item in items:
            if run.stopping or run.talk is None:
                return
            try:
                await run.talk(index, item, ask)
            except BaseException as error:
                run.fail(error)
                raise
            run.usage.rows += 1


async def _beat(run: Run) -> None:
    """Show other processes that the run goes on, so that its claims hold."""
    while True:
        await asyncio.sleep(_BEAT)
        run.store.beat()


def _record_stored(
    run: Run, pieces: Sequence[MissingTask], cached_answers: Mapping[bytes, Answer]
) -> list[MissingTask]:
    """Note the answers that the store has; return the tasks that it has none for."""
    for piece in pieces:
        if piece.key in cached_answers:
            run.usage.from_store += 1
            _record(run, piece, cached_answers[piece.key])
    return [piece for piece in pieces if piece.key not in cached_answers]


def _record(run: Run, piece: MissingTask, answer: Answer | str) -> None:
    """Note an answer; the last one of a row delivers it."""
    row = piece.row
    row.answers[piece.position] = answer
    row.unanswered -= 1
    if not row.unanswered:
        _deliver(run, row)


def _deliver(run: Run, row: Row) -> None:
    scores = run.scorer.combine(row.example, row.answers)
    if len(scores) != len(row.example.responses):
        raise ScorerError(
            f"{run.scorer!r} gave {len(scores)} scores for {len(row.example.responses)} responses "
            f"(example {row.index}); it must give one per response, in order"
        )
    for score in scores:
        if score.value is None:
            run.usage.failed[kind_of(score.error)] += 1
    run.usage.rows += 1
    run.deliver(row.index, scores)


_engine: Engine | None = None
_guard = threading.Lock()


def engine() -> Engine:
    """The engine of this process; a forked child gets its own."""
    global _engine  # noqa: PLW0603 - one per process
    with _guard:
        if _engine is None or _engine.pid != os.getpid() or not _engine._thread.is_alive():
            _engine = Engine()
        return _engine


def _new_guard() -> None:
    global _guard  # noqa: PLW0603 - the parent's may have been held when it forked
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_guard)

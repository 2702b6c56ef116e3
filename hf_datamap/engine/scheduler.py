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
import random
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.limiter import TOO_LONG, Lane
from hf_datamap.engine.store import Answers, Store, canonical
from hf_datamap.engine.task import Answer, Answerer, Ask, Job, Score, Task
from hf_datamap.errors import EndpointError, Interrupted, Overloaded, ScorerError, Unanswered

_CHUNK = 64  # rows looked up in the store at a time: few enough not to hold up requests under way
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0  # seconds between tries
_PATIENCE = 4  # times as many tries after "too many requests" as after other faults
_GRACE = 10.0  # seconds that requests under way get to finish when a run is stopped

SKIPPED_MARK = "skipped: "  # begins the reason of a response that was never asked about

Deliver = Callable[[int, list[Score]], None]
Talk = Callable[[int, Any, Ask], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """One run of a scorer over examples.

    Attributes:
        scorer: what to ask.
        examples: what to ask about, read as the run goes on.
        deliver: called once per example with its position and its scores, as they complete, in the engine's thread.
        budget: what the run may spend.
        usage: what it has spent.
        talk: given an example and a way to ask, does what there is to do about it, instead of tasks and scores; for
            work whose next question depends on the last answer.
    """

    scorer: Job
    examples: Iterable[Any]
    deliver: Deliver
    budget: Budget = field(default_factory=Budget)
    usage: Usage = field(default_factory=Usage)
    talk: Talk | None = None
    stopping: bool = False
    error: BaseException | None = None
    lost: dict[int, str] = field(default_factory=dict)  # members of a panel that cannot work, and why
    _lanes: dict[int, Lane] = field(default_factory=dict)
    _store: Answers | None = None

    def fail(self, error: BaseException) -> None:
        """End the run with an error: the first one counts."""
        self.stopping = True
        if self.error is None and not isinstance(error, asyncio.CancelledError):
            self.error = error

    @property
    def store(self) -> Answers:
        """Where answers are kept; the engine sets it when the run begins."""
        if self._store is None:
            raise RuntimeError("the run has not begun")
        return self._store

    @store.setter
    def store(self, store: Answers) -> None:
        self._store = store


@dataclass(slots=True)
class _Row:
    index: int
    example: Any
    answers: list[Answer | str]
    open: int


_Piece = tuple[_Row, int, Task, bytes]  # a row, the place of an answer in it, the task, its key in the store


class Engine:
    """The process's scheduler. Get it with `engine()`."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._lanes: dict[bytes, Lane] = {}
        self._closing: dict[bytes, Any] = {}
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
            run.stopping = True
            with contextlib.suppress(BaseException):
                future.result(timeout=_GRACE)
            future.cancel()
            raise
        finally:
            poll()

    def interrupt(self) -> None:
        """Let every run of the process end: no further request is sent, what is under way is waited for and kept."""
        for run in list(self._runs):
            run.stopping = True

    def close(self) -> None:
        """Close connections and the store, and end the thread."""
        if self.pid != os.getpid() or not self._thread.is_alive():
            return

        async def shut() -> None:
            for scorer in self._closing.values():
                with contextlib.suppress(Exception):
                    await scorer.close()
            for store in self._stores.values():
                store.close()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(shut(), self._loop).result(timeout=2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2)

    def converse(
        self,
        asked: Answerer,
        items: Iterable[Any],
        talk: Talk,
        *,
        budget: Budget | None = None,
        usage: Usage | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Talk about every item with whoever answers; several conversations go on side by side.

        Args:
            asked: answers the tasks that ``talk`` asks.
            items: what to talk about.
            talk: called with the position of an item, the item and a way to ask; in the engine's thread.
            budget: what may be spent. Questions beyond it raise `Interrupted` in ``talk``.
            usage: what was spent, filled on the way.
            poll: called now and then.

        Raises:
            EndpointError: the endpoint refuses every request.
        """
        unused: Deliver = lambda _index, _scores: None  # noqa: E731 - nothing is scored
        run = Run(cast("Job", asked), items, unused, budget or Budget(), usage or Usage(), talk)
        self.run(run, poll)

    async def _run(self, run: Run) -> None:
        run.store = self._open()
        pieces = self._pieces(run)
        workers: set[asyncio.Task[None]] = set()
        if run.talk is not None:
            items = enumerate(run.examples)
            workers = {asyncio.ensure_future(self._converse(run, items)) for _ in range(run.scorer.max_in_flight)}
            pieces = iter(())
        # Workers are added one by one while there is work: a run of one row costs as many as it has tasks.
        self._runs.append(run)
        try:
            for piece in itertools.islice(pieces, run.scorer.max_in_flight):
                workers.add(asyncio.ensure_future(self._work(run, itertools.chain((piece,), pieces))))
                if len(workers) % _CHUNK == 0:
                    await asyncio.sleep(0)  # let the first requests leave before the rest is read
        except BaseException as error:
            run.fail(error)
        try:
            if workers:
                await self._finish(run, workers)
        finally:
            self._runs = [other for other in self._runs if other is not run]
        if run.error is not None:
            raise run.error

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
            for worker in ended:  # the first error is in run.error; asyncio would complain of the others
                _ = worker.cancelled() or worker.exception()

    def _open(self) -> Answers:
        if self.shared is not None:
            return self.shared
        folder = config.cache_dir()
        store = self._stores.get(folder)
        if store is None or not store.path.exists():  # it may be deleted under us, in a notebook
            store = self._stores[folder] = Store(folder)
        return store

    def _lane(self, scorer: Answerer) -> Lane:
        name = canonical(scorer.identity)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(scorer.max_in_flight, dict(scorer.identity))
        if lane.greatest != scorer.max_in_flight:
            lane.greatest, lane.limit = scorer.max_in_flight, float(scorer.max_in_flight)
        self._closing[name] = scorer
        return lane

    def _lane_of(self, run: Run, task: Task) -> Lane:
        scorer = task.scorer or run.scorer
        if (lane := run._lanes.get(id(scorer))) is None:
            lane = run._lanes[id(scorer)] = self._lane(scorer)
        return lane

    def _pieces(self, run: Run) -> Iterator[_Piece]:
        """The tasks that are not in the store; rows without any are delivered on the way."""
        rows = enumerate(run.examples)
        while not run.stopping and (chunk := list(itertools.islice(rows, _CHUNK))):
            cut = []
            for index, example in chunk:
                tasks = run.scorer.tasks(example)
                row = _Row(index, example, [""] * len(tasks), len(tasks))
                if not tasks:
                    self._deliver(run, row)
                cut += [
                    (row, place, task, self._lane_of(run, task).keys.of(task.content))
                    for place, task in enumerate(tasks)
                ]
            found = run.store.get(key for _, _, _, key in cut)
            missing = []
            for row, place, task, key in cut:
                if key in found:
                    run.usage.from_store += 1
                    self._settle(run, row, place, found[key])
                else:
                    missing.append((row, place, task, key))
            yield from missing

    async def _work(self, run: Run, pieces: Iterator[_Piece]) -> None:
        try:
            for row, place, task, key in pieces:
                self._settle(run, row, place, await self._outcome(run, task, key))
                if run.stopping:
                    return
        except BaseException as error:
            run.fail(error)
            raise

    async def _outcome(self, run: Run, task: Task, key: bytes) -> Answer | str:
        """The answer to a task, or why there is none."""
        try:
            return await self._answer(run, task, key)
        except Unanswered as trouble:
            return str(trouble)
        except Interrupted as trouble:
            run.usage.stopped = run.usage.stopped or str(trouble).removeprefix(SKIPPED_MARK)
            return str(trouble)
        except EndpointError as error:
            if self._goes_on(run, task, error):
                return str(error)
            raise

    async def _converse(self, run: Run, items: Iterator[tuple[int, Any]]) -> None:
        """Talk about one item after another."""

        async def ask(task: Task) -> Answer:
            try:
                return await self._answer(run, task, self._lane_of(run, task).keys.of(task.content))
            except Interrupted as trouble:
                run.usage.stopped = run.usage.stopped or str(trouble).removeprefix(SKIPPED_MARK)
                raise

        for index, item in items:
            if run.stopping or run.talk is None:
                return
            try:
                await run.talk(index, item, ask)
            except BaseException as error:
                run.fail(error)
                raise
            run.usage.rows += 1

    @staticmethod
    def _goes_on(run: Run, task: Task, error: EndpointError) -> bool:
        """Whether the run can do without the member of a panel that cannot work."""
        if task.scorer is not None:
            run.lost[id(task.scorer)] = str(error)
        return task.scorer is not None and len(run.lost) <= run.scorer.may_lose

    async def _answer(self, run: Run, task: Task, key: bytes) -> Answer:
        """One answer: from another task that asks the same, from the store, or bought."""
        lane = self._lane_of(run, task)
        while other := lane.pending.get(key):
            with contextlib.suppress(Interrupted):  # it may be another run's budget that ended: then it is our turn
                answer = await asyncio.shield(other)
                run.usage.from_store += 1
                return answer
        if found := run.store.get((key,)):
            run.usage.from_store += 1
            return found[key]
        pending = lane.pending[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._buy(run, lane, task, key)
        except BaseException as error:
            pending.set_exception(Interrupted("cancelled") if isinstance(error, asyncio.CancelledError) else error)
            pending.exception()  # seen: nobody need be waiting
            raise
        else:
            pending.set_result(answer)
            return answer
        finally:
            del lane.pending[key]

    async def _buy(self, run: Run, lane: Lane, task: Task, key: bytes) -> Answer:
        """Ask until there is an answer, patience ends or the budget is spent; keep the answer at once."""
        usage, scorer = run.usage, task.scorer or run.scorer
        if id(scorer) in run.lost:
            raise Unanswered(run.lost[id(scorer)])
        if task.after is not None:
            key_of = self._lane_of(run, task.after).keys.of
            task = replace(task, given=await self._answer(run, task.after, key_of(task.after.content)))
        for tries in itertools.count(1):
            async with lane:
                if run.stopping:
                    raise Interrupted("stopped before it was asked")
                if reason := await usage.admit(run.budget, self._guess(usage, scorer, task)):
                    raise Interrupted(SKIPPED_MARK + reason)
                try:
                    answer = await self._ask(usage, lane, scorer, task)
                except Overloaded as error:
                    trouble = error
                    lane.overloaded(error)
                else:
                    if answer.keep:
                        run.store.put(key, answer)
                    lane.succeeded()
                    return answer
            delay = self._delay(scorer, lane, trouble, tries)
            usage.retried += 1
            await asyncio.sleep(delay)
            if run.stopping:
                raise Interrupted(f"stopped while waiting to try again: {trouble}")
        raise AssertionError("unreachable")

    @staticmethod
    async def _ask(usage: Usage, lane: Lane, scorer: Answerer, task: Task) -> Answer:
        """Ask once, and count it."""
        usage.requests += 1
        usage.in_flight += 1
        try:
            answer = await scorer.answer(task)
        except Unanswered as error:
            usage.paid(*error.spent)
            raise
        except EndpointError as error:
            lane.refused(error)
            raise
        finally:
            usage.in_flight -= 1
        usage.paid(answer.input_tokens, answer.output_tokens)
        return answer

    @staticmethod
    def _guess(usage: Usage, scorer: Answerer, task: Task) -> tuple[int, int]:
        """Tokens that a request will take, as long as no answer tells."""
        return (0, 0) if usage.answered else scorer.estimate(task)

    def _delay(self, scorer: Answerer, lane: Lane, trouble: Overloaded, tries: int) -> float:
        """Seconds until the next try.

        Raises:
            EndpointError: patience ended, and the endpoint has never answered anything.
            Unanswered: patience ended.
        """
        most = scorer.max_retries
        if trouble.congestion:
            most *= _PATIENCE
        never = trouble.fatal and not lane.answered
        if never:
            most = min(most, 3)
        asked = trouble.retry_after
        if tries > most or (asked is not None and asked > TOO_LONG):
            if never:
                raise EndpointError(f"{trouble} (tried {tries} times). Is the endpoint up, and base_url right?")
            waited = f"; it asks to wait {asked:,.0f} s" if asked is not None and asked > TOO_LONG else ""
            raise Unanswered(f"{trouble} (tried {tries} times{waited})")
        backoff = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)  # noqa: S311
        return max(asked, backoff if trouble.congestion else 0.0) if asked is not None else backoff

    def _settle(self, run: Run, row: _Row, place: int, answer: Answer | str) -> None:
        row.answers[place] = answer
        row.open -= 1
        if not row.open:
            self._deliver(run, row)

    def _deliver(self, run: Run, row: _Row) -> None:
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


def kind_of(error: str) -> str:
    """The kind of a failure: its words up to the first detail."""
    return re.split(r": | \(|, ", error, maxsplit=1)[0][:80] or "unknown"


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

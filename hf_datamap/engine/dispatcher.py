"""From a task to its answer: another task's, the store's, or the endpoint's; with retries, limits and the budget."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hf_datamap.engine.adaptations import record_adaptations
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.limiter import MAX_WAIT, Limiter
from hf_datamap.engine.run import SKIPPED_MARK, Run
from hf_datamap.engine.store import canonical
from hf_datamap.engine.task import JSON, Answer, Answerer, Task
from hf_datamap.errors import EndpointError, Interrupted, Overloaded, Unanswered

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0  # seconds between tries
_BUSY_TRIES = 4  # times as many tries after "too many requests" as after other faults
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.5  # seconds between looks for an answer that another process buys
_TRIES_AT_FIRST = 3  # tries of an endpoint that has never answered anything


class Dispatcher:
    """Answers tasks. One per engine; used in its loop only."""

    def __init__(self) -> None:
        self._limiters: dict[bytes, Limiter] = {}
        self._answerers: dict[bytes, Any] = {}
        self._noted_adaptations: weakref.WeakKeyDictionary[Answerer, Mapping[str, JSON]] = weakref.WeakKeyDictionary()

    async def close(self) -> None:
        """Close the connections of everybody who was asked."""
        for answerer in self._answerers.values():
            with contextlib.suppress(Exception):
                await answerer.close()

    def limiter_of(self, run: Run, task: Task) -> Limiter:
        """Return the limiter of whoever answers a task."""
        answerer = task.scorer or run.scorer
        if (limiter := run.state.limiters.get(id(answerer))) is None:
            limiter = run.state.limiters[id(answerer)] = self._limiter(answerer)
        return limiter

    def key_of(self, run: Run, task: Task) -> bytes:
        """Return the key of a task's answer in the store."""
        return self.limiter_of(run, task).keys.of(task.content)

    def _limiter(self, answerer: Answerer) -> Limiter:
        # By identity, not by object: equal scorers in two runs share one endpoint, and so its limits.
        name = canonical(answerer.identity)
        limiter = self._limiters.get(name)
        if limiter is None:
            limiter = self._limiters[name] = Limiter(answerer.max_in_flight, dict(answerer.identity))
        if limiter.max_in_flight != answerer.max_in_flight:
            limiter.max_in_flight, limiter.limit = answerer.max_in_flight, float(answerer.max_in_flight)
        self._answerers[name] = answerer
        return limiter

    async def answer_or_reason(self, run: Run, task: Task, key: bytes) -> Answer | str:
        """Return the answer to a task, or why there is none.

        Raises:
            EndpointError: the endpoint refuses every request, and the run cannot do without it.
        """
        try:
            return await self.answer(run, task, key)
        except (Unanswered, Interrupted) as trouble:
            return str(trouble)
        except EndpointError as error:
            if self._can_do_without(run, task, error):
                return str(error)
            raise

    @staticmethod
    def _can_do_without(run: Run, task: Task, error: EndpointError) -> bool:
        """Whether the run goes on without the member of a panel that cannot work."""
        if task.scorer is None:
            return False
        run.state.failed_members[id(task.scorer)] = str(error)
        return len(run.state.failed_members) <= run.scorer.may_lose

    async def answer(self, run: Run, task: Task, key: bytes) -> Answer:
        """Return one answer: from another task that asks the same, from the store, or bought.

        Raises:
            Unanswered: there is no usable answer.
            Interrupted: the budget is spent, or the run was stopped.
            EndpointError: the endpoint refuses every request.
        """
        try:
            return await self._shared_answer(run, task, key)
        except Interrupted as trouble:
            run.usage.stopped = run.usage.stopped or str(trouble).removeprefix(SKIPPED_MARK)
            raise

    async def _shared_answer(self, run: Run, task: Task, key: bytes) -> Answer:
        pending = self.limiter_of(run, task).pending
        while same := pending.get(key):
            # It may be another run's budget that ended there: then it is our turn to buy.
            with contextlib.suppress(Interrupted):
                answer = await asyncio.shield(same)
                run.usage.from_store += 1
                return answer
        future = pending[key] = asyncio.get_running_loop().create_future()
        try:
            if (stored := await self._stored_or_claimed(run, key)) is not None:
                run.usage.from_store += 1
            answer = stored or await self._request_until_answered(run, task, key)
        except BaseException as error:
            future.set_exception(Interrupted("cancelled") if isinstance(error, asyncio.CancelledError) else error)
            future.exception()  # marks it as seen: asyncio complains of exceptions that nobody fetched
            run.release(key, at_once=True)  # another process may have better luck
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del pending[key]
            run.release(key)

    def _note_adaptations(self, run: Run, answerer: Answerer) -> None:
        """Keep what the endpoint had to be asked otherwise, as soon as it is known."""
        known = answerer.adaptations
        if known and self._noted_adaptations.get(answerer) != known:
            record_adaptations(run.store, answerer)
            self._noted_adaptations[answerer] = known

    @staticmethod
    async def _stored_or_claimed(run: Run, key: bytes) -> Answer | None:
        """Return a stored answer, or None once it is ours to buy; another process that buys it is waited for."""
        if key in run.state.claimed_keys:  # another run of this process may have bought it all the same
            return run.store.get((key,)).get(key)
        delay = _FIRST_LOOK
        while True:
            lookup = run.store.claim((key,))
            if key in lookup.answers:
                return lookup.answers[key]
            if key in lookup.granted:
                run.state.claimed_keys.add(key)
                return None
            if run.stopping:
                raise Interrupted("stopped while another process was asking the same")
            await asyncio.sleep(delay)
            delay = min(_LONGEST_LOOK, 1.5 * delay)

    async def _request_until_answered(self, run: Run, task: Task, key: bytes) -> Answer:
        """Ask until there is an answer, patience ends or the budget is spent; store the answer at once."""
        usage, answerer, limiter = run.usage, task.scorer or run.scorer, self.limiter_of(run, task)
        if reason := run.state.failed_members.get(id(answerer)):
            raise Unanswered(reason)
        if task.after is not None:
            task = replace(task, given=await self.answer(run, task.after, self.key_of(run, task.after)))
        for tries in itertools.count(1):
            async with limiter:
                if run.stopping:
                    raise Interrupted("stopped before it was asked")
                estimate = _estimated_tokens(run.budget, answerer, task)
                if reason := await usage.admit(run.budget, estimate):
                    raise Interrupted(SKIPPED_MARK + reason)
                try:
                    answer = await _request_once(usage, limiter, answerer, task, estimate)
                except Overloaded as error:
                    trouble = error
                    limiter.overloaded(error)
                else:
                    if answer.keep:
                        run.store.put(key, answer)
                    self._note_adaptations(run, answerer)
                    limiter.succeeded()
                    return answer
            delay = _retry_delay(answerer, limiter, trouble, tries)
            usage.retried += 1
            await asyncio.sleep(delay)
            if run.stopping:
                raise Interrupted(f"stopped while waiting to try again: {trouble}")
        raise AssertionError("unreachable")


async def _request_once(
    usage: Usage, limiter: Limiter, answerer: Answerer, task: Task, estimate: tuple[int, int]
) -> Answer:
    """Ask once, and count it."""
    usage.requests += 1
    usage.in_flight += 1
    if any(estimate):
        usage.reserved.add(estimate)
    try:
        answer = await answerer.answer(task)
    except Unanswered as error:
        usage.count_answer(*error.spent)
        usage.reserved.learn(estimate, error.spent)
        if not error.refused_as:
            limiter.answered += 1  # the endpoint works, whatever is wrong with this task
        elif limiter.refused(error.refused_as):
            fatal = EndpointError(f"{error}. The first requests were all refused in these words, and none was answered")
            limiter.fail_waiting(fatal)
            raise fatal from None
        raise
    except EndpointError as error:
        limiter.fail_waiting(error)
        raise
    finally:
        usage.in_flight -= 1
        if any(estimate):
            usage.reserved.remove(estimate)
    usage.count_answer(answer.input_tokens, answer.output_tokens)
    usage.reserved.learn(estimate, (answer.input_tokens, answer.output_tokens))
    return answer


def _estimated_tokens(budget: Budget, answerer: Answerer, task: Task) -> tuple[int, int]:
    """Tokens that a request will send and receive; zeros where no limit asks for them, since they cost time."""
    return (0, 0) if budget.tokens is None and budget.cost is None else answerer.estimate(task)


def _retry_delay(answerer: Answerer, limiter: Limiter, trouble: Overloaded, tries: int) -> float:
    """Return the seconds until the next try.

    Raises:
        EndpointError: patience ended, and the endpoint has never answered anything.
        Unanswered: patience ended.
    """
    max_retries = answerer.max_retries
    if trouble.congestion:
        max_retries *= _BUSY_TRIES
    never_answered = trouble.fatal and not limiter.answered
    if never_answered:
        max_retries = min(max_retries, _TRIES_AT_FIRST)
    requested_wait = trouble.retry_after
    too_long = requested_wait is not None and requested_wait > MAX_WAIT
    if tries > max_retries or too_long:
        if never_answered:
            raise EndpointError(f"{trouble} (tried {tries} times). Is the endpoint up, and base_url right?")
        waited = f"; it asks to wait {requested_wait:,.0f} s" if too_long else ""
        raise Unanswered(f"{trouble} (tried {tries} times{waited})")
    backoff: float = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)  # noqa: S311
    if requested_wait is None:
        return backoff
    return max(requested_wait, backoff if trouble.congestion else 0.0)

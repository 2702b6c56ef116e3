"""How long the Hub may take: for one request, and for all of an operation, whatever hangs in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
#: Seconds that an operation may take which sends no data.
DEFAULT: Final = 900.0
_BYTES_PER_SECOND: Final = 500_000  # the slowest line on which an upload is still waited for


class TimedOut(Exception):  # noqa: N818 - says what happened; the caller turns it into a HubError
    """An operation took longer than it may."""


class Deadline:
    """When an operation must have ended.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at the end."""
        return max(0.0, self._end - time.monotonic())


def default_for(nbytes: int) -> float:
    """Return the seconds that an operation may take which sends so many bytes."""
    return DEFAULT + nbytes / _BYTES_PER_SECOND


def within(deadline: Deadline, work: Callable[[], T]) -> T:
    """Run something that may hang, and stop waiting for it at the deadline.

    It runs in a thread that is left behind then: neither a system call nor the upload client can be interrupted.

    Raises:
        TimedOut: the deadline has passed.
    """
    outcome: _Outcome[T] = _Outcome()
    thread = threading.Thread(target=outcome.run, args=(work,), name="hf_datamap-hub", daemon=True)
    thread.start()
    while thread.is_alive() and deadline.left:
        thread.join(min(0.5, deadline.left))  # in short pieces, so that Ctrl-C is heard
    if thread.is_alive():
        raise TimedOut
    return outcome.result()


class _Outcome(Generic[T]):
    def __init__(self) -> None:
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, work: Callable[[], T]) -> None:
        try:
            self._value = work()
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value] # what `work` returned


@contextmanager
def limited_requests(seconds: float) -> Iterator[None]:
    """Give every request of the Hub's client a time limit for a while; by default it waits for ever.

    Args:
        seconds: without a sign of life.
    """
    from huggingface_hub import get_session

    def limit(request: Any) -> None:  # noqa: ANN401 - of httpx or httpx2, by the version of huggingface_hub
        given: dict[str, Any] = request.extensions.get("timeout") or {}
        kinds = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = {kind: given.get(kind) or seconds for kind in kinds}

    hooks = getattr(get_session(), "event_hooks", None)
    if hooks is None:  # huggingface_hub before 1.0 sends through requests; `within` still bounds the whole
        yield
        return
    hooks["request"].append(limit)
    try:
        yield
    finally:
        hooks["request"].remove(limit)

"""Signals that ask a command to stop: all of them like Ctrl-C, so that what was paid for is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NAMES: Final = ("SIGTERM", "SIGHUP")  # Python turns SIGINT into KeyboardInterrupt by itself


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM and SIGHUP for a while; a signal that is ignored (``nohup``) stays so."""
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                previous[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def exit_code_of(stop: BaseException) -> int:
    """Return 128 and the number of the signal that led to an exception; 130, that of Ctrl-C, when none is known."""
    error: BaseException | None = stop
    while error is not None:
        if isinstance(error, Stopped):
            return error.exit_code
        error = error.__cause__ or error.__context__
    return 130

"""Work that is killed in the middle, at a file operation that can be named."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.move", "shutil.rmtree"}


def killed_at(operation: int, root: Path, work: Callable[[], object]) -> bool:
    """Do some work in a process that is killed at one of its file operations below a folder; whether it ended first."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    count = 0

    def watch(event, arguments):
        nonlocal count
        if not arguments or str(root) not in str(arguments[0]):
            return
        if event in CHANGES or (event == "open" and set("wax+") & set(str(arguments[1]))):
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    sys.addaudithook(watch)
    try:
        work()
    finally:
        os._exit(0 if sys.exc_info()[0] is None else 1)

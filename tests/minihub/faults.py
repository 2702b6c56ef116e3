"""Faults that a test injects: what to do to the next requests that match."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What to do to the next `times` requests that match.

    method, path : match the request (method exact or None; path a regex searched in "/path?query")
    skip         : let this many matching requests through first
    times        : how many requests to spoil (0 = every one)
    when         : "before" the request reaches the server, or "after" it was carried out
                   ("after" = the server did the work, but the client never hears of it)
    action       : "status"   answer `status` (+ error, code, headers, body)
                   "reset"    close the connection without an answer
                   "truncate" send only the first `bytes` bytes of the answer's body, then close
                   "exit"     kill the server process (exit code 137)
                   "none"     nothing (use with delay)
    delay        : seconds to wait before the action, with "after" between the work and the action; taking the fault
                   back ends it
    reached      : how many requests came as far as that (the server counts)
    """

    path: str = "."
    method: str | None = None
    action: str = "status"
    when: str = "before"
    status: int = 500
    error: str = "Internal Error - We're working hard to fix this as soon as possible!"
    code: str | None = None
    body: str | None = None
    headers: dict = field(default_factory=dict)
    bytes: int = 0
    delay: float = 0.0
    times: int = 1
    skip: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    hits: int = 0
    seen: int = 0
    reached: int = 0

    def __post_init__(self):
        if self.action not in ("status", "reset", "truncate", "exit", "none") or self.when not in ("before", "after"):
            raise ValueError(f"bad fault: {self}")
        re.compile(self.path)

    def take(self, method: str, target: str) -> bool:
        if (self.method and self.method != method) or not re.search(self.path, target):
            return False
        if self.times and self.hits >= self.times:
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.hits += 1
        return True

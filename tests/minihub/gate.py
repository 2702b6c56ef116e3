"""The outermost layer: request ids, the request log, fault injection."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import uuid
from dataclasses import dataclass, field

from tests.minihub.store import error_headers


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


class Gate:
    """Outermost ASGI layer: request ids, the request log, fault injection.

    It also makes the router see the path *undecoded*, because revisions such as refs%2Fpr%2F1 and
    paths such as data%2Ftrain arrive as one percent-encoded segment; handlers unquote what they use.
    """

    BODY_LIMIT = 64 * 2**20

    def __init__(self, app, hub):
        self.app, self.hub = app, hub

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        raw = scope["raw_path"].decode("latin-1").split("?")[0]
        scope = {**scope, "path": raw}
        if raw.startswith("/_admin/"):
            return await self.app(scope, receive, send)

        headers = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in scope["headers"]]
        query = scope["query_string"].decode("latin-1")
        target = raw + ("?" + query if query else "")
        given = dict(headers)
        rid = given.get("x-request-id") or given.get("x-amzn-trace-id") or str(uuid.uuid4())
        rec = self.hub.log_start(scope["method"], raw, query, headers, rid)
        fault = self.hub.pick_fault(scope["method"], target)
        if fault:
            rec["fault"] = {"id": fault.id, "action": fault.action, "when": fault.when}
        keep_body = scope["method"] in ("POST", "PUT", "PATCH", "DELETE") and not raw.startswith(("/_lfs/", "/_cas/"))
        body = bytearray()

        async def log_receive():
            msg = await receive()
            if msg["type"] == "http.request":
                chunk = msg.get("body", b"")
                rec["request_bytes"] += len(chunk)
                if keep_body and len(body) + len(chunk) <= self.BODY_LIMIT:
                    body.extend(chunk)
            return msg

        async def log_send(msg):
            if msg["type"] == "http.response.start":
                rec["status"] = msg["status"]
                msg = {**msg, "headers": [*msg.get("headers", []), (b"x-request-id", rid.encode("latin-1"))]}
            elif msg["type"] == "http.response.body":
                rec["response_bytes"] += len(msg.get("body", b""))
            await send(msg)

        async def drain():
            while (await log_receive()).get("more_body"):
                pass

        async def drop_connection():
            # uvicorn's `send` is a bound method of its request cycle, which owns the transport.
            send.__self__.transport.abort()
            while (await receive())["type"] != "http.disconnect":  # else uvicorn would answer in our place
                pass

        t0 = time.monotonic()
        self.hub.busy += 1
        try:
            late = fault and fault.when == "after" and fault.action in ("status", "reset", "exit")
            if fault and not late:
                await self._hold(fault)
            if fault and fault.action in ("status", "reset", "exit"):
                if late:

                    async def swallow(msg):
                        if msg["type"] == "http.response.start":
                            rec["status_hidden"] = msg["status"]

                    await self.app(scope, log_receive, swallow)
                    await self._hold(fault)
                else:
                    await drain()
                if fault.action == "exit":
                    self.hub.log_end(rec, bytes(body), t0)
                    os._exit(137)
                if fault.action == "reset":
                    rec["status"] = None
                    await drop_connection()
                    return None
                h = {"content-type": "application/json", **error_headers(fault.error, fault.code, fault.headers)}
                out = (fault.body if fault.body is not None else json.dumps({"error": fault.error})).encode()
                h["content-length"] = str(len(out))
                await log_send(
                    {
                        "type": "http.response.start",
                        "status": fault.status,
                        "headers": [(k.lower().encode(), str(v).encode("latin-1")) for k, v in h.items()],
                    }
                )
                await log_send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else out})
                return None
            if fault and fault.action == "truncate":
                left, gone = fault.bytes, False

                async def cut(msg):
                    nonlocal left, gone
                    if msg["type"] != "http.response.body":
                        await log_send(msg)
                    elif not gone:
                        part = msg.get("body", b"")[:left]
                        left -= len(part)
                        await log_send({"type": "http.response.body", "body": part, "more_body": True})
                        if left <= 0:
                            await asyncio.sleep(0.05)  # let the bytes leave before the connection goes
                            await drop_connection()
                            gone = True

                await self.app(scope, log_receive, cut)
                if not gone:  # an answer shorter than that
                    await drop_connection()
                return None
            await self.app(scope, log_receive, log_send)
        finally:
            self.hub.log_end(rec, bytes(body), t0)
            self.hub.busy -= 1

    async def _hold(self, fault: Fault) -> None:
        """Let a request wait where its fault says."""
        fault.reached += 1
        until = time.monotonic() + fault.delay
        while time.monotonic() < until and fault in self.hub.faults:  # noqa: ASYNC110 - a request takes it back
            await asyncio.sleep(0.01)

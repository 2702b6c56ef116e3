"""The outermost layer: request ids, the request log, fault injection."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid

from tests.minihub.errors import error_headers
from tests.minihub.faults import Fault

BODY_LIMIT = 64 * 2**20  # a longer body is not kept


class Gate:
    """Outermost ASGI layer.

    It also makes the router see the path *undecoded*, because revisions such as refs%2Fpr%2F1 and
    paths such as data%2Ftrain arrive as one percent-encoded segment; handlers unquote what they use.
    """

    def __init__(self, app, hub):
        self.app, self.hub = app, hub

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope = {**scope, "path": scope["raw_path"].decode("latin-1").split("?")[0]}
        if scope["path"].startswith("/_admin/"):
            return await self.app(scope, receive, send)
        return await Exchange(self.app, self.hub, scope, receive, send).run()


class Exchange:
    """One request and its answer: logged, and spoiled where a fault says so."""

    def __init__(self, app, hub, scope, receive, send):
        self.app, self.hub, self.scope = app, hub, scope
        self._receive, self._send = receive, send
        headers = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in scope["headers"]]
        query = scope["query_string"].decode("latin-1")
        method, path = scope["method"], scope["path"]
        given = dict(headers)
        self.request_id = given.get("x-request-id") or given.get("x-amzn-trace-id") or str(uuid.uuid4())
        self.record = hub.log.start(method, path, query, headers, self.request_id)
        self.fault = hub.pick_fault(method, path + ("?" + query if query else ""))
        if self.fault:
            self.record["fault"] = {"id": self.fault.id, "action": self.fault.action, "when": self.fault.when}
        self.keep_body = method in ("POST", "PUT", "PATCH", "DELETE") and not path.startswith(("/_lfs/", "/_cas/"))
        self.body = bytearray()

    async def run(self) -> None:
        began = time.monotonic()
        self.hub.busy += 1
        try:
            if self.fault is None:
                await self.app(self.scope, self.receive, self.send)
            elif self.fault.action in ("status", "reset", "exit"):
                await self.refuse(self.fault, began)
            else:
                await self.hold(self.fault)
                if self.fault.action == "truncate":
                    await self.truncate(self.fault.bytes)
                else:
                    await self.app(self.scope, self.receive, self.send)
        finally:
            self.hub.log.end(self.record, bytes(self.body), began)
            self.hub.busy -= 1

    async def receive(self) -> dict:
        message = await self._receive()
        if message["type"] == "http.request":
            chunk = message.get("body", b"")
            self.record["request_bytes"] += len(chunk)
            if self.keep_body and len(self.body) + len(chunk) <= BODY_LIMIT:
                self.body.extend(chunk)
        return message

    async def send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.record["status"] = message["status"]
            identified = [*message.get("headers", []), (b"x-request-id", self.request_id.encode("latin-1"))]
            message = {**message, "headers": identified}
        elif message["type"] == "http.response.body":
            self.record["response_bytes"] += len(message.get("body", b""))
        await self._send(message)

    async def hold(self, fault: Fault) -> None:
        """Let the request wait where its fault says."""
        fault.reached += 1
        until = time.monotonic() + fault.delay
        while time.monotonic() < until and fault in self.hub.faults:  # noqa: ASYNC110 - a request takes it back
            await asyncio.sleep(0.01)

    async def refuse(self, fault: Fault, began: float) -> None:
        """Answer in the server's place, before or after it did the work."""
        if fault.when == "after":
            await self.app(self.scope, self.receive, self.swallow)
            await self.hold(fault)
        else:
            await self.hold(fault)
            while (await self.receive()).get("more_body"):  # read all that the client sends
                pass
        if fault.action == "exit":
            self.hub.log.end(self.record, bytes(self.body), began)
            os._exit(137)
        if fault.action == "reset":
            self.record["status"] = None
            await self.drop_connection()
        else:
            await self.answer(fault)

    async def swallow(self, message: dict) -> None:
        """Keep what the server answers from the client."""
        if message["type"] == "http.response.start":
            self.record["status_hidden"] = message["status"]

    async def answer(self, fault: Fault) -> None:
        text = json.dumps({"error": fault.error}) if fault.body is None else fault.body
        body = text.encode()
        headers = {"content-type": "application/json", **error_headers(fault.error, fault.code, fault.headers)}
        headers["content-length"] = str(len(body))
        raw = [(key.lower().encode(), str(value).encode("latin-1")) for key, value in headers.items()]
        await self.send({"type": "http.response.start", "status": fault.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})

    async def truncate(self, size: int) -> None:
        """Send the first `size` bytes of the answer's body, then drop the connection."""
        left, dropped = size, False

        async def cut(message):
            nonlocal left, dropped
            if message["type"] != "http.response.body":
                await self.send(message)
            elif not dropped:
                part = message.get("body", b"")[:left]
                left -= len(part)
                await self.send({"type": "http.response.body", "body": part, "more_body": True})
                if left <= 0:
                    await asyncio.sleep(0.05)  # let the bytes leave before the connection goes
                    await self.drop_connection()
                    dropped = True

        await self.app(self.scope, self.receive, cut)
        if not dropped:  # an answer shorter than that
            await self.drop_connection()

    async def drop_connection(self) -> None:
        # uvicorn's `send` is a bound method of its request cycle, which owns the transport.
        self._send.__self__.transport.abort()
        while (await self._receive())["type"] != "http.disconnect":  # else uvicorn would answer in our place
            pass

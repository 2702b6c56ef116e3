"""What stands before the app: only its own paths, small bodies, and no visitor in the session of another."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY: Final = 1 << 20  # a lasso, the largest thing that the page sends, has some 20 KB
SESSION: Final = "x-datamap-session"  # the header in which the app finds the Gradio session, as it was checked here
_API: Final = "/gradio_api/"
# What the page and `gradio_client` post to. There is no component that takes files, so there is no upload either.
_POSTS: Final = ("queue/join", "component_server", "cancel", "reset", "call/", "run/", "api/")
_COOKIE: Final = "datamap_visitor"
_COOKIE_VALUE: Final = re.compile(rf"(?:^|;\s*){_COOKIE}=([A-Za-z0-9_-]{{22,64}})(?:;|$)")
_IN_PATH: Final = re.compile(r"/(?:heartbeat|stream)/([^/]+)")
_MOST_SESSIONS: Final = 5_000


class Gate:
    """An ASGI middleware; see the module's first line.

    Args:
        app: what it stands before.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._owners: OrderedDict[str, str] = OrderedDict()  # of each Gradio session, the visitor who began it
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = b""
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not _known_post(scope["path"]):
                await _answer(send, 404, "there is nothing to post to here")
                return
            whole = await _read(receive, headers.get("content-length", ""))
            if whole is None:
                await _answer(send, 413, f"a request may have up to {MAX_BODY:,} bytes")
                return
            body, receive = whole, _replayed(whole, receive)
        cookie = _COOKIE_VALUE.search(headers.get("cookie", ""))
        visitor = cookie[1] if cookie else _address(scope, headers)
        session = _session_of(scope, body)
        if session is not None and not self._admitted(session, visitor):
            await _answer(send, 403, "this session is another visitor's: open the page again")
            return
        kept = [(name, value) for name, value in scope["headers"] if name.decode("latin-1").lower() != SESSION]
        scope["headers"] = [*kept, (SESSION.encode(), session.encode("latin-1", "replace"))] if session else kept
        if cookie is None and scope["method"] == "GET" and scope["path"] == "/":
            send = _with_cookie(send, secure=headers.get("x-forwarded-proto", scope.get("scheme")) == "https")
        await self._app(scope, receive, send)

    def _admitted(self, session: str, visitor: str) -> bool:
        """Whether a Gradio session is this visitor's; a new one becomes so."""
        with self._lock:
            owner = self._owners.setdefault(session, visitor)
            self._owners.move_to_end(session)
            while len(self._owners) > _MOST_SESSIONS:
                self._owners.popitem(last=False)
        return secrets.compare_digest(owner, visitor)


def _known_post(path: str) -> bool:
    name = path.removeprefix(_API)
    return name != path and name.rstrip("/").startswith(tuple(post.rstrip("/") for post in _POSTS))


async def _read(receive: Receive, length: str) -> bytes | None:
    """Read a request's body; None when it is too large."""
    if length.isdecimal() and int(length) > MAX_BODY:
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a way to receive that gives a body once, and then what comes after it."""
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


def _session_of(scope: Scope, body: bytes) -> str | None:
    """The Gradio session that a request names, in its query, its path or its body."""
    named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash")
    if named:
        return str(named[-1])[:200]
    if match := _IN_PATH.search(scope["path"]):
        return str(match[1])[:200]
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):  # not ours to explain: the app refuses it
        return None
    session = content.get("session_hash") if isinstance(content, dict) else None
    return session[:200] if isinstance(session, str) else None


def _address(scope: Scope, headers: MutableMapping[str, str]) -> str:
    """Who asks without a cookie: addresses (a proxy adds the true one to what it was told) and the browser's name."""
    client = scope.get("client") or ("",)
    said = f"{client[0]} {headers.get('x-forwarded-for', '')} {headers.get('user-agent', '')}"
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def _with_cookie(send: Send, *, secure: bool) -> Send:
    # On the Hub the page stands in a frame of another site: there the cookie must say that it may.
    where = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
    cookie = f"{_COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; {where}"

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
        await send(message)

    return add


async def _answer(send: Send, status: int, words: str) -> None:
    content = json.dumps({"error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": content})

"""An OpenAI-compatible endpoint: one chat completion at a time, every way it can go wrong given a name."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import re
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from hf_datamap.engine import config
from hf_datamap.engine.task import JSON
from hf_datamap.engine.transport import ConnectFailed, ConnectionLost, Reply, Transport, build_request
from hf_datamap.errors import EndpointError, Overloaded, ScorerError, Unanswered

log = logging.getLogger(__name__)

_OPENAI = "https://api.openai.com/v1"
_LONG = 8  # characters of a key from which on it is searched for in replies
_TOO_MUCH = re.compile(r"(?i)context.?(?:length|window|size)|maximum context|too many tokens|prompt is too long")
_SAID = 300  # characters of an endpoint's own words that are repeated in an error
#: Parameters that may be left out (None) or renamed when an endpoint does not know them.
_STEPS: Mapping[str, str | None] = {
    "top_logprobs": None,
    "logprobs": None,
    "response_format": None,
    "temperature": None,
    "reasoning_effort": None,
    "seed": None,
    "max_tokens": "max_completion_tokens",
}


# Connections belong to the loop that they were made in; equal endpoints share them, unpickled copies too.
_LINES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, ...], asyncio.Future[Transport]]]
_LINES = weakref.WeakKeyDictionary()


class Endpoint:
    """A chat model behind an OpenAI-compatible API.

    The key is kept out of the pickled state, so that it never reaches a fingerprint; see
    `hf_datamap.engine.config.remember_key`.

    Args:
        model: model name, as the endpoint spells it.
        base_url: for example ``http://localhost:8000/v1``; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default. Local servers need none.
        timeout: seconds until a request counts as lost.

    Raises:
        ScorerError: the model or the URL is malformed.
    """

    def __init__(
        self, model: str, *, base_url: str | None = None, api_key: str | None = None, timeout: float = 300.0
    ) -> None:
        if not model or not isinstance(model, str):
            raise ScorerError(f"a model name is needed, for example 'gpt-4o-2024-11-20', not {model!r}")
        if timeout <= 0:
            raise ScorerError(f"timeout must be positive seconds, not {timeout!r}")
        self.model = model
        self.timeout = timeout
        self.base_url = _checked((base_url or config.base_url() or _OPENAI).rstrip("/"))
        if api_key:
            config.remember_key(self.base_url, model, _sendable(api_key))
        self._start()

    def _start(self) -> None:
        self._unknown: set[str] = set()  # parameters that the endpoint has refused

    def __getstate__(self) -> dict[str, Any]:
        config.share_keys()
        return {"model": self.model, "timeout": self.timeout, "base_url": self.base_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def identity(self) -> dict[str, JSON]:
        """Model and URL: what the answers depend on."""
        return {"model": self.model, "base_url": self.base_url}

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one chat completion request and return the decoded reply.

        Parameters that the endpoint does not know (`logprobs`, `response_format`, ...) are left out from then on.

        Raises:
            EndpointError: no request will be answered: wrong key, unknown model, no money, nothing listens.
            Overloaded: try again later.
            Unanswered: this request will not be answered.
        """
        while True:
            adapted = self.adapted(body)
            reply = await self._send("/chat/completions", adapted)
            # OpenAI's reasoning models refuse log-probabilities with 403.
            if reply.status in (400, 403, 422) and self._step_down(reply, adapted):
                continue
            decoded = self._decode(reply)
            if not isinstance(decoded, dict):
                raise Unanswered(f"the reply is a JSON {type(decoded).__name__}, not an object")
            return decoded

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send one request of another kind and return the decoded reply.

        Args:
            path: ``/embeddings``, or ``//classify`` for what a server keeps beside its ``/v1``.
            body: the request, as it is sent.

        Raises:
            EndpointError: no request will be answered.
            Overloaded: try again later.
            Unanswered: this request will not be answered.
        """
        return self._decode(await self._send(path, body))

    def knows(self, parameter: str) -> bool:
        """Whether the endpoint has not yet refused a parameter."""
        return parameter not in self._unknown

    def adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request as it is sent: with the model, without parameters that the endpoint has refused."""
        if not self._unknown:
            return {"model": self.model, **body}
        adapted: dict[str, Any] = {"model": self.model}
        for name, value in body.items():
            if name not in self._unknown:
                adapted[name] = value
            elif renamed := _STEPS[name]:
                adapted[renamed] = value
        return adapted

    def _step_down(self, reply: Reply, sent: Mapping[str, Any]) -> bool:
        """Whether the refusal names an optional parameter; if so it is not sent again."""
        error = _error(reply)
        param = str(error.get("param") or "").split(".")[0]
        words = f"{_message(error) or _excerpt(reply)} {param}"
        if error.get("code") == "context_length_exceeded" or _TOO_MUCH.search(words):
            return False  # the text is too long; such words often name max_tokens
        for name in _STEPS:
            if name in sent and re.search(rf"(?<![\w]){name}(?![\w])", words):
                # Requests that were under way when the first refusal came see the same one: they just go again.
                if name not in self._unknown:
                    self._unknown.add(name)
                    log.warning("%s does not take %r: going on without it", self.base_url, name)
                return True
        return False

    async def _send(self, path: str, body: Mapping[str, Any]) -> Reply:
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        line = await self._line(path)
        try:
            reply = await line.post(data)
        except ConnectFailed as error:
            raise Overloaded(f"cannot connect to {self.base_url}: {error}", congestion=False, fatal=True) from None
        except ConnectionLost as error:
            raise Overloaded(str(error), congestion=False) from None
        key = self._known_key()
        if key and len(key) >= _LONG and key.encode() in reply.body:  # some repeat the key that they refuse
            reply = replace(reply, body=reply.body.replace(key.encode(), b"***"))
        return reply

    async def _line(self, path: str) -> Transport:
        loop = asyncio.get_running_loop()
        lines, key = _LINES.setdefault(loop, {}), self.key()
        name = (self.base_url, self.model, str(self.timeout), path, key)
        beside = path.startswith("//")
        base = self.base_url.removesuffix("/v1") if beside else self.base_url
        if (future := lines.get(name)) is None:
            future = lines[name] = loop.create_future()
            try:
                url, headers = await build_request(path.removeprefix("/") if beside else path, base, key)
            except BaseException as error:
                del lines[name]
                future.set_exception(error)
                future.exception()  # seen: whoever else waits gets it too
                raise
            future.set_result(Transport(url, headers, self.timeout))
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Close the connections that this loop holds to any endpoint."""
        for future in _LINES.pop(asyncio.get_running_loop(), {}).values():
            if future.done() and not future.exception():
                await future.result().close()

    def _known_key(self) -> str | None:
        return config.find_key(self.base_url, self.model) or config.api_key()

    def key(self) -> str:
        """The key that requests carry; never to be written anywhere.

        Raises:
            EndpointError: there is none, and the endpoint needs one.
        """
        key = _sendable(self._known_key() or "")
        if not key and self.base_url == _OPENAI:
            raise EndpointError(
                "no API key: set OPENAI_API_KEY or pass api_key=. For another endpoint set OPENAI_BASE_URL or pass "
                "base_url= (--base-url); local servers need no key."
            )
        return key or "none"

    def _decode(self, reply: Reply) -> Any:  # noqa: ANN401 - JSON
        if reply.status != 200:
            raise self._refused(reply)
        try:
            decoded = json.loads(reply.body)
        except (ValueError, RecursionError):
            said = f"{self.base_url} answers with something else than JSON: {self.without_key(_excerpt(reply))!r}"
            raise Overloaded(said, congestion=False, fatal=True) from None
        # Some gateways answer 200 with an error inside.
        if isinstance(decoded, dict) and "choices" not in decoded and decoded.get("error"):
            raise Unanswered(f"the endpoint answered with an error: {self.without_key(_message(decoded['error']))}")
        return decoded

    def _refused(self, reply: Reply) -> Exception:
        error, status = _error(reply), reply.status
        said = self.without_key(_message(error) or _excerpt(reply))
        where = f"{self.base_url} answered {status}"
        hopeless = {
            401: "the API key is missing or wrong. Check OPENAI_API_KEY or api_key=.",
            402: "the account has no quota left.",
            403: f"this key may not use model {self.model!r}.",
            404: f"no model {self.model!r} there, or the URL does not end in /v1. Check the model name and base_url= "
            "(--base-url).",
        }
        no_quota = "insufficient_quota" in (error.get("code"), error.get("type"))
        if status == 403 and re.search(r"(?i)moderat|flagged", said):  # of this text alone
            return Unanswered(f"refused: {said}")
        if hint := hopeless.get(402 if no_quota else status):
            return EndpointError(f"{where}: {hint} ({said})")
        if status in (408, 409, 425, 429) or status >= 500:
            return Overloaded(f"HTTP {status}: {said}", _retry_after(reply), congestion=status in (429, 503))
        if status in (301, 302, 307, 308):
            target = self.without_key(reply.headers.get("location", "?"))
            return EndpointError(f"{where}: it redirects to {target}; use that as base_url=")
        return Unanswered(f"HTTP {status}: {said}")

    def without_key(self, text: str) -> str:
        """An endpoint may repeat the key that it refuses."""
        key = self._known_key()
        text = text.replace(key, "***") if key else text
        return re.sub(r"(?i)\b(sk|hf|key|gsk)[-_][\w*.-]{6,}", "***", text)


def _sendable(key: str) -> str:
    """The key without the white space around it, if a header can carry it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ScorerError(
            "the API key holds a character that no key has (a space, a line break, a typographic quote); "
            "check OPENAI_API_KEY or api_key="
        )
    return key


def _checked(url: str) -> str:
    """The URL, if it is one that may be written into files: it is part of the scorer's identity."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ScorerError(f"base_url is no URL: {error}; it looks like http://localhost:8000/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ScorerError(f"base_url {url!r} is no http(s) URL; it looks like http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ScorerError(
            f"base_url for {parts.hostname!r} holds a user, password, query or fragment; it may only name the endpoint."
            " Pass secrets as api_key= or OPENAI_API_KEY (other headers: OPENAI_CUSTOM_HEADERS)."
        )
    return url


def _error(reply: Reply) -> dict[str, Any]:
    """The error object of a reply in OpenAI's shape, or something like it."""
    try:
        decoded = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error", decoded)
    return error if isinstance(error, dict) else {"message": str(error)}


def _message(error: object) -> str:
    message = error.get("message") or error.get("detail") or "" if isinstance(error, dict) else error
    if isinstance(message, list):  # FastAPI's; what it repeats of the request is left out
        message = [{name: part.get(name) for name in ("loc", "msg")} for part in message if isinstance(part, dict)]
    return " ".join(str(message).split())[:_SAID]


def _excerpt(reply: Reply) -> str:
    return " ".join(reply.body[: 4 * _SAID].decode("utf-8", "replace").split())[:_SAID] or "an empty body"


def _retry_after(reply: Reply) -> float | None:
    """Seconds that the endpoint asks us to wait (``Retry-After``: seconds or a date; ``retry-after-ms``)."""
    if milliseconds := reply.headers.get("retry-after-ms"):
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    value = reply.headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else None
    except (ValueError, OverflowError):
        return None

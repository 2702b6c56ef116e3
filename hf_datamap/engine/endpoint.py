"""An OpenAI-compatible endpoint: one chat completion at a time, every way it can go wrong given a name."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import weakref
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from hf_datamap.engine import config
from hf_datamap.engine.dialect import DROPPED, Change, Dialect, dialect_of, narrowed
from hf_datamap.engine.proxies import proxy_for
from hf_datamap.engine.refusals import Refusal, excerpt, refusal_in
from hf_datamap.engine.secrets import mask, mask_bytes, masked_errors
from hf_datamap.engine.task import JSON, Answerer
from hf_datamap.engine.token_counts import tokens_read, tokens_used, truncation
from hf_datamap.engine.transport import (
    ConnectFailed,
    ConnectionLost,
    Reply,
    ReplyUnreadable,
    Transport,
    build_request,
)
from hf_datamap.errors import EndpointError, Overloaded, ScorerError, Unanswered

log = logging.getLogger(__name__)

_OPENAI: Final = "https://api.openai.com/v1"
_MAX_STEPS: Final = 16  # times that one request is sent in another form; each step changes a parameter


# Connections belong to the loop that they were made in; equal endpoints share them, unpickled copies too.
_TRANSPORTS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, ...], asyncio.Future[Transport]]]
_TRANSPORTS = weakref.WeakKeyDictionary()


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
        self.base_url = validated_url((base_url or config.base_url() or _OPENAI).strip().rstrip("/"))
        if api_key:
            config.remember_key(self.base_url, model, _validated_key(api_key))
        self._start()

    def _start(self) -> None:
        self._dialect = dialect_of(self.base_url, self.model)
        self._warned_of_truncation = False

    def __getstate__(self) -> dict[str, Any]:
        config.share_keys()
        return {"model": self.model, "timeout": self.timeout, "base_url": self.base_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, base_url={self.base_url!r})"

    @property
    def identity(self) -> dict[str, JSON]:
        """Model and URL: what the answers depend on."""
        return {"model": self.model, "base_url": self.base_url}

    @property
    def dialect(self) -> Dialect:
        """What is known of the parameters that the endpoint takes."""
        return self._dialect

    @property
    def adaptations(self) -> dict[str, JSON]:
        """What is sent otherwise than asked for; see `hf_datamap.engine.task.Answerer.adaptations`."""
        return self._dialect.summary()

    def check(self) -> None:
        """Find out what can be known before anything is sent: whether there is a key, and a usable proxy.

        Raises:
            EndpointError: the endpoint needs a key, and there is none.
            ScorerError: the key or the proxy of the environment cannot be used.
        """
        with masked_errors():
            self.key()
            proxy_for(self.base_url)

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one chat completion request and return the decoded reply.

        Optional parameters that the endpoint refuses are found out and left out from then on, see
        `hf_datamap.engine.dialect`.

        Raises:
            EndpointError: no request will be answered: wrong key, unknown model, no money, nothing listens.
            Overloaded: try again later.
            Unanswered: this request will not be answered, or the server cut its text without saying so.
        """
        with masked_errors():
            reply = await self._answered(body)
            self._check_truncation(body, reply)
            return reply

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
        with masked_errors():
            decoded, refusal = await self._exchange(path, body)
            if refusal is not None:
                raise refusal.error(self.base_url, self.model)
            return decoded

    def knows(self, parameter: str) -> bool:
        """Whether the endpoint has not yet refused a parameter."""
        return self._dialect.changes.get(parameter) != DROPPED

    def adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request as it is sent: with the model, without parameters that the endpoint has refused."""
        return {"model": self.model, **self._dialect.spoken(body)}

    async def _answered(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request, in whatever form the endpoint takes it."""
        only_here: dict[str, Change] = {}
        for _ in range(_MAX_STEPS):
            known, sent_at = self._dialect.changes, time.monotonic()
            decoded, refusal = await self._chat_once(body, only_here)
            if refusal is None:
                self._dialect.accepted(body, only_here)
                return decoded
            async with self._dialect.lock:
                # Requests that were under way when the first refusal came meet the same one: they just go again.
                if self._dialect.changes != known:
                    continue
                if (step := self._dialect.named(refusal, body)) and only_here.get(step[0]) != step[1]:
                    name, change = step
                    if self._dialect.is_proven(name):
                        # It was taken before, so that this may be a matter of the text (or of one server of several).
                        only_here[name] = change
                    else:
                        self._dialect.learn({name: change})
                    continue
                if (reply := await self._probe(body, refusal, sent_at)) is not None:
                    return reply
            raise refusal.error(self.base_url, self.model)
        raise Unanswered(f"{self.base_url} refuses the request in every form; see the log for what it does not take")

    async def _probe(self, body: Mapping[str, Any], refusal: Refusal, sent_at: float) -> dict[str, Any] | None:
        """Find out which optional feature is behind a refusal in unknown words; the reply once it is left out."""
        features = self._dialect.worth_a_probe(refusal, body, sent_at)
        if not features:
            return None
        left_out = dict.fromkeys(features, DROPPED)
        reply, other_refusal = await self._chat_once(body, left_out)
        if other_refusal is not None:
            self._dialect.useless(refusal)
            return None
        if len(features) > 1 or "max_tokens" in features:
            for changes in narrowed(features):
                narrowed_reply, other_refusal = await self._chat_once(body, changes)
                if other_refusal is None:
                    left_out, reply = changes, narrowed_reply
                    break
            else:  # several are refused: put them back one by one, those first that are missed most
                for name in reversed(features):
                    fewer = {other: change for other, change in left_out.items() if other != name}
                    narrowed_reply, other_refusal = await self._chat_once(body, fewer)
                    if other_refusal is None:
                        left_out, reply = fewer, narrowed_reply
        self._dialect.learn(left_out)
        self._dialect.accepted(body)
        return reply

    async def _chat_once(
        self, body: Mapping[str, Any], more: Mapping[str, Change]
    ) -> tuple[dict[str, Any], Refusal | None]:
        sent = {"model": self.model, **self._dialect.spoken(body, more)}
        decoded, refusal = await self._exchange("/chat/completions", sent)
        if refusal is None and not isinstance(decoded, dict):
            raise Unanswered(f"the reply is a JSON {type(decoded).__name__}, not an object")
        return decoded, refusal

    async def _exchange(self, path: str, body: Mapping[str, Any]) -> tuple[Any, Refusal | None]:
        """Send a request; its decoded reply, or why it was refused."""
        reply = await self._send(path, body)
        try:
            decoded = json.loads(reply.body)
        except (ValueError, RecursionError):
            if reply.status != 200:
                return None, refusal_in(reply, None)
            said = f"{self.base_url} answers with something else than JSON: {mask(excerpt(reply))!r}"
            raise Overloaded(said, congestion=False, fatal=True) from None
        return decoded, refusal_in(reply, decoded)

    async def _send(self, path: str, body: Mapping[str, Any]) -> Reply:
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        transport = await self._transport(path)
        try:
            reply = await transport.post(data)
        except ConnectFailed as error:
            raise Overloaded(f"cannot connect to {self.base_url}: {error}", congestion=False, fatal=True) from None
        except ConnectionLost as error:
            raise Overloaded(str(error), congestion=False) from None
        except ReplyUnreadable as error:
            raise Unanswered(str(error)) from None
        masked = mask_bytes(reply.body, transport.secret_forms)
        return reply if masked is reply.body else Reply(reply.status, reply.headers, masked)

    async def _transport(self, path: str) -> Transport:
        loop = asyncio.get_running_loop()
        transports, key = _TRANSPORTS.setdefault(loop, {}), self.key()
        name = (self.base_url, self.model, str(self.timeout), path, key)
        beside = path.startswith("//")
        base = self.base_url.removesuffix("/v1") if beside else self.base_url
        if (future := transports.get(name)) is None:
            future = transports[name] = loop.create_future()
            try:
                url, headers = build_request(path.removeprefix("/") if beside else path, base, key)
                future.set_result(Transport(url, headers, self.timeout))
            except BaseException as error:
                del transports[name]
                future.set_exception(error)
                future.exception()  # marks it as seen: whoever else waits gets it too
                raise
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Close the connections that this loop holds to any endpoint."""
        for future in _TRANSPORTS.pop(asyncio.get_running_loop(), {}).values():
            if future.done() and not future.exception():
                await future.result().close()

    def key(self) -> str:
        """Return the key that requests carry; never to be written anywhere.

        Raises:
            EndpointError: there is none, and the endpoint needs one.
        """
        key = _validated_key(config.find_key(self.base_url, self.model) or config.api_key() or "")
        if not key and self.base_url == _OPENAI:
            raise EndpointError(
                "no API key: set OPENAI_API_KEY or pass api_key=. For another endpoint set OPENAI_BASE_URL or pass "
                "base_url= (--base-url); local servers need no key."
            )
        return key or "none"

    def _check_truncation(self, body: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """Notice a prompt that the server has cut without saying so: its answer is about another text."""
        fault, certain = truncation(body.get("messages", ()), tokens_read(reply))
        if not fault:
            return
        if certain:
            raise Unanswered(
                f"truncated silently: {fault}; give the server a longer context (num_ctx, --max-model-len, -c)",
                tokens_used(reply),
            )
        if not self._warned_of_truncation:
            self._warned_of_truncation = True
            log.warning("%s may cut long texts: %s", self.base_url, fault)


class EndpointAnswerer(Answerer):
    """Whoever answers tasks by asking an endpoint, its attribute ``endpoint``."""

    endpoint: Endpoint

    @property
    def adaptations(self) -> Mapping[str, JSON]:
        """What is sent otherwise than asked for, since the endpoint takes it in no other way."""
        return self.endpoint.adaptations

    def check(self) -> None:
        """See `hf_datamap.engine.task.Answerer.check`."""
        self.endpoint.check()

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self.endpoint.close()


def _validated_key(key: str) -> str:
    """The key without the white space around it, if a header can carry it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ScorerError(
            "the API key holds a character that no key has (a space, a line break, a typographic quote); "
            "check OPENAI_API_KEY or api_key="
        )
    return key


def validated_url(url: str) -> str:
    """Return the URL of an endpoint, if it is one that may be written into files: it is part of identities.

    Raises:
        ScorerError: it is malformed, or holds more than where the endpoint is.
    """
    shown = repr(mask(url))
    example = "it looks like http://localhost:8000/v1"
    if not url.isprintable() or any(character in url for character in ' \\"<>^`{|}'):
        raise ScorerError(f"base_url {shown} holds a character that no URL has (a line break, a space); {example}")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        _ = host.encode("idna") if host and not host.isascii() else b""
    except ValueError as error:
        raise ScorerError(f"base_url {shown} is no URL: {mask(str(error))}; {example}") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ScorerError(f"base_url {shown} is no http(s) URL; {example}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ScorerError(
            f"base_url for {host!r} holds a user, password, query or fragment; it may only name the endpoint."
            " Pass secrets as api_key= or OPENAI_API_KEY (other headers: OPENAI_CUSTOM_HEADERS)."
        )
    return url

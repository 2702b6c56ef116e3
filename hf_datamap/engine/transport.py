"""How requests leave: through aiohttp, with the headers that OpenAI's client would send.

The stock client spends about 2 ms of CPU a request at 256 in flight, most of it in building URL and header objects
again and in its connection pool. Here both are built once for an endpoint; every request carries the same headers and
another body. No release of the ``openai`` package is needed, so that none can be in the way.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from hf_datamap.engine.config import __version__
from hf_datamap.engine.proxies import proxy_for
from hf_datamap.engine.secrets import secret_forms
from hf_datamap.errors import ScorerError

_KEEPALIVE: Final = 30.0  # seconds, below the idle timeout of the usual front ends: fewer sockets die in our hands
#: Bytes of a reply, decompressed. 8,192 tokens with 20 log-probabilities each are about 16 MB; JSON takes many times
#: its size as Python objects, and 64 replies may come at once.
MAX_REPLY: Final = 24 << 20
_MAX_ERROR: Final = 1 << 16  # bytes that are read of a reply with another status than 200
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: HTTP status, headers (case-insensitive) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ConnectFailed(Exception):  # noqa: N818 - a signal between two modules, never shown
    """No connection to the endpoint could be made."""


class ConnectionLost(Exception):  # noqa: N818
    """The connection broke, or no answer came in time."""


class ReplyUnreadable(Exception):  # noqa: N818
    """The reply is too large, or compressed in a way that cannot be undone."""


def build_request(path: str, base_url: str, api_key: str) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers (authorisation included) of requests to ``path``.

    They are those of OpenAI's own client, the environment variables that it reads included: ``OPENAI_ORG_ID``,
    ``OPENAI_PROJECT_ID``, and ``OPENAI_CUSTOM_HEADERS`` (``Name: value``, one a line; they win over the others).

    Raises:
        ScorerError: the environment holds something that no header can carry.
    """
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": f"hf_datamap/{__version__}",
        "authorization": f"Bearer {api_key}",
    }
    for name, variable in _VARIABLE_OF.items():
        if value := os.environ.get(variable):
            headers[name] = value
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ScorerError(f"{name!r:.60} is no name of a header; check OPENAI_CUSTOM_HEADERS")
        if not value.isprintable() or not value.isascii():
            raise ScorerError(
                f"the header {name} holds a character that no header can carry (a line break, a letter beyond "
                f"ASCII); check {_VARIABLE_OF.get(name, 'OPENAI_CUSTOM_HEADERS')}"
            )
    return base_url.rstrip("/") + path, headers


_VARIABLE_OF: Final = {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


class Transport:
    """One aiohttp session: many requests in flight, connections kept. Belongs to the loop that it is made in.

    Args:
        url: where every request goes.
        headers: what every request carries; as the session's own, they are read once and not for every request.
        timeout: seconds until a request counts as lost.

    Attributes:
        secret_forms: what replies are freed of.

    Raises:
        ScorerError: the environment names a proxy that cannot be used.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url = URL(url)
        self._timeout = timeout
        self.secret_forms = secret_forms()
        self._proxy = proxy_for(url)  # asked once: aiohttp would ask for every request
        self._proxy_url = URL(self._proxy.url) if self._proxy else None
        self._session = aiohttp.ClientSession(
            # What is decompressed is bounded below; aiohttp would unpack a bomb as a whole.
            headers={**headers, "Accept-Encoding": "gzip, deflate"},
            auto_decompress=False,
            # The engine bounds what is in flight.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 30.0)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def __repr__(self) -> str:
        return f"Transport({self._url.host}, {'direct' if self._proxy is None else f'through {self._proxy}'})"

    async def post(self, body: bytes) -> Reply:
        """Send one request and read the reply, whatever its status; of an error only the beginning.

        Raises:
            ConnectFailed: no connection could be made.
            ConnectionLost: it broke, or the reply took too long.
            ReplyUnreadable: the reply is larger than `MAX_REPLY`, or not what its headers say.
        """
        through = f" through the proxy {self._proxy}" if self._proxy else ""
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False, proxy=self._proxy_url) as answer:
                return Reply(answer.status, answer.headers, await _read(answer))
        except aiohttp.ClientHttpProxyError as error:
            raise ConnectFailed(f"the proxy {self._proxy} answered {error.status}: {error.message}") from error
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed(f"{error}{through}") from error
        except TimeoutError as error:
            raise ConnectionLost(f"no answer within {self._timeout:g} s{through}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"connection lost{through} ({type(error).__name__}: {error})") from error
        except ValueError as error:  # a header, a host name or a proxy that aiohttp cannot spell
            raise ConnectFailed(f"the request cannot be sent{through}: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, decompressed, up to a limit."""
    limit = MAX_REPLY if answer.status == 200 else _MAX_ERROR
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity" and (answer.content_length or limit + 1) <= limit:
        return await answer.read()
    if coding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise ReplyUnreadable(f"the reply is compressed as {coding[:40]!r}, which was not asked for")
    inflate = _Inflate(coding, limit) if coding != "identity" else None
    body = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        body += inflate(chunk) if inflate else chunk
        if len(body) > limit:
            if answer.status != 200:
                answer.close()
                return bytes(body[:limit])
            answer.close()
            raise ReplyUnreadable(f"the reply is larger than {limit >> 20} MB")
    if inflate and not inflate.ended:
        raise ConnectionLost("connection lost (the compressed reply ends too early)")
    return bytes(body)


class _Inflate:
    """Decompresses piece by piece, never more than a limit: a few kilobytes can hold gigabytes."""

    def __init__(self, coding: str, limit: int) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding != "deflate" else None
        self._limit = limit
        self._started = False

    def __call__(self, data: bytes) -> bytes:
        if self._zlib is None:  # "deflate" is zlib's format by the book, and raw with some servers
            raw = (data[0] & 0x0F) != 8
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
        try:
            return self._zlib.decompress(data, self._limit + 1)
        except zlib.error as error:
            raise ReplyUnreadable(f"the reply cannot be decompressed ({error})") from error

    @property
    def ended(self) -> bool:
        return self._zlib is not None and self._zlib.eof

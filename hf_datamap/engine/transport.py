"""How requests leave: built by the ``openai`` client, sent through aiohttp.

The stock client spends about 2 ms of CPU a request at 256 in flight, most of it in building URL and header objects
again and in its connection pool. Here it builds one request (base URL, key, organisation, its environment variables);
every further request carries the same headers and another body.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import httpx2
from yarl import URL

_KEEPALIVE = 30.0  # seconds, below the idle timeout of the usual front ends: fewer sockets die in our hands


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


class _Built(Exception):  # noqa: N818
    def __init__(self, request: httpx2.Request) -> None:
        super().__init__("built")
        self.request = request


class _BuildOnly(httpx2.AsyncClient):
    """Stands where the ``openai`` client sends, and hands the finished request back instead."""

    async def send(self, request: httpx2.Request, **_: Any) -> NoReturn:  # noqa: ANN401 - httpx's signature
        raise _Built(request)


async def build_request(path: str, base_url: str | None, api_key: str) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers (authorisation included) that the ``openai`` client sends to ``path``."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0, http_client=_BuildOnly()) as client:
        try:
            await client.post(path, cast_to=object, body={})
        except _Built as built:
            dropped = ("content-length", "host", "accept-encoding", "connection")
            headers = {name: value for name, value in built.request.headers.items() if name not in dropped}
            return str(built.request.url), headers
    raise AssertionError("the openai client sent nothing")


class Transport:
    """One aiohttp session: many requests in flight, connections kept. Belongs to the loop that it is made in.

    Args:
        url: where every request goes.
        headers: what every request carries; as the session's own, they are read once and not for every request.
        timeout: seconds until a request counts as lost.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float) -> None:
        self._url = URL(url)
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The engine bounds what is in flight.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 30.0)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._timeout = timeout
        self._proxy = _proxy(url)  # asked once: aiohttp would ask for every request

    async def post(self, body: bytes) -> Reply:
        """Send one request and read the whole reply, whatever its status.

        Raises:
            ConnectFailed: no connection could be made.
            ConnectionLost: it broke, or the reply took too long.
        """
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False, proxy=self._proxy) as answer:
                return Reply(answer.status, answer.headers, await answer.read())
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed(str(error)) from error
        except TimeoutError as error:
            raise ConnectionLost(f"no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"connection lost ({type(error).__name__}: {error})") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    by_scheme = urllib.request.getproxies()
    return by_scheme.get(parts.scheme) or by_scheme.get("all")

"""A server that costs next to nothing: it answers every POST with the same completion after a delay.

For measuring clients. The other servers here read, check and count what they are asked, which takes as much processor
time as a good client does: behind them two clients look alike because both wait for the server.

``python -m tests.servers.fast --latency 0.1 --listwise 4`` prints its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
from collections.abc import Callable

from tests.servers.llm import completion

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Answering(asyncio.Protocol):
    """HTTP/1.1, as little of it as a client needs: one request at a time, a body of known length, kept alive."""

    def __init__(self, reply: bytes, latency: float, later: Callable[..., object]) -> None:
        self._reply, self._latency, self._later = reply, latency, later
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._seen, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._seen) >= whole:
            self._seen = self._seen[whole:]
            self._later(self._latency, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._reply)


def reply(listwise: int) -> bytes:
    """The one answer: a score with log-probabilities, or a score for each of several responses."""
    request = {"messages": [], "logprobs": not listwise}
    text = json.dumps({str(i): 5 for i in range(1, listwise + 1)}) if listwise else None
    body = json.dumps(completion(request, text).json).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(sock: socket.socket, answer: bytes, latency: float) -> None:
    """Answer until the process is killed."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Answering(answer, latency, loop.call_later), sock=sock)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--listwise", type=int, default=0, help="responses that one answer scores; 0: one score")
    options = parser.parse_args()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(2048)
    print(f"http://127.0.0.1:{sock.getsockname()[1]}/v1", flush=True)
    asyncio.run(serve(sock, reply(options.listwise), options.latency))


if __name__ == "__main__":
    main()

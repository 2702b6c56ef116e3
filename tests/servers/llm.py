"""A chat-completions server on loopback that scores by a hash of what it is asked, and can be told to misbehave.

In a test: ``with LLMServer() as server``. As a process: ``python -m tests.servers.llm --latency 0.1``, which prints
its URL, judges in whatever shape it is asked for, and answers ``GET /stats``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Reply:
    """What the server does with one request.

    ``reset`` closes the connection without an answer; ``body`` overrides the JSON; the answer waits ``delay`` seconds,
    and then until ``until`` says so.
    """

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    until: Callable[[], bool] | None = None
    reset: bool = False


Script = Callable[[dict[str, Any], int], Reply]


def score_of(request: dict[str, Any]) -> int:
    """The score that the server gives a request: 1 to 10, by a hash of its messages, whatever the code of markers."""
    words = re.sub(r"\b[0-9a-f]{12}\b", "code", json.dumps(request["messages"], sort_keys=True))
    digest = hashlib.sha256(words.encode()).digest()
    return 1 + digest[0] % 10


def completion(request: dict[str, Any], text: str | None = None, **choice: Any) -> Reply:
    """A completion in OpenAI's shape; ``choice`` overrides fields of its one choice."""
    score = score_of(request)
    text = json.dumps({"score": score}) if text is None else text
    logprobs = None
    if request.get("logprobs"):
        logprobs = {"content": tokens_of(text, score)}
    letters = sum(len(str(message.get("content"))) for message in request["messages"])
    sent = 100 if letters < 4_000 else letters // 3  # long prompts are counted, or they would look cut
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", ""),
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": logprobs,
                "message": {"role": "assistant", "content": text, "refusal": None},
                **choice,
            }
        ],
        "usage": {"prompt_tokens": sent, "completion_tokens": 5, "total_tokens": sent + 5},
    }
    return Reply(json=body)


def tokens_of(text: str, score: int) -> list[dict[str, Any]]:
    """Tokens of a JSON judgement: three quarters on the score, the rest on its neighbours."""
    tokens: list[dict[str, Any]] = []
    before, _, after = text.partition(str(score))
    for token in (before, str(score), after):
        neighbours = {score: 0.75, min(10, score + 1): 0.15, max(1, score - 1): 0.10, 10: 0.0001}
        top = neighbours if token == str(score) else {token: 1.0}
        tokens.append(
            {
                "token": token,
                "logprob": 0.0,
                "top_logprobs": [{"token": str(t), "logprob": math.log(p)} for t, p in top.items()],
            }
        )
    return tokens


def error(status: int, message: str, param: str | None = None, code: str | None = None, **headers: str) -> Reply:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "error", "param": param, "code": code}}
    return Reply(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def embeddings(request: dict[str, Any]) -> Reply:
    """Embeddings in OpenAI's shape: words counted in 64 boxes."""
    data = []
    for index, text in enumerate(request["input"]):
        vector = [0.0] * 64
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(text.split()) for text in request["input"])
    return Reply(json={"object": "list", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


def classify(request: dict[str, Any]) -> Reply:
    """vLLM's classification: the length of the response as its one number."""
    numbers = [len(request["messages"][-1]["content"]) / 10]
    data = [{"index": 0, "label": "LABEL_0", "probs": numbers, "num_classes": 1}]
    return Reply(json={"object": "list", "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}})


def predict(request: dict[str, Any]) -> Reply:
    """Text Embeddings Inference's prediction: the length of the second text of each pair."""
    return Reply(json=[[{"score": len(pair[1]) / 10, "label": "LABEL_0"}] for pair in request["inputs"]])


#: What is served beside chat completions, by path.
OTHERS = {"/v1/embeddings": embeddings, "/classify": classify, "/predict": predict}


class LLMServer:
    """The server, in a thread of its own.

    Attributes:
        others: answers to requests on other paths.
        requests: every request body, in order of arrival.
        answered: how often each distinct body got a whole answer with status 200.
        keys: the Authorization headers seen.
        greatest: most requests in flight at one time.
    """

    def __init__(self, script: Script | None = None, *, latency: float = 0.0, key: str | None = None) -> None:
        self.script = script or (lambda request, _: completion(request))
        self.others: dict[str, Callable[[dict[str, Any]], Reply]] = dict(OTHERS)
        self.latency = latency
        self.key = key
        self.requests: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.in_flight = self.greatest = 0
        self._first = self._last = 0.0  # when the first request came and the last answer left
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """What base_url= takes."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> LLMServer:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()
        self.answered.clear()
        self.greatest = 0

    async def start(self, port: int = 0) -> None:
        """Listen; used by `__enter__` and by the process."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_routes(getattr(self, "_more", []))
        app.router.add_post("/{path:.*}", self._chat)
        app.router.add_get("/stats", self._stats)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=2048)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.close()

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "requests": len(self.requests),
                "answered": sum(self.answered.values()),
                "greatest": self.greatest,
                "seconds": self._last - self._first,
                "cpu": time.process_time(),
            }
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("authorization", "")
        self.keys.add(authorization)
        data = await request.read()
        self._first = self._first or time.perf_counter()
        body = json.loads(data)
        self.requests.append(body)
        if self.key and authorization != f"Bearer {self.key}":
            reply = error(
                401, f"Incorrect API key provided: {authorization.removeprefix('Bearer ')}", code="invalid_api_key"
            )
        elif request.path == "/v1/chat/completions":
            reply = self.script(body, len(self.requests))
        elif request.path in self.others:
            reply = self.others[request.path](body)
        else:
            reply = error(404, f"there is no {request.path} here")
        self.in_flight += 1
        self.greatest = max(self.greatest, self.in_flight)
        try:
            if delay := self.latency + reply.delay:
                await asyncio.sleep(delay)
            while reply.until and not reply.until():  # noqa: ASYNC110 - a test asks anything
                await asyncio.sleep(0.005)
        finally:
            self.in_flight -= 1
        if reply.reset:
            request.transport.abort()
            return web.Response()
        payload = reply.body if reply.body is not None else json.dumps(reply.json).encode()
        response = web.Response(
            status=reply.status, body=payload, headers=reply.headers, content_type=reply.content_type
        )
        await response.prepare(request)
        await response.write_eof()
        self._last = time.perf_counter()
        if reply.status == 200:
            self.answered[hashlib.sha256(data).hexdigest()] += 1
        return response


def main() -> None:
    from tests.servers.judgements import judged

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--spread", type=float, default=0.0, help="seconds added at random, uniformly")
    parser.add_argument("--slow", type=float, default=0.0, help="share of requests that take --slow-latency")
    parser.add_argument("--slow-latency", type=float, default=5.0)
    options = parser.parse_args()
    chance = random.Random(1)

    def script(request: dict[str, Any], _: int) -> Reply:
        reply = judged(request)
        reply.delay = chance.random() * options.spread
        if chance.random() < options.slow:
            reply.delay = options.slow_latency
        return reply

    async def serve() -> None:
        server = LLMServer(script, latency=options.latency)
        await server.start(options.port)
        print(server.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()

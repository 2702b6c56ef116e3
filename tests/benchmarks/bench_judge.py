"""The judge's throughput, against the stock client on the same local server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.benchmarks.figure import Figure

RESPONSE = "A response of a usual length, so that bodies weigh what they weigh. " * 12


@contextmanager
def server(*options: str, kind: str = "llm") -> Iterator[str]:
    """A local server in a process of its own: one that reads what it is asked, or the ``fast`` one."""
    command = [sys.executable, "-m", f"tests.servers.{kind}", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def dataset(rows: int, seed: str):
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [f"{seed} question {i}: what is the answer?" for i in range(rows)],
            "chosen": [f"{i} yes. {RESPONSE}" for i in range(rows)],
            "rejected": [f"{i} no. {RESPONSE}" for i in range(rows)],
        }
    )


def bodies(rows: int, seed: str) -> list[dict]:
    """The very requests that the judge sends for `dataset`."""
    from hf_datamap import LLMJudge, detect_layout

    ds = dataset(rows, seed)
    judge, layout = LLMJudge("m", base_url="http://127.0.0.1:1/v1"), detect_layout(ds.features)
    found = []
    for row in ds:
        for task in judge.tasks(layout.read(row)):
            found.append({"model": "m", **judge.body(task.payload)})
    return found


async def gather(call: Callable[[dict], Awaitable[object]], requests: list[dict], in_flight: int) -> float:
    """Requests per second of a plain ``asyncio.gather``."""
    turns = asyncio.Semaphore(in_flight)

    async def one(body: dict) -> None:
        async with turns:
            await call(body)

    start = time.perf_counter()
    await asyncio.gather(*(one(body) for body in requests))
    return len(requests) / (time.perf_counter() - start)


def stock(url: str, in_flight: int, rows: int, *, aiohttp_client: bool = False) -> tuple[float, float]:
    """Requests per second and CPU seconds per request of the ``openai`` client as it comes."""
    import openai

    requests = bodies(rows, f"stock{in_flight}")

    async def main() -> float:
        http = openai.DefaultAioHttpClient() if aiohttp_client else None
        async with openai.AsyncOpenAI(base_url=url, api_key="k", http_client=http) as client:
            return await gather(lambda body: client.chat.completions.create(**body), requests, in_flight)

    cpu = time.process_time()
    rate = asyncio.run(main())
    return rate, (time.process_time() - cpu) / len(requests)


def bare(url: str, in_flight: int, rows: int) -> tuple[float, float]:
    """Requests per second and CPU seconds per request of aiohttp alone: bodies ready, answers decoded, none read."""
    import aiohttp

    requests = bodies(rows, f"bare{in_flight}")

    async def main() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(body: dict) -> None:
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    await reply.json()

            return await gather(call, requests, in_flight)

    cpu = time.process_time()
    rate = asyncio.run(main())
    return rate, (time.process_time() - cpu) / len(requests)


@contextmanager
def fresh_store() -> Iterator[None]:
    before = os.environ.get("HF_DATAMAP_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATAMAP_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("HF_DATAMAP_CACHE")
            if before:
                os.environ["HF_DATAMAP_CACHE"] = before


def ours(url: str, in_flight: int, rows: int, how: str = "annotate") -> tuple[float, float]:
    """Requests per second and CPU seconds per request of ``annotate`` or of ``map``; an untimed start warms up."""
    import hf_datamap as dm

    judge = dm.LLMJudge("m", base_url=url, api_key="k", max_in_flight=in_flight)
    with fresh_store():
        dm.annotate(dataset(in_flight, "warm"), judge, progress=False)
        ds = dataset(rows, f"{how}{in_flight}")
        cpu, start = time.process_time(), time.perf_counter()
        if how == "annotate":
            out, _ = dm.annotate(ds, judge, progress=False)
        else:
            out = ds.map(dm.score_fn(judge), batched=how == "batched")
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        assert set(out["datamap_status"]) == {"ok"}
    return 2 * rows / took, cpu / (2 * rows)


def figures() -> Iterator[Figure]:
    from datasets import disable_progress_bars

    disable_progress_bars()
    os.environ.setdefault("HF_HOME", tempfile.mkdtemp())
    with server("--latency", "0.1") as url:
        plain, plain_cpu = stock(url, 256, 800)
        fast, fast_cpu = ours(url, 256, 2500)
        yield Figure(
            "`annotate` at 256 in flight, requests/s over a plain gather with the stock client",
            fast / plain,
            4.0,
            note=f"{fast:,.0f} against {plain:,.0f} req/s; CPU a request {fast_cpu * 1e3:.2f} against "
            f"{plain_cpu * 1e3:.2f} ms",
        )
        few, _ = ours(url, 16, 600)
        yield Figure("`annotate` at 16 in flight over the ideal", few / 160, 0.9, note=f"{few:,.0f} of 160 req/s")
        rate64, _ = ours(url, 64, 1500)
        for how, goal in (("row by row", 0.5), ("batched", 0.8)):
            mapped, _ = ours(url, 64, 1500, how)
            yield Figure(
                f"`map(score_fn)` {how} over `annotate`, 64 in flight",
                mapped / rate64,
                goal,
                note=f"{mapped:,.0f} against {rate64:,.0f} req/s",
            )
    yield from against_bare()
    options = ("--latency", "0.05", "--spread", "0.1", "--slow", "0.01", "--slow-latency", "5")
    with server(*options) as url:
        plain, plain_cpu = stock(url, 128, 8000)
    with server(*options) as url:
        fast, fast_cpu = ours(url, 128, 8000)
    yield Figure(
        "stragglers (1 % at 5 s, 128 in flight, 16,000 requests): `annotate` over a plain gather",
        fast / plain,
        0.9,
        note=f"{fast:,.0f} against {plain:,.0f} req/s",
    )
    yield Figure("the same, CPU seconds", fast_cpu / plain_cpu, 1.5, at_most=True)


def against_bare(times: int = 3) -> Iterator[Figure]:
    """How far the judge is from aiohttp alone, on a server that costs so little that the clients are the limit.

    A server that works as hard as its clients makes all of them look alike. What a request costs the client in CPU
    does not depend on the server at all.
    """
    with server("--latency", "0.02", kind="fast") as url:
        runs = [(ours(url, 256, 3000), bare(url, 256, 3000)) for _ in range(times)]
    rates = [max(run[side][0] for run in runs) for side in (0, 1)]
    cpu = [min(run[side][1] for run in runs) for side in (0, 1)]
    yield Figure(
        "`annotate` at 256 in flight over bare aiohttp, requests/s, the client as the limit",
        rates[0] / rates[1],
        0.5,
        note=f"{rates[0]:,.0f} against {rates[1]:,.0f} req/s; best of {times} each",
    )
    yield Figure(
        "CPU a request of bare aiohttp over `annotate`'s",
        cpu[1] / cpu[0],
        0.5,
        note=f"{cpu[1] * 1e3:.3f} against {cpu[0] * 1e3:.3f} ms, all threads; reading rows, keys, store, parsing and "
        "writing columns are ours alone",
    )

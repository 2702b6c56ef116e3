"""A plain gather with the stock client, reading scores with `json.loads`: ``drive_gather.py URL ROWS IN_FLIGHT``."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import material
import openai

_ASK = (
    "Score each response to the last message from 1 to 10. "
    'Answer with JSON and nothing else: {"1": <score>, ...}, with an entry for each response.\n\n'
)
_SCHEMA = {
    "type": "object",
    "properties": {str(place): {"type": "integer"} for place in range(1, material.RESPONSES + 1)},
    "required": [str(place) for place in range(1, material.RESPONSES + 1)],
    "additionalProperties": False,
}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "scores", "strict": True, "schema": _SCHEMA}}


async def judge_all(url: str, count: int, in_flight: int) -> list[list[Any]]:
    turns = asyncio.Semaphore(in_flight)

    async def one(client: openai.AsyncOpenAI, prompt: str, responses: list[str]) -> list[Any]:
        words = "\n\n".join([f"{_ASK}{prompt}", *responses])
        async with turns:
            reply = await client.chat.completions.create(
                model=material.MODEL,
                messages=[{"role": "user", "content": words}],
                response_format=_FORMAT,
                temperature=0,
            )
        return list(json.loads(reply.choices[0].message.content).values())

    async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:
        return await asyncio.gather(*(one(client, *row) for row in material.rows(count)))


def main(url: str, count: int, in_flight: int) -> None:
    start = time.perf_counter()
    scores = asyncio.run(judge_all(url, count, in_flight))
    took = time.perf_counter() - start
    material.check(scores, count, 1, 10)
    material.report("openai", rows=count, seconds=took)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

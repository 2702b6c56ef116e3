"""A panel of twelve-angry-llms over the common rows: ``drive_twelve_angry.py URL ROWS IN_FLIGHT``.

It takes two judges at least, so that every row is two requests.
"""

from __future__ import annotations

import sys
import time

import material
from twelve_angry_llms import Judge, OpenAICompatibleClient, Panel, PreferenceDatapoint, ScoringProtocol


def main(url: str, count: int, in_flight: int) -> None:
    client = OpenAICompatibleClient(api_key="k", base_url=url)
    panel = Panel([Judge(model=material.MODEL, client=client, name=name) for name in ("one", "two")])
    points = [PreferenceDatapoint(prompt=prompt, responses=tuple(texts)) for prompt, texts in material.rows(count)]
    start = time.perf_counter()
    results = panel.annotate_sync(points, ScoringProtocol(), concurrency=in_flight)
    took = time.perf_counter() - start
    found = [annotation.values for result in results for annotation in result.annotations]
    material.check(found, 2 * count, 1, 5)
    material.report("twelve-angry-llms", "openai", rows=count, seconds=took)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

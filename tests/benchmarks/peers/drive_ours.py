"""Our listwise judge over the common rows: ``drive_ours.py URL ROWS IN_FLIGHT``. ``HF_DATAMAP_CACHE`` is fresh."""

from __future__ import annotations

import sys
import time

import material
from datasets import Dataset

import hf_datamap as dm


def main(url: str, count: int, in_flight: int) -> None:
    prompts, responses = zip(*material.rows(count), strict=True)
    ds = Dataset.from_dict({"prompt": list(prompts), "responses": list(responses)})
    judge = dm.LLMJudge(material.MODEL, base_url=url, api_key="k", mode="listwise", max_in_flight=in_flight)
    start = time.perf_counter()
    out, _ = dm.annotate(ds, judge, progress=False)
    took = time.perf_counter() - start
    material.check(list(out["datamap_scores"]), count, 1, 10)
    material.report("hf_datamap", rows=count, seconds=took)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

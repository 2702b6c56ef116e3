"""Runs of the large engines, each in a process of its own: ``python -m tests.benchmarks.scale KIND ...``, prints JSON.

``stream FILES`` and ``shards FILES OUT`` map Parquet files with scores; ``ray NODES URL FILES OUT`` asks a judge from a
cluster of so many nodes of one CPU each.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

IN_FLIGHT = 32  # of a worker


def stream(pattern: str) -> dict[str, Any]:
    """`annotate` on a stream, and the result read to its end."""
    from datasets import load_dataset

    import hf_datamap as dm

    ds = load_dataset("parquet", data_files=pattern, split="train", streaming=True)
    start = time.perf_counter()
    out, data_map = dm.annotate(ds, dm.ColumnScorer("rating"), progress=False)
    fitted = time.perf_counter() - start
    rows = sum(len(batch) for batch in out.with_format("arrow").iter(10_000))
    assert rows == data_map.rows
    return {"rows": rows, "fit": fitted, "seconds": time.perf_counter() - start}


def shards(pattern: str, out: str) -> dict[str, Any]:
    """`annotate_files` with threads."""
    import hf_datamap as dm
    from hf_datamap.scoring.executors import Threads

    start = time.perf_counter()
    _, data_map = dm.annotate_files(pattern, dm.ColumnScorer("rating"), out, executor=Threads(2), progress=False)
    return {"rows": data_map.rows, "seconds": time.perf_counter() - start}


def on_ray(nodes: str, url: str, pattern: str, out: str) -> dict[str, Any]:
    """`annotate_files` on a cluster; the server measures the time, from its first request to its last answer."""
    import ray
    from ray.cluster_utils import Cluster

    import hf_datamap as dm
    from hf_datamap.scoring.ray import RayExecutor

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(int(nodes) - 1):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    judge = dm.LLMJudge("m", base_url=url, api_key="k", max_in_flight=IN_FLIGHT)
    _, data_map = dm.annotate_files(pattern, judge, out, executor=RayExecutor(workers=int(nodes)), progress=False)
    ray.shutdown()
    cluster.shutdown()
    return {"rows": data_map.rows, "ok": data_map.provenance["rows"]["ok"]}


def most_resident() -> int:
    """Most bytes of this program in memory. (``getrusage`` counts the process that started it too.)"""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    found = {"stream": stream, "shards": shards, "ray": on_ray}[kind](*words)
    found["resident"] = most_resident()
    print(json.dumps(found), flush=True)

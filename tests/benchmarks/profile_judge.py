"""Where the judge path spends its CPU, request by request: the table of docs/performance.md.

    pip install py-spy
    py-spy record --rate 500 --threads --format raw --output judge.raw -- python -m tests.benchmarks.profile_judge run
    python -m tests.benchmarks.profile_judge shares judge.raw

``run listwise`` profiles a listwise judge over four responses instead of a pointwise one over two.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.benchmarks.bench_judge import RESPONSE, dataset, fresh_store, server

ROWS, RUNS, IN_FLIGHT = 6000, 3, 256
#: What a sample counts as: the first of these whose frame is anywhere in the stack.
PARTS = (
    ("starting: imports, the first request's headers", r"_find_and_load |build_request "),
    ("store: put", r"Store\.put "),
    ("store: get", r"Store\.get "),
    ("keys of answers", r"Keys\.of "),
    ("reading rows, the layout", r"_Job\._examples "),
    ("cutting rows into tasks", r"LLMJudge\.tasks "),
    ("building the request's body", r"LLMJudge\.body "),
    ("the body to JSON", r"dumps \(json.*|JSONEncoder\."),
    ("aiohttp: sending and receiving", r"Transport\.post |data_received |\(aiohttp"),
    ("the reply from JSON", r"Endpoint\._decode "),
    ("reading the judgement", r"LLMJudge\.read "),
    ("mean, noise, columns", r"Engine\._deliver |table_of |DataMap\.fit|with_columns "),
    ("endpoint: keys, checks", r"Endpoint\."),
    ("engine and lane: turns, budget, retries", r"Engine\._(work|outcome|answer|buy|ask|pieces) |Lane\."),
    ("the event loop itself", r"_run_once |asyncio/"),
)
_WAITS = re.compile(r"Condition\.wait \(threading\.py:\d+\)$")  # no CPU, whatever the sampler thinks


def run(kind: str = "pointwise") -> None:
    """Judge some thousand rows, several times."""
    from datasets import Dataset, disable_progress_bars

    import hf_datamap as dm

    disable_progress_bars()
    os.environ["HF_HOME"] = tempfile.mkdtemp()
    options = ("--listwise", "4") if kind == "listwise" else ()
    with server("--latency", "0.02", *options, kind="fast") as url:
        judge = dm.LLMJudge("m", base_url=url, api_key="k", max_in_flight=IN_FLIGHT, mode=kind)
        for turn in range(RUNS):
            ds = dataset(ROWS, str(turn))
            if kind == "listwise":
                answers = [[f"{turn} {i} {k}. {RESPONSE}" for k in range(4)] for i in range(ROWS)]
                ds = Dataset.from_dict({"prompt": ds["prompt"], "responses": answers})
            with fresh_store():
                dm.annotate(ds, judge, progress=False)


def shares(path: Path) -> Counter[str]:
    """Samples of each part, of the engine's thread and of the main one."""
    found: Counter[str] = Counter()
    patterns = [(name, re.compile(pattern)) for name, pattern in PARTS]
    for line in path.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        ours = "run_forever " in stack or "annotate (hf_datamap" in stack
        if not ours or _WAITS.search(stack):
            continue
        name = next((name for name, pattern in patterns if pattern.search(stack)), "other")
        found[name] += int(count)
    return found


def main(words: list[str]) -> None:
    if words[0] == "run":
        run(*words[1:])
        return
    found = shares(Path(words[1]))
    for name, count in found.most_common():
        print(f"| {name} | {count / found.total():.1%} |")


if __name__ == "__main__":
    main(sys.argv[1:])

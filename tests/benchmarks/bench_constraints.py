"""`ConstraintScorer` on real responses, and the `if-verifiable` package beside it, in an environment of its own."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hf_datamap.data.example import Example
from hf_datamap.scorers.constraints import Checker, ConstraintScorer, parse_constraints
from tests.benchmarks.figure import Figure
from tests.benchmarks.peers import PeerMissing, drive

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "verifiable_ifeval_en_17models.parquet"
CARRIED = ROOT / "hf_datamap" / "demo" / "ifeval_sample.parquet"


def figures() -> Iterator[Figure]:
    rows = load()
    Checker(parse_constraints(["language:response_language"], [{"language": "en"}])).strict("warm up")
    both = min(clock(run_both, rows) for _ in range(3))
    yield against_if_verifiable(rows, both)
    examples = [Example((), [response], constraints=parse_constraints(ids, kwargs)) for ids, kwargs, response in rows]
    for mode in ("strict", "loose"):
        took = min(clock(score_all, ConstraintScorer(mode), examples) for _ in range(3))
        what = f"ConstraintScorer('{mode}').score"
        yield Figure(what, len(rows) / took, 2000, unit="rows/s", note="one response a row")


def score_all(scorer: ConstraintScorer, examples: list[Example]) -> None:
    for example in examples:
        scorer.score(example)


def load() -> list[tuple[list[str], list[dict[str, Any]], str]]:
    """Ids, kwargs and response of each row: the published file when present, else the sample in the package."""
    if PUBLISHED.exists():
        rows = pq.read_table(PUBLISHED).to_pylist()
    else:
        rows = [dict(row, response=text) for row in pq.read_table(CARRIED).to_pylist() for text in row["responses"]]
    return [
        (
            [name.removeprefix("en:") for name in row["instruction_id_list"]],
            json.loads(row["kwargs"]),
            row["response"] or "",
        )
        for row in rows
    ]


def run_both(rows: list[tuple[list[str], list[dict[str, Any]], str]]) -> None:
    for ids, kwargs, response in rows:
        Checker(parse_constraints(ids, kwargs)).both(response)


def clock(work: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def against_if_verifiable(rows: list[tuple[list[str], list[dict[str, Any]], str]], both: float) -> Figure:
    """The time that if-verifiable takes for the same rows over ours, and how often both say the same."""
    what = "ConstraintScorer's checks, strict and loose together, against if-verifiable"
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "rows.json"
            data.write_text(json.dumps(rows), encoding="utf-8")
            told = drive("if-verifiable", "drive_if_verifiable.py", data)
    except PeerMissing as missing:
        return Figure(what, None, 10, note=str(missing))
    same = agreement(rows, told["verdicts"])
    if same < 0.9:
        raise RuntimeError(f"if-verifiable and ConstraintScorer agree on {same:.1%} of verdicts: one of them is broken")
    rates = f"{len(rows) / both:,.0f} against {len(rows) / told['seconds']:,.0f} rows/s"
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    return Figure(what, told["seconds"] / both, 10, note=f"{rates}, {same:.2%} of verdicts the same; {versions}")


def agreement(rows: list[tuple[list[str], list[dict[str, Any]], str]], theirs: list[list[list[bool]]]) -> float:
    """Share of strict and loose verdicts that are the same, of responses that both judge."""
    same = total = 0
    for (ids, kwargs, response), told in zip(rows, theirs, strict=True):
        ours = Checker(parse_constraints(ids, kwargs)).both(response)
        if len(told) == len(ours):
            same += sum(a == b for pair in zip(ours, told, strict=True) for a, b in zip(*pair, strict=True))
            total += 2 * len(ours)
    return same / total

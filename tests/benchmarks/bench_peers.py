"""Judging beside other packages, on the same server with the same rows of four responses, in one run.

Every side starts in a process of its own with a server of its own. Its rate is what that server saw, from the first
request to the last answer: starting up, reading rows and writing results count for nobody. Each figure is the best of
`TIMES` runs, for every side.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.bench_judge import server
from tests.benchmarks.figure import Figure
from tests.benchmarks.peers import PeerMissing, drive

LATENCY = "0.1"
TIMES = 3
IN_FLIGHT, MANY = 64, 256
#: (rows of a batch, replicas) that distilabel is tried with; the winner is then measured like everybody else. On two
#: cores its time goes into requests and into handing rows between processes.
TRIED = ((50, 2), (100, 1), (250, 1), (500, 1), (500, 2), (1000, 1))


@dataclass(frozen=True)
class Seen:
    """What a server saw of one run, and what its driver told."""

    requests: int
    seconds: float
    greatest: int
    busy: float
    told: dict[str, Any]

    @property
    def requests_a_second(self) -> float:
        return self.requests / self.seconds

    @property
    def rows_a_second(self) -> float:
        return float(self.told["rows"]) / self.seconds

    @property
    def versions(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.told["versions"].items())


def run(peer: str, script: str, *words: object) -> Seen:
    """One run on a fresh server."""
    with server("--latency", LATENCY) as url:
        told = drive(peer, script, url, *words)
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as reply:
            stats = json.load(reply)
    if stats["answered"] != stats["requests"]:
        raise RuntimeError(f"{script}: {stats['requests'] - stats['answered']} requests were not answered")
    return Seen(stats["requests"], stats["seconds"], stats["greatest"], stats["cpu"] / stats["seconds"], told)


def best(peer: str, script: str, *words: object, times: int = TIMES) -> Seen:
    """The fastest of some runs: the machine is noisy, and noise only slows down."""
    return min((run(peer, script, *words) for _ in range(times)), key=lambda seen: seen.seconds)


def figures() -> Iterator[Figure]:
    ours = best("hf_datamap", "drive_ours.py", 2000, IN_FLIGHT)
    try:
        yield from against_distilabel(ours)
    except PeerMissing as missing:
        yield Figure("listwise judge over distilabel's UltraFeedback", None, 5, note=str(missing))
    # At 64 in flight the server's 100 ms allow 640 requests/s to anybody: with more, what a request costs tells.
    many = best("hf_datamap", "drive_ours.py", 5000, MANY)
    for in_flight, mine, goal in ((IN_FLIGHT, ours, 1.0), (MANY, many, 2.0)):
        yield against(
            "a panel of twelve-angry-llms", "twelve-angry-llms", "drive_twelve_angry.py", mine, in_flight, goal
        )
        yield against("a plain gather with the stock client", "hf_datamap", "drive_gather.py", mine, in_flight, goal)


def against(name: str, peer: str, script: str, ours: Seen, in_flight: int, goal: float) -> Figure:
    """Our requests per second over a peer's, at the same number in flight."""
    what = f"listwise judge over {name}, {in_flight} in flight, requests/s"
    try:
        return ratio(what, ours, best(peer, script, 1000, in_flight), goal)
    except PeerMissing as missing:
        return Figure(what, None, goal, note=str(missing))


def against_distilabel(ours: Seen) -> Iterator[Figure]:
    script = "drive_distilabel.py"
    default = best("distilabel", script, 600, 50, 1)
    tried = {setting: run("distilabel", script, 2000, *setting) for setting in TRIED}
    winner = min(tried, key=lambda setting: tried[setting].seconds)
    again = best("distilabel", script, 2000, *winner, times=TIMES - 1)
    top = min(again, tried[winner], key=lambda seen: seen.seconds)
    for name, theirs, goal, setting in (("default", default, 5, (50, 1)), ("best", top, 2, winner)):
        what = f"listwise judge over distilabel's UltraFeedback at its {name}, rows/s"
        yield ratio(what, ours, theirs, goal, f"batches of {setting[0]}, replicas: {setting[1]}; ")


def ratio(what: str, ours: Seen, theirs: Seen, goal: float, how: str = "") -> Figure:
    """Our rate over theirs: both send one request for a row's four responses."""
    both = (ours, theirs)
    rate, whole, in_flight, busy = (
        " against ".join(words)
        for words in (
            [f"{seen.requests_a_second:,.0f}" for seen in both],
            [f"{seen.told['rows'] / seen.told['seconds']:,.0f}" for seen in both],
            [f"{seen.greatest}" for seen in both],
            [f"{seen.busy:.0%}" for seen in both],
        )
    )
    note = (
        f"{rate} requests/s; {how}in flight at most {in_flight}, server busy {busy}; "
        f"start and end counted too, {whole} rows/s; {theirs.versions}"
    )
    return Figure(what, ours.requests_a_second / theirs.requests_a_second, goal, note=note)

"""Judging beside other packages, on the same server with the same rows of four responses, in one run.

Every side starts in a process of its own with a server of its own. Its rate is what that server saw, from the first
request to the last answer: starting up, reading rows and writing results count for nobody. Each figure is the best of
`TIMES` runs, for every side.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Sequence
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


def figures() -> Iterator[Figure]:
    yield from against_distilabel()
    others = (
        ("a panel of twelve-angry-llms", "twelve-angry-llms", "drive_twelve_angry.py"),
        ("a plain gather with the stock client", "hf_datamap", "drive_gather.py"),
    )
    # At 64 in flight the server's 100 ms allow 640 requests/s to anybody: with more, what a request costs tells.
    for in_flight, goal in ((IN_FLIGHT, 1.0), (MANY, 2.0)):
        for name, peer, script in others:
            what = f"listwise judge over {name}, {in_flight} in flight, requests/s"
            yield beside(what, goal, peer, script, 1000, in_flight, in_flight=in_flight)


def against_distilabel() -> Iterator[Figure]:
    peer, script = "distilabel", "drive_distilabel.py"
    what = "listwise judge over distilabel's UltraFeedback at its {}, {} in flight of ours, rows/s"
    # Its default has 50 in flight, its best up to 500; ours are the default and what others are compared at.
    for ours in (IN_FLIGHT, MANY):
        settings: dict[str, Any] = {"in_flight": ours, "how": "batches of 50, one replica; "}
        yield beside(what.format("default", ours), 5, peer, script, 600, 50, 1, **settings)
    try:
        tried = {setting: run(peer, script, 2000, *setting) for setting in TRIED}
    except PeerMissing as missing:
        yield Figure(what.format("best", IN_FLIGHT), None, 2, note=str(missing))
        return
    winner = min(tried, key=lambda setting: tried[setting].seconds)
    how = f"batches of {winner[0]}, replicas: {winner[1]}; "
    for ours in (IN_FLIGHT, MANY):
        settings = {"in_flight": ours, "how": how, "before": [tried[winner]]}
        yield beside(what.format("best", ours), 2, peer, script, 2000, *winner, **settings)


def beside(
    what: str,
    goal: float,
    peer: str,
    script: str,
    *words: object,
    in_flight: int = IN_FLIGHT,
    how: str = "",
    before: Sequence[Seen] = (),
) -> Figure:
    """Our rate over a peer's, both run in turn; both send one request for a row's four responses."""
    ours, theirs = [], list(before)
    try:
        for _ in range(TIMES):
            theirs.append(run(peer, script, *words))
            ours.append(run("hf_datamap", "drive_ours.py", 30 * in_flight, in_flight))
    except PeerMissing as missing:
        return Figure(what, None, goal, note=str(missing))
    return ratio(what, *(max(runs, key=lambda seen: seen.requests_a_second) for runs in (ours, theirs)), goal, how)


def ratio(what: str, ours: Seen, theirs: Seen, goal: float, how: str) -> Figure:
    """The figure, and what stands behind it."""
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

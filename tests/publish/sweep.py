"""A push with a fault at every request, one by one.

``python -m tests.publish.sweep FOLDER xet|lfs update|new KIND,KIND NUMBER WORKERS`` prints JSON.

Each trial begins with a repository that holds an older release (or with none), spoils one request of the push, looks
at what a reader of main sees, then pushes again. Trials run in processes of their own, so that they can be killed.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.minihub.client import MiniHub

#: What can go wrong with a request. "after": the server did the work, the client never hears of it. A client is killed
#: while the server holds its request or the answer; at "kill-amid" the server goes on with what it got of it.
KINDS = {
    "503": {"action": "status", "status": 503},
    "lost": {"action": "reset", "when": "after"},
    "kill": {"action": "reset", "delay": 60},
    "kill-after": {"action": "reset", "when": "after", "delay": 60},
    "kill-amid": {"action": "none"},
    "500-after": {"action": "status", "status": 500, "when": "after"},
    "429": {"action": "status", "status": 429, "headers": {"Retry-After": "0"}},
    "reset": {"action": "reset"},
    "412": {"action": "status", "status": 412, "error": "A commit has happened since."},
}
OLD, NEW = {"rows": 18, "seed": 5}, {"rows": 24, "seed": 0}
SHARDS = "3KB"  # of decoded data: two shards


def push(repo_id: str, release: dict[str, int], box=None) -> None:
    """In a client process: push one release, and say how it went."""
    from hf_datamap.errors import HubError
    from hf_datamap.publish import push_to_hub
    from tests.publish.data import mapped

    tempfile.tempdir = os.environ["HOME"]  # a killed client leaves its files behind
    ds, data_map = mapped(**release)
    try:
        push_to_hub(ds, repo_id, data_map=data_map, subsets=["high_mean_low_variance"], max_shard_size=SHARDS)
        outcome = "done"
    except HubError:
        outcome = "refused"
    except BaseException:
        outcome = traceback.format_exc()
    if box is not None:
        box.put(outcome)


def load(repo_id: str, box) -> None:
    """In a client process: load what is on main, and say which release it is."""
    from hf_datamap.publish import load as load_map
    from tests.publish.data import mapped

    try:
        ds, data_map = load_map(repo_id)
        for name, release in (("old", OLD), ("new", NEW)):
            expected, expected_map = mapped(**release)
            if list(ds) == ["train"] and ds["train"].to_list() == expected.to_list() and data_map == expected_map:
                box.put(name)
                return
        box.put("neither")
    except BaseException:
        box.put(traceback.format_exc())


class Trials:
    """One server, and clients of it."""

    def __init__(self, hub: MiniHub, context, scenario: str):
        self.hub, self.context, self.scenario = hub, context, scenario
        self.repos = hub.root / "hub/repos/datasets/alice"
        self.loaded: dict[str, str] = {}

    def run(self, work, *args, killed: bool = False) -> str:
        box = self.context.SimpleQueue()
        process = self.context.Process(target=work, args=(*args, box))
        process.start()
        deadline = time.monotonic() + 180
        while killed and process.is_alive() and time.monotonic() < deadline:
            if self.hub.admin("GET", "faults")[0]["reached"]:
                with contextlib.suppress(ProcessLookupError):  # it may have come to its end by itself
                    os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        process.join(180)
        if killed and process.exitcode == -signal.SIGKILL:
            return "killed"
        assert process.exitcode == 0, f"client ended with {process.exitcode}"
        return box.get()

    def prepare(self) -> None:
        """Push both releases once: the states a reader may see, and the number of requests of a clean push."""
        self.run(push, "alice/base", OLD)
        self.old = self.tree("base")
        self.start("clean")
        mark = self.hub.mark()
        assert self.run(push, "alice/clean", NEW) == "done"
        self.requests = [f"{r['method']} {r['path'].replace('alice/clean', 'R')}" for r in self.hub.requests(mark)]
        self.new = self.tree("clean")

    def tree(self, name: str) -> dict[str, str]:
        commit = self.hub.history(f"alice/{name}")[0]
        return {path: entry["oid"] for path, entry in commit["tree"].items()}

    def start(self, name: str) -> None:
        """Put a repository at the old release, and forget everything that was uploaded since."""
        kept = {e["lfs"]["sha256"] for e in self.hub.history("alice/base")[0]["tree"].values() if "lfs" in e}
        for path in (self.hub.root / "hub/lfs").glob("*/*"):
            if path.name not in kept:
                path.unlink()
        shutil.rmtree(self.hub.root / "hub/xorbs", ignore_errors=True)
        shutil.rmtree(self.hub.root / "home/xet", ignore_errors=True)
        if self.scenario == "update":
            shutil.copytree(self.repos / "base", self.repos / name)

    def trial(self, place: int, kind: str) -> list[str]:
        """One fault; returns what is wrong."""
        name, wrong = f"t{place}-{kind}", []
        self.start(name)
        spec = {"path": ".", "skip": place, "times": 1, **KINDS[kind]}
        with self.hub.fault(**spec):
            outcome = self.run(push, f"alice/{name}", NEW, killed=kind.startswith("kill"))
        self.hub.settle()  # what a killed client had sent may still be carried out, and is no second push's doing
        if outcome not in ("done", "refused", "killed"):
            wrong.append(outcome)
        seen = self.seen(name)
        allowed = {"update": ("old", "new"), "new": ("none", "new")}[self.scenario]
        if self.scenario == "new" and "holds no Alignment Data Map" in seen:
            seen = "none"  # the repository is there, and empty
        if seen not in allowed or (outcome == "done" and seen != "new"):
            wrong.append(f"{outcome}, and a reader sees {seen}")
        if (again := self.run(push, f"alice/{name}", NEW)) != "done":
            wrong.append(f"the second push: {again}")
        wrong += self.check(name)
        shutil.rmtree(self.repos / name)
        return [f"{self.requests[min(place, len(self.requests) - 1)]} {kind}: {text}" for text in wrong]

    def seen(self, name: str) -> str:
        """The release a reader of main gets. Loaded once for each state: the same objects load alike."""
        if not (self.repos / name).exists():
            return "none"
        state = json.dumps([self.tree(name) | {"README.md": ""}, self.card(name)])
        if state not in self.loaded:
            self.loaded[state] = self.run(load, f"alice/{name}")
        return self.loaded[state]

    def card(self, name: str) -> str:
        """The card, as it would be in the repository that was pushed cleanly."""
        if "README.md" not in self.hub.files(f"alice/{name}"):
            return ""
        card = self.hub.file(f"alice/{name}", "README.md").decode().replace(f"alice/{name}", "alice/clean")
        return card.replace(f"# {name}", "# base" if self.scenario == "update" else "# clean")

    def check(self, name: str) -> list[str]:
        """After all: the new release, and each release with exactly one commit."""
        tree = {path: oid for path, oid in self.tree(name).items() if path != "README.md"}
        expected = {path: oid for path, oid in self.new.items() if path != "README.md"}
        titles = [commit["title"] for commit in self.hub.history(f"alice/{name}")]
        releases = 2 if self.scenario == "update" else 1
        wrong = [] if tree == expected else [f"files differ: {sorted(set(tree.items()) ^ set(expected.items()))}"]
        if self.card(name) != self.hub.file("alice/clean", "README.md").decode():
            wrong.append("the card differs")
        return wrong if len(titles) == releases + 1 else [*wrong, f"commits: {titles}"]


def main(root: Path, mode: str, scenario: str, kinds: list[str], number: int, workers: int) -> dict:
    """Run every ``workers``-th trial, beginning with ``number``, against a server of our own."""
    found: list[str] = []
    with MiniHub(root) as hub:
        environment = hub.env(xet=mode == "xet")
        os.environ.clear()
        os.environ.update(environment)  # the clients read it at import: before the first of them starts
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.publish.warm"])
        trials = Trials(hub, context, scenario)
        trials.prepare()
        jobs = [
            (place, kind)
            for spec in kinds
            for kind, _, only in [spec.partition("@")]  # kind@part: at requests with this part in their path
            for place, request in enumerate(trials.requests)
            if f"/{only}" in request
        ][number::workers]
        for job in jobs:
            found += trials.trial(*job)
        found += hub.admin("GET", "fsck")
    return {"requests": trials.requests, "trials": len(jobs), "wrong": found}


if __name__ == "__main__":
    folder, mode, scenario, kinds, number, workers = sys.argv[1:]
    print(json.dumps(main(Path(folder), mode, scenario, kinds.split(","), int(number), int(workers))))

"""One repository: its settings and refs, its history, its discussions."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tests.minihub.errors import HubError, revision_not_found
from tests.minihub.store import Store, write_atomic

KINDS = ("models", "datasets", "spaces")
NAME_RE = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Repo:
    """One repository.  repo.json holds settings and refs; commits/<oid>.json the history."""

    def __init__(self, store: Store, kind: str, ns: str, name: str):
        self.store, self.kind, self.ns, self.name = store, kind, ns, name
        self.dir = store.root / "repos" / kind / ns / name
        self.meta: dict = {}

    # -- identity ----------------------------------------------------------
    @property
    def id(self) -> str:
        return f"{self.ns}/{self.name}"

    @property
    def type(self) -> str:
        return self.kind[:-1]

    @property
    def web_path(self) -> str:
        return self.id if self.kind == "models" else f"{self.kind}/{self.id}"

    # -- settings and refs -------------------------------------------------
    def exists(self) -> bool:
        return (self.dir / "repo.json").exists()

    def load(self) -> Repo:
        self.meta = json.loads((self.dir / "repo.json").read_bytes())
        return self

    def save(self) -> None:
        write_atomic(self.dir / "repo.json", json.dumps(self.meta, indent=1).encode())

    def resolve(self, rev: str) -> str:
        """Branch, tag, refs/… or commit oid (7+ digits) -> full commit oid."""
        refs = self.meta["refs"]
        for full in (rev, f"refs/heads/{rev}", f"refs/tags/{rev}"):
            if full in refs:
                return refs[full]
        if re.fullmatch(r"[0-9a-f]{7,40}", rev):
            if len(rev) == 40:
                if (self.dir / "commits" / f"{rev}.json").exists():
                    return rev
            else:
                hits = list((self.dir / "commits").glob(rev + "*.json"))
                if len(hits) == 1:
                    return hits[0].stem
        raise revision_not_found(rev)

    def ref_name(self, rev: str) -> str:
        """The ref that a commit on `rev` moves; only branches and pull requests can move."""
        for full in (rev, f"refs/heads/{rev}"):
            if full in self.meta["refs"] and full.startswith(("refs/heads/", "refs/pr/")):
                return full
        raise revision_not_found(rev)

    # -- commits -----------------------------------------------------------
    def commit(self, oid: str) -> dict:
        return json.loads((self.dir / "commits" / f"{oid}.json").read_bytes())

    def tree(self, rev: str) -> dict[str, dict]:
        return self.commit(self.resolve(rev))["tree"]

    def write_commit(self, tree: dict, parents: list[str], title: str, message: str, author: str) -> str:
        c = {
            "parents": parents,
            "title": title,
            "message": message,
            "author": author,
            "date": now(),
            "tree": tree,
            "nonce": uuid.uuid4().hex,
        }
        oid = hashlib.sha1(json.dumps(c, sort_keys=True).encode()).hexdigest()
        write_atomic(self.dir / "commits" / f"{oid}.json", json.dumps({"id": oid, **c}).encode())
        return oid

    def move_ref(self, ref: str, oid: str) -> None:
        self.meta["refs"][ref] = oid
        self.meta["lastModified"] = now()
        self.save()

    def history(self, rev: str) -> Iterator[dict]:
        oid = self.resolve(rev)
        while oid:
            c = self.commit(oid)
            yield c
            oid = c["parents"][0] if c["parents"] else None

    def last_commits(self, rev: str, paths: Iterable[str]) -> dict[str, dict]:
        """For each path (file or folder) the newest commit that touched it."""
        wanted, found = set(paths), {}
        for c in self.history(rev):
            if not wanted:
                break
            before = self.commit(c["parents"][0])["tree"] if c["parents"] else {}
            changed = {p for p in {*before, *c["tree"]} if before.get(p) != c["tree"].get(p)}
            for p in [p for p in wanted if p in changed or any(x.startswith(p + "/") for x in changed)]:
                found[p] = {"id": c["id"], "title": c["title"], "date": c["date"]}
                wanted.discard(p)
        return found

    # -- discussions -------------------------------------------------------
    def new_discussion(self, title: str, description: str, user: str, base: str | None) -> dict:
        """base: the commit a pull request starts from; None for a plain discussion."""
        num = len(self.meta["discussions"]) + 1
        d = {
            "num": num,
            "title": title,
            "author": user,
            "createdAt": now(),
            "status": "draft" if base else "open",
            "isPullRequest": base is not None,
            "base": base,
            "events": [event("comment", user, comment_data(description, user))],
        }
        self.meta["discussions"].append(d)
        if base:
            self.meta["refs"][f"refs/pr/{num}"] = base
        self.save()
        return d


def event(kind: str, user: str, data: dict) -> dict:
    return {"id": uuid.uuid4().hex[:24], "type": kind, "createdAt": now(), "author": {"name": user}, "data": data}


def comment_data(text: str, user: str) -> dict:
    return {
        "edited": False,
        "hidden": False,
        "history": [],
        "latest": {"raw": text, "html": text, "updatedAt": now(), "author": {"name": user}},
    }


def safe_path(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or any(p in ("", ".", "..", ".git") for p in parts):
        raise HubError(400, f"Invalid path in repo: {path!r}")
    return path

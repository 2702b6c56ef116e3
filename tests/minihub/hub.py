"""Users, repositories and the log; trees and discussions as JSON."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import yaml
from fastapi import Request

from tests.minihub.cards import front_matter
from tests.minihub.gate import Fault
from tests.minihub.store import (
    DATASET_LFS_EXTENSIONS,
    KINDS,
    LFS_EXTENSIONS,
    MAX_REGULAR,
    HubError,
    Repo,
    Store,
    now,
    repo_not_found,
)


@dataclass
class Token:
    secret: str
    user: str
    role: str  # "read" or "write"
    orgs: tuple[str, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.user, *self.orgs)


class Hub:
    def __init__(self, root: Path, tokens: list[Token], cdn: str = "auto"):
        self.root, self.store, self.cdn = root, Store(root), cdn
        self.tokens = {t.secret: t for t in tokens}
        self.config = {
            "lfs_threshold": MAX_REGULAR,
            "page_size": 1000,
            "multipart_threshold": 5 * 2**30,
            "multipart_chunk": 16 * 2**20,
            "xet": True,
        }
        self.key = secrets.token_bytes(32)
        self.faults: list[Fault] = []
        self.busy = 0  # requests that are being carried out
        self.log: list[dict] = []
        self.raw_auth: dict[int, str] = {}  # kept in memory for /_admin/search only
        self.counter = itertools.count(1)
        (root / "bodies").mkdir(parents=True, exist_ok=True)

    # -- request log -------------------------------------------------------
    def log_start(self, method, path, query, headers, rid) -> dict:
        n = next(self.counter)
        shown = {}
        for k, v in headers:
            if k == "authorization":
                self.raw_auth[n] = v
                secret = v.removeprefix("Bearer ")
                t = self.tokens.get(secret)
                known = f"<token of {t.user}, {t.role}>" if t else None
                shown[k] = known or f"<unknown {hashlib.sha256(v.encode()).hexdigest()[:12]}>"
            else:
                shown[k] = v
        rec = {
            "n": n,
            "time": now(),
            "method": method,
            "path": path,
            "query": query,
            "headers": shown,
            "request_id": rid,
            "request_bytes": 0,
            "response_bytes": 0,
            "status": None,
            "fault": None,
        }
        self.log.append(rec)
        return rec

    def log_end(self, rec: dict, body: bytes, t0: float) -> None:
        rec["ms"] = round((time.monotonic() - t0) * 1000, 1)
        if body:
            body = hide_space_secrets(rec["path"], body)
            name = f"{rec['n']:06d}.body"
            (self.root / "bodies" / name).write_bytes(body)
            rec["body_file"] = str(self.root / "bodies" / name)
        with (self.root / "requests.jsonl").open("a") as f:
            f.write(json.dumps(rec) + "\n")

    def pick_fault(self, method: str, target: str) -> Fault | None:
        return next((f for f in self.faults if f.take(method, target)), None)

    # -- who is asking -----------------------------------------------------
    def who(self, request: Request) -> Token | None:
        auth = request.headers.get("authorization")
        if not auth:
            return None
        secret = auth.removeprefix("Bearer ")
        token = self.tokens.get(secret)
        if token is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def need_user(self, request: Request) -> Token:
        token = self.who(request)
        if token is None:
            raise HubError(401, "Invalid username or password.")
        return token

    def repo(
        self,
        request: Request,
        kind: str,
        ns: str,
        name: str,
        write: bool = False,
        pull_request: bool = False,
        rev: str = "",
    ) -> tuple[Repo, Token | None]:
        """Find a repo and check access.  pull_request: any user who can read may open one.
        rev: what is written to; a pull request takes commits from its author and from the repo's owners."""
        token = self.who(request)
        repo = Repo(self.store, kind, unquote(ns), unquote(name))
        if kind not in KINDS or not repo.exists():
            raise repo_not_found(token is None)
        repo.load()
        mine = token is not None and repo.ns in token.namespaces
        if repo.meta["private"] and not mine:
            raise repo_not_found(token is None)
        if write or pull_request:
            if token is None:
                raise HubError(401, "Invalid username or password.")
            if token.role != "write":
                raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
            m = re.fullmatch(r"refs/pr/(\d+)", rev)
            opened = repo.meta["discussions"][int(m[1]) - 1]["author"] if m and rev in repo.meta["refs"] else None
            if write and not mine and opened != token.user:
                raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repo, token

    # -- URLs --------------------------------------------------------------
    def base(self, request: Request) -> str:
        return f"{request.url.scheme}://{request.headers.get('host')}"

    def cdn_base(self, request: Request) -> str | None:
        """Where file contents are served from: another *origin* (127.0.0.1 <-> localhost), as on the
        real Hub, so that a test can see that no token is sent there.  None: same origin."""
        if self.cdn == "same":
            return None
        host, _, port = (request.headers.get("host") or "").partition(":")
        other = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(host)
        return f"{request.url.scheme}://{other}{':' + port if port else ''}" if other else None

    def sign(self, *parts: str) -> str:
        return hmac.new(self.key, "\n".join(parts).encode(), "sha256").hexdigest()[:32]

    def check_signature(self, given: str | None, *parts: str) -> None:
        if not given or not hmac.compare_digest(given, self.sign(*parts)):
            raise HubError(403, "Invalid or expired signed URL")

    # -- repos -------------------------------------------------------------
    def all_repos(self) -> Iterator[Repo]:
        for p in sorted((self.root / "repos").glob("*/*/*/repo.json")):
            kind, ns, name = p.parts[-4:-1]
            yield Repo(self.store, kind, ns, name).load()

    def create(self, kind: str, ns: str, name: str, user: str, body: dict) -> Repo:
        repo = Repo(self.store, kind, ns, name)
        repo.meta = {
            "_id": uuid.uuid4().hex[:24],
            "private": visibility(body),
            "gated": False,
            "createdAt": now(),
            "lastModified": now(),
            "refs": {},
            "discussions": [],
            "sdk": body.get("sdk"),
            "hardware": body.get("hardware") or "cpu-basic",
            "sleep": body.get("sleepTimeSeconds"),
            "stage": None,
            "variables": {},
            "secrets": {},
        }
        for v in body.get("variables") or []:
            set_space_item(repo, "variables", v)
        for s in body.get("secrets") or []:
            set_space_item(repo, "secrets", s)
        exts = LFS_EXTENSIONS + (DATASET_LFS_EXTENSIONS if kind == "datasets" else [])
        attributes = "".join(f"*.{e} filter=lfs diff=lfs merge=lfs -text\n" for e in exts)
        tree = {".gitattributes": self.store.entry_for_bytes(attributes.encode())}
        if kind == "spaces":
            card = (
                "---\ntitle: {}\nemoji: 🚀\ncolorFrom: blue\ncolorTo: green\nsdk: {}\napp_file: app.py\n"
                "pinned: false\n---\n"
            ).format(name, body.get("sdk"))
            tree["README.md"] = self.store.entry_for_bytes(card.encode())
        oid = repo.write_commit(tree, [], "initial commit", "", user)
        repo.meta["refs"]["refs/heads/main"] = oid
        repo.save()  # repo.json last: the repo exists from here on
        return repo


def visibility(body: dict) -> bool:
    if body.get("visibility") is not None:
        return body["visibility"] != "public"
    return bool(body.get("private"))


def set_space_item(repo: Repo, area: str, item: dict) -> None:
    key, value = item.get("key"), item.get("value")
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) or not isinstance(value, str):
        raise HubError(400, "Invalid key or value")
    new = {"updatedAt": now(), "description": item.get("description")}
    if area == "variables":
        new["value"] = value
    else:  # write-only: only a digest is kept
        new["sha256"] = hashlib.sha256(value.encode()).hexdigest()
    repo.meta[area][key] = {k: v for k, v in new.items() if v is not None}


def hide_space_secrets(path: str, body: bytes) -> bytes:
    """Space secrets are sent in the clear on purpose; keep them out of the logged body."""
    if not (path.endswith("/secrets") or path == "/api/repos/create"):
        return body
    try:
        data = json.loads(body)
    except ValueError:
        return body
    for item in [data] + (data.get("secrets") or []):
        if (path.endswith("/secrets") or item is not data) and isinstance(item.get("value"), str):
            item["value"] = "sha256:" + hashlib.sha256(item["value"].encode()).hexdigest()
    return json.dumps(data).encode()


# --------------------------------------------------------------------------
# Trees as JSON
# --------------------------------------------------------------------------
def file_json(path: str, entry: dict, last: dict | None = None) -> dict:
    out = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if "lfs" in entry:
        lfs = entry["lfs"]
        out["lfs"] = {"oid": lfs["sha256"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    if last is not None:
        out["lastCommit"] = last.get(path)
        out["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return out


def folder_json(path: str, tree: dict, last: dict | None = None) -> dict:
    inner = sorted((p, e["oid"]) for p, e in tree.items() if p.startswith(path + "/"))
    out = {"type": "directory", "oid": hashlib.sha1(json.dumps(inner).encode()).hexdigest(), "size": 0, "path": path}
    if last is not None:
        out["lastCommit"] = last.get(path)
    return out


def folders_of(tree: dict) -> set[str]:
    return {"/".join(p.split("/")[:i]) for p in tree for i in range(1, p.count("/") + 1)}


def truthy(value: str | None) -> bool:
    return str(value).lower() in ("1", "true", "yes")


def repo_info(hub: Hub, repo: Repo, oid: str, query: list[tuple[str, str]]) -> dict:
    c = repo.commit(oid)
    tree = c["tree"]
    blobs = truthy(dict(query).get("blobs"))
    siblings = []
    for path, e in sorted(tree.items()):
        s = {"rfilename": path}
        if blobs:
            s |= {"size": e["size"], "blobId": e["oid"]}
            if "lfs" in e:
                s["lfs"] = e["lfs"]
        siblings.append(s)
    card = {}
    if "README.md" in tree:
        try:
            card = front_matter(hub.store.read(tree["README.md"]).decode("utf-8", "replace")) or {}
        except yaml.YAMLError:
            card = {}
    card = json.loads(json.dumps(card, default=str))
    tags = [*(t for t in card.get("tags") or [] if isinstance(t, str)), "region:us"]
    info = {
        "_id": repo.meta["_id"],
        "id": repo.id,
        "author": repo.ns,
        "sha": oid,
        "lastModified": c["date"],
        "createdAt": repo.meta["createdAt"],
        "private": repo.meta["private"],
        "gated": repo.meta["gated"],
        "disabled": False,
        "tags": tags,
        "likes": 0,
        "downloads": 0,
        "cardData": card,
        "siblings": siblings,
        "usedStorage": sum(e["size"] for e in tree.values()),
    }
    if repo.kind == "models":
        info["modelId"] = repo.id
    if repo.kind == "spaces":
        sub = re.sub(r"[^a-z0-9]+", "-", repo.id.lower())
        info |= {
            "sdk": card.get("sdk") or repo.meta["sdk"],
            "subdomain": sub,
            "host": f"http://{sub}.hf.space.invalid",
            "runtime": runtime_json(repo),
        }
    expand = [v for k, v in query if k in ("expand", "expand[]")]
    if expand:
        info = {k: v for k, v in info.items() if k in ("_id", "id", *expand)}
    return info


def runtime_json(repo: Repo) -> dict:
    tree = repo.tree("main")
    stage = repo.meta["stage"]
    if stage is None:
        try:
            card = (
                front_matter(repo.store.read(tree["README.md"]).decode("utf-8", "replace"))
                if "README.md" in tree
                else None
            )
        except yaml.YAMLError:
            card = None
        if not card or card.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
            stage = "CONFIG_ERROR"
        elif card["sdk"] in ("gradio", "streamlit") and card.get("app_file", "app.py") not in tree:
            stage = "NO_APP_FILE"
        else:
            stage = "RUNNING"
    return {
        "stage": stage,
        "hardware": {"current": repo.meta["hardware"], "requested": repo.meta["hardware"]},
        "storage": None,
        "gcTimeout": repo.meta["sleep"],
        "replicas": {"requested": 1, "current": 1},
        "devMode": False,
    }


def discussion_json(repo: Repo, d: dict, details: bool = False) -> dict:
    out = {k: d[k] for k in ("num", "title", "status", "createdAt", "isPullRequest")}
    out |= {"author": {"name": d["author"]}, "repo": {"name": repo.id, "type": repo.type}, "pinned": False}
    if details:
        out["events"] = d["events"]
        if d["isPullRequest"]:
            out["changes"] = {"base": "refs/heads/main", **({"mergeCommitId": d["merged"]} if d.get("merged") else {})}
            out["filesWithConflicts"] = conflicts(repo, d) if d["status"] in ("open", "draft") else False
            out["diff"] = ""
    return out


def conflicts(repo: Repo, d: dict) -> list[str]:
    base, head, main = (repo.tree(r) for r in (d["base"], f"refs/pr/{d['num']}", "main"))
    theirs = {p for p in {*base, *head} if base.get(p) != head.get(p)}
    ours = {p for p in {*base, *main} if base.get(p) != main.get(p)}
    return sorted(p for p in theirs & ours if head.get(p) != main.get(p))

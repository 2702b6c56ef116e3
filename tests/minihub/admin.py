"""What tests ask of the server: log, faults, search, fsck."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

from fastapi import FastAPI, Request

from tests.minihub.gate import Fault
from tests.minihub.hub import Hub, runtime_json
from tests.minihub.requests import json_body
from tests.minihub.store import HubError, Repo, git_sha1


def contains(data: bytes, needle: bytes) -> bool:
    if needle in data:
        return True
    if data[:4] == b"PAR1":  # columns are compressed: look at the decoded values
        try:
            import pyarrow.parquet as pq

            table = pq.read_table(io.BytesIO(data))
            if needle in json.dumps(table.to_pylist(), default=str, ensure_ascii=False).encode():
                return True
            return any(needle in k or needle in v for k, v in (table.schema.metadata or {}).items())
        except Exception:
            return False
    if data[:4] == b"PK\x03\x04":
        import zipfile

        try:
            with zipfile.ZipFile(io.BytesIO(data)) as z:
                return any(needle in z.read(n) for n in z.namelist())
        except Exception:
            return False
    return False


def add(app: FastAPI, hub: Hub) -> None:
    store = hub.store

    @app.get("/_admin/health")
    async def health():
        return {"ok": True, "pid": os.getpid()}

    @app.get("/_admin/requests")
    async def get_requests(path: str = ".", method: str = "", since: int = 0):
        return [r for r in hub.log if r["n"] > since and re.search(path, r["path"]) and method in ("", r["method"])]

    @app.delete("/_admin/requests")
    async def clear_requests():
        hub.log.clear()
        hub.raw_auth.clear()
        for p in (hub.root / "bodies").iterdir():
            p.unlink()
        (hub.root / "requests.jsonl").unlink(missing_ok=True)
        return {}

    @app.post("/_admin/faults")
    async def add_faults(request: Request):
        data = json.loads(await request.body())
        try:
            new = [Fault(**f) for f in (data if isinstance(data, list) else [data])]
        except (TypeError, ValueError, re.error) as e:
            raise HubError(400, str(e)) from None
        hub.faults += new
        return [asdict(f) for f in new]

    @app.get("/_admin/faults")
    async def get_faults():
        return [asdict(f) for f in hub.faults]

    @app.delete("/_admin/faults")
    async def clear_faults():
        hub.faults.clear()
        return {}

    @app.post("/_admin/settle")
    async def settle():
        """Answer once everything that ended clients had sent is done.

        What they sent lies in this machine's buffers, and each turn of the loop takes whatever lies there: after a
        few turns without any work there is none to come.
        """
        calm = 0
        while calm < 5:
            await asyncio.sleep(0.01)
            calm = 0 if hub.busy else calm + 1
        return {}

    @app.post("/_admin/config")
    async def set_config(request: Request):
        body = await json_body(request)
        unknown = set(body) - set(hub.config)
        if unknown:
            raise HubError(400, f"unknown settings: {sorted(unknown)}")
        hub.config.update(body)
        return hub.config

    @app.post("/_admin/space")
    async def set_stage(request: Request):
        body = await json_body(request)
        repo = Repo(store, "spaces", *body["repo"].split("/")).load()
        repo.meta["stage"] = body.get("stage")
        repo.save()
        return runtime_json(repo)

    @app.get("/_admin/repos")
    async def admin_repos():
        return [
            {
                "type": r.type,
                "id": r.id,
                "private": r.meta["private"],
                "refs": r.meta["refs"],
                "commits": len(list((r.dir / "commits").glob("*.json"))),
                "variables": r.meta["variables"],
                "secrets": r.meta["secrets"],
                "discussions": len(r.meta["discussions"]),
            }
            for r in hub.all_repos()
        ]

    @app.get("/_admin/search")
    def search(needle: str):
        """Everything that the clients sent, decoded as far as we can: URLs, headers, bodies, file contents
        (regular and LFS), base64 in commit lines, text inside Parquet, commit messages, Space variables."""
        text = needle.encode()
        hits: list[dict] = []
        for r in hub.log:
            if needle in r["path"] or needle in unquote(r["query"]) or needle in unquote(r["path"]):
                hits.append({"where": "url", "n": r["n"], "path": r["path"]})
            for k, v in r["headers"].items():
                if needle in v:
                    hits.append({"where": f"header {k}", "n": r["n"], "path": r["path"]})
            if needle in hub.raw_auth.get(r["n"], ""):
                hits.append({"where": "header authorization", "n": r["n"], "path": r["path"]})
            body = r.get("body_file")
            if body and Path(body).exists() and text in Path(body).read_bytes():
                hits.append({"where": "body", "n": r["n"], "path": r["path"]})
        for area in ("blobs", "lfs"):
            for p in (hub.root / area).glob("*/*"):
                if contains(p.read_bytes(), text):
                    hits.append({"where": area, "oid": p.name})
        for p in (hub.root / "repos").rglob("*.json"):
            if json.dumps(needle)[1:-1].encode() in p.read_bytes():
                hits.append({"where": "repo data", "file": str(p.relative_to(hub.root))})
        return hits

    @app.get("/_admin/fsck")
    async def fsck():
        """Problems with stored data; [] when all is well."""
        bad = []
        for p in (hub.root / "blobs").glob("*/*"):
            if git_sha1(p.read_bytes()) != p.name:
                bad.append(f"blob {p.name} is damaged")
        for p in (hub.root / "lfs").glob("*/*"):
            if hashlib.sha256(p.read_bytes()).hexdigest() != p.name:
                bad.append(f"lfs object {p.name} is damaged")
        for r in hub.all_repos():
            for ref, oid in r.meta["refs"].items():
                if not (r.dir / "commits" / f"{oid}.json").exists():
                    bad.append(f"{r.id} {ref}: no commit {oid}")
                    continue
                for c in r.history(oid):
                    for path, e in c["tree"].items():
                        q = store.content_path(e)
                        if not q.exists() or q.stat().st_size != e["size"]:
                            bad.append(f"{r.id} {c['id'][:8]} {path}: content missing")
        return bad

    return app

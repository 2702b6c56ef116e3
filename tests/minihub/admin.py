"""What tests ask of the server: its log, faults, settings, a search through all that it was sent, its soundness."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

from fastapi import APIRouter, Request

from tests.minihub.errors import HubError
from tests.minihub.faults import Fault
from tests.minihub.hub import Hub, TheHub
from tests.minihub.repo import Repo
from tests.minihub.requests import json_body
from tests.minihub.store import git_sha1
from tests.minihub.views import runtime_json

router = APIRouter()


@router.get("/_admin/health")
async def health():
    return {"ok": True, "pid": os.getpid()}


@router.get("/_admin/requests")
async def get_requests(hub: TheHub, path: str = ".", method: str = "", since: int = 0):
    return [r for r in hub.log.records if r["n"] > since and re.search(path, r["path"]) and method in ("", r["method"])]


@router.delete("/_admin/requests")
async def clear_requests(hub: TheHub):
    hub.log.clear()
    return {}


@router.post("/_admin/faults")
async def add_faults(request: Request, hub: TheHub):
    data = json.loads(await request.body())
    try:
        new = [Fault(**f) for f in (data if isinstance(data, list) else [data])]
    except (TypeError, ValueError, re.error) as e:
        raise HubError(400, str(e)) from None
    hub.faults += new
    return [asdict(f) for f in new]


@router.get("/_admin/faults")
async def get_faults(hub: TheHub):
    return [asdict(f) for f in hub.faults]


@router.delete("/_admin/faults")
async def clear_faults(hub: TheHub):
    hub.faults.clear()
    return {}


@router.post("/_admin/settle")
async def settle(hub: TheHub):
    """Answer once everything that ended clients had sent is done.

    What they sent lies in this machine's buffers, and each turn of the loop takes whatever lies there: after a
    few turns without any work there is none to come.
    """
    calm = 0
    while calm < 5:
        await asyncio.sleep(0.01)
        calm = 0 if hub.busy else calm + 1
    return {}


@router.post("/_admin/config")
async def set_config(request: Request, hub: TheHub):
    body = await json_body(request)
    unknown = set(body) - set(hub.config)
    if unknown:
        raise HubError(400, f"unknown settings: {sorted(unknown)}")
    hub.config.update(body)
    return hub.config


@router.post("/_admin/space")
async def set_stage(request: Request, hub: TheHub):
    body = await json_body(request)
    repo = Repo(hub.store, "spaces", *body["repo"].split("/")).load()
    repo.meta["stage"] = body.get("stage")
    repo.save()
    return runtime_json(repo)


@router.get("/_admin/repos")
async def admin_repos(hub: TheHub):
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


@router.get("/_admin/search")
def search(hub: TheHub, needle: str) -> list[dict]:
    """Every place that holds what is looked for, in all that the clients sent, decoded as far as we can.

    URLs, headers, bodies, file contents (regular and LFS), base64 in commit lines, text inside Parquet, commit
    messages, Space variables.
    """
    return [*search_log(hub, needle), *search_storage(hub, needle)]


def search_log(hub: Hub, needle: str) -> Iterator[dict]:
    for record in hub.log.records:
        place = {"n": record["n"], "path": record["path"]}
        if any(needle in text for text in (record["path"], unquote(record["query"]), unquote(record["path"]))):
            yield {"where": "url", **place}
        for name, value in record["headers"].items():
            if needle in value:
                yield {"where": f"header {name}", **place}
        if needle in hub.log.authorizations.get(record["n"], ""):
            yield {"where": "header authorization", **place}
        body = Path(record["body_file"]) if "body_file" in record else None
        if body and body.exists() and needle.encode() in body.read_bytes():
            yield {"where": "body", **place}


def search_storage(hub: Hub, needle: str) -> Iterator[dict]:
    for area in ("blobs", "lfs"):
        for path in (hub.root / area).glob("*/*"):
            if contains(path.read_bytes(), needle.encode()):
                yield {"where": area, "oid": path.name}
    for path in (hub.root / "repos").rglob("*.json"):
        if json.dumps(needle)[1:-1].encode() in path.read_bytes():
            yield {"where": "repo data", "file": str(path.relative_to(hub.root))}


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


@router.get("/_admin/fsck")
async def fsck(hub: TheHub) -> list[str]:
    """Problems with stored data; [] when all is well."""
    return [*damaged_objects(hub), *missing_content(hub)]


def damaged_objects(hub: Hub) -> Iterator[str]:
    for path in (hub.root / "blobs").glob("*/*"):
        if git_sha1(path.read_bytes()) != path.name:
            yield f"blob {path.name} is damaged"
    for path in (hub.root / "lfs").glob("*/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"lfs object {path.name} is damaged"


def missing_content(hub: Hub) -> Iterator[str]:
    for repo in hub.all_repos():
        for ref, oid in repo.meta["refs"].items():
            if not (repo.dir / "commits" / f"{oid}.json").exists():
                yield f"{repo.id} {ref}: no commit {oid}"
                continue
            for commit in repo.history(oid):
                for path, entry in commit["tree"].items():
                    content = hub.store.content_path(entry)
                    if not content.exists() or content.stat().st_size != entry["size"]:
                        yield f"{repo.id} {commit['id'][:8]} {path}: content missing"

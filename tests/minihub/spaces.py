"""Spaces: variables, secrets and the stage."""

from __future__ import annotations

import hashlib
import re

from fastapi import APIRouter, Request

from tests.minihub.errors import HubError
from tests.minihub.hub import TheHub
from tests.minihub.repo import Repo, now
from tests.minihub.requests import json_body
from tests.minihub.views import runtime_json

SDKS = ("gradio", "streamlit", "docker", "static")
router = APIRouter()


def set_item(repo: Repo, area: str, item: dict) -> None:
    key, value = item.get("key"), item.get("value")
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) or not isinstance(value, str):
        raise HubError(400, "Invalid key or value")
    stored = {"updatedAt": now(), "description": item.get("description")}
    if area == "variables":
        stored["value"] = value
    else:  # write-only: only a digest is kept
        stored["sha256"] = hashlib.sha256(value.encode()).hexdigest()
    repo.meta[area][key] = {name: part for name, part in stored.items() if part is not None}


def readable(repo: Repo, area: str) -> dict:
    """The items without the digests of secrets."""
    return {
        key: {name: part for name, part in item.items() if name != "sha256"} for key, item in repo.meta[area].items()
    }


def area_of(request: Request) -> str:
    """`variables` or `secrets`: the end of the path."""
    return request.scope["path"].rsplit("/", 1)[-1]


@router.get("/api/spaces/{ns}/{name}/runtime")
async def runtime(request: Request, hub: TheHub, ns: str, name: str):
    repo, _ = hub.repo(request, "spaces", ns, name)
    return runtime_json(repo)


@router.get("/api/spaces/{ns}/{name}/variables")
@router.get("/api/spaces/{ns}/{name}/secrets")
async def get_items(request: Request, hub: TheHub, ns: str, name: str):
    repo, _ = hub.repo(request, "spaces", ns, name, write=True)
    return readable(repo, area_of(request))


@router.post("/api/spaces/{ns}/{name}/variables")
@router.post("/api/spaces/{ns}/{name}/secrets")
async def post_item(request: Request, hub: TheHub, ns: str, name: str):
    body = await json_body(request)
    repo, _ = hub.repo(request, "spaces", ns, name, write=True)
    set_item(repo, area_of(request), body)
    repo.save()
    return readable(repo, area_of(request))


@router.delete("/api/spaces/{ns}/{name}/variables")
@router.delete("/api/spaces/{ns}/{name}/secrets")
async def drop_item(request: Request, hub: TheHub, ns: str, name: str):
    body = await json_body(request)
    repo, _ = hub.repo(request, "spaces", ns, name, write=True)
    repo.meta[area_of(request)].pop(body.get("key"), None)
    repo.save()
    return readable(repo, area_of(request))

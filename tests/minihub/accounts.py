"""The account, and making, hiding and deleting repositories."""

from __future__ import annotations

import hashlib
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tests.minihub.cards import validate_card
from tests.minihub.errors import HubError
from tests.minihub.hub import TheHub
from tests.minihub.repo import KINDS, NAME_RE, Repo, now
from tests.minihub.requests import json_body
from tests.minihub.spaces import SDKS, set_item
from tests.minihub.store import Store

router = APIRouter()

# What the Hub commits first into a new repo (shortened, same effect).
LFS_EXTENSIONS = "7z arrow bin gz npy npz parquet pickle pkl pt safetensors tar wasm zip".split()  # noqa: SIM905
DATASET_LFS_EXTENSIONS = "gif jpeg jpg mp3 mp4 png wav webp".split()  # noqa: SIM905


def visibility(body: dict) -> bool:
    """Whether the repository is to be private."""
    if body.get("visibility") is not None:
        return body["visibility"] != "public"
    return bool(body.get("private"))


def create(store: Store, kind: str, ns: str, name: str, user: str, body: dict) -> Repo:
    repo = Repo(store, kind, ns, name)
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
    for area in ("variables", "secrets"):
        for item in body.get(area) or []:
            set_item(repo, area, item)
    oid = repo.write_commit(first_files(repo, body.get("sdk")), [], "initial commit", "", user)
    repo.meta["refs"]["refs/heads/main"] = oid
    repo.save()  # repo.json last: the repo exists from here on
    return repo


def first_files(repo: Repo, sdk: str | None) -> dict:
    """What the Hub puts into a new repository."""
    extensions = LFS_EXTENSIONS + (DATASET_LFS_EXTENSIONS if repo.kind == "datasets" else [])
    attributes = "".join(f"*.{extension} filter=lfs diff=lfs merge=lfs -text\n" for extension in extensions)
    tree = {".gitattributes": repo.store.entry_for_bytes(attributes.encode())}
    if repo.kind == "spaces":
        card = (
            f"---\ntitle: {repo.name}\nemoji: 🚀\ncolorFrom: blue\ncolorTo: green\nsdk: {sdk}\napp_file: app.py\n"
            "pinned: false\n---\n"
        )
        tree["README.md"] = repo.store.entry_for_bytes(card.encode())
    return tree


def public_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()[:24]


@router.get("/api/whoami-v2")
async def whoami(request: Request, hub: TheHub):
    token = hub.need_user(request)
    return {
        "type": "user",
        "id": public_id(token.user),
        "name": token.user,
        "fullname": token.user.title(),
        "email": f"{token.user}@example.invalid",
        "emailVerified": True,
        "canPay": False,
        "isPro": False,
        "avatarUrl": "",
        "periodEnd": None,
        "orgs": [
            {
                "type": "org",
                "id": public_id(org),
                "name": org,
                "fullname": org,
                "isEnterprise": False,
                "avatarUrl": "",
                "roleInOrg": "write",
            }
            for org in token.orgs
        ],
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": "minihub", "role": token.role, "createdAt": "2024-01-01T00:00:00.000Z"},
        },
    }


@router.post("/api/repos/create")
async def create_repo(request: Request, hub: TheHub):
    token = hub.need_user(request)
    body = await json_body(request)
    kind = f"{body.get('type') or 'model'}s"
    ns, name = body.get("organization") or token.user, body.get("name")
    if kind not in KINDS:
        raise HubError(400, f"Invalid repo type {body.get('type')!r}")
    if not isinstance(name, str) or not NAME_RE.fullmatch(name) or name.endswith((".git", ".ipynb", "-", ".")):
        raise HubError(400, f"Invalid repo name: {ns}/{name}")
    if token.role != "write" or ns not in token.namespaces:
        raise HubError(403, f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{ns}"')
    if kind == "spaces" and body.get("sdk") not in SDKS:
        raise HubError(400, '"sdk" must be one of [gradio, streamlit, docker, static]')
    repo = Repo(hub.store, kind, ns, name)
    url = f"{hub.base(request)}/{repo.web_path}"
    if repo.exists():
        msg = f"You already created this {repo.type} repo"
        raise HubError(409, msg, body={"error": msg, "url": url})
    repo = create(hub.store, kind, ns, name, token.user, body)
    return {"url": url, "name": repo.id, "id": repo.meta["_id"]}


@router.delete("/api/repos/delete")
async def delete_repo(request: Request, hub: TheHub):
    token = hub.need_user(request)
    body = await json_body(request)
    repo, _ = hub.repo(
        request,
        f"{body.get('type') or 'model'}s",
        body.get("organization") or token.user,
        str(body.get("name")),
        write=True,
    )
    trash = hub.root / "trash" / f"{uuid.uuid4().hex}"
    trash.parent.mkdir(exist_ok=True)
    repo.dir.rename(trash)
    return {}


@router.post("/api/validate-yaml")
async def validate_yaml(request: Request, hub: TheHub):
    body = await json_body(request)
    errors, warnings = validate_card(str(body.get("content", "")), str(body.get("repoType") or "model"))
    out = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
    return JSONResponse(out, 400 if errors else 200)


@router.api_route("/api/telemetry/{rest:path}", methods=["HEAD", "GET", "POST"])
async def telemetry(rest: str):
    return {}


@router.post("/v1/telemetry")  # hf_xet reports timings to the Hub's host
async def xet_telemetry(request: Request, hub: TheHub):
    await request.body()  # read, so that it is in the log
    return {}


@router.get("/api/agent-harnesses")
async def agent_harnesses():
    return {}


@router.put("/api/{kind}/{ns}/{name}/settings")
async def settings(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    body = await json_body(request)
    repo, _ = hub.repo(request, kind, ns, name, write=True)
    if "visibility" in body or "private" in body:
        repo.meta["private"] = visibility(body)
    if "gated" in body:
        repo.meta["gated"] = body["gated"]
    repo.save()
    return {"private": repo.meta["private"], "gated": repo.meta["gated"]}

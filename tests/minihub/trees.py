"""Lists of files."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, Request

from tests.minihub.errors import HubError, entry_not_found
from tests.minihub.hub import TheHub
from tests.minihub.requests import page
from tests.minihub.views import file_json, folder_json, folders_of, truthy

router = APIRouter()


async def tree_route(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str, path: str = ""):
    repo, _ = hub.repo(request, kind, ns, name)
    tree = repo.tree(unquote(rev))
    path = unquote(path).strip("/")
    folders = folders_of(tree)
    if path and path not in folders:
        raise entry_not_found(f'{path} does not exist on "{unquote(rev)}"')
    prefix = path + "/" if path else ""
    recursive, expand = (truthy(request.query_params.get(k)) for k in ("recursive", "expand"))
    names = [
        p for p in sorted({*tree, *folders}) if p.startswith(prefix) and (recursive or "/" not in p[len(prefix) :])
    ]
    last = repo.last_commits(unquote(rev), names) if expand else None
    items = [file_json(p, tree[p], last) if p in tree else folder_json(p, tree, last) for p in names]
    return page(hub, request, items, min(50, hub.config["page_size"]) if expand else hub.config["page_size"])


router.add_api_route("/api/{kind}/{ns}/{name}/tree/{rev}", tree_route, methods=["GET"])
router.add_api_route("/api/{kind}/{ns}/{name}/tree/{rev}/{path:path}", tree_route, methods=["GET"])


@router.post("/api/{kind}/{ns}/{name}/paths-info/{rev}")
async def paths_info(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str):
    repo, _ = hub.repo(request, kind, ns, name)
    tree = repo.tree(unquote(rev))
    raw = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        body = json.loads(raw)
        paths, expand = body.get("paths", []), bool(body.get("expand"))
        paths = [paths] if isinstance(paths, str) else paths
    else:
        form = parse_qs(raw.decode())
        paths, expand = form.get("paths", []), truthy(form.get("expand", ["0"])[0])
    if len(paths) > 1000:
        raise HubError(413, "too many parameters")
    folders = folders_of(tree)
    last = repo.last_commits(unquote(rev), paths) if expand else None
    return [
        file_json(p, tree[p], last) if p in tree else folder_json(p, tree, last)
        for p in (x.strip("/") for x in paths)
        if p in tree or p in folders
    ]

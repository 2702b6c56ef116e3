"""What is known of repositories: lists of them, one's files, branches and history."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from fastapi import APIRouter, Request

from tests.minihub.errors import HubError
from tests.minihub.hub import TheHub
from tests.minihub.repo import KINDS, Repo
from tests.minihub.requests import json_body, page
from tests.minihub.views import repo_info, truthy

router = APIRouter()


@router.get("/api/{kind}")
async def list_repos(request: Request, hub: TheHub, kind: str):
    if kind not in KINDS:
        raise HubError(404, "Not found")
    who, query, matching = hub.who(request), request.query_params, []
    for repo in hub.all_repos():
        if repo.kind != kind or (repo.meta["private"] and not (who and repo.ns in who.namespaces)):
            continue
        if query.get("author", repo.ns) != repo.ns or query.get("search", "").lower() not in repo.id.lower():
            continue
        listed = repo_info(repo, repo.resolve("main"), [])
        if all(tag in listed["tags"] for tag in query.getlist("filter")):
            matching.append(listed)
    return matching[: int(query.get("limit") or 1000)]


async def info(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str = "main"):
    repo, _ = hub.repo(request, kind, ns, name)
    oid = repo.resolve(unquote(rev))
    return repo_info(repo, oid, parse_qsl(request.url.query))


router.add_api_route("/api/{kind}/{ns}/{name}", info, methods=["GET", "HEAD"])
router.add_api_route("/api/{kind}/{ns}/{name}/revision/{rev}", info, methods=["GET", "HEAD"])


@router.get("/api/{kind}/{ns}/{name}/auth-check")
async def auth_check(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    hub.repo(request, kind, ns, name)
    return {}


@router.get("/api/{kind}/{ns}/{name}/auth-check/write")
async def auth_check_write(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    hub.repo(request, kind, ns, name, write=True)
    return {}


def refs_below(repo: Repo, prefix: str) -> list[dict]:
    return [
        {"name": ref if prefix == "refs/pr/" else ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
        for ref, oid in sorted(repo.meta["refs"].items())
        if ref.startswith(prefix)
    ]


@router.get("/api/{kind}/{ns}/{name}/refs")
async def refs(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    repo, _ = hub.repo(request, kind, ns, name)
    out = {"branches": refs_below(repo, "refs/heads/"), "tags": refs_below(repo, "refs/tags/"), "converts": []}
    if truthy(request.query_params.get("include_prs")):
        out["pullRequests"] = refs_below(repo, "refs/pr/")
    return out


@router.get("/api/{kind}/{ns}/{name}/commits/{rev}")
async def commits(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str):
    repo, _ = hub.repo(request, kind, ns, name)
    items = [
        {
            "id": c["id"],
            "title": c["title"],
            "message": c["message"],
            "date": c["date"],
            "authors": [{"user": c["author"], "avatar": ""}],
        }
        for c in repo.history(unquote(rev))
    ]
    return page(hub, request, items, 50)


@router.post("/api/{kind}/{ns}/{name}/branch/{branch}")
async def create_branch(request: Request, hub: TheHub, kind: str, ns: str, name: str, branch: str):
    start = (await json_body(request)).get("startingPoint") or "main"
    repo, _ = hub.repo(request, kind, ns, name, write=True)  # loaded once nothing is awaited any more
    ref = f"refs/heads/{unquote(branch)}"
    if ref in repo.meta["refs"]:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.move_ref(ref, repo.resolve(start))
    return {}

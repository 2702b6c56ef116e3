"""Discussions and pull requests."""

from __future__ import annotations

from fastapi import APIRouter, Request

from tests.minihub.errors import HubError
from tests.minihub.hub import TheHub
from tests.minihub.repo import Repo, comment_data, event
from tests.minihub.requests import json_body
from tests.minihub.views import conflicts, discussion_json

router = APIRouter()


def find_discussion(repo: Repo, num: int) -> dict:
    if not 1 <= num <= len(repo.meta["discussions"]):
        raise HubError(404, "Discussion not found")
    return repo.meta["discussions"][num - 1]


@router.get("/api/{kind}/{ns}/{name}/discussions")
async def discussions(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    repo, _ = hub.repo(request, kind, ns, name)
    items = [discussion_json(repo, d) for d in reversed(repo.meta["discussions"])]
    start = 50 * int(request.query_params.get("p") or 0)
    return {"discussions": items[start : start + 50], "count": len(items), "start": start}


@router.post("/api/{kind}/{ns}/{name}/discussions")
async def new_discussion(request: Request, hub: TheHub, kind: str, ns: str, name: str):
    body = await json_body(request)
    repo, token = hub.repo(request, kind, ns, name, pull_request=True)
    if len(str(body.get("title") or "")) < 3:
        raise HubError(400, "title is too short")
    base = repo.resolve("main") if body.get("pullRequest") else None
    return discussion_json(repo, repo.new_discussion(body["title"], body.get("description") or "", token.user, base))


@router.get("/api/{kind}/{ns}/{name}/discussions/{num}")
async def discussion(request: Request, hub: TheHub, kind: str, ns: str, name: str, num: int):
    repo, _ = hub.repo(request, kind, ns, name)
    return discussion_json(repo, find_discussion(repo, num), details=True)


@router.post("/api/{kind}/{ns}/{name}/discussions/{num}/comment")
async def comment(request: Request, hub: TheHub, kind: str, ns: str, name: str, num: int):
    body = await json_body(request)
    repo, token = hub.repo(request, kind, ns, name, pull_request=True)
    new = event("comment", token.user, comment_data(str(body.get("comment")), token.user))
    find_discussion(repo, num)["events"].append(new)
    repo.save()
    return {"newMessage": new}


@router.post("/api/{kind}/{ns}/{name}/discussions/{num}/status")
async def change_status(request: Request, hub: TheHub, kind: str, ns: str, name: str, num: int):
    body = await json_body(request)
    repo, token = hub.repo(request, kind, ns, name, pull_request=True)
    changed = find_discussion(repo, num)
    changed["status"] = body["status"]
    change = event("status-change", token.user, {"status": body["status"]})
    changed["events"].append(change)
    repo.save()
    return {"newStatus": change}


@router.post("/api/{kind}/{ns}/{name}/discussions/{num}/merge")
async def merge(request: Request, hub: TheHub, kind: str, ns: str, name: str, num: int):
    await json_body(request)
    repo, token = hub.repo(request, kind, ns, name, write=True)
    pull = find_discussion(repo, num)
    if not pull["isPullRequest"] or pull["status"] not in ("open", "draft"):
        raise HubError(400, "This discussion is not an open pull request")
    if clashing := conflicts(repo, pull):
        raise HubError(409, f"Merge conflicts: {', '.join(clashing)}")
    title = f"{pull['title']} (#{num})"
    oid = repo.write_commit(merged_tree(repo, pull), [repo.resolve("main")], title, "", token.user)
    repo.meta["refs"]["refs/heads/main"] = oid
    pull |= {"status": "merged", "merged": oid}
    pull["events"].append(event("status-change", token.user, {"status": "merged"}))
    repo.save()
    return {}


def merged_tree(repo: Repo, pull: dict) -> dict:
    """The files of main with what the pull request changes."""
    base, head, merged = repo.tree(pull["base"]), repo.tree(f"refs/pr/{pull['num']}"), dict(repo.tree("main"))
    for path in {*base, *head}:
        if base.get(path) != head.get(path):
            merged.pop(path, None)
            if path in head:
                merged[path] = head[path]
    return merged

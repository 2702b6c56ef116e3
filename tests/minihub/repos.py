"""Accounts, repositories, branches, discussions, Spaces."""

from __future__ import annotations

import hashlib
import uuid
from urllib.parse import parse_qsl, unquote, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.minihub.cards import validate_card
from tests.minihub.hub import (
    Hub,
    conflicts,
    discussion_json,
    repo_info,
    runtime_json,
    set_space_item,
    truthy,
    visibility,
)
from tests.minihub.requests import json_body
from tests.minihub.store import KINDS, NAME_RE, HubError, Repo, comment_data, event


def add(app: FastAPI, hub: Hub) -> None:
    store = hub.store

    # ---------------- account and repos ----------------------------------
    @app.get("/api/whoami-v2")
    async def whoami(request: Request):
        t = hub.need_user(request)
        return {
            "type": "user",
            "id": hashlib.sha1(t.user.encode()).hexdigest()[:24],
            "name": t.user,
            "fullname": t.user.title(),
            "email": f"{t.user}@example.invalid",
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "avatarUrl": "",
            "periodEnd": None,
            "orgs": [
                {
                    "type": "org",
                    "id": hashlib.sha1(o.encode()).hexdigest()[:24],
                    "name": o,
                    "fullname": o,
                    "isEnterprise": False,
                    "avatarUrl": "",
                    "roleInOrg": "write",
                }
                for o in t.orgs
            ],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "minihub", "role": t.role, "createdAt": "2024-01-01T00:00:00.000Z"},
            },
        }

    @app.post("/api/repos/create")
    async def create_repo(request: Request):
        t = hub.need_user(request)
        body = await json_body(request)
        kind = f"{body.get('type') or 'model'}s"
        ns, name = body.get("organization") or t.user, body.get("name")
        if kind not in KINDS:
            raise HubError(400, f"Invalid repo type {body.get('type')!r}")
        if not isinstance(name, str) or not NAME_RE.fullmatch(name) or name.endswith((".git", ".ipynb", "-", ".")):
            raise HubError(400, f"Invalid repo name: {ns}/{name}")
        if t.role != "write" or ns not in t.namespaces:
            raise HubError(403, f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{ns}"')
        if kind == "spaces" and body.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
            raise HubError(400, '"sdk" must be one of [gradio, streamlit, docker, static]')
        repo = Repo(store, kind, ns, name)
        url = f"{hub.base(request)}/{repo.web_path}"
        if repo.exists():
            msg = f"You already created this {repo.type} repo"
            raise HubError(409, msg, body={"error": msg, "url": url})
        repo = hub.create(kind, ns, name, t.user, body)
        return {"url": url, "name": repo.id, "id": repo.meta["_id"]}

    @app.delete("/api/repos/delete")
    async def delete_repo(request: Request):
        t = hub.need_user(request)
        body = await json_body(request)
        repo, _ = hub.repo(
            request,
            f"{body.get('type') or 'model'}s",
            body.get("organization") or t.user,
            str(body.get("name")),
            write=True,
        )
        trash = hub.root / "trash" / f"{uuid.uuid4().hex}"
        trash.parent.mkdir(exist_ok=True)
        repo.dir.rename(trash)
        return {}

    @app.post("/api/validate-yaml")
    async def validate_yaml(request: Request):
        body = await json_body(request)
        errors, warnings = validate_card(str(body.get("content", "")), str(body.get("repoType") or "model"))
        out = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
        return JSONResponse(out, 400 if errors else 200)

    @app.api_route("/api/telemetry/{rest:path}", methods=["HEAD", "GET", "POST"])
    async def telemetry(rest: str):
        return {}

    @app.post("/v1/telemetry")  # hf_xet reports timings to the Hub's host
    async def xet_telemetry(request: Request):
        await request.body()  # read, so that it is in the log
        return {}

    @app.get("/api/agent-harnesses")
    async def agent_harnesses():
        return {}

    # ---------------- information ----------------------------------------
    async def info(request: Request, kind: str, ns: str, name: str, rev: str = "main"):
        repo, _ = hub.repo(request, kind, ns, name)
        oid = repo.resolve(unquote(rev))
        return repo_info(hub, repo, oid, parse_qsl(request.url.query))

    app.add_api_route("/api/{kind}/{ns}/{name}", info, methods=["GET", "HEAD"])
    app.add_api_route("/api/{kind}/{ns}/{name}/revision/{rev}", info, methods=["GET", "HEAD"])

    @app.get("/api/{kind}/{ns}/{name}/auth-check")
    async def auth_check(request: Request, kind: str, ns: str, name: str):
        hub.repo(request, kind, ns, name)
        return {}

    @app.get("/api/{kind}/{ns}/{name}/auth-check/write")
    async def auth_check_write(request: Request, kind: str, ns: str, name: str):
        hub.repo(request, kind, ns, name, write=True)
        return {}

    def page(request: Request, items: list, size: int) -> JSONResponse:
        """Cursor pages with a `Link: <…>; rel="next"` header."""
        start = int(request.query_params.get("cursor") or 0)
        headers = {}
        if start + size < len(items):
            q = [(k, v) for k, v in parse_qsl(request.url.query) if k != "cursor"] + [("cursor", start + size)]
            headers["Link"] = f'<{hub.base(request)}{request.scope["path"]}?{urlencode(q)}>; rel="next"'
        return JSONResponse(items[start : start + size], headers=headers)

    @app.get("/api/{kind}/{ns}/{name}/refs")
    async def refs(request: Request, kind: str, ns: str, name: str):
        repo, _ = hub.repo(request, kind, ns, name)

        def group(prefix: str) -> list[dict]:
            return [
                {"name": r[len(prefix) :] if prefix != "refs/pr/" else r, "ref": r, "targetCommit": o}
                for r, o in sorted(repo.meta["refs"].items())
                if r.startswith(prefix)
            ]

        out = {"branches": group("refs/heads/"), "tags": group("refs/tags/"), "converts": []}
        if truthy(request.query_params.get("include_prs")):
            out["pullRequests"] = group("refs/pr/")
        return out

    @app.get("/api/{kind}/{ns}/{name}/commits/{rev}")
    async def commits(request: Request, kind: str, ns: str, name: str, rev: str):
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
        return page(request, items, 50)

    # ---------------- branches, tags, settings ---------------------------
    @app.post("/api/{kind}/{ns}/{name}/branch/{branch}")
    async def create_branch(request: Request, kind: str, ns: str, name: str, branch: str):
        start = (await json_body(request)).get("startingPoint") or "main"
        repo, _ = hub.repo(request, kind, ns, name, write=True)  # loaded once nothing is awaited any more
        ref = f"refs/heads/{unquote(branch)}"
        if ref in repo.meta["refs"]:
            raise HubError(409, f"Reference already exists: {ref}")
        repo.move_ref(ref, repo.resolve(start))
        return {}

    @app.put("/api/{kind}/{ns}/{name}/settings")
    async def settings(request: Request, kind: str, ns: str, name: str):
        body = await json_body(request)
        repo, _ = hub.repo(request, kind, ns, name, write=True)
        if "visibility" in body or "private" in body:
            repo.meta["private"] = visibility(body)
        if "gated" in body:
            repo.meta["gated"] = body["gated"]
        repo.save()
        return {"private": repo.meta["private"], "gated": repo.meta["gated"]}

    # ---------------- discussions and pull requests ----------------------
    def find_discussion(repo: Repo, num: int) -> dict:
        if not 1 <= num <= len(repo.meta["discussions"]):
            raise HubError(404, "Discussion not found")
        return repo.meta["discussions"][num - 1]

    @app.get("/api/{kind}/{ns}/{name}/discussions")
    async def discussions(request: Request, kind: str, ns: str, name: str):
        repo, _ = hub.repo(request, kind, ns, name)
        items = [discussion_json(repo, d) for d in reversed(repo.meta["discussions"])]
        start = 50 * int(request.query_params.get("p") or 0)
        return {"discussions": items[start : start + 50], "count": len(items), "start": start}

    @app.post("/api/{kind}/{ns}/{name}/discussions")
    async def new_discussion(request: Request, kind: str, ns: str, name: str):
        body = await json_body(request)
        repo, t = hub.repo(request, kind, ns, name, pull_request=True)
        if len(str(body.get("title") or "")) < 3:
            raise HubError(400, "title is too short")
        base = repo.resolve("main") if body.get("pullRequest") else None
        d = repo.new_discussion(body["title"], body.get("description") or "", t.user, base)
        return discussion_json(repo, d)

    @app.get("/api/{kind}/{ns}/{name}/discussions/{num}")
    async def discussion(request: Request, kind: str, ns: str, name: str, num: int):
        repo, _ = hub.repo(request, kind, ns, name)
        return discussion_json(repo, find_discussion(repo, num), details=True)

    @app.post("/api/{kind}/{ns}/{name}/discussions/{num}/{what}")
    async def change_discussion(request: Request, kind: str, ns: str, name: str, num: int, what: str):
        body = await json_body(request)
        repo, t = hub.repo(request, kind, ns, name, pull_request=True)
        d = find_discussion(repo, num)
        if what == "comment":
            ev = event("comment", t.user, comment_data(str(body.get("comment")), t.user))
            out = {"newMessage": ev}
        elif what == "status":
            d["status"] = body["status"]
            ev = event("status-change", t.user, {"status": body["status"]})
            out = {"newStatus": ev}
        elif what == "merge":
            repo, t = hub.repo(request, kind, ns, name, write=True)
            d = find_discussion(repo, num)
            if not d["isPullRequest"] or d["status"] not in ("open", "draft"):
                raise HubError(400, "This discussion is not an open pull request")
            bad = conflicts(repo, d)
            if bad:
                raise HubError(409, f"Merge conflicts: {', '.join(bad)}")
            base, head, tree = repo.tree(d["base"]), repo.tree(f"refs/pr/{num}"), dict(repo.tree("main"))
            for p in {*base, *head}:
                if base.get(p) != head.get(p):
                    tree.pop(p, None) if p not in head else tree.__setitem__(p, head[p])
            oid = repo.write_commit(tree, [repo.resolve("main")], f"{d['title']} (#{num})", "", t.user)
            repo.meta["refs"]["refs/heads/main"] = oid
            d |= {"status": "merged", "merged": oid}
            ev = event("status-change", t.user, {"status": "merged"})
            out = {}
        else:
            raise HubError(404, f"minihub cannot do {what!r} on discussions")
        d["events"].append(ev)
        repo.save()
        return out

    # ---------------- Spaces ---------------------------------------------
    def space_items(repo: Repo, area: str) -> dict:
        return {k: {x: y for x, y in v.items() if x != "sha256"} for k, v in repo.meta[area].items()}

    def item_routes(area: str) -> None:
        @app.get(f"/api/spaces/{{ns}}/{{name}}/{area}")
        async def get_items(request: Request, ns: str, name: str):
            repo, _ = hub.repo(request, "spaces", ns, name, write=True)
            return space_items(repo, area)

        @app.post(f"/api/spaces/{{ns}}/{{name}}/{area}")
        async def set_item(request: Request, ns: str, name: str):
            body = await json_body(request)
            repo, _ = hub.repo(request, "spaces", ns, name, write=True)
            set_space_item(repo, area, body)
            repo.save()
            return space_items(repo, area)

        @app.delete(f"/api/spaces/{{ns}}/{{name}}/{area}")
        async def drop_item(request: Request, ns: str, name: str):
            body = await json_body(request)
            repo, _ = hub.repo(request, "spaces", ns, name, write=True)
            repo.meta[area].pop(body.get("key"), None)
            repo.save()
            return space_items(repo, area)

    item_routes("variables")
    item_routes("secrets")

    @app.get("/api/spaces/{ns}/{name}/runtime")
    async def runtime(request: Request, ns: str, name: str):
        repo, _ = hub.repo(request, "spaces", ns, name)
        return runtime_json(repo)

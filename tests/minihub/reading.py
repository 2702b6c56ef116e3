"""Trees and file contents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tests.minihub.hub import Hub, file_json, folder_json, folders_of, truthy
from tests.minihub.store import HubError, entry_not_found


def add(app: FastAPI, hub: Hub) -> None:
    store = hub.store

    def page(request: Request, items: list, size: int) -> JSONResponse:
        """Cursor pages with a `Link: <…>; rel="next"` header."""
        start = int(request.query_params.get("cursor") or 0)
        headers = {}
        if start + size < len(items):
            q = [(k, v) for k, v in parse_qsl(request.url.query) if k != "cursor"] + [("cursor", start + size)]
            headers["Link"] = f'<{hub.base(request)}{request.scope["path"]}?{urlencode(q)}>; rel="next"'
        return JSONResponse(items[start : start + size], headers=headers)

    async def tree_route(request: Request, kind: str, ns: str, name: str, rev: str, path: str = ""):
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
        return page(request, items, min(50, hub.config["page_size"]) if expand else hub.config["page_size"])

    app.add_api_route("/api/{kind}/{ns}/{name}/tree/{rev}", tree_route, methods=["GET"])
    app.add_api_route("/api/{kind}/{ns}/{name}/tree/{rev}/{path:path}", tree_route, methods=["GET"])

    @app.post("/api/{kind}/{ns}/{name}/paths-info/{rev}")
    async def paths_info(request: Request, kind: str, ns: str, name: str, rev: str):
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

    # ---------------- reading files --------------------------------------
    def send_file(request: Request, path: Path, headers: dict) -> Response:
        """GET/HEAD of a stored object with single byte ranges."""
        size = path.stat().st_size
        headers = {"Accept-Ranges": "bytes", **headers}
        start, end, status = 0, size, 200
        m = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if m and (m[1] or m[2]):
            start = int(m[1]) if m[1] else max(0, size - int(m[2]))
            end = min(size, int(m[2]) + 1) if m[1] and m[2] else size
            if start >= size or start >= end:
                raise HubError(416, "Requested range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
            headers["Content-Range"], status = f"bytes {start}-{end - 1}/{size}", 206
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type="application/octet-stream")

        def body():
            left = end - start
            with path.open("rb") as f:
                f.seek(start)
                while left > 0:
                    chunk = f.read(min(left, 256 * 1024))
                    left -= len(chunk)
                    yield chunk

        return StreamingResponse(body(), status, headers=headers, media_type="application/octet-stream")

    async def resolve(request: Request, ns: str, name: str, rev: str, path: str, kind: str = "models"):
        """HEAD/GET of a file.  As on the Hub: regular files go through a relative 307 to a cacheable
        address, LFS files through a 302 to a signed address on another origin."""
        repo, _ = hub.repo(request, kind, ns, name)
        oid = repo.resolve(unquote(rev))
        path = unquote(path)
        entry = repo.commit(oid)["tree"].get(path)
        if entry is None:
            raise HubError(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": oid})
        headers = {
            "X-Repo-Commit": oid,
            "Cache-Control": "no-cache",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1])}",
        }
        if "lfs" not in entry:
            loc = f"/api/resolve-cache/{repo.kind}/{repo.id}/{oid}/{quote(path)}"
            return Response(
                status_code=307,
                headers={
                    **headers,
                    "Location": loc,
                    "X-Linked-ETag": f'"{entry["oid"]}"',
                    "X-Linked-Size": str(entry["size"]),
                },
            )
        sha = entry["lfs"]["sha256"]
        headers |= {"X-Linked-ETag": f'"{sha}"', "X-Linked-Size": str(entry["size"])}
        cdn = hub.cdn_base(request)
        if cdn is None:
            return send_file(request, store.lfs_path(sha), {**headers, "ETag": f'"{sha}"'})
        return Response(
            status_code=302, headers={**headers, "Location": f"{cdn}/_cdn/{sha}?sig={hub.sign('get', sha)}"}
        )

    for prefix in ("", "/{kind}"):
        app.add_api_route(prefix + "/{ns}/{name}/resolve/{rev}/{path:path}", resolve, methods=["GET", "HEAD"])
        app.add_api_route(prefix + "/{ns}/{name}/raw/{rev}/{path:path}", resolve, methods=["GET", "HEAD"])

    @app.api_route("/api/resolve-cache/{kind}/{ns}/{name}/{oid}/{path:path}", methods=["GET", "HEAD"])
    async def resolve_cache(request: Request, kind: str, ns: str, name: str, oid: str, path: str):
        repo, _ = hub.repo(request, kind, ns, name)
        entry = repo.commit(repo.resolve(oid))["tree"].get(unquote(path))
        if entry is None or "lfs" in entry:
            raise entry_not_found()
        return send_file(request, store.content_path(entry), {"X-Repo-Commit": oid, "ETag": f'"{entry["oid"]}"'})

    @app.api_route("/_cdn/{sha}", methods=["GET", "HEAD"])
    async def cdn(request: Request, sha: str, sig: str = ""):
        hub.check_signature(sig, "get", sha)
        return send_file(request, store.lfs_path(sha), {"ETag": f'"cdn-{sha[:16]}"'})  # not the Hub's etag, as on a CDN

"""Contents of files."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from tests.minihub.errors import HubError, entry_not_found
from tests.minihub.hub import TheHub

router = APIRouter()


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


async def resolve(request: Request, hub: TheHub, ns: str, name: str, rev: str, path: str, kind: str = "models"):
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
        return send_file(request, hub.store.lfs_path(sha), {**headers, "ETag": f'"{sha}"'})
    return Response(status_code=302, headers={**headers, "Location": f"{cdn}/_cdn/{sha}?sig={hub.sign('get', sha)}"})


for prefix in ("", "/{kind}"):
    router.add_api_route(prefix + "/{ns}/{name}/resolve/{rev}/{path:path}", resolve, methods=["GET", "HEAD"])
    router.add_api_route(prefix + "/{ns}/{name}/raw/{rev}/{path:path}", resolve, methods=["GET", "HEAD"])


@router.api_route("/api/resolve-cache/{kind}/{ns}/{name}/{oid}/{path:path}", methods=["GET", "HEAD"])
async def resolve_cache(request: Request, hub: TheHub, kind: str, ns: str, name: str, oid: str, path: str):
    repo, _ = hub.repo(request, kind, ns, name)
    entry = repo.commit(repo.resolve(oid))["tree"].get(unquote(path))
    if entry is None or "lfs" in entry:
        raise entry_not_found()
    return send_file(request, hub.store.content_path(entry), {"X-Repo-Commit": oid, "ETag": f'"{entry["oid"]}"'})


@router.api_route("/_cdn/{sha}", methods=["GET", "HEAD"])
async def cdn(request: Request, hub: TheHub, sha: str, sig: str = ""):
    hub.check_signature(sig, "get", sha)
    return send_file(request, hub.store.lfs_path(sha), {"ETag": f'"cdn-{sha[:16]}"'})  # not the Hub's etag, as on a CDN

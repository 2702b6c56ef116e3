"""What goes before a commit: how each file is to be sent, and large files by the LFS protocol."""

from __future__ import annotations

import base64
import fnmatch
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tests.minihub.errors import HubError
from tests.minihub.hub import TheHub
from tests.minihub.repo import safe_path
from tests.minihub.requests import json_body
from tests.minihub.store import SHA256_RE
from tests.minihub.views import truthy

router = APIRouter()


def is_lfs(attributes: str, path: str, size: int, sample: bytes, threshold: int) -> bool:
    """.gitattributes first, then size, then: binary content goes to LFS/Xet."""
    for line in attributes.splitlines():
        pattern, *attrs = line.split() or [""]
        name = path if "/" in pattern else path.rsplit("/", 1)[-1]
        if not pattern.startswith("#") and "filter=lfs" in attrs and fnmatch.fnmatchcase(name, pattern):
            return True
    if size > threshold:
        return True
    try:
        sample[: max(0, len(sample) - 4)].decode()  # -4: the sample may end inside a character
    except UnicodeDecodeError:
        return True
    return b"\0" in sample


def ignored(gitignore: str, path: str) -> bool:
    """Enough of .gitignore: globs, folders, leading '/', '!' (last match wins)."""
    hit = False
    for line in map(str.strip, gitignore.splitlines()):
        if not line or line.startswith("#"):
            continue
        keep = line.startswith("!")
        pat = line.lstrip("!").rstrip("/")
        parts = path.split("/")
        if "/" in pat:
            pat = pat.lstrip("/")
            match = any(fnmatch.fnmatchcase("/".join(parts[:i]), pat) for i in range(1, len(parts) + 1))
        else:
            match = any(fnmatch.fnmatchcase(p, pat) for p in parts)
        if match:
            hit = not keep
    return hit


@router.post("/api/{kind}/{ns}/{name}/preupload/{rev}")
async def preupload(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str):
    pr = truthy(request.query_params.get("create_pr"))
    repo, _ = hub.repo(request, kind, ns, name, write=not pr, pull_request=pr, rev=unquote(rev))
    tree = repo.tree(unquote(rev))
    body = await json_body(request)
    if len(body.get("files", [])) > 256:
        raise HubError(400, "preupload takes at most 256 files")

    def text(path: str) -> str:
        return hub.store.read(tree[path]).decode("utf-8", "replace") if path in tree else ""

    attributes = text(".gitattributes")
    gitignore = body.get("gitIgnore") if body.get("gitIgnore") is not None else text(".gitignore")
    out = []
    for f in body.get("files", []):
        path, entry = safe_path(f["path"]), tree.get(f["path"])
        lfs = is_lfs(attributes, path, f["size"], base64.b64decode(f.get("sample") or ""), hub.config["lfs_threshold"])
        # oid: what is there now, so that the client can leave unchanged files out of the commit
        oid = (entry["lfs"]["sha256"] if "lfs" in entry else entry["oid"]) if entry else None
        out.append(
            {
                "path": path,
                "uploadMode": "lfs" if lfs else "regular",
                "shouldIgnore": ignored(gitignore, path),
                "oid": oid,
            }
        )
    return {"files": out, "commitOid": repo.resolve(unquote(rev))}


# LFS batch API. Models have no prefix in their web path, datasets and spaces have.
async def lfs_batch(request: Request, hub: TheHub, ns: str, name: str, kind: str = "models"):
    hub.repo(request, kind, ns, name, pull_request=True)
    body = await json_body(request)
    if body.get("operation") != "upload" or body.get("hash_algo", "sha256") != "sha256":
        raise HubError(400, "only sha256 uploads are supported")
    base = hub.cdn_base(request) or hub.base(request)
    objects = []
    for o in body.get("objects", []):
        oid, size = o["oid"], int(o["size"])
        item = {"oid": oid, "size": size}
        if not SHA256_RE.fullmatch(oid):
            item["error"] = {"code": 422, "message": "invalid oid"}
        elif not hub.store.lfs_path(oid).exists():
            href = f"{base}/_lfs/object/{oid}?size={size}&sig={hub.sign('put', oid, str(size))}"
            verify = {"href": f"{hub.base(request)}/_lfs/verify", "header": {}}
            item["actions"] = {"upload": {"href": href, "header": {}}, "verify": verify}
        objects.append(item)
    return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")


router.add_api_route("/{ns}/{name}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"])
router.add_api_route("/{kind}/{ns}/{name}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"])


@router.put("/_lfs/object/{oid}")
async def lfs_put(request: Request, hub: TheHub, oid: str, size: int = -1, sig: str = ""):
    hub.check_signature(sig, "put", oid, str(size))
    hub.store.put_named_lfs(oid, await request.body())
    return Response(status_code=200)


@router.post("/_lfs/verify")
async def lfs_verify(request: Request, hub: TheHub):
    body = await json_body(request)
    path = hub.store.lfs_path(str(body.get("oid")))
    if not path.exists() or path.stat().st_size != body.get("size"):
        raise HubError(404, "LFS object not found or of another size")
    return {}

"""Uploads (LFS) and commits."""

from __future__ import annotations

import base64
import fnmatch
import json
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from tests.minihub.cards import validate_card
from tests.minihub.hub import Hub, folders_of, truthy
from tests.minihub.requests import json_body
from tests.minihub.store import MAX_REGULAR, SHA256_RE, HubError, entry_not_found, event, safe_path


def add(app: FastAPI, hub: Hub) -> None:
    store = hub.store

    def is_lfs(attributes: str, path: str, size: int, sample: bytes) -> bool:
        """.gitattributes first, then size, then: binary content goes to LFS/Xet."""
        for line in attributes.splitlines():
            pattern, *attrs = line.split() or [""]
            name = path if "/" in pattern else path.rsplit("/", 1)[-1]
            if not pattern.startswith("#") and "filter=lfs" in attrs and fnmatch.fnmatchcase(name, pattern):
                return True
        if size > hub.config["lfs_threshold"]:
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

    @app.post("/api/{kind}/{ns}/{name}/preupload/{rev}")
    async def preupload(request: Request, kind: str, ns: str, name: str, rev: str):
        pr = truthy(request.query_params.get("create_pr"))
        repo, _ = hub.repo(request, kind, ns, name, write=not pr, pull_request=pr, rev=unquote(rev))
        tree = repo.tree(unquote(rev))
        body = await json_body(request)
        if len(body.get("files", [])) > 256:
            raise HubError(400, "preupload takes at most 256 files")

        def text(path: str) -> str:
            return store.read(tree[path]).decode("utf-8", "replace") if path in tree else ""

        attributes = text(".gitattributes")
        gitignore = body.get("gitIgnore") if body.get("gitIgnore") is not None else text(".gitignore")
        out = []
        for f in body.get("files", []):
            path, entry = safe_path(f["path"]), tree.get(f["path"])
            lfs = is_lfs(attributes, path, f["size"], base64.b64decode(f.get("sample") or ""))
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
    async def lfs_batch(request: Request, ns: str, name: str, kind: str = "models"):
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
            elif not store.lfs_path(oid).exists():
                href = f"{base}/_lfs/object/{oid}?size={size}&sig={hub.sign('put', oid, str(size))}"
                verify = {"href": f"{hub.base(request)}/_lfs/verify", "header": {}}
                item["actions"] = {"upload": {"href": href, "header": {}}, "verify": verify}
            objects.append(item)
        return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")

    app.add_api_route("/{ns}/{name}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"])
    app.add_api_route("/{kind}/{ns}/{name}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"])

    @app.put("/_lfs/object/{oid}")
    async def lfs_put(request: Request, oid: str, size: int = -1, sig: str = ""):
        hub.check_signature(sig, "put", oid, str(size))
        store.put_named_lfs(oid, await request.body())
        return Response(status_code=200)

    @app.post("/_lfs/verify")
    async def lfs_verify(request: Request):
        body = await json_body(request)
        path = store.lfs_path(str(body.get("oid")))
        if not path.exists() or path.stat().st_size != body.get("size"):
            raise HubError(404, "LFS object not found or of another size")
        return {}

    @app.post("/api/{kind}/{ns}/{name}/commit/{rev}")
    async def commit(request: Request, kind: str, ns: str, name: str, rev: str):
        pr = truthy(request.query_params.get("create_pr"))
        rev = unquote(rev)
        lines = (await request.body()).splitlines()  # nothing is awaited from here on: one commit after the other
        repo, t = hub.repo(request, kind, ns, name, write=not pr, pull_request=pr, rev=rev)
        head = repo.resolve(rev)
        ref = None if pr else repo.ref_name(rev)
        tree = dict(repo.commit(head)["tree"])
        header: dict = {}
        # 1. Work out the new tree.  Blobs written here are harmless if the commit is refused.
        for line in lines:
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                key, value = item["key"], item["value"]
            except (ValueError, KeyError, TypeError):
                raise HubError(400, "Invalid NDJSON in commit") from None
            if key == "header":
                header = value
                continue
            if not header:
                raise HubError(400, "The first line of a commit must be its header")
            path = safe_path(value["path"].rstrip("/"))
            if key == "file":
                data = (
                    base64.b64decode(value["content"])
                    if value.get("encoding") == "base64"
                    else value["content"].encode()
                )
                if len(data) > MAX_REGULAR:
                    raise HubError(
                        400,
                        "Your push was rejected because it contains files larger than 10 MiB. "
                        f"Please use https://git-lfs.github.com/ to store large files. Offending file: {path}",
                    )
                tree[path] = store.entry_for_bytes(data)
            elif key == "lfsFile":
                if not SHA256_RE.fullmatch(str(value.get("oid"))) or not store.lfs_path(value["oid"]).exists():
                    raise HubError(
                        400,
                        f"Your push was rejected because an LFS pointer pointed to a file that does not exist: {path}",
                    )
                tree[path] = store.entry_for_lfs(value["oid"])
            elif key == "deletedFile":
                if tree.pop(path, None) is None:
                    raise entry_not_found(f"A file with this name doesn't exist: {path}")
            elif key == "deletedFolder":
                inside = [p for p in tree if p.startswith(path + "/")]
                if not inside:
                    raise entry_not_found(f"A folder with this name doesn't exist: {path}")
                for p in inside:
                    del tree[p]
            else:
                raise HubError(400, f"Unknown operation {key!r}")
        clash = folders_of(tree) & set(tree)
        if clash:
            raise HubError(400, f"A path is both a file and a folder: {min(clash)}")
        if not header.get("summary"):
            raise HubError(400, "Commit summary is required")
        # 2. Conditions.
        parent = header.get("parentCommit")
        if parent and not head.startswith(parent.lower()):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        if (
            repo.kind != "models"
            and "README.md" in tree
            and tree["README.md"] != repo.commit(head)["tree"].get("README.md")
        ):
            errors, _w = validate_card(store.read(tree["README.md"]).decode("utf-8", "replace"), repo.type)
            if errors:
                raise HubError(400, "Invalid metadata in README.md: " + "; ".join(errors))
        # 3. Write the commit, then move the ref: the only step that changes what anyone sees.
        #    A commit without any effect is accepted, as on the Hub (it shows up in the history).
        oid = repo.write_commit(tree, [head], header["summary"], header.get("description") or "", t.user)
        out = {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{hub.base(request)}/{repo.web_path}/commit/{oid}",
            "hookOutput": "",
        }
        if pr:
            d = repo.new_discussion(header["summary"], header.get("description") or "", t.user, head)
            d["status"] = "open"
            ref = f"refs/pr/{d['num']}"
            out["pullRequestUrl"] = f"{hub.base(request)}/{repo.web_path}/discussions/{d['num']}"
        if ref.startswith("refs/pr/"):
            d = repo.meta["discussions"][int(ref.rsplit("/", 1)[1]) - 1]
            if d["status"] not in ("open", "draft"):
                raise HubError(403, "This pull request is not open")
            d["events"].append(event("commit", t.user, {"subject": header["summary"], "oid": oid}))
        repo.move_ref(ref, oid)
        return out

    # ---------------- reading files --------------------------------------

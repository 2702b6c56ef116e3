"""Xet: the upload half of the protocol.

hf_xet sends xorbs and then shards. Each file is put together again at once, its sha256 checked, and stored like any LFS
object. Downloads never mention Xet.
"""

from __future__ import annotations

import hashlib
import time
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tests.minihub.errors import HubError
from tests.minihub.hub import Hub, TheHub
from tests.minihub.store import SHA256_RE, write_atomic
from tests.minihub.views import truthy
from tests.minihub.xet_format import shard_files, xorb_chunks

router = APIRouter()


@router.get("/api/{kind}/{ns}/{name}/xet-{access}-token/{rev}")
async def xet_token(request: Request, hub: TheHub, kind: str, ns: str, name: str, access: str, rev: str):
    if not hub.config["xet"]:
        raise HubError(404, "Xet is switched off on this minihub")
    write, pr = access == "write", truthy(request.query_params.get("create_pr"))
    hub.repo(request, kind, ns, name, write=write and not pr, pull_request=write and pr, rev=unquote(rev))
    exp = int(time.time()) + 3600
    token = f"xet:{access}:{exp}:{hub.sign('xet', access, str(exp))}"
    url = f"{hub.base(request)}/_cas"
    return JSONResponse(
        {"casUrl": url, "exp": exp, "accessToken": token},
        headers={"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(exp)},
    )


def check_xet(hub: Hub, request: Request) -> None:
    try:
        _, access, exp, sig = request.headers.get("authorization", "").removeprefix("Bearer ").split(":")
    except ValueError:
        raise HubError(401, "bad Xet token") from None
    hub.check_signature(sig, "xet", access, exp)
    if int(exp) < time.time():
        raise HubError(401, "expired Xet token")


@router.post("/_cas/v1/xorbs/default/{h}")
async def put_xorb(request: Request, hub: TheHub, h: str):
    check_xet(hub, request)
    if not SHA256_RE.fullmatch(h):
        raise HubError(400, "bad xorb hash")
    path, data = hub.store.xorb_path(h), await request.body()
    new = not path.exists()
    xorb_chunks(data)
    write_atomic(path, data)
    return {"was_inserted": new}


@router.post("/_cas/v1/shards")
async def put_shard(request: Request, hub: TheHub):
    check_xet(hub, request)
    for _name, sha, terms in shard_files(await request.body()):
        chunks = []
        for xorb, first, last in terms:
            if not hub.store.xorb_path(xorb).exists():
                raise HubError(400, f"shard refers to unknown xorb {xorb}")
            chunks += xorb_chunks(hub.store.xorb_path(xorb).read_bytes())[first:last]
        data = b"".join(chunks)
        hub.store.put_named_lfs(sha or hashlib.sha256(data).hexdigest(), data)
    return {"result": 1}


@router.api_route("/_cas/{rest:path}", methods=["GET", "HEAD", "POST", "PUT"])
async def cas_other(rest: str):
    # /v1/chunks (deduplication), /v2/shards and upload grants: "not here" makes hf_xet fall back.
    raise HubError(404, "not found")

"""Xet: the upload half of the protocol."""

from __future__ import annotations

import hashlib
import struct
import time
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.minihub.hub import Hub, truthy
from tests.minihub.store import SHA256_RE, HubError, write_atomic


# --------------------------------------------------------------------------
# Xet (content-addressed chunks): the upload half of the protocol.
# hf_xet sends xorbs (packs of compressed chunks) and then shards (which chunks make up which file).  Each file is
# put together again at once, its sha256 checked, and stored like any LFS object.  Downloads never mention Xet.
# --------------------------------------------------------------------------
def xet_hex(raw: bytes) -> str:
    """Xet prints a 32-byte hash as four little-endian 64-bit numbers."""
    return "".join(raw[i : i + 8][::-1].hex() for i in range(0, 32, 8))


def xorb_chunks(data: bytes) -> list[bytes]:
    """Chunks of a serialized xorb.  Chunk = 8-byte header (version, u24 packed size, scheme, u24 size) + data."""
    import pyarrow as pa  # only for LZ4 frames

    out, pos = [], 0
    while pos + 8 <= len(data) and data[pos : pos + 7] != b"XETBLOB":  # "XETBLOB": optional footer
        packed = int.from_bytes(data[pos + 1 : pos + 4], "little")
        scheme = data[pos + 4]
        size = int.from_bytes(data[pos + 5 : pos + 8], "little")
        if data[pos] != 0 or scheme > 2 or packed == 0:
            break
        raw = data[pos + 8 : pos + 8 + packed]
        if scheme:
            raw = pa.decompress(raw, decompressed_size=size, codec="lz4", asbytes=True)
        if scheme == 2:  # four byte planes, one after the other
            at, plain = 0, bytearray(size)
            for k in range(4):
                n = (size - k + 3) // 4
                plain[k::4] = raw[at : at + n]
                at += n
            raw = bytes(plain)
        if len(raw) != size:
            raise HubError(400, "corrupt xorb chunk")
        out.append(raw)
        pos += 8 + packed
    return out


def shard_files(data: bytes) -> list[tuple[str, str | None, list[tuple[str, int, int]]]]:
    """(file hash, sha256 or None, [(xorb hash, first chunk, end chunk)]) for every file in a shard."""
    if not data.startswith(b"HFRepoMetaData"):
        raise HubError(400, "not a shard")
    pos, out, end = 48, [], b"\xff" * 32
    while pos + 48 <= len(data) and data[pos : pos + 32] != end:
        name = xet_hex(data[pos : pos + 32])
        flags, count = struct.unpack_from("<II", data, pos + 32)
        pos += 48
        terms = []
        for _ in range(count):
            _f, _n, first, last = struct.unpack_from("<IIII", data, pos + 32)
            terms.append((xet_hex(data[pos : pos + 32]), first, last))
            pos += 48
        if flags & 0x8000_0000:  # verification entries
            pos += 48 * count
        sha = None
        if flags & 0x4000_0000:  # metadata: the file's sha256
            sha = xet_hex(data[pos : pos + 32])
            pos += 48
        out.append((name, sha, terms))
    return out


def add(app: FastAPI, hub: Hub) -> None:
    store = hub.store

    @app.get("/api/{kind}/{ns}/{name}/xet-{access}-token/{rev}")
    async def xet_token(request: Request, kind: str, ns: str, name: str, access: str, rev: str):
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

    def check_xet(request: Request) -> None:
        try:
            _, access, exp, sig = request.headers.get("authorization", "").removeprefix("Bearer ").split(":")
        except ValueError:
            raise HubError(401, "bad Xet token") from None
        hub.check_signature(sig, "xet", access, exp)
        if int(exp) < time.time():
            raise HubError(401, "expired Xet token")

    @app.post("/_cas/v1/xorbs/default/{h}")
    async def put_xorb(request: Request, h: str):
        check_xet(request)
        if not SHA256_RE.fullmatch(h):
            raise HubError(400, "bad xorb hash")
        path, data = store.xorb_path(h), await request.body()
        new = not path.exists()
        xorb_chunks(data)
        write_atomic(path, data)
        return {"was_inserted": new}

    @app.post("/_cas/v1/shards")
    async def put_shard(request: Request):
        check_xet(request)
        for _name, sha, terms in shard_files(await request.body()):
            chunks = []
            for xorb, first, last in terms:
                if not store.xorb_path(xorb).exists():
                    raise HubError(400, f"shard refers to unknown xorb {xorb}")
                chunks += xorb_chunks(store.xorb_path(xorb).read_bytes())[first:last]
            data = b"".join(chunks)
            store.put_named_lfs(sha or hashlib.sha256(data).hexdigest(), data)
        return {"result": 1}

    @app.api_route("/_cas/{rest:path}", methods=["GET", "HEAD", "POST", "PUT"])
    async def cas_other(rest: str):
        # /v1/chunks (deduplication), /v2/shards and upload grants: "not here" makes hf_xet fall back.
        raise HubError(404, "not found")

"""Content-addressed objects: regular files as git blobs, large files by their sha256, Xet's xorbs by their hash."""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path

from tests.minihub.errors import HubError

MAX_REGULAR = 10 * 2**20  # the Hub refuses bigger files outside LFS
SHA256_RE = re.compile(r"[0-9a-f]{64}")


def write_atomic(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    tmp.write_bytes(data)
    tmp.replace(path)


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Store:
    """Content-addressed objects:  blobs/<sha1>  lfs/<sha256>  xorbs/<hash>."""

    def __init__(self, root: Path):
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def _path(self, area: str, oid: str) -> Path:
        return self.root / area / oid[:2] / oid

    def blob_path(self, oid: str) -> Path:
        return self._path("blobs", oid)

    def lfs_path(self, sha256: str) -> Path:
        return self._path("lfs", sha256)

    def xorb_path(self, h: str) -> Path:
        return self._path("xorbs", h)

    def put_blob(self, data: bytes) -> str:
        oid = git_sha1(data)
        if not self.blob_path(oid).exists():
            write_atomic(self.blob_path(oid), data)
        return oid

    def put_lfs(self, data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        if not self.lfs_path(sha).exists():
            write_atomic(self.lfs_path(sha), data)
        return sha

    def put_named_lfs(self, oid: str, data: bytes) -> None:
        sha = self.put_lfs(data)
        if sha != oid:
            self.lfs_path(sha).unlink()
            raise HubError(400, f"sha256 of the uploaded object is {sha}, expected {oid}")

    def entry_for_bytes(self, data: bytes) -> dict:
        return {"oid": self.put_blob(data), "size": len(data)}

    def entry_for_lfs(self, sha256: str) -> dict:
        size = self.lfs_path(sha256).stat().st_size
        pointer = lfs_pointer(sha256, size)
        return {
            "oid": git_sha1(pointer),
            "size": size,
            "lfs": {"sha256": sha256, "size": size, "pointerSize": len(pointer)},
        }

    def content_path(self, entry: dict) -> Path:
        return self.lfs_path(entry["lfs"]["sha256"]) if "lfs" in entry else self.blob_path(entry["oid"])

    def read(self, entry: dict) -> bytes:
        return self.content_path(entry).read_bytes()

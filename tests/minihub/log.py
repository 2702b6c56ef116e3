"""The log of requests: in memory for the tests, and in `requests.jsonl` and `bodies/` for whoever looks afterwards."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path

from tests.minihub.repo import now


class RequestLog:
    """Every request with its headers, its status and its body; a token is shown by its owner's name only."""

    def __init__(self, root: Path, names_of_secrets: dict[str, str]):
        self.root, self.names_of_secrets = root, names_of_secrets
        self.records: list[dict] = []
        self.authorizations: dict[int, str] = {}  # as sent; kept in memory, for `/_admin/search` only
        self._numbers = itertools.count(1)
        (root / "bodies").mkdir(parents=True, exist_ok=True)

    def start(self, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], request_id: str) -> dict:
        record = {
            "n": next(self._numbers),
            "time": now(),
            "method": method,
            "path": path,
            "query": query,
            "headers": dict(headers),
            "request_id": request_id,
            "request_bytes": 0,
            "response_bytes": 0,
            "status": None,
            "fault": None,
        }
        sent = record["headers"].get("authorization")
        if sent is not None:
            self.authorizations[record["n"]] = sent
            unknown = f"<unknown {hashlib.sha256(sent.encode()).hexdigest()[:12]}>"
            record["headers"]["authorization"] = self.names_of_secrets.get(sent.removeprefix("Bearer "), unknown)
        self.records.append(record)
        return record

    def end(self, record: dict, body: bytes, began: float) -> None:
        record["ms"] = round((time.monotonic() - began) * 1000, 1)
        if body:
            path = self.root / "bodies" / f"{record['n']:06d}.body"
            path.write_bytes(hide_space_secrets(record["path"], body))
            record["body_file"] = str(path)
        with (self.root / "requests.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def clear(self) -> None:
        self.records.clear()
        self.authorizations.clear()
        for path in (self.root / "bodies").iterdir():
            path.unlink()
        (self.root / "requests.jsonl").unlink(missing_ok=True)


def hide_space_secrets(path: str, body: bytes) -> bytes:
    """Space secrets are sent in the clear on purpose; keep them out of the logged body."""
    if not (path.endswith("/secrets") or path == "/api/repos/create"):
        return body
    try:
        data = json.loads(body)
    except ValueError:
        return body
    for item in [data] + (data.get("secrets") or []):
        if (path.endswith("/secrets") or item is not data) and isinstance(item.get("value"), str):
            item["value"] = "sha256:" + hashlib.sha256(item["value"].encode()).hexdigest()
    return json.dumps(data).encode()

"""The batch API on loopback, beside chat completions: files, batches, and what can go wrong with them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.servers.llm import LLMServer, completion, error

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def answered(request: dict[str, Any], body: Any = None) -> dict[str, Any]:
    """The line of an output file for a request."""
    return {
        "id": "batch_req",
        "custom_id": request["custom_id"],
        "response": {"status_code": 200, "request_id": "r", "body": body or completion(request["body"]).json},
        "error": None,
    }


class BatchServer(LLMServer):
    """An `LLMServer` that also takes batches.

    Attributes:
        files: what went up and what came of it, by id.
        batches: by id, in the API's shape.
        lines: input lines by batch.
        fail_after: how many batches may be created before the next one fails; None for any number.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.fail_after: int | None = None
        self._numbers = itertools.count(1)

    def finish(
        self, batch: str, *, status: str = "completed", answer: Answer | None = None, count: int | None = None
    ) -> None:
        """Work a batch off: its first ``count`` requests, the rest does not get done."""
        lines = self.lines[batch]
        done = lines[:count]
        answer = answer or (lambda line: answered(line, self.script(line["body"], 0).json))
        made = [answer(line) for line in done]
        good = [line for line in made if line["error"] is None and line["response"]["status_code"] == 200]
        bad = [line for line in made if line not in good]
        if status == "expired":
            expired = {
                "code": "batch_expired",
                "message": "This request could not be executed before the completion window expired.",
            }
            bad += [
                {"id": "r", "custom_id": line["custom_id"], "response": None, "error": expired}
                for line in lines[len(done) :]
            ]
        found = self.batches[batch]
        found["status"] = status
        found["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        for name, part in (("output_file_id", good), ("error_file_id", bad)):
            found.pop(name, None)
            if part:
                found[name] = self._keep("".join(json.dumps(line) + "\n" for line in reversed(part)).encode())

    def reject(self, batch: str, message: str) -> None:
        """Refuse a batch as a whole, as validation does."""
        data = [{"code": "invalid_json", "message": message, "line": 1, "param": None}]
        self.batches[batch] |= {"status": "failed", "errors": {"object": "list", "data": data}}

    def _keep(self, data: bytes) -> str:
        name = f"file-{next(self._numbers)}"
        self.files[name] = data
        return name

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._more = [
            web.post("/v1/files", self._upload),
            web.get("/v1/files/{id}/content", self._download),
            web.post("/v1/batches", self._create),
            web.get("/v1/batches/{id}", self._show),
            web.post("/v1/batches/{id}/cancel", self._cancel),
        ]
        await super().start(port)

    def _allowed(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("authorization") == f"Bearer {self.key}"

    async def _upload(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return web.json_response(error(401, "Incorrect API key").json, status=401)
        form = await request.post()
        data = form["file"].file.read()
        name = self._keep(data)
        about = {"id": name, "object": "file", "bytes": len(data), "created_at": 0, "filename": "requests.jsonl"}
        return web.json_response(about | {"purpose": form["purpose"], "status": "processed"})

    async def _download(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.files:
            return web.json_response(error(404, f"No such File object: {name}").json, status=404)
        return web.Response(body=self.files[name])

    async def _create(self, request: web.Request) -> web.Response:
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            return web.json_response(error(400, "Enqueued token limit reached").json, status=400)
        body = await request.json()
        name = f"batch_{next(self._numbers)}"
        self.lines[name] = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "completion_window": body["completion_window"],
            "created_at": 0,
            "input_file_id": body["input_file_id"],
            "status": "in_progress",
            "request_counts": {"total": len(self.lines[name]), "completed": 0, "failed": 0},
        }
        return web.json_response(self.batches[name])

    async def _show(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.batches:
            return web.json_response(error(404, f"No batch found with id '{name}'").json, status=404)
        return web.json_response(self.batches[name])

    async def _cancel(self, request: web.Request) -> web.Response:
        self.batches[request.match_info["id"]]["status"] = "cancelling"
        return web.json_response(self.batches[request.match_info["id"]])

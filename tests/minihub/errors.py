"""The Hub's form of errors: a JSON body, and the same message and a code in headers."""

from __future__ import annotations

from fastapi.responses import JSONResponse, Response


class HubError(Exception):
    def __init__(
        self, status: int, message: str, code: str | None = None, body: dict | None = None, headers: dict | None = None
    ):
        self.status, self.message, self.code = status, message, code
        self.body = {"error": message} if body is None else body
        self.headers = headers or {}

    def response(self) -> Response:
        return JSONResponse(self.body, self.status, headers=error_headers(self.message, self.code, self.headers))


def error_headers(message: str, code: str | None, extra: dict | None = None) -> dict:
    headers = {"X-Error-Message": header_safe(message), **(extra or {})}
    if code:
        headers["X-Error-Code"] = code
    return headers


def header_safe(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def repo_not_found(anonymous: bool) -> HubError:
    # The Hub answers 401 to anonymous callers, so that a private repo cannot be told from a missing
    # one.  The code is always sent: huggingface_hub's own guess for a bare 401 works on https:// only.
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(rev: str) -> HubError:
    return HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")


def entry_not_found(message: str = "Entry not found") -> HubError:
    return HubError(404, message, "EntryNotFound")

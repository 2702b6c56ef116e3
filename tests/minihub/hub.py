"""The Hub's state: who may do what, where its repositories are, and what the tests have set."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from tests.minihub.errors import HubError, repo_not_found
from tests.minihub.faults import Fault
from tests.minihub.log import RequestLog
from tests.minihub.repo import KINDS, Repo
from tests.minihub.store import MAX_REGULAR, Store


@dataclass
class Token:
    secret: str
    user: str
    role: str  # "read" or "write"
    orgs: tuple[str, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.user, *self.orgs)


class Hub:
    def __init__(self, root: Path, tokens: list[Token], cdn: str = "auto"):
        self.root, self.store, self.cdn = root, Store(root), cdn
        self.tokens = {token.secret: token for token in tokens}
        self.config = {
            "lfs_threshold": MAX_REGULAR,
            "page_size": 1000,
            "multipart_threshold": 5 * 2**30,
            "multipart_chunk": 16 * 2**20,
            "xet": True,
        }
        self.key = secrets.token_bytes(32)
        self.faults: list[Fault] = []
        self.busy = 0  # requests that are being carried out
        self.log = RequestLog(root, {token.secret: f"<token of {token.user}, {token.role}>" for token in tokens})

    def pick_fault(self, method: str, target: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.take(method, target)), None)

    # -- who is asking -----------------------------------------------------
    def who(self, request: Request) -> Token | None:
        """The owner of the token, None for a request without one."""
        authorization = request.headers.get("authorization")
        if not authorization:
            return None
        token = self.tokens.get(authorization.removeprefix("Bearer "))
        if token is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def need_user(self, request: Request) -> Token:
        token = self.who(request)
        if token is None:
            raise HubError(401, "Invalid username or password.")
        return token

    def repo(
        self,
        request: Request,
        kind: str,
        ns: str,
        name: str,
        write: bool = False,
        pull_request: bool = False,
        rev: str = "",
    ) -> tuple[Repo, Token | None]:
        """Find a repo and check access.

        `pull_request`: whoever can read may open one. `rev` is what is written to: a pull request takes commits from
        its author and from the owners of the repo.
        """
        token = self.who(request)
        repo = Repo(self.store, kind, unquote(ns), unquote(name))
        if kind not in KINDS or not repo.exists():
            raise repo_not_found(token is None)
        repo.load()
        owner = token is not None and repo.ns in token.namespaces
        if repo.meta["private"] and not owner:
            raise repo_not_found(token is None)
        if write or pull_request:
            if token is None:
                raise HubError(401, "Invalid username or password.")
            if token.role != "write":
                raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
            if write and not owner and author_of(repo, rev) != token.user:
                raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repo, token

    # -- addresses ---------------------------------------------------------
    def base(self, request: Request) -> str:
        return f"{request.url.scheme}://{request.headers.get('host')}"

    def cdn_base(self, request: Request) -> str | None:
        """Where file contents are served from; None: from this origin.

        Another *origin* (127.0.0.1 <-> localhost), as on the real Hub, so that a test can see that no token is sent
        there.
        """
        if self.cdn == "same":
            return None
        host, _, port = (request.headers.get("host") or "").partition(":")
        other = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(host)
        return f"{request.url.scheme}://{other}{':' + port if port else ''}" if other else None

    def sign(self, *parts: str) -> str:
        return hmac.new(self.key, "\n".join(parts).encode(), "sha256").hexdigest()[:32]

    def check_signature(self, given: str | None, *parts: str) -> None:
        if not given or not hmac.compare_digest(given, self.sign(*parts)):
            raise HubError(403, "Invalid or expired signed URL")

    # -- repositories ------------------------------------------------------
    def all_repos(self) -> Iterator[Repo]:
        for path in sorted((self.root / "repos").glob("*/*/*/repo.json")):
            kind, ns, name = path.parts[-4:-1]
            yield Repo(self.store, kind, ns, name).load()


def author_of(repo: Repo, rev: str) -> str | None:
    """Who has opened the pull request that `rev` names."""
    number = re.fullmatch(r"refs/pr/(\d+)", rev)
    return repo.meta["discussions"][int(number[1]) - 1]["author"] if number and rev in repo.meta["refs"] else None


async def _hub_of(request: Request) -> Hub:
    return request.app.state.hub


TheHub = Annotated[Hub, Depends(_hub_of)]  # what a route asks for

"""Commits."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import unquote

from fastapi import APIRouter, Request

from tests.minihub.cards import validate_card
from tests.minihub.errors import HubError, entry_not_found
from tests.minihub.hub import TheHub
from tests.minihub.repo import Repo, event, safe_path
from tests.minihub.store import MAX_REGULAR, SHA256_RE, Store
from tests.minihub.views import folders_of, truthy

router = APIRouter()


@router.post("/api/{kind}/{ns}/{name}/commit/{rev}")
async def commit(request: Request, hub: TheHub, kind: str, ns: str, name: str, rev: str):
    opens_pull_request = truthy(request.query_params.get("create_pr"))
    rev = unquote(rev)
    lines = (await request.body()).splitlines()  # nothing is awaited from here on: one commit after the other
    repo, token = hub.repo(
        request, kind, ns, name, write=not opens_pull_request, pull_request=opens_pull_request, rev=rev
    )
    head = repo.resolve(rev)
    ref = None if opens_pull_request else repo.ref_name(rev)
    # Contents written while the new tree is worked out are harmless if the commit is refused.
    header, tree = Changes(hub.store, dict(repo.commit(head)["tree"])).apply(lines)
    check(repo, head, header, tree)
    # The commit is written, then the ref moves: the only step that changes what anyone sees.
    # A commit without any effect is accepted, as on the Hub (it shows up in the history).
    description = header.get("description") or ""
    oid = repo.write_commit(tree, [head], header["summary"], description, token.user)
    answer = {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{hub.base(request)}/{repo.web_path}/commit/{oid}",
        "hookOutput": "",
    }
    if ref is None:
        opened = repo.new_discussion(header["summary"], description, token.user, head)
        opened["status"] = "open"
        ref = f"refs/pr/{opened['num']}"
        answer["pullRequestUrl"] = f"{hub.base(request)}/{repo.web_path}/discussions/{opened['num']}"
    if ref.startswith("refs/pr/"):
        pull = repo.meta["discussions"][int(ref.rsplit("/", 1)[1]) - 1]
        if pull["status"] not in ("open", "draft"):
            raise HubError(403, "This pull request is not open")
        pull["events"].append(event("commit", token.user, {"subject": header["summary"], "oid": oid}))
    repo.move_ref(ref, oid)
    return answer


class Changes:
    """The lines of a commit, one operation each, carried out on a tree."""

    def __init__(self, store: Store, tree: dict):
        self.store, self.tree = store, tree

    def apply(self, lines: Iterable[bytes]) -> tuple[dict, dict]:
        """The header of the commit, and the tree after it."""
        header: dict = {}
        operations = {
            "file": self.add,
            "lfsFile": self.add_large,
            "deletedFile": self.delete_file,
            "deletedFolder": self.delete_folder,
        }
        for line in filter(bytes.strip, lines):
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
            if key not in operations:
                raise HubError(400, f"Unknown operation {key!r}")
            operations[key](safe_path(value["path"].rstrip("/")), value)
        return header, self.tree

    def add(self, path: str, value: dict) -> None:
        content = value["content"]
        data = base64.b64decode(content) if value.get("encoding") == "base64" else content.encode()
        if len(data) > MAX_REGULAR:
            raise HubError(
                400,
                "Your push was rejected because it contains files larger than 10 MiB. "
                f"Please use https://git-lfs.github.com/ to store large files. Offending file: {path}",
            )
        self.tree[path] = self.store.entry_for_bytes(data)

    def add_large(self, path: str, value: dict) -> None:
        oid = str(value.get("oid"))
        if not SHA256_RE.fullmatch(oid) or not self.store.lfs_path(oid).exists():
            raise HubError(
                400,
                f"Your push was rejected because an LFS pointer pointed to a file that does not exist: {path}",
            )
        self.tree[path] = self.store.entry_for_lfs(oid)

    def delete_file(self, path: str, _: dict) -> None:
        if self.tree.pop(path, None) is None:
            raise entry_not_found(f"A file with this name doesn't exist: {path}")

    def delete_folder(self, path: str, _: dict) -> None:
        inside = [name for name in self.tree if name.startswith(path + "/")]
        if not inside:
            raise entry_not_found(f"A folder with this name doesn't exist: {path}")
        for name in inside:
            del self.tree[name]


def check(repo: Repo, head: str, header: dict, tree: dict) -> None:
    """What the Hub asks of a commit: paths that fit together, a summary, its parent, a card that it can read."""
    if clash := folders_of(tree) & set(tree):
        raise HubError(400, f"A path is both a file and a folder: {min(clash)}")
    if not header.get("summary"):
        raise HubError(400, "Commit summary is required")
    parent = header.get("parentCommit")
    if parent and not head.startswith(parent.lower()):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    card = tree.get("README.md")
    if card and repo.kind != "models" and card != repo.commit(head)["tree"].get("README.md"):
        errors, _ = validate_card(repo.store.read(card).decode("utf-8", "replace"), repo.type)
        if errors:
            raise HubError(400, "Invalid metadata in README.md: " + "; ".join(errors))

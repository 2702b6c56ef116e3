"""Trees, repositories, Spaces and discussions as the Hub's JSON."""

from __future__ import annotations

import hashlib
import json
import re

import yaml

from tests.minihub.cards import front_matter
from tests.minihub.repo import Repo


def truthy(value: str | None) -> bool:
    """A flag of a query."""
    return str(value).lower() in ("1", "true", "yes")


def file_json(path: str, entry: dict, last: dict | None = None) -> dict:
    out = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if "lfs" in entry:
        lfs = entry["lfs"]
        out["lfs"] = {"oid": lfs["sha256"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    if last is not None:
        out["lastCommit"] = last.get(path)
        out["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return out


def folder_json(path: str, tree: dict, last: dict | None = None) -> dict:
    inner = sorted((p, e["oid"]) for p, e in tree.items() if p.startswith(path + "/"))
    out = {"type": "directory", "oid": hashlib.sha1(json.dumps(inner).encode()).hexdigest(), "size": 0, "path": path}
    if last is not None:
        out["lastCommit"] = last.get(path)
    return out


def folders_of(tree: dict) -> set[str]:
    return {"/".join(p.split("/")[:i]) for p in tree for i in range(1, p.count("/") + 1)}


def card_data(repo: Repo, tree: dict) -> dict:
    """The front matter of the card, {} where there is none that can be read."""
    if "README.md" not in tree:
        return {}
    try:
        card = front_matter(repo.store.read(tree["README.md"]).decode("utf-8", "replace")) or {}
    except yaml.YAMLError:
        card = {}
    return json.loads(json.dumps(card, default=str))


def siblings(tree: dict, blobs: bool) -> list[dict]:
    """The files of a repository as `info` lists them; their sizes and hashes on request."""
    files = []
    for path, entry in sorted(tree.items()):
        file = {"rfilename": path}
        if blobs:
            file |= {"size": entry["size"], "blobId": entry["oid"]}
            if "lfs" in entry:
                file["lfs"] = entry["lfs"]
        files.append(file)
    return files


def repo_info(repo: Repo, oid: str, query: list[tuple[str, str]]) -> dict:
    commit = repo.commit(oid)
    tree = commit["tree"]
    card = card_data(repo, tree)
    info = {
        "_id": repo.meta["_id"],
        "id": repo.id,
        "author": repo.ns,
        "sha": oid,
        "lastModified": commit["date"],
        "createdAt": repo.meta["createdAt"],
        "private": repo.meta["private"],
        "gated": repo.meta["gated"],
        "disabled": False,
        "tags": [*(tag for tag in card.get("tags") or [] if isinstance(tag, str)), "region:us"],
        "likes": 0,
        "downloads": 0,
        "cardData": card,
        "siblings": siblings(tree, truthy(dict(query).get("blobs"))),
        "usedStorage": sum(entry["size"] for entry in tree.values()),
    }
    if repo.kind == "models":
        info["modelId"] = repo.id
    if repo.kind == "spaces":
        subdomain = re.sub(r"[^a-z0-9]+", "-", repo.id.lower())
        info |= {
            "sdk": card.get("sdk") or repo.meta["sdk"],
            "subdomain": subdomain,
            "host": f"http://{subdomain}.hf.space.invalid",
            "runtime": runtime_json(repo),
        }
    expand = [value for key, value in query if key in ("expand", "expand[]")]
    if expand:
        info = {key: value for key, value in info.items() if key in ("_id", "id", *expand)}
    return info


def stage_of(repo: Repo) -> str:
    """The stage that a test has set, else the one that the files lead to."""
    if repo.meta["stage"] is not None:
        return repo.meta["stage"]
    tree = repo.tree("main")
    card = card_data(repo, tree)
    if card.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
        return "CONFIG_ERROR"
    if card["sdk"] in ("gradio", "streamlit") and card.get("app_file", "app.py") not in tree:
        return "NO_APP_FILE"
    return "RUNNING"


def runtime_json(repo: Repo) -> dict:
    return {
        "stage": stage_of(repo),
        "hardware": {"current": repo.meta["hardware"], "requested": repo.meta["hardware"]},
        "storage": None,
        "gcTimeout": repo.meta["sleep"],
        "replicas": {"requested": 1, "current": 1},
        "devMode": False,
    }


def discussion_json(repo: Repo, d: dict, details: bool = False) -> dict:
    out = {k: d[k] for k in ("num", "title", "status", "createdAt", "isPullRequest")}
    out |= {"author": {"name": d["author"]}, "repo": {"name": repo.id, "type": repo.type}, "pinned": False}
    if details:
        out["events"] = d["events"]
        if d["isPullRequest"]:
            out["changes"] = {"base": "refs/heads/main", **({"mergeCommitId": d["merged"]} if d.get("merged") else {})}
            out["filesWithConflicts"] = conflicts(repo, d) if d["status"] in ("open", "draft") else False
            out["diff"] = ""
    return out


def conflicts(repo: Repo, d: dict) -> list[str]:
    base, head, main = (repo.tree(r) for r in (d["base"], f"refs/pr/{d['num']}", "main"))
    theirs = {p for p in {*base, *head} if base.get(p) != head.get(p)}
    ours = {p for p in {*base, *main} if base.get(p) != main.get(p)}
    return sorted(p for p in theirs & ours if head.get(p) != main.get(p))

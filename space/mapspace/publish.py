"""Pushing a selection to the visitor's own account, with the visitor's own token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from hf_datamap.data import columns
from mapspace import export
from mapspace.errors import SpaceError
from mapspace.hub_errors import hub_call
from mapspace.sessions import Session
from mapspace.texts import plain

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}", re.ASCII)


def push(session: Session, name: str, *, private: bool, token: str, folder: Path) -> str:
    """Push the selected rows as a new dataset.

    Args:
        session: the visitor's view.
        name: name of the dataset, without an owner; it goes to whoever the token belongs to.
        private: whether others may see it.
        token: the visitor's own.
        folder: for the file on its way.

    Returns:
        A sentence with the address of the new dataset.

    Raises:
        SpaceError: the name is taken or malformed, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".")):
        raise SpaceError(f"{name!r:.100} is not a name for a dataset: letters, digits, - _ and .")
    api = HfApi(token=token, library_name="hf_datamap")
    user = hub_call("your account", api.whoami)["name"]
    repo = f"{user}/{name}"
    path = export.write(session, "parquet", folder)
    try:
        address = str(hub_call(repo, lambda: _create(api, repo, private)))
        files: dict[str, Path | bytes] = {
            "data/train-00000-of-00001.parquet": path,
            "README.md": card(session).encode(),
        }
        parts = [CommitOperationAdd(name, content) for name, content in files.items()]
        hub_call(repo, lambda: api.create_commit(repo, parts, commit_message="Selection", repo_type="dataset"))
    except HfHubHTTPError as error:  # pragma: no cover - hub_call explains the others
        raise SpaceError(f"the Hub refused {repo}: {plain(str(error.server_message or ''), 300)}") from None
    finally:
        path.unlink(missing_ok=True)
    return f"{int(session.selected().sum()):,} rows pushed to {address}"


def _create(api: Any, repo: str, private: bool) -> Any:  # noqa: ANN401 - HfApi, imported late
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return api.create_repo(repo, repo_type="dataset", private=private)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 409:
            raise SpaceError(f"you already have a dataset {repo}: choose another name") from None
        if status in (401, 403):
            raise SpaceError(
                f"the Hub does not let this sign-in create {repo}: sign in again and allow writing"
            ) from None
        raise


def card(session: Session) -> str:
    """Return the card of a selection: where it comes from and what was selected. Facts only, as literal text."""
    opened, counts = session.map, _counts(session)
    source = f"`{opened.title}`" + (f" at commit `{opened.revision}`" if opened.revision else "")
    lines = [
        "---",
        "tags:",
        "- datamap-selection",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/train-*.parquet",
        "---",
        "",
        "# Selection from an Alignment Data Map",
        "",
        f"{int(session.selected().sum()):,} of {len(opened.index):,} rows of {source}, "
        f"config `{_literal(opened.config)}`.",
        "Terms of use of the source apply.",
        "",
        "## What was selected",
        "",
        *(f"- {line}" for line in describe(session)),
        "",
        "| region | rows |",
        "|---|---:|",
        *(f"| {name} | {rows:,} |" for name, rows in counts if rows),
        "",
    ]
    return "\n".join(lines)


def describe(session: Session) -> list[str]:
    """Return the filters in words."""
    filters, lines = session.filters, []
    if filters.hidden.get("region"):
        lines.append(f"regions: {', '.join(filters.regions())}")
    for name, codes in filters.hidden.items():
        if codes and name != "region":
            labels = session.channel(name).labels
            lines.append(f"{name}: without {_quoted(labels[code] for code in sorted(codes) if code < len(labels))}")
    for name, (low, high) in (("mean", filters.mean), ("variance", filters.variance)):
        lines.extend([f"{name} at least {low:g}"] if low is not None else [])
        lines.extend([f"{name} at most {high:g}"] if high is not None else [])
    said = (
        (filters.suspects, "suspects only"),
        (filters.sources, f"sources: {_quoted(filters.sources)}"),
        (filters.split, f"split {_quoted([filters.split])}"),
        (filters.only, f"only rows: {_quoted([filters.only])}"),
        (filters.polygon, f"an area drawn on the map with {len(filters.polygon)} corners"),
    )
    lines.extend(words for given, words in said if given)
    return lines or ["every row"]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{_literal(name)}`" for name in names)


def _literal(text: str) -> str:
    return plain(text, 200).replace("`", "'").replace("\n", " ")


def _counts(session: Session) -> list[tuple[str, int]]:
    regions = session.map.index.region[session.selected()]
    return [(name, int((regions == code).sum())) for code, name in enumerate(columns.REGIONS)]

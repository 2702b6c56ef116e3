"""Options that several commands share: each is spelled, explained and checked here alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


class OutputPath(click.ParamType):  # type: ignore[type-arg] # only newer releases of click take the type
    """A file or folder to write; that it can be written is found out while options are read, before any work.

    Args:
        folder: whether it is a folder.
    """

    def __init__(self, *, folder: bool) -> None:
        self.folder = folder
        self.name = "directory" if folder else "file"

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises:
            BadParameter: it cannot be written; says why.
        """
        path = Path(value).expanduser()
        try:
            if trouble := _trouble(path, folder=self.folder):
                self.fail(f"{path} {trouble}", param, ctx)
        except OSError as error:
            self.fail(f"{path} cannot be written: {error.strerror or error}; name another place", param, ctx)
        return path


def _trouble(path: Path, *, folder: bool) -> str:
    """Why a path cannot be written to, empty when it can be.

    Raises:
        OSError: the system says why.
    """
    if folder and path.exists() and not path.is_dir():
        return "is a file; name a folder"
    if not folder and path.is_dir():
        return "is a folder; name a file"
    if not folder and path.exists():
        with path.open("ab"):  # writes nothing
            return ""
    existing = path if folder else path.parent
    while True:  # whatever of the path exists must be a folder in which something can be made
        try:
            existing.stat()
            break
        except FileNotFoundError:
            existing = existing.parent
    with tempfile.TemporaryDirectory(prefix=".datamap-try-", dir=existing):
        return ""


SOURCE = click.argument("source")
SPLITS = click.option("--split", "splits", multiple=True, help="Split to read; several times for several, or all.")
CONFIG = click.option("--config", help="Configuration (subset) of the dataset.")
REVISION = click.option("--revision", help="Branch, tag or commit on the Hub.")
LAYOUT = click.option(
    "--layout", "layout_text", help="Where prompt and responses are: a known layout, paths, JSON or a JSON file."
)
LIMIT = click.option("--limit", type=click.IntRange(min=1), help="Only the first rows of each split.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what another job left in --out.")


def source_options(function: Function) -> Function:
    """Add SOURCE and the options that say which part of it is read and how."""
    for option in reversed((SOURCE, SPLITS, CONFIG, REVISION, LAYOUT, LIMIT)):
        function = option(function)
    return function


def out_folder(*, required: bool = True, help_text: str = "Folder to write.") -> Callable[[Function], Function]:
    """Return the option ``--out``: a folder that is new or empty, or holds what the same job wrote."""
    return click.option("--out", type=OutputPath(folder=True), required=required, help=help_text)

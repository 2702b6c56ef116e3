"""The files of the Space's app, as they are installed."""

from __future__ import annotations

from pathlib import Path

from hf_datamap.errors import HubError


def space_files() -> dict[str, Path]:
    """Return the files of the Gradio app by their path in the Space.

    Raises:
        HubError: the app is not installed.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_space", package.parent / "space"):
        if (folder / "app.py").is_file():
            paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder))
            return {path.relative_to(folder).as_posix(): path for path in paths}
    raise HubError(f"the Space's files are missing beside {package}: reinstall hf_datamap")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)

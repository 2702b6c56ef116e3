"""What a dataset repository holds already: its configurations, their splits and files."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hf_datamap.data.shards import by_split

Splits = dict[str, list[str]]
#: Not data, whatever `datasets` would make of their names.
_OURS: Final = "datamap/"


def configs(card: Mapping[str, Any], files: Collection[str]) -> dict[str, Splits]:
    """Return the files of each split of each configuration, listed in the card or implied by file names.

    Args:
        card: the card's YAML.
        files: every path of the repository.
    """
    listed = card.get("configs")
    if isinstance(listed, list) and listed:
        return {
            str(item["config_name"]): _splits(item, files)
            for item in listed
            if isinstance(item, dict) and "config_name" in item
        }
    implied = _implied(files, "")
    return {"default": implied} if implied else {}


def _splits(item: Mapping[str, Any], files: Collection[str]) -> Splits:
    data_files = item.get("data_files")
    folder = str(item.get("data_dir") or "").strip("/")
    if data_files is None:
        return _implied(files, folder)
    if isinstance(data_files, str):
        data_files = [data_files]
    if all(isinstance(entry, str) for entry in data_files):
        return {"train": _match(data_files, files, folder)}
    splits: Splits = {}
    for entry in data_files:
        paths = entry.get("path", []) if isinstance(entry, dict) else []
        matching = _match([paths] if isinstance(paths, str) else paths, files, folder)
        splits.setdefault(str(entry.get("split", "train")), []).extend(matching)
    return splits


def _match(patterns: Iterable[str], files: Collection[str], folder: str) -> list[str]:
    full = [_glob(f"{folder}/{pattern}" if folder else pattern) for pattern in patterns]
    return sorted({path for pattern in full for path in files if pattern.match(path)})


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern as `datasets` reads it: ``*`` stays within a folder."""
    from fsspec.utils import glob_translate

    try:
        return re.compile(glob_translate(pattern.removeprefix("./")))
    except (ValueError, re.error):  # none that `datasets` can read
        return re.compile(re.escape(pattern) + r"\Z")


def _implied(files: Collection[str], folder: str) -> Splits:
    """What `datasets` reads from file names, asked of `datasets` itself on a tree of empty files."""
    from datasets.data_files import EmptyDatasetError, get_data_patterns, resolve_pattern

    prefix = f"{folder}/" if folder else ""
    data_paths = [path for path in files if path.startswith(prefix) and not path.startswith((_OURS, "."))]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        for path in data_paths:
            local = root / path.removeprefix(prefix)
            local.parent.mkdir(parents=True, exist_ok=True)
            local.touch()
        try:
            patterns = get_data_patterns(str(root))
        except (EmptyDatasetError, FileNotFoundError):
            return {}
        implied: Splits = {}
        for split, globs in patterns.items():
            paths: set[str] = set()
            for glob in globs:
                with contextlib.suppress(FileNotFoundError):  # one of several patterns for the same split
                    paths |= {Path(path).relative_to(root).as_posix() for path in resolve_pattern(glob, str(root))}
            data = sorted(prefix + path for path in paths if path.rpartition("/")[2] not in _NO_DATA)
            if data:
                implied[str(split)] = data
        return implied


_NO_DATA: Final = frozenset({"README.md", "LICENSE", "dataset_infos.json"})


def shards(files: Iterable[str], directory: str) -> dict[str, str]:
    """Return the shards in a folder that were pushed as such (``<split>-00000-of-00001.parquet``), and their split."""
    inside = [path for path in files if path.rpartition("/")[0] == directory]
    return {path: split for split, paths in by_split(inside).items() for path in paths}


def without_infos(text: bytes, names: Collection[str]) -> bytes | None:
    """Return a legacy ``dataset_infos.json`` without configurations whose features would be stale; None if empty."""
    try:
        infos = json.loads(text)
    except ValueError:
        return text
    kept = {
        name: info for name, info in infos.items() if name not in names and not ("default" in names and "--" in name)
    }
    return None if not kept else text if kept == infos else json.dumps(kept, indent=4).encode()

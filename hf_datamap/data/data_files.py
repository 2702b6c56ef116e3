"""The data files of a folder: which can be read, which are no data, and which split each belongs to."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hf_datamap.data.file_text import plain_suffix
from hf_datamap.data.json_rows import shape_of

_log = logging.getLogger(__name__)

#: Endings of files that can be read, and the loader for each.
LOADERS: Final = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".ndjson": "json",
    ".json": "json",
    ".json.gz": "json",
    ".jsonl.bz2": "json",
    ".jsonl.xz": "json",
    ".ndjson.gz": "json",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
KINDS = "a Hub dataset id (owner/name), a folder, or a file ending in " + ", ".join(LOADERS)
_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}.*")
_SPLIT_WORD = re.compile(
    r"(?:^|[^a-z])(training|train|testing|test|evaluation|eval|validation|valid|val|dev)(?:[^a-z]|$)"
)
_SAME_SPLIT = {
    "valid": "validation", "val": "validation", "dev": "validation", "training": "train", "testing": "test",
    "eval": "test", "evaluation": "test",
}  # fmt: skip
#: Files beside the data that are not data (our own, and those of ``datasets``).
_NOT_DATA = {
    "datamap.json",
    "dataset_info.json",
    "dataset_infos.json",
    "state.json",
    "dataset_dict.json",
    "report.json",
    "config.json",
}


def loader_of(path: Path) -> str | None:
    """Return the loader of `datasets` for a file, by its ending; None where there is none."""
    name = path.name.lower()
    return next((loader for ending, loader in LOADERS.items() if name.endswith(ending)), None)


def data_files(folder: Path) -> dict[str, list[Path]]:
    """Return the data files of a folder by split, of one kind only (parquet first).

    Splits are told as ``datasets`` does: ``train_prefs-00000-of-00001.parquet`` is of ``train_prefs``; otherwise names
    of folders count, then those of files.
    """
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in _NOT_DATA)
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    for loader in dict.fromkeys(LOADERS.values()):
        of_kind = [file for file in files if loader_of(file) == loader]
        if loader == "json" and len(of_kind) > 1:
            of_kind = _with_rows(of_kind)
        if of_kind:
            return _by_split(of_kind, folder)
    return {}


def _with_rows(files: Sequence[Path]) -> list[Path]:
    """Return JSON files without those that are one object and no row: settings beside the data."""
    objects = [file for file in files if plain_suffix(file) == ".json" and file.stat().st_size]
    settings = [file for file in objects if shape_of(file).kind == "config"]
    if settings and len(settings) < len(files):
        _log.warning("left out, no rows in them: %s", ", ".join(file.name for file in settings))
        return [file for file in files if file not in settings]
    return list(files)


def _by_split(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    shards = [_SHARD.fullmatch(file.name) for file in files]
    if all(shards):
        return _grouped(files, [match[1] if match else "" for match in shards], folder)
    for parts in ([str(file.parent.relative_to(folder)) for file in files], [file.name for file in files]):
        words = [_split_word(part.lower()) for part in parts]
        if any(words):
            return _grouped(files, words, folder)
    return {"train": list(files)}


def _grouped(files: Sequence[Path], splits: Sequence[str], folder: Path) -> dict[str, list[Path]]:
    """Return files by split; those of no split are left out, which is said."""
    groups: dict[str, list[Path]] = {}
    for split, file in zip(splits, files, strict=True):
        if split:
            groups.setdefault(split, []).append(file)
    if nameless := [str(file.relative_to(folder)) for split, file in zip(splits, files, strict=True) if not split]:
        _log.warning("%s: left out, of no split: %s", folder, ", ".join(nameless))
    return groups


def _split_word(name: str) -> str:
    match = _SPLIT_WORD.search(name)
    return "" if match is None else _SAME_SPLIT.get(match[1], match[1])

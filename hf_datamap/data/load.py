"""Sources: a Hub id, a folder or a file, opened as one split of a dataset, with errors that name the way out."""

from __future__ import annotations

import gzip
import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from hf_datamap.data.card_yaml import front_matter
from hf_datamap.data.decode import without_surrogates
from hf_datamap.data.exchange import settle
from hf_datamap.data.shards import split_name
from hf_datamap.errors import CardError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    AnyDataset: TypeAlias = Dataset | IterableDataset

_log = logging.getLogger(__name__)

#: Endings of files that can be read, and the loader for each.
LOADERS: Final = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".ndjson": "json",
    ".json": "json",
    ".json.gz": "json",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".arrow": "arrow",
}
_KINDS = "a Hub dataset id (owner/name), a folder, or a file ending in " + ", ".join(LOADERS)
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_SPLIT_WORD = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev)(?:[^a-z]|$)")
_SAME_SPLIT = {"valid": "validation", "val": "validation", "dev": "validation"}
#: Files beside the data that are not data (our own, and those of ``datasets``).
_NOT_DATA = {
    "datamap.json",
    "dataset_info.json",
    "dataset_infos.json",
    "state.json",
    "dataset_dict.json",
    "report.json",
}


def load_source(
    source: str | Path,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    *,
    streaming: bool = False,
) -> AnyDataset:
    """Open one split of a dataset.

    Args:
        source: a Hub dataset id, a folder (of data files, with ``data/*.parquet``, as ``save_to_disk`` or
            ``push_to_hub`` leave it), or a file: .parquet, .jsonl, .jsonl.gz, .json, .csv, .arrow.
        split: which split; left out, the only one there is, or ``train`` where there are several (said in the log).
        config: which configuration (subset) of a Hub dataset or folder; of datasets that keep their parts in folders
            without naming them, the folder (what ``load_dataset`` calls ``data_dir``).
        revision: branch, tag or commit of a Hub dataset.
        streaming: whether to read lazily, as an ``IterableDataset``.

    Raises:
        SourceError: not found, not readable, empty, or the split or configuration is not there.
    """
    path = Path(source).expanduser()
    name = str(source)
    if path.is_dir():
        return _folder(path, split, config, streaming=streaming)
    if path.is_file():
        if config:
            raise SourceError(f"{name} is a file and has no configuration {config!r}; leave --config out")
        return _files({"train": [path]}, split, streaming=streaming)
    if _loader(path) or name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name):
        raise SourceError(f"there is no file or folder {name!r}; a source is {_KINDS}")
    return _hub(name, split, config, revision, streaming=streaming)


@dataclass(frozen=True)
class ParquetSplit:
    """One split of a dataset that is kept in Parquet.

    Attributes:
        name: of the split.
        files: its files, or their ``hf://`` URLs, in row order.
    """

    name: str
    files: list[str]


def parquet_split(
    source: str | Path, split: str | None = None, config: str | None = None, revision: str | None = None
) -> ParquetSplit | None:
    """Return the Parquet files (or their ``hf://`` URLs) that one split of a dataset consists of, in order.

    Args:
        source: see `load_source`.
        split: see `load_source`.
        config: see `load_source`.
        revision: see `load_source`.

    Returns:
        None where the dataset is kept in another format, or only a slice of a split is asked for.

    Raises:
        SourceError: see `load_source`.
    """
    if split and split.endswith("]"):
        return None
    stream = load_source(source, split, config, revision, streaming=True)
    reader: Any = getattr(stream, "_ex_iterable", None)  # datasets has resolved configurations, splits and patterns
    builder = getattr(getattr(reader, "generate_tables_fn", None), "__self__", None)
    files = getattr(reader, "kwargs", {}).get("files")
    if not any(kind.__module__.endswith(".parquet") for kind in type(builder).__mro__) or not files:
        return None
    return ParquetSplit(split_name(stream.split), [str(file) for file in files])


def _loader(path: Path) -> str | None:
    name = path.name.lower()
    return next((loader for ending, loader in LOADERS.items() if name.endswith(ending)), None)


def _pick(splits: Sequence[str], split: str | None, where: str) -> str:
    """Return the split to read, saying so when there was a choice."""
    if split is not None:
        if re.sub(r"\[.*\]$", "", split) not in splits:
            raise SourceError(f"{where} has no split {split!r}; it has: {', '.join(splits)} (--split)")
        return split
    if len(splits) > 1:
        if "train" not in splits:
            raise SourceError(f"{where} has several splits: {', '.join(splits)}; choose one with --split")
        _log.warning("%s has the splits %s; reading 'train' (--split chooses another)", where, ", ".join(splits))
        return "train"
    return splits[0]


# --- files ------------------------------------------------------------------------------------------------------------


def _files(files: Mapping[str, Sequence[Path]], split: str | None, *, streaming: bool) -> AnyDataset:
    from datasets import load_dataset

    first = next(iter(files.values()))[0]
    chosen = _pick(list(files), split, str(first.parent if sum(map(len, files.values())) > 1 else first))
    base = re.sub(r"\[.*\]$", "", chosen)
    paths = list(files[base])
    if (loader := _loader(first)) is None:
        raise SourceError(f"cannot read {first}: a source is {_KINDS}")
    if all(path.stat().st_size == 0 for path in paths):
        raise SourceError(f"{paths[0]} is empty")
    try:
        with _quiet():
            loaded = load_dataset(loader, data_files={base: [str(p) for p in paths]}, split=chosen, streaming=streaming)
            if streaming and loader == "json":
                next(iter(loaded), None)  # broken JSON shows only when it is read
    except Exception as error:
        if loader != "json":
            empty = "corresponds to no data" in str(error)
            raise SourceError(
                f"{paths[0]} has no rows" if empty else f"cannot read {paths[0]}: {_told(error)}"
            ) from None
        loaded = _repaired(paths, chosen, error, streaming=streaming)
    return _not_empty(loaded, str(paths[0]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loaders from logging an error that is about to be raised in our words."""
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _repaired(paths: Sequence[Path], split: str, error: Exception, *, streaming: bool) -> AnyDataset:
    """Return a JSON Lines dataset in which texts with lone surrogates, which Arrow cannot hold, are null."""
    from datasets import load_dataset

    damaged: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repaired.jsonl"
        with copy.open("w", encoding="utf-8") as out:
            for number, row in _json_rows(paths, error):
                clean = without_surrogates(row)
                if clean != row:
                    damaged.append(number)
                out.write(json.dumps(clean) + "\n")
        if not damaged:
            raise SourceError(f"cannot read {paths[0]}: {_told(error)}") from None
        try:
            loaded = load_dataset("json", data_files={"train": str(copy)}, split="train", keep_in_memory=True)
        except Exception as second:
            raise SourceError(f"cannot read {paths[0]}: {_told(second)}") from None
    _log.warning("%s: %d rows hold text with lone surrogates; those texts are null", paths[0], len(damaged))
    bounds = re.search(r"\[(\d*):(\d*)\]$", split)
    if bounds:
        start, stop = (int(bound) if bound else None for bound in bounds.groups())
        loaded = loaded.select(range(*slice(start, stop).indices(len(loaded))))
    return loaded.to_iterable_dataset() if streaming else loaded


def _json_rows(paths: Sequence[Path], error: Exception) -> Iterator[tuple[int, Any]]:
    for path in paths:
        with _opened(path) as lines:
            try:
                if path.name.lower().removesuffix(".gz").endswith(".json") and lines.read(64).lstrip()[:1] == "[":
                    lines.seek(0)
                    yield from enumerate(json.load(lines), 1)
                    continue
                lines.seek(0)
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _json_row(path, number, line)
            except (OSError, ValueError, EOFError):
                raise SourceError(f"cannot read {path}: {_told(error)}") from None


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as wrong:
        raise SourceError(f"{path}, line {number} is not JSON: {wrong}") from None
    if not isinstance(row, dict):
        raise SourceError(f"{path}, line {number} is not a JSON object but {type(row).__name__}")
    return row


def _opened(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


# --- folders ----------------------------------------------------------------------------------------------------------


def _folder(path: Path, split: str | None, config: str | None, *, streaming: bool) -> AnyDataset:
    settle(path)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path, split, streaming=streaming)
    if config is None or (path / "README.md").is_file():
        card = _card_configs(path)
        if card:
            return _by_datasets(str(path), card, split, config, None, streaming=streaming)
    if config is not None:
        inner = path / config
        if not inner.is_dir():
            raise SourceError(
                f"{path} has no configuration {config!r}: no such folder in it, and no card that names it"
            )
        return _folder(inner, split, None, streaming=streaming)
    for folder in (path / "data", path):
        if files := _data_files(folder):
            return _files(files, split, streaming=streaming)
    inside = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    raise SourceError(f"no data files in the folder {path} (it has: {inside}); a source is {_KINDS}")


def _saved(path: Path, split: str | None, *, streaming: bool) -> AnyDataset:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except Exception as error:
        raise SourceError(f"cannot read {path}, which save_to_disk wrote: {_told(error)}") from None
    if isinstance(loaded, DatasetDict):
        loaded = loaded[_pick(list(loaded), split, str(path))]
    elif split is not None and split != str(loaded.split or "train"):
        raise SourceError(f"{path} holds one dataset without splits; leave --split {split} out")
    loaded = _not_empty(loaded, str(path))
    return loaded.to_iterable_dataset() if streaming else loaded


def _data_files(folder: Path) -> dict[str, list[Path]]:
    """Return the data files of a folder by split, of one kind only (parquet first), splits told by file names."""
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in _NOT_DATA)
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    for loader in dict.fromkeys(LOADERS.values()):
        if found := [file for file in files if _loader(file) == loader]:
            splits: dict[str, list[Path]] = {}
            for file in found:
                match = _SPLIT_WORD.search(str(file.relative_to(folder)).lower())
                word = match[1] if match else "train"
                splits.setdefault(_SAME_SPLIT.get(word, word), []).append(file)
            return splits
    return {}


def _card_configs(path: Path) -> list[str]:
    """Return the configurations that a folder's card declares."""
    card = path / "README.md"
    if not card.is_file():
        return []
    try:
        configs = front_matter(card.read_text(encoding="utf-8", errors="replace")).get("configs")
    except CardError as error:  # datasets would read the same YAML, without bounds
        raise SourceError(f"{card} cannot be used: {error}. Correct it, or move it away") from None
    for config in configs if isinstance(configs, list) else []:
        _refuse_outside(path, config)
    named = [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    named.sort(key=lambda c: not c.get("default", False))
    return [str(c["config_name"]) for c in named if "config_name" in c and "data_files" in c]


def _refuse_outside(folder: Path, config: Any) -> None:
    """Refuse a configuration of a folder's card that reads files of somewhere else.

    Raises:
        SourceError: names the pattern.
    """
    patterns: list[Any] = [config]
    while patterns:
        item = patterns.pop()
        if isinstance(item, Mapping):
            patterns += [item[key] for key in ("data_files", "data_dir", "path") if key in item]
            if not {"data_files", "path"} & item.keys():
                patterns += [value for key, value in item.items() if key not in ("config_name", "split", "data_dir")]
        elif isinstance(item, list):
            patterns += item
        elif isinstance(item, str) and (
            "://" in item or "::" in item or item.startswith(("/", "~", "\\")) or ".." in re.split(r"[/\\]", item)
        ):
            raise SourceError(
                f"{folder / 'README.md'} names data outside of its folder: {item[:200]!r}. A folder's own card may "
                "only name files in it; open the other file by itself if you trust it"
            )


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _hub(name: str, split: str | None, config: str | None, revision: str | None, *, streaming: bool) -> AnyDataset:
    from datasets import get_dataset_config_names

    try:
        configs = get_dataset_config_names(name, revision=revision)
    except Exception as error:
        raise _hub_error(name, error) from None
    return _by_datasets(name, configs, split, config, revision, streaming=streaming)


def _by_datasets(
    name: str, configs: Sequence[str], split: str | None, config: str | None, revision: str | None, *, streaming: bool
) -> AnyDataset:
    """Load through ``load_dataset``, which knows cards and the Hub."""
    from datasets import get_dataset_split_names, load_dataset

    if config is None and len(configs) > 1 and "default" not in configs and not Path(name).is_dir():
        raise SourceError(f"{name} has several configurations: {', '.join(configs)}; choose one with --config")
    named: dict[str, Any] = {"name": config or ("default" if "default" in configs else configs[0])}
    if config is not None and config not in configs:
        named = {"data_dir": config}  # datasets that keep their parts in folders, without naming them in the card
    try:
        splits = get_dataset_split_names(name, named.get("name"), data_dir=named.get("data_dir"), revision=revision)
        chosen = _pick(splits, split, name)
        loaded = load_dataset(name, **named, split=chosen, revision=revision, streaming=streaming)
    except SourceError:
        raise
    except Exception as error:
        if "data_dir" in named and not isinstance(error, ConnectionError):
            raise SourceError(
                f"{name} has no configuration (or folder) {config!r}; it has: {', '.join(configs)} (--config)"
            ) from None
        raise _hub_error(name, error) from None
    return _not_empty(loaded, name)


def _hub_error(name: str, error: Exception) -> SourceError:
    kind, told = type(error).__name__, _told(error)
    if "gated" in told.lower() or "authenticated" in told.lower():
        way = f"ask for access at https://huggingface.co/datasets/{name} and log in with `hf auth login`"
    elif "script" in told.lower():
        way = "it needs a loading script; the Hub's own conversion can be read with --revision refs/convert/parquet"
    elif kind == "ConnectionError" or "reach" in told or "Offline" in told:
        way = "check the connection and HF_HUB_OFFLINE, or give a local folder or file"
    else:
        way = f"check the name; private and gated datasets need `hf auth login`; a source is {_KINDS}"
    return SourceError(f"cannot open the Hub dataset {name!r}: {told}; {way}")


def _not_empty(loaded: Any, where: str) -> Any:
    if hasattr(loaded, "num_rows") and loaded.num_rows == 0:
        raise SourceError(f"{where} has no rows")
    return loaded


def _told(error: BaseException) -> str:
    """Return the words of an error in one line, its cause's where its own say nothing, tokens left out."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    words = re.sub(r"\s+", " ", str(root) or str(error) or type(error).__name__).strip()
    return re.sub(r"hf_[A-Za-z0-9]{8,}", "hf_***", words)[:300]

"""Sources: a Hub id, a folder or a file, opened as one split of a dataset, with errors that name the way out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_datamap.data.card_yaml import front_matter
from hf_datamap.data.data_files import KINDS, data_files, loader_of
from hf_datamap.data.exchange import settle
from hf_datamap.data.open_files import in_one_line, not_empty, open_files, pick_split
from hf_datamap.data.shards import split_name
from hf_datamap.errors import CardError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    AnyDataset: TypeAlias = Dataset | IterableDataset

_log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")


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
        return open_files({"train": [path]}, split, streaming=streaming)
    if loader_of(path) or name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name):
        raise SourceError(f"there is no file or folder {name!r}; a source is {KINDS}")
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


def joined_files(source: str | Path, split: str | None = None) -> list[str]:
    """Return the names of the files that one split of a local folder is read from, relative to it; else none.

    Folders with a card that declares its files, and those that ``save_to_disk`` wrote, say for themselves.
    """
    path = Path(source).expanduser()
    if not path.is_dir() or any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return []
    if _card_configs(path):
        return []
    for folder in (path / "data", path):
        if splits := data_files(folder):
            name = re.sub(r"\[.*\]$", "", split or ("train" if "train" in splits else next(iter(splits))))
            return [str(file.relative_to(path)) for file in splits.get(name, [])]
    return []


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
        if files := data_files(folder):
            return open_files(files, split, streaming=streaming)
    inside = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    raise SourceError(f"no data files in the folder {path} (it has: {inside}); a source is {KINDS}")


def _saved(path: Path, split: str | None, *, streaming: bool) -> AnyDataset:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except Exception as error:
        raise SourceError(f"cannot read {path}, which save_to_disk wrote: {in_one_line(error)}") from None
    if isinstance(loaded, DatasetDict):
        loaded = loaded[pick_split(list(loaded), split, str(path))]
    elif split is not None and split != str(loaded.split or "train"):
        raise SourceError(f"{path} holds one dataset without splits; leave --split {split} out")
    loaded = not_empty(loaded, str(path))
    return loaded.to_iterable_dataset() if streaming else loaded


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
        chosen = pick_split(splits, split, name)
        loaded = load_dataset(name, **named, split=chosen, revision=revision, streaming=streaming)
    except SourceError:
        raise
    except Exception as error:
        if "data_dir" in named and not isinstance(error, ConnectionError):
            raise SourceError(
                f"{name} has no configuration (or folder) {config!r}; it has: {', '.join(configs)} (--config)"
            ) from None
        raise _hub_error(name, error) from None
    return not_empty(loaded, name)


def _hub_error(name: str, error: Exception) -> SourceError:
    kind, reason = type(error).__name__, in_one_line(error)
    if "gated" in reason.lower() or "authenticated" in reason.lower():
        way = f"ask for access at https://huggingface.co/datasets/{name} and log in with `hf auth login`"
    elif "script" in reason.lower():
        way = "it needs a loading script; the Hub's own conversion can be read with --revision refs/convert/parquet"
    elif kind == "ConnectionError" or "reach" in reason or "Offline" in reason:
        way = "check the connection and HF_HUB_OFFLINE, or give a local folder or file"
    else:
        way = f"check the name; private and gated datasets need `hf auth login`; a source is {KINDS}"
    return SourceError(f"cannot open the Hub dataset {name!r}: {reason}; {way}")

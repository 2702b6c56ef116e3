"""Sources: a Hub id, a folder or a file, opened as one split of a dataset, with errors that name the way out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hf_datamap.data.card_yaml import front_matter
from hf_datamap.data.csv_options import all_text, csv_options
from hf_datamap.data.exchange import settle
from hf_datamap.data.file_text import plain_suffix
from hf_datamap.data.json_rows import changed_texts, dataset_of_rows, shape_of
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
_KINDS = "a Hub dataset id (owner/name), a folder, or a file ending in " + ", ".join(LOADERS)
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
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


def parquet_shards(
    source: str | Path, split: str | None = None, config: str | None = None, revision: str | None = None
) -> list[str] | None:
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
    return [str(file) for file in files]


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
    first = next(iter(files.values()))[0]
    chosen = _pick(list(files), split, str(first.parent if sum(map(len, files.values())) > 1 else first))
    base = re.sub(r"\[.*\]$", "", chosen)
    paths = list(files[base])
    if (loader := _loader(first)) is None:
        raise SourceError(f"cannot read {first}: a source is {_KINDS}")
    if all(path.stat().st_size == 0 for path in paths):
        raise SourceError(f"{paths[0]} is empty")
    if loader == "json":
        loaded = _json(paths, chosen, split, streaming=streaming)
    else:
        options = csv_options(paths[0]) if loader == "csv" else {}
        loaded = _by_loader(loader, paths, chosen, options, streaming=streaming)
    return _not_empty(loaded, str(paths[0]))


def _by_loader(
    loader: str, paths: Sequence[Path], split: str, options: dict[str, Any], *, streaming: bool
) -> AnyDataset:
    from datasets import load_dataset

    base = re.sub(r"\[.*\]$", "", split)
    files = {base: [str(path) for path in paths]}
    try:
        with _quiet():
            return load_dataset(loader, data_files=files, split=split, streaming=streaming, **options)
    except Exception as error:
        if options and "converters" in options and not streaming and "no data" not in str(error):
            with _quiet(), suppress(Exception):  # a column that is numbers first and words later
                return load_dataset(loader, data_files=files, split=split, **all_text(options))
        empty = "corresponds to no data" in str(error)
        raise SourceError(f"{paths[0]} has no rows" if empty else f"cannot read {paths[0]}: {_told(error)}") from None


def _json(paths: Sequence[Path], chosen: str, split: str | None, *, streaming: bool) -> AnyDataset:
    """Open JSON files: by ``datasets`` where it reads them as they are, row by row where it would not."""
    from datasets import load_dataset

    base = re.sub(r"\[.*\]$", "", chosen)
    shapes = [shape_of(path) for path in paths]
    inner = shapes[0].splits if len(paths) == 1 else ()
    if inner:
        chosen = _pick(inner, split, str(paths[0]))
        base = re.sub(r"\[.*\]$", "", chosen)
    for path, shape in zip(paths, shapes, strict=True):
        if shape.note:
            _log.warning("%s: %s", path, shape.note)
    if all(shape.kind in ("plain", "config") for shape in shapes):
        try:
            with _quiet():
                files = {base: [str(path) for path in paths]}
                loaded = load_dataset("json", data_files=files, split=chosen, streaming=streaming)
                first = next(iter(loaded), None) if streaming else None  # broken JSON shows only when it is read
            features = loaded.features or (first and _features_of_row(first))
            if not changed_texts(features) and not (streaming and _has_null_columns(features)):
                return loaded
        except Exception as error:
            _log.debug("%s is read row by row: %s", paths[0], error)
    rows = dataset_of_rows(paths, base, base if inner else None)
    bounds = re.search(r"\[(\d*):(\d*)\]$", chosen)
    if bounds:
        start, stop = (int(bound) if bound else None for bound in bounds.groups())
        rows = rows.select(range(*slice(start, stop).indices(len(rows))))
    return rows.to_iterable_dataset() if streaming else rows


def _features_of_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    import pyarrow as pa
    from datasets import Features

    try:
        return Features.from_arrow_schema(pa.table({name: [value] for name, value in row.items()}).schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError):
        return {}


def _has_null_columns(features: Mapping[str, Any] | None) -> bool:
    """Tell whether a stream has columns of which the first block has nulls alone: later texts would break it."""
    return any(str(getattr(feature, "dtype", "")) == "null" for feature in (features or {}).values())


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
    """Return the data files of a folder by split, of one kind only (parquet first).

    Splits are told as ``datasets`` does: ``train_prefs-00000-of-00001.parquet`` is of ``train_prefs``; otherwise names
    of folders count, then those of files.
    """
    if not folder.is_dir():
        return {}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in _NOT_DATA)
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    for loader in dict.fromkeys(LOADERS.values()):
        of_kind = [file for file in files if _loader(file) == loader]
        if loader == "json" and len(of_kind) > 1:
            of_kind = _with_rows(of_kind)
        if of_kind:
            return _by_split(of_kind, folder)
    return {}


def _with_rows(files: Sequence[Path]) -> list[Path]:
    """Return JSON files without those that are one object and no row: settings beside the data."""
    settings = [
        file
        for file in files
        if plain_suffix(file) == ".json" and file.stat().st_size and shape_of(file).kind == "config"
    ]
    if settings and len(settings) < len(files):
        _log.warning("left out, no rows in them: %s", ", ".join(file.name for file in settings))
        return [file for file in files if file not in settings]
    return list(files)


def _by_split(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    shards = [(_SHARD.fullmatch(file.name), file) for file in files]
    splits: dict[str, list[Path]] = {}
    if all(match for match, _ in shards):
        for match, file in shards:
            splits.setdefault(match[1] if match else "train", []).append(file)
        return splits
    inside = [str(file.parent.relative_to(folder)).lower() for file in files]
    for parts in (inside, [file.name.lower() for file in files]):
        words = [_split_word(part) for part in parts]
        if any(words):
            for word, file in zip(words, files, strict=True):
                if word or len(files) == len([w for w in words if w]) or word is not None:
                    splits.setdefault(word or "train", []).append(file)
            unnamed = [file for word, file in zip(words, files, strict=True) if not word]
            if unnamed:
                _log.warning("left out, of no split: %s", ", ".join(str(file.relative_to(folder)) for file in unnamed))
            return splits
    return {"train": list(files)}


def _split_word(name: str) -> str | None:
    match = _SPLIT_WORD.search(name)
    return None if match is None else _SAME_SPLIT.get(match[1], match[1])


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

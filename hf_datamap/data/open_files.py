"""Opening files: through the loaders of ``datasets`` where these keep every text as it is, row by row elsewhere."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_datamap.data.csv_options import all_text, csv_options
from hf_datamap.data.data_files import KINDS, loader_of
from hf_datamap.data.json_rows import changed_texts, dataset_of_rows, shape_of
from hf_datamap.errors import SourceError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    AnyDataset: TypeAlias = Dataset | IterableDataset

_log = logging.getLogger(__name__)


def pick_split(splits: Sequence[str], split: str | None, where: str) -> str:
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


def open_files(files: Mapping[str, Sequence[Path]], split: str | None, *, streaming: bool) -> AnyDataset:
    """Open one split of local files.

    Args:
        files: the files of each split.
        split: which split; see `pick_split`.
        streaming: whether to read lazily.

    Raises:
        SourceError: a file cannot be read, or has no rows.
    """
    first = next(iter(files.values()))[0]
    if sum(map(len, files.values())) == 1 and loader_of(first) == "json" and first.stat().st_size:
        files = {name: [first] for name in shape_of(first).splits} or files  # one file with a list per split
    chosen = pick_split(list(files), split, str(first.parent if sum(map(len, files.values())) > 1 else first))
    base = re.sub(r"\[.*\]$", "", chosen)
    paths = list(files[base])
    if (loader := loader_of(first)) is None:
        raise SourceError(f"cannot read {first}: a source is {KINDS}")
    if all(path.stat().st_size == 0 for path in paths):
        raise SourceError(f"{paths[0]} is empty")
    if loader == "json":
        loaded = _json(paths, chosen, streaming=streaming)
    else:
        options = csv_options(paths[0]) if loader == "csv" else {}
        loaded = _by_loader(loader, paths, chosen, options, streaming=streaming)
    return not_empty(loaded, str(paths[0]))


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
            with _quiet(), suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that converters count, and not types, is what is wanted
                # A column is numbers (or nothing) first and words later.
                return load_dataset(loader, data_files=files, split=split, **all_text(options))
        empty = "corresponds to no data" in str(error)
        raise SourceError(
            f"{paths[0]} has no rows" if empty else f"cannot read {paths[0]}: {in_one_line(error)}"
        ) from None


def _json(paths: Sequence[Path], chosen: str, *, streaming: bool) -> AnyDataset:
    """Open JSON files: by ``datasets`` where it reads them as they are, row by row where it would not."""
    from datasets import load_dataset

    base = re.sub(r"\[.*\]$", "", chosen)
    shapes = [shape_of(path) for path in paths]
    inner = shapes[0].splits if len(paths) == 1 else ()
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
        features: Mapping[str, Any] = Features.from_arrow_schema(
            pa.table({name: [value] for name, value in row.items()}).schema
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError):
        return {}
    return features


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


def not_empty(loaded: Any, where: str) -> Any:
    """Return a dataset that has rows (or is a stream).

    Raises:
        SourceError: it has none.
    """
    if hasattr(loaded, "num_rows") and loaded.num_rows == 0:
        raise SourceError(f"{where} has no rows")
    return loaded


def in_one_line(error: BaseException) -> str:
    """Return the words of an error in one line, its cause's where its own say nothing, tokens left out."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    words = re.sub(r"\s+", " ", str(root) or str(error) or type(error).__name__).strip()
    return re.sub(r"hf_[A-Za-z0-9]{8,}", "hf_***", words)[:300]

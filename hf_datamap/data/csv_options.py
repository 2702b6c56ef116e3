"""How a CSV file is to be read so that texts stay as they are: separator, encoding, and which columns are texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hf_datamap.data import names
from hf_datamap.data.file_text import encoding_of, open_text, plain_suffix
from hf_datamap.data.series import series_of
from hf_datamap.errors import SourceError

_SEPARATORS: Final = (",", ";", "\t", "|")
_NULLS: Final = ("", "#N/A", "N/A", "NA", "NaN", "nan", "null", "NULL", "None", "<NA>")
_TEXT_NAMES: Final = frozenset(
    (*names.PROMPTS, *names.OTHER_PROMPTS, *names.HISTORIES, *names.CONTEXTS, *names.LISTS, *names.SYSTEMS,
     *names.REFERENCES, *names.PREFIXES, "chosen", "rejected", "text", "content", "output", "completion")
)  # fmt: skip


def csv_options(path: Path) -> dict[str, Any]:
    """Return what ``load_dataset("csv", ...)`` needs for a file.

    pandas takes ``None``, ``NA`` and ``null`` for missing values and ``05`` for five; in columns of prompts and
    responses these are texts. In all other columns the usual words for a missing value stay what they are.

    Raises:
        SourceError: the file cannot be read, or its first line names no columns.
    """
    encoding = encoding_of(path)
    try:
        with open_text(path, encoding) as file:
            header = file.readline()
    except (UnicodeDecodeError, OSError) as error:
        raise SourceError(f"cannot read {path}: {error}; convert it to UTF-8") from None
    separator = "\t" if plain_suffix(path) == ".tsv" else _separator(header)
    columns = next(csv.reader([header.lstrip("\ufeff")], delimiter=separator), [])
    texts = text_columns(columns)
    options: dict[str, Any] = {
        "sep": separator,
        "keep_default_na": False,
        "na_values": {name: list(_NULLS) for name in columns if name not in texts},
        "converters": dict.fromkeys(texts, text_cell),
    }
    return options if encoding in ("utf-8", "utf-8-sig") else {**options, "encoding": encoding}


def all_text(options: dict[str, Any]) -> dict[str, Any]:
    """Return options under which every column is text: for columns that are numbers first and words later."""
    from datasets import Features, Value

    names_of_columns = (*options["na_values"], *options["converters"])
    features = Features({name: Value("string") for name in names_of_columns})
    return {**options, "converters": dict.fromkeys(names_of_columns, text_cell), "features": features}


def text_cell(cell: str) -> str | None:
    """Return a cell as it is written; None for an empty one."""
    return cell or None


def text_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns whose cells are texts, by their names, even where all of them look like numbers."""
    texts = [name for name in columns if names.plain_name(name) in _TEXT_NAMES]
    for good, bad in names.PAIRS:
        for name in columns:
            own = names.words(name)
            if any(side in own and set(own) - {side} <= names.PAIR_STEMS for side in (good, bad)):
                texts.append(name)
    for series in series_of(columns):
        company = {*series.before, *series.after}
        if company & names.STEMS and company <= names.STEMS | names.STEM_COMPANY:
            texts += series.columns
    return list(dict.fromkeys(texts))


def _separator(header: str) -> str:
    """Return the separator that cuts the header into most names; a comma where none does."""
    counts = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in _SEPARATORS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] > counts[","] else ","

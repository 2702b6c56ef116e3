"""Languages of the prompts, found on request: rows are read a few at a time, for some seconds at most."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Final

import numpy as np
import pyarrow as pa

from hf_datamap.data.example import Example
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.language import detect_language
from mapspace.index import NamedColumn, named_column
from mapspace.sources import OpenMap

_SECONDS: Final = 20
_CHARACTERS: Final = 600
_LEAST: Final = 12  # letters below which a text has no language that could be told
_found: weakref.WeakKeyDictionary[OpenMap, NamedColumn] = weakref.WeakKeyDictionary()
_one = threading.Lock()


def of(opened: OpenMap) -> NamedColumn:
    """Return the language of each row's prompt: as published, else by its text; -1 where it was not looked at.

    Raises:
        DataMapError: the rows cannot be read.
    """
    if opened.index.language.names:
        return opened.index.language
    with _one:
        if opened not in _found:
            _found[opened] = opened.guard(lambda: _read(opened))
        return _found[opened]


def _read(opened: OpenMap) -> NamedColumn:
    index, until = opened.index, time.monotonic() + _SECONDS
    codes: list[str | None] = [None] * len(index)
    needed = sorted(name for name in opened.layout.columns if name in opened.columns)
    for code, split in enumerate(index.split.names):
        places, start = np.flatnonzero(index.split.codes == code), 0
        places = places[np.argsort(index.row[places], kind="stable")]
        for table in opened.texts(split).rows(index.row[places], 512, needed):
            for at, example in enumerate(opened.layout.read_batch(table), start):
                codes[places[at]] = _language(example)
            start += len(table)
            if time.monotonic() > until:
                break
    return named_column(pa.table({"language": pa.array(codes, pa.string())}), "language")


def _language(example: Example | RowError) -> str | None:
    if isinstance(example, RowError):
        return None
    text = " ".join(message["content"] for message in example.prompt if message["role"] == "user")[:_CHARACTERS]
    if sum(map(str.isalpha, text)) < _LEAST:
        return None
    return detect_language(text)

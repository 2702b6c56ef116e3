"""Decoding: the same value arrives in many physical forms, and all of them become one logical Python value.

A list of structs may come as such, as ``Json`` features (JSON text in Arrow), as a JSON string, as the Python or NumPy
``repr`` that ``Dataset.to_csv`` and pandas write, or as a struct of lists (the legacy ``Sequence({...})``). Everything
that reads rows goes through here, so that batches, rows and streams cannot disagree.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_JSON_STARTS = frozenset('[{"')
_REPR_START = re.compile(
    r"\s*(?:[\[({]\s*)*(?:array\(|\{\s*['\"\]}]|\[\s*['\"{\[\]]|\[\s*[-\d.]|\[\s*(?:None|True|False|nan)\b)"
)
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<mark>[\[\]{}():,])|(?P<word>[^\s\[\]{}():,'"]+)""", re.DOTALL
)
_LEFT_OUT: Final = "..."  # how NumPy shortens long arrays: what is gone cannot be decoded


def decoded(value: Any) -> Any:
    """Return what a JSON string or a Python ``repr`` of a list or dict holds, or the value when it is neither.

    Texts with lone surrogates (which Arrow cannot hold) become None inside.
    """
    if not isinstance(value, str):
        return value
    start = value.lstrip()[:1]
    if start in _JSON_STARTS and start:
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return _python_repr(value) if start != '"' else value
        return without_surrogates(inner) if _ESCAPED_SURROGATE.search(value) else inner
    return _python_repr(value) if start == "a" and value.lstrip().startswith("array(") else value


def _python_repr(text: str) -> Any:
    """Return the list or dict whose Python or NumPy ``repr`` a text is, or the text itself."""
    if not _REPR_START.match(text):
        return text
    try:
        value = ast.literal_eval("".join(_with_commas(text)))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    return value if isinstance(value, (list, dict)) else list(value) if isinstance(value, tuple) else text


def _with_commas(text: str) -> Iterator[str]:  # noqa: C901, PLR0912 - one branch per kind of mark
    """Yield the tokens of a ``repr`` with the commas that NumPy leaves out, and without ``array(..., dtype=object)``.

    Python joins ``'a' 'b'`` to one text, so that the commas must be there before it is evaluated.
    """
    at, ended, arrays, opened = 0, False, [], 0
    pieces: list[str] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at].isspace():
                at += 1
                continue
            raise ValueError("not a repr")
        at, piece, kind = match.end(), match[0], match.lastgroup
        if piece == "array":
            if ended:
                pieces.append(",")
            ended = False
            continue
        if piece == "(":
            opened += 1
            if text[: match.start()].rstrip().endswith("array"):
                arrays.append(opened)
                continue
        if piece == ")":
            opened -= 1
            if arrays and arrays[-1] == opened + 1:
                arrays.pop()
                ended = True
                continue
        if kind == "word" and (piece.startswith("dtype=") or piece == _LEFT_OUT):
            if piece == _LEFT_OUT:
                raise ValueError("the repr was shortened")
            while pieces and pieces[-1] == ",":
                pieces.pop()
            continue
        begins = kind != "mark" or piece in "[{("
        if ended and begins:
            pieces.append(",")
        pieces.append("None" if piece in {"nan", "<NA>", "NaT"} else piece)
        ended = kind != "mark" or piece in "]})"
    yield from pieces


def without_surrogates(value: Any) -> Any:
    """Return a JSON value in which texts that hold lone surrogates are None."""
    if isinstance(value, str):
        return value if value.isascii() or value.encode("utf-8", "ignore").decode() == value else None
    if isinstance(value, dict):
        return {key: without_surrogates(item) for key, item in value.items()}
    return [without_surrogates(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Return a value of a dataset in NumPy, torch or another array format as Python values."""
    if isinstance(value, (str, list, type(None))) or not hasattr(value, "tolist"):
        return value
    return value.tolist()


def records(value: Any) -> Any:
    """Return a struct of equally long lists (the legacy ``Sequence({...})``) as a list of structs; else the value."""
    if not isinstance(value, Mapping) or not value:
        return value
    columns = list(value.values())
    if not all(isinstance(column, (list, tuple)) for column in columns) or len({len(c) for c in columns}) != 1:
        return value
    if len(columns) == 1 and any(isinstance(item, Mapping) for item in columns[0]):
        return value  # an object around a conversation, {"messages": [...]}
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


# --- Arrow ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def holds_json(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type has JSON text (the ``Json`` feature) in it."""
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind.extension_name) == "arrow.json" or holds_json(kind.storage_type)
    return any(holds_json(kind.field(place).type) for place in range(kind.num_fields))


def to_python(array: pa.Array) -> list[Any]:
    """Return the values of an Arrow array as Python objects, JSON text decoded, as ``datasets`` hands rows out."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        if str(kind.extension_name) == "arrow.json":
            return [None if text is None else _from_json(text) for text in array.storage.to_pylist()]
        return to_python(array.storage)
    if not holds_json(kind):
        return list(array.to_pylist())
    if pa.types.is_struct(kind):
        fields = [to_python(field) for field in array.flatten()]
        names = [kind.field(place).name for place in range(kind.num_fields)]
        rows = zip(*fields, strict=True)
        return [
            dict(zip(names, row, strict=True)) if valid else None
            for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        values = to_python(array.flatten())
        return split_by_length(values, pc.list_value_length(array).to_pylist())
    return list(array.to_pylist())


def split_by_length(flat: list[Any], lengths: list[int | None]) -> list[Any]:
    """Return a flat list cut into lists of these lengths; None where the length is null."""
    parts: list[Any] = []
    at = 0
    for length in lengths:
        if length is None:
            parts.append(None)
        else:
            parts.append(flat[at : at + length])
            at += length
    return parts


def _from_json(text: str) -> Any:
    try:
        return without_surrogates(json.loads(text)) if _ESCAPED_SURROGATE.search(text) else json.loads(text)
    except (ValueError, RecursionError):
        return text

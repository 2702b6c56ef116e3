"""Rows of JSON files in all the shapes they come in, and datasets made of them whose texts are as they were written.

The loader of ``datasets`` is fast and fits most files. It takes a single object for one row, texts that look like dates
for dates, and cannot read a column that is null first and text later; such files are read here, row by row.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import names
from hf_datamap.data.decode import without_surrogates
from hf_datamap.data.file_text import encoding_of, open_text
from hf_datamap.data.messages import is_message
from hf_datamap.errors import SourceError

if TYPE_CHECKING:
    from datasets import Dataset, Features

_log = logging.getLogger(__name__)

_LARGE: Final = 1 << 28  # bytes; a single object larger than that is not looked into
_HEAD: Final = 1 << 20
#: Words by which a row is told from an object that has rows in it.
_ROW_WORDS: Final = frozenset(
    (
        *names.PROMPTS,
        *names.HISTORIES,
        "chosen",
        "rejected",
        "response",
        "responses",
        "completions",
        "answers",
        "outputs",
    )
)
_ROW_KEYS: Final = ("data", "rows", "items", "examples", "records", "instances", "samples", "entries", "dataset")
_SPLITS: Final = ("train", "test", "validation", "valid", "val", "dev", "eval")


@dataclass(frozen=True)
class Shape:
    """How the rows stand in a JSON file.

    Attributes:
        kind: ``plain`` (JSON Lines or an array, which ``datasets`` reads), ``rows`` (read here), ``config`` (no rows).
        split: the split that a file of several splits is read for.
        splits: the splits that one file holds.
        note: what was done, for the log.
    """

    kind: str
    splits: tuple[str, ...] = ()
    note: str = ""


def shape_of(path: Path) -> Shape:
    """Return how the rows stand in a file."""
    encoding = encoding_of(path)
    if encoding not in ("utf-8", "utf-8-sig"):
        return Shape("rows", note=f"read as {encoding}")
    with open_text(path, encoding) as file:
        head = file.read(_HEAD)
    if not head.lstrip().startswith("{"):
        return Shape("plain")
    first = head.lstrip().partition("\n")[0]
    if _parses(first) and head.lstrip()[len(first) :].strip():
        return Shape("plain")  # one object a line
    value = _single_object(path, encoding)
    if not isinstance(value, dict):
        return Shape("plain")
    rows, note, splits = unfolded(value)
    if rows is None:
        return Shape("config") if not _has_row_words(value) else Shape("plain")
    return Shape("rows", splits, note)


def _parses(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _single_object(path: Path, encoding: str) -> Any:
    """Return the value of a file that is a single JSON object, None for any other."""
    if path.stat().st_size > _LARGE:
        return None
    with open_text(path, encoding) as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError):
            return None


def _has_row_words(value: Mapping[str, Any]) -> bool:
    return any(names.plain_name(str(key)) in _ROW_WORDS or set(names.words(str(key))) & _ROW_WORDS for key in value)


def _is_row_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def unfolded(  # noqa: PLR0911 - one return per shape
    value: Mapping[str, Any],
) -> tuple[list[Any] | dict[str, list[Any]] | None, str, tuple[str, ...]]:
    """Return the rows in an object, what was done, and the splits where it holds several; None when it has no rows.

    Rows may stand under a key, by split, by their id, as a table of pandas (``split`` or ``table`` orientation), or
    turned over: one list, or one mapping of numbers to cells, per column.
    """
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        columns = [str(name) for name in value["columns"]]
        rows = [dict(zip(columns, cells, strict=False)) for cells in value["data"] if isinstance(cells, list)]
        return rows, "a table of pandas, oriented by row", ()
    if value and all(key in _SPLITS or key.startswith(("train_", "test_")) for key in value):
        by_split = {key: rows for key, rows in value.items() if _is_row_list(rows)}
        if len(by_split) == len(value):
            return by_split, "one list of rows per split", tuple(by_split)
    if turned := _turned_over(value):
        return turned, "one list per column, turned into rows", ()
    under = [key for key, rows in value.items() if _is_row_list(rows) and any(map(_has_row_words, rows))]
    under = [key for key in under if not any(map(is_message, value[key]))]
    if under and not _has_row_words(value):
        if len(under) > 1:
            return None, "", ()
        return value[under[0]], f"the rows stand under the key {under[0]!r}", ()
    viewed = value.get("rows") if _is_row_list(value.get("rows")) else []
    if viewed and all(isinstance(item.get("row"), dict) for item in viewed):
        return [item["row"] for item in viewed], "rows as the Hub's dataset viewer hands them out", ()
    usual = [key for key in _ROW_KEYS if _is_row_list(value.get(key))]
    if len(usual) == 1 and not _has_row_words(value):
        return value[usual[0]], f"the rows stand under the key {usual[0]!r}", ()
    inner = list(value.values())
    if len(inner) > 0 and all(isinstance(row, dict) and _has_row_words(row) for row in inner):
        return inner, "one row per key", ()
    return None, "", ()


def _turned_over(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of an object that holds one list (or numbered mapping) per column; None when it does not."""
    if not _has_row_words(value) or len(value) < 2:
        return None
    columns = list(value.values())
    if all(isinstance(column, dict) and column and all(str(key).isdecimal() for key in column) for column in columns):
        keys = list(dict.fromkeys(key for column in columns for key in column))
        return [{name: column.get(key) for name, column in value.items()} for key in keys]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:
        return None
    prompts = [value[name] for name in value if set(names.words(str(name))) & {*names.PROMPTS, "chosen"}]
    if len(columns[0]) < 2 or not prompts or any(map(is_message, prompts[0])):
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


# --- rows -------------------------------------------------------------------------------------------------------------


def read_rows(path: Path, split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON file, whatever its shape, with their texts as written.

    Args:
        path: the file.
        split: which split, of a file that holds several.

    Raises:
        SourceError: names the file, the line, and what is wrong there.
    """
    encoding = encoding_of(path)
    try:
        with open_text(path, encoding) as file:
            head = file.read(_HEAD).lstrip()
            file.seek(0)
            if encoding == "utf-8-sig":
                file = open_text(path, encoding)  # noqa: PLW2901 - seeking would read the mark again
            if head.startswith("["):
                yield from _checked_rows(path, json.load(file))
            elif head.startswith("{") and not _parses(head.partition("\n")[0]):
                yield from _objects(path, file.read(), split)
            elif (whole := _single_object(path, encoding)) is not None and isinstance(whole, dict):
                yield from _rows_of_object(path, whole, split)
            else:
                yield from _lines(path, file)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"cannot read {path}: it is not {encoding} throughout ({error.reason}); convert it to UTF-8"
        ) from None
    except (OSError, ValueError, EOFError, RecursionError) as error:
        raise SourceError(f"cannot read {path}: {error}") from None


def _lines(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            raise SourceError(f"{path}, line {number} is not JSON: {wrong}") from None
        if not isinstance(row, dict):
            raise SourceError(f"{path}, line {number} is not a JSON object but {type(row).__name__}")
        yield row


def _objects(path: Path, text: str, split: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of objects that are printed over several lines: one, or one after the other."""
    decoder = json.JSONDecoder()
    at, values = 0, []
    while at < len(text):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
    if len(values) == 1 and isinstance(values[0], dict):
        yield from _rows_of_object(path, values[0], split)
    else:
        yield from _checked_rows(path, values)


def _rows_of_object(path: Path, value: dict[str, Any], split: str | None) -> Iterator[dict[str, Any]]:
    rows, _, _ = unfolded(value)
    if isinstance(rows, dict):
        rows = rows.get(str(split)) or next(iter(rows.values()))
    yield from _checked_rows(path, [value] if rows is None else rows)


def _checked_rows(path: Path, rows: Any) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise SourceError(f"{path}, row {number} is not a JSON object but {type(row).__name__}")
        yield row


# --- datasets ---------------------------------------------------------------------------------------------------------


def dataset_of_rows(paths: Sequence[Path], split: str, name: str | None = None) -> Dataset:
    """Return a dataset of the rows of JSON files; texts stay texts, mixed values become ``Json``.

    Texts with lone surrogates, which Arrow cannot hold, become null; the log says in how many rows.

    Raises:
        SourceError: a file cannot be read.
    """
    from datasets import Dataset, NamedSplit

    rows: list[dict[str, Any]] = []
    damaged = 0
    for path in paths:
        for row in read_rows(path, name):
            clean = without_surrogates(row)
            damaged += clean != row
            rows.append(clean)
    if damaged:
        _log.warning("%s: %d rows hold text with lone surrogates; those texts are null", paths[0], damaged)
    if not rows:
        raise SourceError(f"{paths[0]} has no rows")
    features = features_of(rows)
    columns = {column: [row.get(column) for row in rows] for column in features}
    return Dataset.from_dict(columns, features=features, split=NamedSplit(split))


def features_of(rows: Sequence[Mapping[str, Any]]) -> Features:
    """Return the features of rows: each column's type over all of them, ``Json`` where types do not go together."""
    from datasets import Features

    kinds: dict[str, Any] = {}
    for row in rows:
        for column, value in row.items():
            kinds[column] = _united(kinds.get(column), _kind_of(value))
    return Features({column: _feature(kind) for column, kind in kinds.items()})


#: A kind is None (nothing but nulls), a name of a type, ``[kind]``, ``{name: kind}``, or "json".
_Kind = Any


def _kind_of(value: Any) -> _Kind:  # noqa: PLR0911 - one return per kind
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if -(2**63) <= value < 2**63 else "json"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return {key: _kind_of(item) for key, item in value.items()}
    united: _Kind = None
    for item in value:
        united = _united(united, _kind_of(item))
        if united == "json":
            break
    return [united]


def _united(first: _Kind, second: _Kind) -> _Kind:
    if first is None or second is None or first == second:
        return second if first is None else first
    if {str(first), str(second)} == {"int64", "float64"}:
        return "float64"
    if isinstance(first, dict) and isinstance(second, dict):
        return {key: _united(first.get(key), second.get(key)) for key in {**first, **second}}
    if isinstance(first, list) and isinstance(second, list):
        return [_united(first[0], second[0])]
    return "json"


def _feature(kind: _Kind) -> Any:
    from datasets import List, Value

    if kind is None:
        return Value("null")
    if kind in ("json", {}):
        return _json_feature()
    if isinstance(kind, dict):
        return {key: _feature(item) for key, item in kind.items()}
    return List(_feature(kind[0])) if isinstance(kind, list) else Value(kind)


def _json_feature() -> Any:
    try:
        from datasets import Json
    except ImportError:  # an older datasets has no type that holds values of different kinds
        raise SourceError(
            "a field holds values of different kinds from row to row (text in one, a number or an object in another); "
            "reading it needs a newer datasets: pip install -U datasets"
        ) from None
    return Json()


def changed_texts(features: Mapping[str, Any] | None) -> list[str]:
    """Return columns whose texts the loader of ``datasets`` took for dates, or of which it has seen nulls alone."""
    changed = []
    for name, feature in (features or {}).items():
        kinds = set(_dtypes(feature))
        by_role = bool(set(names.words(name)) & (_ROW_WORDS | names.STEMS | {"text", "value", "context", "history"}))
        if any(kind.startswith(("timestamp", "date", "time")) for kind in kinds) and by_role:
            changed.append(name)
    return changed


def _dtypes(feature: Any) -> Iterator[str]:
    if isinstance(feature, Mapping):
        for inner in feature.values():
            yield from _dtypes(inner)
    elif hasattr(feature, "feature"):
        yield from _dtypes(feature.feature)
    else:
        yield str(getattr(feature, "dtype", ""))

r"""Paths: how a value inside a row is named, on one row and on an Arrow batch alike.

======================== ====================================================================
``completions[].response`` the field ``response`` of every element of the list ``completions``
``metadata.score``         the field ``score`` of the struct ``metadata``
``texts[0]``, ``turns[-1]`` one element of a list
``rm."org/model-v1.5"``    a name with ``. [ ] , | = "`` in it goes in double quotes (``\"`` inside)
======================== ====================================================================

Hyphens, slashes and spaces need no quotes: ``chosen-rating``, ``prediction 1``. A JSON string on the way is decoded.
Several paths stand in one text with commas between them: ``score_chosen,score_rejected``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.data.decode import decoded, holds_json, plain, records, split_by_length, to_python
from hf_datamap.errors import LayoutError, RowError


class Each:
    """The step into every element of a list (``[]``)."""

    def __repr__(self) -> str:
        return "[]"


EACH: Final = Each()
Step: TypeAlias = "str | int | Each"
Path: TypeAlias = tuple[Step, ...]

_SPECIAL = re.compile(r'[.\[\],|="\\]')
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|\[(-?\d*)\]|([^.\[\]"]+)')


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """Return the steps of a path: names, `EACH` for ``[]``, integers for ``[k]``.

    Raises:
        LayoutError: the text is not a path.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text):
        if steps and text[at] == "." and at + 1 < len(text):
            at += 1
        elif steps and text[at] != "[":
            break
        match = _TOKEN.match(text, at)
        if match is None or (match[2] is not None and text[at - 1 : at] == "."):
            break
        if match[1] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", match[1]))
        elif match[2] is not None:
            steps.append(int(match[2]) if match[2] not in {"", "-"} else EACH)
        else:
            steps.append(match[3].strip())
        at = match.end()
    if at < len(text) or not steps or not isinstance(steps[0], str) or "" in steps:
        raise LayoutError(
            f"{text!r} is not a path: write column, column.field, column[].field or column[0], "
            'and quote names that hold . [ ] , | = or ", like scores."org/model-1.5"'
        )
    return tuple(steps)


def format_path(path: Path) -> str:
    """Return the text of a path, quoted where needed; the inverse of `parse_path`."""
    text = ""
    for step in path:
        if isinstance(step, str):
            quoted = step != step.strip() or not step or _SPECIAL.search(step)
            name = '"' + step.replace("\\", "\\\\").replace('"', '\\"') + '"' if quoted else step
            text += f".{name}" if text else name
        else:
            text += "[]" if isinstance(step, Each) else f"[{step}]"
    return text


def split_unquoted(text: str, separator: str) -> list[str]:
    """Split a text at a separator that stands outside double quotes; pieces are stripped."""
    pieces = re.split(rf'{re.escape(separator)}(?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)', text)
    return [piece.strip() for piece in pieces]


def parse_paths(spec: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return paths, each checked, from a comma separated text or a sequence of texts."""
    if not spec:
        return ()
    paths = tuple(split_unquoted(spec, ",")) if isinstance(spec, str) else tuple(spec)
    for path in paths:
        parse_path(path)
    return paths


def one_path(path: str | None) -> str | None:
    """Return a path, checked; None for none."""
    if not path:
        return None
    parse_path(path)
    return path


def column_of(path: str) -> str:
    """Return the top-level column a path begins with."""
    return str(parse_path(path)[0])


def elements(value: Any) -> list[Any] | None:
    """Return what ``[]`` steps into: the elements of a list, the values of a mapping by name; None for neither.

    A struct of equally long lists counts as the list of structs that it was before ``Sequence`` turned it over.
    The values of a mapping (responses by model) come in the order of its keys, those that are null left out, so that a
    struct, which has every key in every row, reads like the JSON object that has only its own.
    """
    value = records(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return [value[key] for key in sorted(value) if value[key] is not None]
    return None


def walk(value: Any, steps: Sequence[Step]) -> Any:
    """Follow steps into a Python value; None where the way ends before the path does."""
    for position, step in enumerate(steps):
        value = decoded(value) if isinstance(value, str) else value
        if isinstance(step, str):
            if isinstance(value, Mapping):
                value = value.get(step)
            else:
                return None
        elif isinstance(step, Each):
            items = elements(value)
            rest = steps[position + 1 :]
            return [walk(item, rest) for item in items] if rest and items is not None else items
        elif not isinstance(value, (list, tuple)):
            return None
        else:
            value = value[step] if -len(value) <= step < len(value) else None
    return value


def read_path(row: Mapping[str, Any], path: str) -> Any:
    """Return the value a path names in one row.

    A list step gives a list with one entry per element; anything missing below the column is None.

    Raises:
        RowError: the row lacks the column the path begins with.
        LayoutError: the text is not a path.
    """
    steps = parse_path(path)
    if steps[0] not in row:
        raise RowError(f"the row lacks the column {steps[0]!r}", "columns " + ", ".join(map(repr, row)))
    return walk(plain(row[str(steps[0])]), steps[1:])


def read_paths(batch: Any, paths: Iterable[str]) -> dict[str, list[Any]]:
    """Return, for each path, one value per row of a batch.

    Args:
        batch: columns of equal length: a mapping of lists, a ``pyarrow`` table or record batch, or the lazy batch
            that ``Dataset.map(batched=True)`` hands over. Where the values still lie in Arrow, only the leaves that
            the paths name are turned into Python objects.
        paths: which values are wanted.

    Raises:
        LayoutError: the batch lacks a column (no row of it could be read).
    """
    return {path: _read_column(batch, parse_path(path)) for path in paths}


def lies_in_arrow(batch: Any, columns: Iterable[str]) -> bool:
    """Tell whether columns of a batch are still Arrow data, whose texts are valid by construction."""
    if isinstance(batch, (pa.Table, pa.RecordBatch)):
        return True
    return hasattr(batch, "pa_table") and all(name in batch.keys_to_format for name in columns)


def _read_column(batch: Any, steps: Path) -> list[Any]:
    name = str(steps[0])
    arrow = batch if isinstance(batch, (pa.Table, pa.RecordBatch)) else getattr(batch, "pa_table", None)
    if arrow is not None and (arrow is batch or name in batch.keys_to_format):
        if name not in arrow.column_names:
            raise LayoutError(f"there is no column {name!r}; there are: {', '.join(arrow.column_names)}")
        column = arrow.column(name)
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return [value for chunk in chunks for value in arrow_walk(chunk, steps[1:])]
    if name not in batch:
        raise LayoutError(f"there is no column {name!r}; there are: {', '.join(map(str, batch))}")
    column, rest = list(map(plain, batch[name])), steps[1:]
    return [walk(value, rest) for value in column] if rest else column


def arrow_walk(array: pa.Array, steps: Sequence[Step]) -> list[Any]:
    """Follow steps into an Arrow array; one Python value per entry, the same values that `walk` gives."""
    if not steps:
        return to_python(array)
    if isinstance(array, pa.ExtensionArray) and not holds_json(array.type):
        array = array.storage
    step, kind = steps[0], array.type
    if isinstance(step, str) and pa.types.is_struct(kind):
        if kind.get_field_index(step) < 0:
            return [None] * len(array)
        return arrow_walk(pc.struct_field(array, step), steps[1:])
    if isinstance(step, Each) and _is_list(kind):
        return split_by_length(arrow_walk(array.flatten(), steps[1:]), pc.list_value_length(array).to_pylist())
    return [walk(value, steps) for value in to_python(array)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))

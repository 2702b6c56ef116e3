"""Kinds of columns: what a column holds, reduced to what layouts care about.

Features tell what was declared, sample rows what is there: JSON or a ``repr`` in a text column counts as what it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hf_datamap.data.decode import decoded, plain, records
from hf_datamap.data.messages import ROLE_KEYS, TEXT_KEYS
from hf_datamap.data.paths import Each, parse_path

#: ``text``, ``number``, ``flag`` (a bool), ``json``, ``null``, ``media``, ``other``; or a list or a struct of kinds.
Kind: TypeAlias = "str | ListOf | dict[str, Kind]"

_MEDIA: Final = {"Image", "Audio", "Video", "Pdf", "Nifti", "Mesh"}
_DEEP: Final = 50
_ARRAYS: Final = {"Array2D", "Array3D", "Array4D", "Array5D"}


@dataclass(frozen=True)
class ListOf:
    """A list of things of one kind."""

    of: Kind


def kind_of_feature(feature: Any) -> Kind:  # noqa: C901, PLR0911 - one branch per feature type
    """Return the kind of a ``datasets`` feature."""
    name = type(feature).__name__
    if name in _MEDIA:
        return "media"
    if name in _ARRAYS:
        return ListOf("number")
    if name == "Json":
        return "json"
    if name == "ClassLabel":
        return "text"  # the number stands for a name, which is what counts
    if isinstance(feature, Mapping):
        if set(feature) == {"bytes", "path"}:
            return "media"
        return {str(key): kind_of_feature(value) for key, value in feature.items()}
    if isinstance(feature, (list, tuple)):
        return ListOf(kind_of_feature(feature[0])) if feature else ListOf("other")
    if hasattr(feature, "feature"):
        return ListOf(kind_of_feature(feature.feature))
    dtype = str(getattr(feature, "dtype", ""))
    if "string" in dtype:
        return "text"
    if dtype == "bool":
        return "flag"
    if dtype.startswith(("int", "uint", "float", "decimal")):
        return "number"
    return "null" if dtype == "null" else "other"


def kind_of_value(value: Any, depth: int = 0) -> Kind:  # noqa: PLR0911 - one return per kind
    """Return the kind of a plain value; text inside it that encodes a list or a struct counts as ``json``."""
    if depth > _DEEP:
        return "other"
    value = plain(value)
    if isinstance(value, str):
        return "json" if isinstance(decoded(value), (list, dict)) else "text"
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return "flag" if isinstance(value, bool) else "null" if math.isnan(value) else "number"
    if isinstance(value, Mapping):
        if set(value) == {"bytes", "path"}:
            return "media"
        return {str(key): kind_of_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return ListOf(merged(kind_of_value(item, depth + 1) for item in value))
    if type(value).__name__ == "Decimal":
        return "number"
    return "media" if type(value).__module__.partition(".")[0] == "PIL" else "other"


def kind_of_cells(values: Iterable[Any]) -> Kind:
    """Return the kind of a column by some of its cells, decoded; ``text`` unless all that are there encode more."""
    cells = [value for value in values if value is not None]
    inner = [records(decoded(plain(value))) for value in cells]
    if all(isinstance(value, str) for value in cells) and not all(isinstance(value, (list, dict)) for value in inner):
        return "text" if cells else "null"
    return merged(kind_of_value(value) for value in inner)


def merged(kinds: Iterable[Kind]) -> Kind:
    """Return the kind that covers all the given ones; ``null`` gives way to anything."""
    union: Kind = "null"
    for kind in kinds:
        if union == "null":
            union = kind
        elif isinstance(union, dict) and isinstance(kind, dict):
            union = {key: merged([union.get(key, "null"), kind.get(key, "null")]) for key in {**union, **kind}}
        elif isinstance(union, ListOf) and isinstance(kind, ListOf):
            union = ListOf(merged([union.of, kind.of]))
        elif kind not in ("null", union):
            both = {str(union), str(kind)}
            if both <= {"number", "flag"}:
                union = "number"
            elif both <= {"text", "json", "number", "flag"}:
                union = "text"
            else:
                union = "json" if "other" not in both and "media" not in both else "other"
    return union


def refined(declared: Kind, observed: Kind) -> Kind:
    """Return what a column holds, from its feature and from a sample: the sample counts, nulls in it tell nothing."""
    if observed == "null":
        return declared
    if isinstance(declared, dict) and isinstance(observed, dict):
        return {key: refined(declared.get(key, "null"), observed.get(key, "null")) for key in {**declared, **observed}}
    if isinstance(declared, ListOf) and isinstance(observed, ListOf):
        return ListOf(refined(declared.of, observed.of))
    return declared if declared == "media" else observed


def lookup(columns: Mapping[str, Kind], path: str) -> Kind | None:
    """Return the kind a path leads to, None when it leads nowhere; beyond JSON everything may be."""
    kind: Kind | None = dict(columns)
    for step in parse_path(path):
        if kind == "json" or (kind == "text" and isinstance(step, Each)):
            return "json"
        if isinstance(step, Each) and isinstance(kind, dict):
            columns_of_lists = {name: column.of for name, column in kind.items() if isinstance(column, ListOf)}
            kind = columns_of_lists if len(columns_of_lists) == len(kind) else merged(kind.values())
        elif isinstance(step, str):
            kind = kind.get(step) if isinstance(kind, dict) else None
        else:
            kind = kind.of if isinstance(kind, ListOf) else None
        if kind is None:
            return None
    return kind


def is_message(kind: Kind | None) -> bool:
    """Tell whether a struct is a chat message: a speaker, and a text (or tool calls)."""
    if not isinstance(kind, dict):
        return False
    speaker = next((kind[key] for key in ROLE_KEYS if key in kind), None)
    return speaker in ("text", "null") and any(key in kind for key in (*TEXT_KEYS, "tool_calls"))


def is_conversation(kind: Kind | None) -> bool:
    """Tell whether a kind is a list of chat messages (or a struct of lists, as the legacy ``Sequence`` makes it)."""
    if isinstance(kind, dict) and kind and all(isinstance(column, ListOf) for column in kind.values()):
        return is_message({name: column.of for name, column in kind.items() if isinstance(column, ListOf)})
    return isinstance(kind, ListOf) and is_message(kind.of)


def is_messages_object(kind: Kind | None) -> bool:
    """Tell whether a kind is a struct around a conversation: ``{"messages": [...]}``."""
    return isinstance(kind, dict) and any(is_conversation(kind.get(key)) for key in ("messages", "conversation"))


def is_side(kind: Kind | None) -> bool:
    """Tell whether a kind can be one response (or a prompt): text, a message, a conversation, JSON."""
    return kind in ("text", "json") or is_message(kind) or is_conversation(kind) or is_messages_object(kind)


def is_texts(kind: Kind | None) -> bool:
    """Tell whether a kind is a list of texts, or of lists of texts (turns)."""
    return isinstance(kind, ListOf) and (kind.of in ("text", "json") or is_texts(kind.of))


def shown(columns: Mapping[str, Kind]) -> str:
    """Return columns with their kinds in a few words, for errors."""

    def word(kind: Kind) -> str:
        if isinstance(kind, ListOf):
            return "messages" if is_message(kind.of) else f"list of {word(kind.of)}"
        return (
            "messages"
            if is_conversation(kind)
            else "message"
            if is_message(kind)
            else "struct"
            if isinstance(kind, dict)
            else str(kind)
        )

    return ", ".join(f"{name} ({word(kind)})" for name, kind in columns.items())

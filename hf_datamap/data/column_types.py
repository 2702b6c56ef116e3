"""Kinds: what a column holds, seen from its features (or from one row), reduced to what layouts care about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hf_datamap.data.paths import Each, decoded, parse_path

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
        return "number"
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
    """Return the kind of a plain value; a JSON string counts as what it holds when that is a list or a struct."""
    if depth > _DEEP:
        return "other"
    if isinstance(value, str):
        inner = decoded(value)
        return "json" if isinstance(inner, (list, dict)) else "text"
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return "flag" if isinstance(value, bool) else "number"
    if isinstance(value, Mapping):
        return {str(key): kind_of_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return ListOf(merged(kind_of_value(item, depth + 1) for item in value))
    return "media" if type(value).__module__.partition(".")[0] == "PIL" else "other"


def merged(kinds: Iterable[Kind]) -> Kind:
    """Return the kind that covers all the given ones; ``null`` gives way to anything."""
    found: Kind = "null"
    for kind in kinds:
        if found == "null":
            found = kind
        elif isinstance(found, dict) and isinstance(kind, dict):
            found = {key: merged([found.get(key, "null"), kind.get(key, "null")]) for key in {**found, **kind}}
        elif isinstance(found, ListOf) and isinstance(kind, ListOf):
            found = ListOf(merged([found.of, kind.of]))
        elif kind not in ("null", found):
            both = {str(found), str(kind)}
            found = "text" if both <= {"text", "json"} else "number" if both <= {"number", "flag"} else "other"
    return found


def lookup(columns: Mapping[str, Kind], path: str) -> Kind | None:
    """Return the kind a path leads to, None when it leads nowhere; beyond JSON everything may be."""
    kind: Kind | None = dict(columns)
    for step in parse_path(path):
        if kind == "json" or (kind == "text" and isinstance(step, Each)):
            return "json"
        if isinstance(step, str):
            kind = kind.get(step) if isinstance(kind, dict) else None
        else:
            kind = kind.of if isinstance(kind, ListOf) else None
        if kind is None:
            return None
    return kind


def is_message(kind: Kind | None) -> bool:
    """Tell whether a struct is a chat message."""
    if not isinstance(kind, dict) or isinstance(kind.get("role", kind.get("from")), ListOf):
        return False
    return ("role" in kind and "content" in kind) or ("from" in kind and "value" in kind)


def is_conversation(kind: Kind | None) -> bool:
    """Tell whether a kind is a list of chat messages (or a struct of lists, as the legacy ``Sequence`` makes it)."""
    if isinstance(kind, dict) and kind and all(isinstance(column, ListOf) for column in kind.values()):
        return is_message({name: column.of for name, column in kind.items() if isinstance(column, ListOf)})
    return isinstance(kind, ListOf) and is_message(kind.of)


def is_side(kind: Kind | None) -> bool:
    """Tell whether a kind can be one response (or a prompt): text, a message, a conversation, JSON."""
    return kind in ("text", "json") or is_message(kind) or is_conversation(kind)


def is_texts(kind: Kind | None) -> bool:
    """Tell whether a kind is a list of texts, or of lists of texts (turns)."""
    return isinstance(kind, ListOf) and (kind.of in ("text", "json") or is_texts(kind.of))


def is_scores(kind: Kind | None) -> bool:
    """Tell whether a kind is a list of numbers (numbers as text, and flags, included)."""
    return isinstance(kind, ListOf) and kind.of in ("number", "text", "flag")


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

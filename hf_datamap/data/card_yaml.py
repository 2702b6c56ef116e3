"""The YAML of dataset cards, which anybody may have written: read within bounds, as the Hub reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from hf_datamap.errors import CardError

_BYTES: Final = 8_000_000
_DEPTH: Final = 60
_VALUES: Final = 1_000_000  # after aliases are put in
_FRONT: Final = re.compile(r"\ufeff?\s*---[ \t]*\r?\n(.*?)(?:\n---[ \t]*(?:\r?\n|\Z)|\Z)", re.DOTALL)
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WordOfYaml11(str):
    """A text (``on``, ``yes``, ``no``) that readers of YAML 1.1, Python's among them, take for true or false."""

    __slots__ = ()


class Loader(_Base):  # type: ignore[misc] # the C loader where there is one
    """Reads the words of YAML 1.1 for true and false as the text that the Hub, which reads YAML 1.2, takes them for."""


def _boolean(loader: Any, node: yaml.ScalarNode) -> bool | str:
    del loader  # PyYAML's signature
    word = str(node.value)
    return word.lower() == "true" if word.lower() in ("true", "false") else WordOfYaml11(word)


Loader.add_constructor("tag:yaml.org,2002:bool", _boolean)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        CardError: it cannot be parsed, refers to itself, or is nested or grows (by aliases) beyond all use.
    """
    if len(text) > _BYTES:
        raise CardError(f"the card's YAML has {len(text):,} characters; up to {_BYTES:,} are read")
    try:
        _check_bounds(text)
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise CardError(f"the card's YAML cannot be parsed: {' '.join(str(error).split())[:300]}") from None


def front_matter(card: str) -> Mapping[str, Any]:
    """Return the YAML of a card, empty when it has none.

    Raises:
        CardError: it is broken, or no mapping of keys.
    """
    match = _FRONT.match(card)
    data = parse_yaml(match[1]) if match else None
    if not isinstance(data, dict | None):
        raise CardError(f"the card's YAML is a {type(data).__name__}, not a mapping of keys")
    return data or {}


def _check_bounds(text: str) -> None:
    """Go through the text once, before anything is built: a few lines of aliases can stand for billions of values."""
    document = _Document()
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            document.open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            document.close()
        elif isinstance(event, yaml.AliasEvent):
            document.refer(event)
        elif isinstance(event, yaml.ScalarEvent):
            document.count(1)


class _Document:
    """How deep a YAML document is, and how many values it holds with its aliases put in."""

    def __init__(self) -> None:
        self._sizes: dict[str | None, int] = {}  # values under each anchor; other anchors stand for one value
        self._anchors: list[str | None] = []  # of the collections that are open,
        self._values: list[int] = [0]  # and how many values each of them holds so far

    def open(self, event: yaml.CollectionStartEvent) -> None:
        self._anchors.append(event.anchor)
        self._values.append(1)
        if len(self._anchors) > _DEPTH:
            raise CardError(f"the card's YAML is nested more than {_DEPTH} deep{_line(event)}")

    def close(self) -> None:
        size = self._values.pop()
        self._sizes[self._anchors.pop()] = size
        self.count(size)

    def refer(self, event: yaml.AliasEvent) -> None:
        if event.anchor in self._anchors:
            raise CardError(f"the card's YAML refers to itself: *{event.anchor}{_line(event)}")
        self.count(self._sizes.get(event.anchor, 1))

    def count(self, values: int) -> None:
        self._values[-1] += values
        if self._values[-1] > _VALUES:
            raise CardError(f"the card's YAML holds more than {_VALUES:,} values once its aliases are put in")


def _line(event: yaml.Event) -> str:
    return f" (line {event.start_mark.line + 1})" if event.start_mark else ""

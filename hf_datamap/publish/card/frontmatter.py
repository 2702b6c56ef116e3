"""The YAML block of a card, changed key by key: what is not changed stays byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml

from hf_datamap.data.card_yaml import Loader, WordOfYaml11, parse_yaml
from hf_datamap.errors import CardError

_FENCE: Final = re.compile(r"---[ \t]*\r?\n?")
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_NUMBERLIKE: Final = re.compile(r"[-+]?[\d.][\d_.,:eExXobOB+-]*")


class _Dumper(yaml.SafeDumper):
    """Quotes what some YAML version reads as a number or a line break: the Hub reads 1.2, Python writes 1.1."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if _NUMBERLIKE.fullmatch(value) or _BREAKS.search(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _word(dumper: yaml.SafeDumper, value: WordOfYaml11) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="'")


_Dumper.add_representer(str, _text)
_Dumper.add_representer(WordOfYaml11, _word)


def dump(value: Any, *, flow: bool = False) -> str:  # noqa: ANN401 - any JSON value
    """Return a value as YAML, keys in the order given: in block style, or on one line in brackets."""
    style: dict[str, Any] = {"default_flow_style": flow, "allow_unicode": True, "width": 10**6}
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, **style))


class FrontMatter:
    """A card split into its YAML and its body.

    Args:
        text: the whole card, as it is in the repository (line ends kept).

    Attributes:
        data: the YAML as a mapping; follows the changes.
        body: everything after the block.
        newline: the line end in use.

    Raises:
        CardError: the YAML cannot be parsed, is not a mapping, or the block is not closed.
    """

    def __init__(self, text: str) -> None:
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self._bom = "\ufeff" if text.startswith("\ufeff") else ""
        lines = _lines(text.removeprefix("\ufeff"))
        first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
        if first == len(lines) or not _FENCE.fullmatch(lines[first]):
            self._before, self._lines, self._after, self.body = "", [], "", "".join(lines)
            self.data: dict[str, Any] = {}
            return
        end = next((i for i in range(first + 1, len(lines)) if _FENCE.fullmatch(lines[i])), None)
        if end is None:
            raise CardError("the card's YAML block starts with --- but never ends: close it with a line of ---")
        self._before, self._after = "".join(lines[: first + 1]), lines[end]
        self._lines, self.body = lines[first + 1 : end], "".join(lines[end + 1 :])
        self.data = self._parse()

    def _parse(self) -> dict[str, Any]:
        data = parse_yaml("".join(self._lines))
        if not isinstance(data, dict | None):
            raise CardError(f"the card's YAML is a {type(data).__name__}, not a mapping of keys")
        return data or {}

    def text(self) -> str:
        """Return the whole card."""
        block = "".join(self._lines)
        if not self.data and not self._before:
            return self._bom + self.body
        before, after = self._before or f"---{self.newline}", self._after or f"---{self.newline}"
        return self._bom + before + block + after + self.body

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Give a top-level key a value; nothing changes when it has that value already."""
        if key in self.data and self.data[key] == value:
            return
        start, end = self._span(key)
        self._replace(start, end, self._write({key: value}), {**self.data, key: value})

    def remove(self, key: str) -> None:
        """Take a top-level key out."""
        if key in self.data:
            start, end = self._span(key)
            self._replace(start, end, [], {name: value for name, value in self.data.items() if name != key})

    def set_items(
        self, key: str, items: Sequence[Any], name: Callable[[Any], Any], drop: Callable[[Any], bool] | None = None
    ) -> None:
        """Replace or append items of a top-level list, each known by its name; other items stay as they are.

        Args:
            key: the list; a single value counts as a list of one.
            items: the items that must be there afterwards.
            name: what two items have in common that are the same item.
            drop: which of the other items to take out.
        """
        old = self.data.get(key)
        before = old if isinstance(old, list) else [] if old is None else [old]
        new = {name(item): item for item in items}
        after = [new.pop(name(item), item) for item in before if name(item) in new or not (drop and drop(item))]
        after += new.values()
        if after == before:
            return
        if not after:
            self.remove(key)
            return
        spans = self._items(key) if isinstance(old, list) else None
        if spans is None:
            if not self._appended(key, before, after):
                self.set(key, after)
            return
        self._splice(key, before, after, spans, name)

    def _appended(self, key: str, before: list[Any], after: list[Any]) -> bool:
        """Write further items into a list in brackets, if nothing else of it changes; return whether that was all."""
        node = next((value for name, value in self._nodes() if name.value == key), None)
        if not isinstance(node, yaml.SequenceNode) or not node.flow_style or after[: len(before)] != before:
            return False
        line, column = node.end_mark.line, node.end_mark.column - 1  # of the closing bracket
        added = yaml.dump(
            after[len(before) :], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**6
        )
        text = self._lines[line]
        inside = text[:column].rstrip()
        separator = "" if not before or inside.endswith(",") else ", "
        candidate = inside + separator + added.strip().removeprefix("[").removesuffix("]") + text[column:]
        lines = [*self._lines[:line], candidate, *self._lines[line + 1 :]]
        expected = {**self.data, key: after}
        try:
            if parse_yaml("".join(lines)) != expected:
                return False
        except CardError:
            return False
        self._lines, self.data = lines, expected
        return True

    def _splice(
        self,
        key: str,
        before: list[Any],
        after: list[Any],
        spans: list[tuple[int, int, int]],
        name: Callable[[Any], Any],
    ) -> None:
        """Write the new items over the lines of the old ones, the rest of the list untouched."""
        kept = {name(item): item for item in after}
        lines: list[str] = []
        at = spans[0][0]
        for item, (start, end, column) in zip(before, spans, strict=True):
            lines += self._lines[at:start]
            if name(item) in kept:
                target = kept.pop(name(item))
                lines += self._lines[start:end] if target == item else self._write([target], column)
            at = end
        for item in kept.values():
            lines += self._write([item], spans[0][2])
        self._replace(spans[0][0], at, lines, {**self.data, key: after})

    def _replace(self, start: int, end: int, lines: list[str], expected: dict[str, Any]) -> None:
        if start and lines and not self._lines[start - 1].endswith("\n"):
            self._lines[start - 1] += self.newline
        self._lines[start:end] = lines
        if not self._says(expected):  # a form this editor does not know: write the whole block anew
            self._lines = self._write(expected) if expected else []
        self.data = self._parse()

    def _says(self, expected: dict[str, Any]) -> bool:
        try:
            return self._parse() == expected
        except CardError:
            return False

    def _write(self, value: Any, column: int = 0) -> list[str]:  # noqa: ANN401 - any JSON value
        return [" " * column + line + self.newline for line in dump(value).removesuffix("\n").split("\n")]

    def _nodes(self) -> list[tuple[yaml.Node, yaml.Node]]:
        root = yaml.compose("".join(self._lines), Loader=Loader)
        return list(root.value) if isinstance(root, yaml.MappingNode) and not root.flow_style else []

    def _span(self, key: str) -> tuple[int, int]:
        """First line of a key and the line after its value; the end of the block for a new key."""
        nodes = self._nodes()
        for number, (name, _) in enumerate(nodes):
            if name.value == key:
                after = nodes[number + 1][0].start_mark.line if number + 1 < len(nodes) else len(self._lines)
                return name.start_mark.line, self._trim(name.start_mark.line, after)
        return len(self._lines), len(self._lines)

    def _items(self, key: str) -> list[tuple[int, int, int]] | None:
        """First line, line after, and column of each item of a block list; None for a list of another form."""
        node = next((value for name, value in self._nodes() if name.value == key), None)
        if not isinstance(node, yaml.SequenceNode) or node.flow_style or not node.value:
            return None
        column = node.start_mark.column
        starts = []
        for item in node.value:
            line = item.start_mark.line
            while line and not self._lines[line][column:].startswith("-"):
                line -= 1
            starts.append(line)
        if len(set(starts)) < len(starts):
            return None
        ends = [*starts[1:], self._span(key)[1]]
        return [(start, self._trim(start, end), column) for start, end in zip(starts, ends, strict=True)]

    def _trim(self, start: int, end: int) -> int:
        """Leave comments and blank lines before the next key where they are."""
        while end > start + 1 and (not (line := self._lines[end - 1].strip()) or line.startswith("#")):
            end -= 1
        return end


def _lines(text: str) -> list[str]:
    """Split at line feeds only: other characters that `str.splitlines` honours are text."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)

"""Search patterns that come with the data: literal keywords, and the regular expressions that IFEval takes them for.

Dataset text is hostile: an expression that could take exponential time is refused.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from hf_datamap.errors import RowError

_SPECIAL: Final = frozenset("\\.^$*+?{}[]|()")
# How many steps a search may take in the worst case: about a second's worth.
_STEPS: Final = 10**8
# The parts of a pattern that decide how long a search takes.
_ITEM: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*(?:,\d*)?\}|\(\?P=|.", re.DOTALL)
_BOUNDS: Final = re.compile(r"\{\d*(?:,\d*)?\}")
_CROSSES_LINES: Final = re.compile(r"\\[sWDn]|\[\^|\n|\(\?[a-zA-Z]*s")
_BACK_REFERENCE: Final = re.compile(r"\\[1-9]|\(\?P=")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern. Search and count ignore case, as IFEval's keyword checks do.

    Attributes:
        source: the text given.
        literal: the text in lower case when it is ASCII and is to be found as it is, else None.
        regex: the compiled pattern.
        repeats: how many repeats of open length it holds.
        branches: how many optional parts and alternatives inside groups it holds.
    """

    source: str
    literal: str | None
    regex: re.Pattern[str]
    repeats: int
    branches: int

    def guard(self, text: str) -> re.Pattern[str]:
        """Return ``regex`` if searching ``text`` with it is sure to end soon.

        Raises:
            RowError: the worst case takes more than 10**8 steps.
        """
        if self._steps(len(text)) > _STEPS:
            lines = [text] if _CROSSES_LINES.search(self.source) else text.split("\n")
            if len(lines) * self._steps(max(map(len, lines))) > _STEPS:
                raise RowError(
                    f"pattern {_short(self.source)} is too slow for a text of {len(text):,} characters; "
                    "write it without * + ? {} and |"
                )
        return self.regex

    def _steps(self, length: int) -> int:
        """Return the most steps that a search of a text of this length can take, but for a constant."""
        return 0 if self.literal else length ** (self.repeats + 1) * 2**self.branches


def is_literal(text: str) -> bool:
    """Whether ``text`` means itself as a pattern."""
    return _SPECIAL.isdisjoint(text)


@lru_cache(maxsize=4096)
def compile_pattern(source: str, template: str = "{}", flags: int = re.IGNORECASE) -> Pattern:
    r"""Compile ``source``, put into ``template`` (for example ``\b{}\b``), if it is well formed and safe.

    Raises:
        RowError: it is malformed, or could take exponential time.
    """
    repeats, branches = _count_choices(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            regex = re.compile(template.replace("{}", source), flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise RowError(
            f"{_short(source)} is not a valid pattern: {error}. With upstream_regex=True keywords are regular "
            "expressions; escape special characters with a backslash, or leave the option out"
        ) from None
    literal = source.lower() if is_literal(source) and source.isascii() else None
    return Pattern(source, literal, regex, repeats, branches)


@lru_cache(maxsize=4096)
def compile_literal(text: str, *, whole_word: bool = False) -> Pattern:
    """Compile a pattern that finds ``text`` as it is, ignoring case.

    Args:
        text: what to find.
        whole_word: whether a letter or digit at its ends must not be followed, or preceded, by another one. Unlike
            word boundaries in a regular expression this finds ``c++`` too.
    """
    before = r"(?<!\w)" if whole_word and _is_word(text[0]) else ""
    after = r"(?!\w)" if whole_word and _is_word(text[-1]) else ""
    regex = re.compile(before + re.escape(text) + after, re.IGNORECASE)
    return Pattern(text, text.lower() if text.isascii() else None, regex, 0, 0)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _count_choices(source: str) -> tuple[int, int]:
    """Count repeats of open length and other choices that a search may have to undo; refuse too many."""
    if is_literal(source):
        return 0, 0
    items = _ITEM.findall(source)
    repeats = [item for item in items if item in {"*", "+"} or _BOUNDS.fullmatch(item)]
    branches = depth = 0
    for item in items:
        depth += (item[0] == "(") - (item == ")")
        branches += item == "?" or (item == "|" and depth > 0)
    repeats_group = any(item == ")" and after in repeats for item, after in pairwise(items))
    refers_back = any(_BACK_REFERENCE.fullmatch(item) for item in items)
    if repeats_group or refers_back or branches > 12:
        raise RowError(
            f"pattern {_short(source)} could run for ever: repeated groups, back-references and more than 12 optional "
            "parts or alternatives in groups are not allowed"
        )
    return len(repeats), branches


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

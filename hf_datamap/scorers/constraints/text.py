"""A response as the checks see it: each property is computed on first use and then kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from hf_datamap.scorers.constraints.language import detect_language, is_in_language
from hf_datamap.scorers.constraints.sentences import count_sentences, split_sentences

_WORD: Final = re.compile(r"\w+")
# Pieces of text between the separators of the Penn Treebank word convention that IFEval counts capitals by.
_PIECE: Final = re.compile(r"""[^\s\[\](){}<>;@\#$%&?!*"`«»“”‘’„‒–—―]+""")
_INNER: Final = re.compile(r"[:,](?=\D|$)|\.{2,}|--|''")
_CLITIC: Final = re.compile(r"(.*[^'])('[sSmMdD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T)\.?", re.DOTALL)
_TWO_IN_ONE: Final = re.compile(r"\b(?:CANNOT|GIMME|GONNA|GOTTA|LEMME|WANNA)\b")


class ResponseView:
    """One variant of a response.

    Args:
        text: the variant, with at least one visible character.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def stripped(self) -> str:
        """The text without white space around it."""
        return self.text.strip()

    @cached_property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @cached_property
    def ascii(self) -> bool:
        """Whether the text is ASCII, so that comparing in lower case is the same as ignoring case."""
        return self.text.isascii()

    @cached_property
    def lines(self) -> list[str]:
        """The lines, split at line feeds only."""
        return self.text.split("\n")

    @cached_property
    def words(self) -> int:
        r"""How many words (``\w+``) there are."""
        return len(_WORD.findall(self.text))

    @cached_property
    def sentence_list(self) -> list[str]:
        """The sentences, by English rules."""
        return split_sentences(self.text)

    @cached_property
    def sentences(self) -> int:
        """How many sentences there are, by English rules."""
        return count_sentences(self.text)

    @cached_property
    def capital_words(self) -> int:
        """How many words are in capitals, counted by the Penn Treebank convention ("I'M" is two words)."""
        return sum(_capitals(piece) for piece in _PIECE.findall(self.text) if not piece.islower())

    @cached_property
    def language(self) -> str | None:
        """The ISO 639-1 code of its most likely language, None for text without a letter."""
        return detect_language(self.text)

    def is_in_language(self, code: str) -> bool:
        """Return whether the text can be in the language with this ISO 639-1 code; see `language.is_in_language`."""
        return is_in_language(self.text, code)


def _capitals(piece: str) -> int:
    count = 0
    for part in _INNER.split(piece):
        if clitic := _CLITIC.fullmatch(part):
            count += clitic[1].isupper() + clitic[2].isupper()
        elif part.isupper():
            count += 1 + len(_TWO_IN_ONE.findall(part))
    return count


def loose_variants(text: str) -> Iterator[str]:
    """Yield IFEval's loose variants other than ``text`` itself, each once and only if it is not blank.

    The first line, the last line or both removed, and all four again without ``*``.
    """
    without_first = text.partition("\n")[2]
    without_last = text.rpartition("\n")[0]
    trimmed = [without_first, without_last, without_first.rpartition("\n")[0]]
    seen = {text, ""}
    bases = [text, *(part.strip() for part in trimmed)]
    for variant in (*bases[1:], *(base.replace("*", "") for base in bases)):
        if variant not in seen and variant.strip():
            seen.add(variant)
            yield variant

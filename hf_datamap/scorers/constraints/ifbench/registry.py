"""The two registries that the modules beside this one fill, and what several of their checks share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hf_datamap.scorers.constraints.kinds import Registry
from hf_datamap.scorers.constraints.patterns import Pattern, compile_literal
from hf_datamap.scorers.constraints.text import ResponseView

#: The 58 kinds of the test set and the 29 of the training set, by IFBench's ids.
TEST_KINDS: Final = Registry()
TRAINING_KINDS: Final = Registry()

_CLOSERS: Final = "\"'”’»)]}*_"
_BLANK_LINES: Final = re.compile(r"\n[^\S\n]*\n\s*")


def final_mark(sentence: str) -> str:
    """Return the last character of a sentence, closing quotation marks and brackets left out."""
    return sentence.rstrip().rstrip(_CLOSERS)[-1:]


def paragraphs_of(text: str) -> list[str]:
    """Return the paragraphs of a text, which blank lines separate."""
    return [paragraph for paragraph in _BLANK_LINES.split(text.strip()) if paragraph.strip()]


def count_whole_words(view: ResponseView, keywords: Sequence[str]) -> list[int]:
    """Return how often each keyword occurs as a whole word, ignoring case."""
    patterns: list[Pattern] = [compile_literal(keyword.strip(), whole_word=True) for keyword in keywords]
    return [sum(1 for _ in pattern.regex.finditer(view.text)) for pattern in patterns]

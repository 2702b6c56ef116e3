"""The word lists of IFBench's checks, read from ``word_lists/ifbench.yaml`` and ``word_lists/verbs.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hf_datamap.scorers.constraints.words import load_word_lists

_FOLDER: Final = Path(__file__).parents[1] / "word_lists"
_LISTS: Final[Mapping[str, Any]] = load_word_lists(_FOLDER / "ifbench.yaml")

CONJUNCTIONS: Final = frozenset(_LISTS["conjunctions"])
PERSON_NAMES: Final = frozenset(_LISTS["person_names"])
PRONOUNS: Final = frozenset(_LISTS["pronouns"])
STOP_WORDS: Final = frozenset(_LISTS["stop_words"])
MINOR_WORDS: Final = frozenset(_LISTS["minor_words"])
CAPITALS_BY_LATITUDE: Final = tuple(_LISTS["capitals_by_latitude"])
#: Words whose syllables the rules count wrong.
SYLLABLES: Final[Mapping[str, int]] = _LISTS["syllables"]

_VERBS: Final = load_word_lists(_FOLDER / "verbs.yaml")
_BASE_VERBS: Final = frozenset(_VERBS["base_verbs"])
_IRREGULAR_FORMS: Final = frozenset(_VERBS["irregular_forms"])


def is_verb(word: str) -> bool:
    """Return whether a word can be a form of a verb: a base form, an irregular or a regular one."""
    word = word.lower()
    if word in _BASE_VERBS or word in _IRREGULAR_FORMS:
        return True
    for ending in ("ing", "ed", "es", "s", "d"):
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 2:
            continue
        candidates = {stem, stem + "e", stem[:-1] if stem[-1] == stem[-2] else stem}
        if stem.endswith("i"):
            candidates.add(stem[:-1] + "y")  # tries, tried
        if not _BASE_VERBS.isdisjoint(candidates):
            return True
    return False

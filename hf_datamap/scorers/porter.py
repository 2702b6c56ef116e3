"""Porter's stemmer for English (Porter 1980, Program 14:130-137), with the departures of NLTK's implementation.

ROUGE-L as the map's authors compute it (the library ``rouge-score`` with its stemmer) compares stems by NLTK, which
differs from the published algorithm in a few words; the library itself would need NLTK at run time.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final

_MAX_LETTERS: Final = 1000  # longer ones are no words
#: NLTK's list of words that the rules stem wrong.
_IRREGULAR: Final = {
    "sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news",
    "innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning",
    "canning": "canning", "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip

#: Suffixes and what they become, tried in this order; the first that fits the end of the word decides.
_STEP_2: Final = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
_STEP_3: Final = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4: Final = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the stem of an English word in lower case."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if not 2 < len(word) <= _MAX_LETTERS:
        return word
    word = _step_1b(_step_1a(word))
    if word.endswith("y") and len(word) > 2 and _is_consonant(word, len(word) - 2):
        word = word[:-1] + "i"
    return _step_5(_step_4(_replace(_step_2(word), _STEP_3)))


def _is_consonant(word: str, place: int) -> bool:
    """Return whether a letter is a consonant: y is one at the start and after a vowel."""
    if word[place] != "y":
        return word[place] not in "aeiou"
    first = place
    while first > 0 and word[first - 1] == "y":
        first -= 1
    after_consonant = first > 0 and word[first - 1] not in "aeiou"
    # In a run of y they take turns.
    return after_consonant == bool((place - first) % 2)


def _measure(word: str) -> int:
    """Return how often a consonant follows a vowel: m in Porter's [C](VC)^m[V]."""
    shape = [_is_consonant(word, place) for place in range(len(word))]
    return sum(not before and after for before, after in pairwise(shape))


def _has_vowel(word: str) -> bool:
    return not all(_is_consonant(word, place) for place in range(len(word)))


def _ends_in_double_consonant(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _ends_in_cvc(word: str) -> bool:
    """Return whether a word ends in consonant, vowel, consonant (not w, x or y), or is vowel and consonant."""
    if len(word) == 2:
        return not _is_consonant(word, 0) and _is_consonant(word, 1)
    last = len(word) - 1
    return (
        len(word) > 2
        and _is_consonant(word, last - 2)
        and not _is_consonant(word, last - 1)
        and _is_consonant(word, last)
        and word[-1] not in "wxy"
    )


def _replace(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Apply the first rule whose suffix the word has, if a syllable is left before it."""
    for suffix, replacement in rules:
        if word.endswith(suffix):
            before = word[: -len(suffix)]
            return before + replacement if _measure(before) > 0 else word
    return word


def _step_1a(word: str) -> str:
    """Plurals."""
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _step_1b(word: str) -> str:
    """Endings of verbs."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    before = next((word[: -len(end)] for end in ("ed", "ing") if word.endswith(end)), "")
    if not before or not _has_vowel(before):
        return word
    if before.endswith(("at", "bl", "iz")):
        return before + "e"
    if _ends_in_double_consonant(before):
        return before if before[-1] in "lsz" else before[:-1]
    return before + "e" if _measure(before) == 1 and _ends_in_cvc(before) else before


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _step_2(word[:-2])
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replace(word, _STEP_2)


def _step_4(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix):
            before = word[: -len(suffix)]
            fits = _measure(before) > 1 and (suffix != "ion" or before[-1] in "st")
            return before if fits else word
    return word


def _step_5(word: str) -> str:
    """A last e, and one of two last l."""
    if word.endswith("e"):
        before = word[:-1]
        if _measure(before) > 1 or (_measure(before) == 1 and not _ends_in_cvc(before)):
            word = before
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word

"""Texts as hashed words, many at once: numpy over the characters of a batch instead of Python over its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

SCRIPTS: Final = (
    "other",
    "latin",
    "cyrillic",
    "greek",
    "arabic",
    "hebrew",
    "devanagari",
    "thai",
    "hangul",
    "kana",
    "han",
)

_SPACE, _WORD, _SINGLE = 0, 1, 2
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_RANGES: Final = (
    ("latin", 0x41, 0x24F),
    ("latin", 0x1E00, 0x1EFF),
    ("greek", 0x370, 0x3FF),
    ("cyrillic", 0x400, 0x52F),
    ("hebrew", 0x590, 0x5FF),
    ("arabic", 0x600, 0x77F),
    ("devanagari", 0x900, 0x97F),
    ("thai", 0xE00, 0xE7F),
    ("hangul", 0x1100, 0x11FF),
    ("kana", 0x3041, 0x30FF),
    ("han", 0x3400, 0x4DBF),
    ("han", 0x4E00, 0x9FFF),
    ("hangul", 0xAC00, 0xD7A3),
    ("han", 0x20000, 0x323AF),
)


@dataclass(frozen=True)
class Words:
    """The words of many texts.

    Attributes:
        hashes: uint64, one per word, texts one after the other; a word is a run of letters and digits, lower case, or
            one character of a script written without spaces.
        starts: int64 of shape (texts + 1,): where each text's words begin; the last entry is the total.
        scripts: int64 of shape (texts, len(SCRIPTS)): letters of each script.
    """

    hashes: np.ndarray
    starts: np.ndarray
    scripts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Words per text."""
        return np.diff(self.starts)

    @property
    def owners(self) -> np.ndarray:
        """The text of each word."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)


@cache
def _classes() -> tuple[np.ndarray, np.ndarray]:
    """For each code point: what it does to a word, and its script."""
    size = 0x110000
    kind, script = np.full(size, _SPACE, np.uint8), np.zeros(size, np.uint8)
    for name, low, high in _RANGES:
        script[low : high + 1] = SCRIPTS.index(name)
    for code in range(0x3400):
        if (text := chr(code)).isalnum() or text == "_":
            kind[code] = _WORD
        else:
            script[code] = 0
    kind[0xA000:0xD800] = kind[0xF900:0xFE00] = kind[0xFF10:0xFFDD] = kind[0x10000:0x1F000] = _WORD
    spaceless = np.isin(script, [SCRIPTS.index(name) for name in ("han", "kana", "thai")])
    kind[spaceless] = _SINGLE
    return kind, script


@cache
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The multiplier to the powers 0 to size - 1, and their inverses, modulo 2^64."""
    inverse = np.uint64(pow(int(_MULTIPLIER), -1, 2**64))
    with np.errstate(over="ignore"):
        up = np.concatenate([np.ones(1, np.uint64), np.full(size - 1, _MULTIPLIER)]).cumprod(dtype=np.uint64)
        down = np.concatenate([np.ones(1, np.uint64), np.full(size - 1, inverse)]).cumprod(dtype=np.uint64)
    return up, down


def mix(values: np.ndarray) -> np.ndarray:
    """Scramble uint64 values (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(values ^ (values >> np.uint64(31)))


def words(texts: Sequence[str]) -> Words:
    """Hash the words of many texts; equal words give equal hashes in every batch and process.

    A polynomial over the code points, taken from one running sum, so that the cost does not depend on how many words
    there are. Case is folded (`str.lower`).
    """
    if not texts:
        return Words(np.empty(0, np.uint64), np.zeros(1, np.int64), np.zeros((0, len(SCRIPTS)), np.int64))
    kind_of, script_of = _classes()
    joined = "\0".join(text.replace("\0", " ") for text in texts).lower() + "\0"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = kind_of[codes]
    ends = np.flatnonzero(codes == 0)
    first = kinds == _SINGLE
    first[1:] |= (kinds[1:] == _WORD) & (kinds[:-1] != _WORD)
    first[0] |= kinds[0] == _WORD
    begin = np.flatnonzero(first)
    stop = begin + 1
    runs = kinds[begin] == _WORD
    breaks = np.flatnonzero(kinds != _WORD)
    stop[runs] = breaks[np.searchsorted(breaks, begin[runs])]
    up, down = _powers(1 << (len(codes) - 1).bit_length())
    # The hash of a word is the difference of two running sums, brought back to power 0 by the inverse multiplier:
    # all arithmetic wraps around modulo 2^64, on purpose.
    with np.errstate(over="ignore"):
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * up[: len(codes)], out=sums[1:])
        hashes = mix((sums[stop] - sums[begin]) * down[begin])
    starts = np.concatenate([[0], np.searchsorted(begin, ends)]).astype(np.int64)
    return Words(hashes, starts, _letters(script_of[codes], ends))


def _letters(script: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Letters of each script in each text, given where the texts end."""
    counts = np.zeros((len(ends), len(SCRIPTS)), np.int64)
    for code in np.flatnonzero(np.bincount(script, minlength=len(SCRIPTS))):
        if code:
            counts[:, code] = np.diff((script == code).cumsum()[ends], prepend=0)
    return counts


def shingles(words_of_texts: Words, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every ``width`` words in a row within a text, and where each text's begin (as `Words.starts`)."""
    hashes, counts = words_of_texts.hashes, np.maximum(words_of_texts.counts - (width - 1), 0)
    starts = np.concatenate([[0], counts.cumsum()])
    owners = np.repeat(np.arange(len(counts)), counts)
    at = np.arange(starts[-1]) - starts[owners] + words_of_texts.starts[owners]
    with np.errstate(over="ignore"):
        value = np.zeros(len(at), np.uint64)
        for step in range(width):
            value = mix(value * np.uint64(3) + hashes[at + step])
    return value, starts


def reduce_by_text(ufunc: np.ufunc, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Reduce each text's values; 0 for a text without any (numpy's ``reduceat`` gives something else there)."""
    out = np.zeros(len(starts) - 1, values.dtype)
    filled = np.flatnonzero(np.diff(starts) > 0)
    if filled.size:
        with np.errstate(over="ignore"):
            out[filled] = ufunc.reduceat(values, starts[filled])
    return out

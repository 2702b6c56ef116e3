"""English text cut into tokens and words.

IFBench's published checks cut text with NLTK's ``word_tokenize``: the Penn Treebank convention (Marcus et al. 1993),
sentence by sentence. `tokens_of` follows that convention; `words_of` gives what a reader calls words.
"""

from __future__ import annotations

import re
import string
from typing import Final

from hf_datamap.scorers.constraints.sentences import split_sentences

_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_STRIPPED: Final = string.punctuation + " “”‘’«»…–—"
_CHUNK: Final = re.compile(
    r"""\.{2,}|--|`+                                   # an ellipsis, a dash, a code mark
    |[\[\](){}<>;@\#$%&?!*"`«»“”„‘’—–]                     # marks that always stand alone
    |[^\s\[\](){}<>;@\#$%&?!*"`«»“”„‘’—–]+""",
    re.VERBOSE,
)
#: Inside a chunk: commas and colons that no digit follows, ellipses, dashes, closing quotation marks.
_INNER: Final = re.compile(r"(\.{2,}|--|[:,](?=\D|$)|(?<=[^'])'(?=$|[,:])|^'(?=\w)|'')")
_CLITIC: Final = re.compile(r"(.*[^'])('[sSmMdD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T)", re.DOTALL)
_TWO_IN_ONE: Final = re.compile(r"(can)(not)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(wan)(na)|(d)('ye)", re.IGNORECASE)


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a text, punctuation included, by the Penn Treebank convention."""
    tokens: list[str] = []
    for sentence in split_sentences(text):
        chunks = list(_CHUNK.finditer(sentence))
        wordlike = [place for place, chunk in enumerate(chunks) if chunk[0][-1].isalnum() or chunk[0][-1] == "."]
        for place, match in enumerate(chunks):
            chunk = match[0]
            # Only the last full stop of a sentence is a token of its own; others belong to abbreviations.
            ends = bool(wordlike) and place == wordlike[-1]
            if ends and len(chunk) > 1 and chunk[-1] == "." and chunk[-2] != ".":
                tokens += [*_split(chunk[:-1]), "."]
            elif chunk == '"':
                opens = match.start() == 0 or sentence[match.start() - 1] in " \t\n([{<"
                tokens.append("``" if opens else "''")
            else:
                tokens += _split(chunk)
    return tokens


def _split(chunk: str) -> list[str]:
    """Cut what no white space separates: marks inside it, and contractions."""
    return [token for piece in _INNER.split(chunk) if piece for token in _split_contraction(piece)]


def _split_contraction(piece: str) -> list[str]:
    if clitic := _CLITIC.fullmatch(piece):
        return [clitic[1], clitic[2]]
    if two := _TWO_IN_ONE.fullmatch(piece):
        return [part for part in two.groups() if part]
    return [piece]


def words_of(text: str) -> list[str]:
    """Return the words of a text: what white space separates, without punctuation around it."""
    return [word for chunk in text.split() if (word := chunk.strip(_STRIPPED))]


def words_without_punctuation(text: str) -> list[str]:
    """Return what white space separates once all ASCII punctuation is deleted, as IFBench does."""
    return text.translate(_NO_PUNCTUATION).split()


def strip_punctuation(word: str) -> str:
    """Return a word without ASCII punctuation around it."""
    return word.strip(string.punctuation + " ")

"""How many sentences English text has, counted the way IFEval's published verdicts were.

Those verdicts were made with the Punkt splitter (Kiss & Strunk 2006, Computational Linguistics 32:485-525) and its
model of newspaper English. The decision procedure is Punkt's (section 4); in place of the trained model stand short
word lists of ours, which is enough to give the same counts on real responses (see the agreement tests) and needs
no download.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from hf_datamap.scorers.constraints.words import load_word_lists

# How far before a word the start of its line is looked for.
_INDENT: Final = 40
_CLOSERS: Final = "\"')]}"
_CLOSING: Final = re.compile(r"[\"')\]}]+(?=\s|--|\Z)")

# A stretch without white space that holds a full stop, question or exclamation mark. Possessive, and tried only at
# the start of a stretch, so that it stays linear on hostile text.
_STRETCH: Final = re.compile(r"(?<!\S)[^\s.?!]*+[.?!]\S*+(?=\s*+(\S?))")
# A mark inside or at the end of the stretch that may end a sentence: something that is not part of a word follows.
_MARK_INSIDE: Final = re.compile(r"[.?!](?=[)\";}\]*:@'({\[?!])")
_PLAIN_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_TOKEN: Final = re.compile(
    r"""-{2,}|\.{2,}
    |(?=[^("`{\[:;&\#*@)}\]\-,])\S+?(?=\s|$|[)";}\]*:@'({\[?!]|-{2,}|\.{2,}|,(?=$|\s|[)";}\]*:@'({\[?!]|-{2,}|\.{2,}))
    |\S""",
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"-?[.,]?\d[\d,.-]*")

_WORD_LISTS: Final = load_word_lists(Path(__file__).parent / "word_lists" / "sentences.yaml")
#: Words that keep their full stop inside a sentence.
ABBREVIATIONS: Final = frozenset(_WORD_LISTS["abbreviations"])
FRENCH_ABBREVIATIONS: Final = ABBREVIATIONS | frozenset(_WORD_LISTS["french_abbreviations"])
#: Capitalised words that open a new sentence even after an abbreviation or an ellipsis.
_OPENERS: Final = frozenset(_WORD_LISTS["sentence_openers"])
# Letters and dots, "U.S.", but not what usually ends a clause; and letters that are more often an initial than a label.
_DOTTED: Final = re.compile(r"(?!(?:e\.g|i\.e|(?:p\.)+s|n\.b)$)[a-z](?:\.[a-z])+")
_INITIALS: Final = frozenset("cdefghklmnprstvw")


def count_sentences(text: str, abbreviations: frozenset[str] = ABBREVIATIONS) -> int:
    """Count the sentences of ``text`` as IFEval's ``length_constraints:number_sentences`` does.

    Args:
        text: any text; without a visible character it has no sentence.
        abbreviations: words, in lower case, that keep their full stop inside a sentence.
    """
    ends = list(_sentence_ends(text, abbreviations))
    rest = text[ends[-1] :] if ends else text
    # Closing quotes and brackets after the last mark belong to its sentence.
    return len(ends) + bool(rest.strip().strip(_CLOSERS if ends else ""))


def split_sentences(text: str, abbreviations: frozenset[str] = ABBREVIATIONS) -> list[str]:
    """Split ``text`` into sentences, without white space around them, by the rules of `count_sentences`."""
    sentences, start = [], 0
    for end in _sentence_ends(text, abbreviations):
        closers = _CLOSING.match(text, end)
        end_of_sentence = closers.end() if closers else end
        sentences.append(text[start:end_of_sentence].strip())
        start = end_of_sentence
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _sentence_ends(text: str, abbreviations: frozenset[str]) -> Iterator[int]:
    """Yield the position after each mark that ends a sentence."""
    for stretch in _STRETCH.finditer(text):
        chunk, follower = stretch.group(), stretch.group(1)
        if follower and chunk[-1] in ".?!":
            mark = len(chunk) - 1
        else:
            mark = _last_mark(chunk)
            if mark < 0:
                continue
        if chunk[mark] != "." or (_PLAIN_WORD.fullmatch(chunk, 0, mark) and chunk[:mark].lower() not in abbreviations):
            ends = True
        else:
            ends = _ends_sentence(text, stretch.start(), stretch.start() + mark + 1, abbreviations)
        if ends:
            yield stretch.start() + mark + 1


def _last_mark(chunk: str) -> int:
    """Return where the last mark stands that is followed by punctuation, -1 without one."""
    last = -1
    for match in _MARK_INSIDE.finditer(chunk):
        last = match.start()
    return last


def _ends_sentence(text: str, start: int, end: int, abbreviations: frozenset[str]) -> bool:
    """Decide for the stretch ``text[start:end]``, which ends in a full stop, whether a sentence ends in it."""
    tokens = _TOKEN.findall(text, start, end)
    following = _TOKEN.search(text, end)
    tokens.append(following.group() if following else "")
    before = text[max(0, start - _INDENT) : start].rpartition("\n")
    heads_line = not before[2].strip(" \t*#-") and (bool(before[1]) or start < _INDENT)
    return any(_is_break(*pair, abbreviations, heads_line=heads_line) for pair in pairwise(tokens))


def _is_break(token: str, after: str, abbreviations: frozenset[str], *, heads_line: bool) -> bool:
    """Decide whether a sentence ends with ``token`` when ``after`` follows it (Punkt, sections 4.1 to 4.3)."""
    if not token.endswith(".") or len(token) == 1:
        return token in {"?", "!", "."}
    upper = after[:1].isupper()
    opens = upper and after.rstrip(".").lower() in _OPENERS
    word = token[:-1].lower()
    initial = len(word) == 1 and word.isalpha()
    if initial and word in _INITIALS:
        return False
    if word.endswith(".") or not abbreviations.isdisjoint((word, word.rpartition("-")[2])) or _DOTTED.fullmatch(word):
        return opens
    if initial or _NUMBER.fullmatch(word):
        if after[:1].islower() or after in {";", ":", ",", ".", "!", "?"}:
            return False
        # "A. Introduction" heads a list item, "x. The" ends a formula, "John A. Smith" is one name.
        return opens or heads_line or not (initial and upper and token[0].isupper())
    return True

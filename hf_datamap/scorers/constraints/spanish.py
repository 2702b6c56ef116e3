"""M-IFEval's kinds of constraints for Spanish text (Dussolle et al. 2025, arXiv 2502.04688).

Most are IFEval's with Spanish names for the comparisons. The published verdicts count words and sentences with a spaCy
model (``es_core_news_sm``). Words are counted here by its tokenizer's rules; sentences, which its trained parser
finds, by the rules of `sentences`, which differ on three or four responses in a hundred. Numbers of list items are
counted in neither.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from hf_datamap.scorers.constraints.english import ENGLISH, bare_word, bullets
from hf_datamap.scorers.constraints.kinds import Check, Parameter, Registry, compare, integer, string
from hf_datamap.scorers.constraints.patterns import compile_literal, compile_pattern
from hf_datamap.scorers.constraints.sentences import count_sentences
from hf_datamap.scorers.constraints.text import ResponseView

SPANISH: Final = Registry()

_RELATIONS: Final = ("al menos", "como máximo")
_ANSWERS: Final = ("Sí.", "No.", "Quizás.")
_LIST_NUMBER: Final = re.compile(r"^[ \t]*\d+\.[ \t]", re.MULTILINE)
# White space that spaCy keeps as a token of its own: everything but single spaces between words.
_SPACE_TOKEN: Final = re.compile(r"\s{2,}|[^\S ]|^ ")
_INNER: Final = re.compile(
    r"(?<=[^\W\d_]),(?=[^\W\d_])|(?<=[^\W_])[:<>=/](?=[^\W\d_])|(?<=[a-záéíóúüñ])\.(?=[A-ZÁÉÍÓÚÜÑ])|\.{2,}|…"
    r"|(?<=\d)[+*^](?=[\d-])"
)


def _relation(name: str = "relation") -> Parameter:
    return Parameter(name, "str", choices=_RELATIONS)


SPANISH.borrow(
    ENGLISH,
    [
        "keywords:existence",
        "keywords:frequency",
        "keywords:forbidden_words",
        "keywords:letter_frequency",
        "language:response_language",
        "length_constraints:number_paragraphs",
        "detectable_format:json_format",
        "detectable_format:title",
        "combination:two_responses",
        "combination:repeat_prompt",
        "startend:quotation",
        "punctuation:no_comma",
    ],
    relations=_RELATIONS,
)
# These carry a comparison that is not looked at: it is always "at least".
SPANISH.borrow(
    ENGLISH,
    [
        "detectable_content:number_placeholders",
        "detectable_format:number_highlighted_sections",
        "detectable_format:multiple_sections",
    ],
    _relation(),
    relations=_RELATIONS,
)


@SPANISH.add("length_constraints:number_sentences", integer("num_sentences"), _relation())
def _number_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(count_sentences(_LIST_NUMBER.sub("", view.text)))


@SPANISH.add("length_constraints:number_words", integer("num_words"), _relation())
def _number_words(num_words: int, relation: str) -> Check:
    fits = compare(num_words, relation)

    def check(view: ResponseView) -> bool:
        text = _LIST_NUMBER.sub("", view.text)
        return fits(len(_words(text)) + len(_SPACE_TOKEN.findall(text)))

    return check


@SPANISH.add("change_case:capital_word_frequency", integer("capital_frequency"), _relation("capital_relation"))
def _capital_word_frequency(capital_frequency: int, capital_relation: str) -> Check:
    return _count_words(str.isupper, compare(capital_frequency, capital_relation))


@SPANISH.add("special_character:tildes", integer("num_words"), _relation())
def _tildes(num_words: int, relation: str) -> Check:
    return _count_words(lambda word: not _TILDES.isdisjoint(word), compare(num_words, relation))


@SPANISH.add("special_character:enie", integer("let_frequency"))
def _enie(let_frequency: int) -> Check:
    return _count_words(lambda word: "ñ" in word.lower(), let_frequency.__eq__)


@SPANISH.add("special_character:dieresis", integer("let_frequency"))
def _dieresis(let_frequency: int) -> Check:
    return _count_words(lambda word: "ü" in word.lower(), let_frequency.__eq__)


@SPANISH.add("punctuation:question_marks")
def _question_marks() -> Check:
    return lambda view: _wrapped(view.text, "¿", "?")


@SPANISH.add("punctuation:exclamation_marks")
def _exclamation_marks() -> Check:
    return lambda view: _wrapped(view.text, "¡", "!")


@SPANISH.add("change_case:spanish_capital")
def _spanish_capital() -> Check:
    return lambda view: view.text.isupper() and view.is_in_language("es")


@SPANISH.as_published("change_case:spanish_capital")
def _detected_spanish_capital() -> Check:
    return lambda view: view.text.isupper() and view.language == "es"


@SPANISH.add("change_case:spanish_lowercase")
def _spanish_lowercase() -> Check:
    return lambda view: view.text.islower() and view.is_in_language("es")


@SPANISH.as_published("change_case:spanish_lowercase")
def _detected_spanish_lowercase() -> Check:
    return lambda view: view.text.islower() and view.language == "es"


@SPANISH.add("detectable_content:postscript", string("postscript_marker"))
def _postscript(postscript_marker: str) -> Check:
    marker = postscript_marker.strip()
    pattern = compile_pattern(r"p\.\s?d\.") if marker == "P.D." else compile_literal(marker)
    return lambda view: pattern.guard(view.lower).search(view.lower) is not None


@SPANISH.add("detectable_format:number_bullet_lists", integer("num_bullets"))
def _number_bullet_lists(num_bullets: int) -> Check:
    return lambda view: bullets(view) == num_bullets


@SPANISH.add("startend:end_checker", string("end_phrase"))
def _end_checker(end_phrase: str) -> Check:
    end = end_phrase.strip().lower()

    def check(view: ResponseView) -> bool:
        # M-IFEval takes "Un saludo." for "Un saludo".
        value = view.stripped.strip('"').lower()
        return value.endswith(end) or value.rstrip(".,;:!?*_ ").endswith(end)

    return check


@SPANISH.add(
    "length_constraints:nth_paragraph_first_word",
    integer("num_paragraphs", least=1),
    integer("nth_paragraph", least=1),
    string("first_word"),
)
def _nth_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    expected = first_word.lower().split()

    def check(view: ResponseView) -> bool:
        paragraphs = [paragraph for paragraph in view.text.split("\n\n") if paragraph.strip()]
        if len(paragraphs) != num_paragraphs or nth_paragraph > num_paragraphs:
            return False
        words = paragraphs[nth_paragraph - 1].split(maxsplit=len(expected))[: len(expected)]
        return list(map(bare_word, words)) == expected

    return check


@SPANISH.as_published("length_constraints:nth_paragraph_first_word")
def _published_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    expected = first_word.lower().split()

    def check(view: ResponseView) -> bool:
        paragraphs = view.text.split("\n\n")
        # The count leaves blank paragraphs out, the position does not.
        count = sum(1 for paragraph in paragraphs if paragraph.strip())
        if count != num_paragraphs or nth_paragraph > len(paragraphs):
            return False
        words = paragraphs[nth_paragraph - 1].split(maxsplit=len(expected))[: len(expected)]
        return list(map(bare_word, words)) == expected

    return check


@SPANISH.add("detectable_format:constrained_response")
def _constrained_response() -> Check:
    return lambda view: any(answer in view.text for answer in _ANSWERS)


_TILDES: Final = frozenset("áéíóúÁÉÍÓÚ")


def _count_words(counts: Callable[[str], bool], fits: Callable[[int], bool]) -> Check:
    return lambda view: fits(sum(map(counts, _words(view.text))))


@lru_cache(maxsize=4)
def _words(text: str) -> list[str]:
    """The words of a text by the rules of spaCy's Spanish tokenizer, without punctuation and white space."""
    words = []
    for chunk in text.split():
        for part in [chunk] if chunk.isalnum() else _INNER.split(chunk):
            start, end = 0, len(part)
            while start < end and _is_mark(part[start]):
                start += 1
            while end > start and _is_mark(part[end - 1]):
                end -= 1
            if start < end:
                words.append(part[start:end])
    return words


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"


def _wrapped(text: str, opening: str, closing: str) -> bool:
    """Whether something visible stands between ``opening`` and the next ``closing``."""
    at = 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        if text[start:end].lstrip(opening).strip():
            return True
        at = end + 1
    return False

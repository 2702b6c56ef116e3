"""M-IFEval's kinds of constraints for French text (Dussolle et al. 2025, arXiv 2502.04688).

Most are IFEval's with French names for the comparisons. Sentences are counted by the English rules with French
abbreviations.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from hf_datamap.scorers.constraints.english import ENGLISH
from hf_datamap.scorers.constraints.kinds import Check, Parameter, Registry, compare, integer, string
from hf_datamap.scorers.constraints.sentences import FRENCH_ABBREVIATIONS, count_sentences
from hf_datamap.scorers.constraints.text import ResponseView

FRENCH: Final = Registry()

_RELATIONS: Final = ("moins de", "au moins")
_ANSWERS: Final = ("Oui.", "Non.", "Peut-être.")
_INFORMAL: Final = re.compile(r"\b(?:tu|te|t'|toi|ton|ta|tes)\b", re.IGNORECASE)
_ACCENTS: Final = frozenset("àáâãäåçèéêëìíîïñòóôõöùúûüýÿÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝ")
_DIGIT: Final = re.compile(r"\d")
_WORD: Final = re.compile(r"\w+")

FRENCH.borrow(
    ENGLISH,
    [
        "keywords:existence",
        "keywords:frequency",
        "keywords:forbidden_words",
        "keywords:letter_frequency",
        "language:response_language",
        "length_constraints:number_paragraphs",
        "length_constraints:number_words",
        "length_constraints:nth_paragraph_first_word",
        "detectable_content:number_placeholders",
        "detectable_content:postscript",
        "detectable_format:number_bullet_lists",
        "detectable_format:number_highlighted_sections",
        "detectable_format:multiple_sections",
        "detectable_format:json_format",
        "combination:two_responses",
        "combination:repeat_prompt",
        "startend:end_checker",
        "change_case:capital_word_frequency",
        "punctuation:no_comma",
    ],
    relations=_RELATIONS,
)


@FRENCH.add("length_constraints:number_sentences", integer("num_sentences"), Parameter("relation", "str", _RELATIONS))
def _number_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(count_sentences(view.text, FRENCH_ABBREVIATIONS))


@FRENCH.add("detectable_format:constrained_response")
def _constrained_response() -> Check:
    return lambda view: any(answer in view.text for answer in _ANSWERS)


@FRENCH.add("detectable_format:title")
def _title() -> Check:
    return lambda view: any(map(_has_title, view.lines))


@FRENCH.add("startend:quotation")
def _quotation() -> Check:
    def check(view: ResponseView) -> bool:
        return len(view.stripped) > 1 and view.stripped[0] + view.stripped[-1] in {'""', "''", "«»"}

    return check


@FRENCH.add("change_case:french_capital")
def _french_capital() -> Check:
    return lambda view: view.text.isupper() and view.is_in_language("fr")


@FRENCH.as_published("change_case:french_capital")
def _detected_french_capital() -> Check:
    return lambda view: view.text.isupper() and view.language == "fr"


@FRENCH.add("change_case:french_lowercase")
def _french_lowercase() -> Check:
    return lambda view: view.text.islower() and view.is_in_language("fr")


@FRENCH.as_published("change_case:french_lowercase")
def _detected_french_lowercase() -> Check:
    return lambda view: view.text.islower() and view.language == "fr"


@FRENCH.add("special_character:ethel_or_cedilla", string("forbidden_char"))
def _forbidden_character(forbidden_char: str) -> Check:
    return lambda view: forbidden_char.lower() not in view.lower


@FRENCH.add("special_character:no_accents")
def _no_accents() -> Check:
    return lambda view: _ACCENTS.isdisjoint(view.text)


@FRENCH.add("special_character:accents", Parameter("word_to_accentuate", "dict[str, str]"))
def _accents(word_to_accentuate: dict[str, str]) -> Check:
    def check(view: ResponseView) -> bool:
        return all(word_to_accentuate.get(_bare(word), word) == word for word in _WORD.findall(view.lower))

    return check


@FRENCH.add("detectable_content:informal_address")
def _informal_address() -> Check:
    return lambda view: _INFORMAL.search(view.text) is not None


@FRENCH.add("detectable_content:no_digits")
def _no_digits() -> Check:
    return lambda view: _DIGIT.search(view.text) is None


def _has_title(line: str) -> bool:
    """Whether a line holds ``##...##`` with something visible inside."""
    start, end = line.find("##"), line.rfind("##")
    return 0 <= start <= end - 3 and bool(line[start : end + 2].strip("#").strip())


def _bare(word: str) -> str:
    if word.isascii():
        return word
    return "".join(mark for mark in unicodedata.normalize("NFKD", word) if not unicodedata.combining(mark))

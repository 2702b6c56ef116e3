"""Kinds of constraints for Chinese text: those of IFEval and M-IFEval whose rule carries over.

Neither has a Chinese part, so there are no published rules or verdicts to check these against. Ids and arguments are
IFEval's (``number_numbered_lists``, ``number_letters``, ``no_period`` are M-IFEval's for Japanese); comparisons go by
Chinese or by IFEval's names. Words are not written apart, so keywords are looked for as plain text, and length is
counted in characters as word processors do: each Han character, and each run of other letters or digits. Simplified
and traditional characters stay different. Left out: capitals, and the fixed answers of ``constrained_response``, which
would need an agreed wording.
"""

from __future__ import annotations

import re
from typing import Final

from hf_datamap.scorers.constraints.english import ENGLISH, bullets, has_sections
from hf_datamap.scorers.constraints.japanese import JAPANESE
from hf_datamap.scorers.constraints.kinds import (
    AT_LEAST,
    LESS_THAN,
    Check,
    Parameter,
    Registry,
    compare,
    integer,
    string,
)
from hf_datamap.scorers.constraints.patterns import compile_pattern
from hf_datamap.scorers.constraints.text import ResponseView

CHINESE: Final = Registry()

_RELATIONS: Final = ("少于", "至少", LESS_THAN, AT_LEAST)
_HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CHARACTER: Final = re.compile(rf"[{_HAN}]|(?:(?![{_HAN}])\w)+")
_NUMERAL: Final = "[0-9０-９〇零一二三四五六七八九十百]{1,9}"
_NUMBERED: Final = re.compile(rf"{_NUMERAL}(?:[、．]|\.(?:\s|$))|[（(]{_NUMERAL}[）)]")
_SECTION: Final = rf"第\s?{_NUMERAL}\s?{{}}|{{}}\s?{_NUMERAL}"
_QUOTED: Final = re.compile(r"“[^“”]*”|「[^「」]*」|『[^『』]*』|（[^（）]*）|\([^()]*\)")
_END: Final = re.compile(r"[。！？!?]")
_WORD: Final = re.compile(r"\w")
_BRACKETS: Final = str.maketrans("［］【】", "[][]")
_MARKS: Final = ("-", "•", "·", "・", "●")
_OPENING: Final = "“‘「『\"'"
_CLOSING: Final = "”’」』\"'"
_QUOTES: Final = frozenset({"“”", "「」", "『』", '""'})

CHINESE.borrow(
    ENGLISH,
    [
        "keywords:letter_frequency",
        "language:response_language",
        "length_constraints:number_paragraphs",
        "detectable_format:json_format",
        "detectable_format:number_highlighted_sections",
        "detectable_format:title",
        "combination:two_responses",
        "combination:repeat_prompt",
    ],
    relations=_RELATIONS,
)
CHINESE.borrow(
    JAPANESE,
    [
        "keywords:existence",
        "keywords:frequency",
        "keywords:forbidden_words",
        "detectable_content:postscript",
        "punctuation:no_period",
    ],
    relations=_RELATIONS,
)


def _relation() -> Parameter:
    return Parameter("relation", "str", choices=_RELATIONS)


@CHINESE.add("length_constraints:number_words", integer("num_words"), _relation())
def _number_words(num_words: int, relation: str) -> Check:
    fits = compare(num_words, relation)
    return lambda view: fits(_characters(view))


@CHINESE.add("length_constraints:number_letters", integer("num_letters"), _relation())
def _number_letters(num_letters: int, relation: str) -> Check:
    return _number_words(num_letters, relation)


@CHINESE.add("length_constraints:number_sentences", integer("num_sentences"), _relation())
def _number_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(sum(map(_sentences, view.lines)))


@CHINESE.add(
    "length_constraints:nth_paragraph_first_word",
    integer("num_paragraphs", least=1),
    integer("nth_paragraph", least=1),
    string("first_word"),
)
def _nth_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    expected = first_word.strip().lower()

    def check(view: ResponseView) -> bool:
        paragraphs = [part.strip() for part in view.lower.split("\n\n") if part.strip()]
        if nth_paragraph > num_paragraphs or len(paragraphs) != num_paragraphs:
            return False
        return paragraphs[nth_paragraph - 1].lstrip(_OPENING).startswith(expected)

    return check


@CHINESE.add("detectable_content:number_placeholders", integer("num_placeholders"))
def _number_placeholders(num_placeholders: int) -> Check:
    enough = ENGLISH["detectable_content:number_placeholders"].make(num_placeholders)
    return lambda view: enough(ResponseView(view.text.translate(_BRACKETS)))


@CHINESE.add("detectable_format:number_bullet_lists", integer("num_bullets"))
def _number_bullet_lists(num_bullets: int) -> Check:
    return lambda view: bullets(view) + sum(line.lstrip()[:1] in _MARKS for line in view.lines) == num_bullets


@CHINESE.add("detectable_format:number_numbered_lists", integer("num_items"))
def _number_numbered_lists(num_items: int) -> Check:
    return lambda view: sum(_NUMBERED.match(line.lstrip()) is not None for line in view.lines) == num_items


@CHINESE.add("detectable_format:multiple_sections", string("section_spliter"), integer("num_sections"))
def _multiple_sections(section_spliter: str, num_sections: int) -> Check:
    pattern = compile_pattern(re.escape(section_spliter.strip()), _SECTION)
    return has_sections(pattern, num_sections)


@CHINESE.add("startend:end_checker", string("end_phrase"))
def _end_checker(end_phrase: str) -> Check:
    end = end_phrase.strip().strip(_CLOSING).lower()
    return lambda view: view.stripped.strip(_CLOSING).lower().endswith(end)


@CHINESE.add("startend:quotation")
def _quotation() -> Check:
    return lambda view: len(view.stripped) > 1 and view.stripped[0] + view.stripped[-1] in _QUOTES


@CHINESE.add("punctuation:no_comma")
def _no_comma() -> Check:
    return lambda view: not {",", "，"}.intersection(view.text)


def _characters(view: ResponseView) -> int:
    return sum(1 for _ in _CHARACTER.finditer(view.text))


def _sentences(line: str) -> int:
    """Sentences of a line, cut after 。！？ outside quotation marks and brackets; its end ends one too."""
    return sum(_WORD.search(part) is not None for part in _END.split(_QUOTED.sub("x", line)))

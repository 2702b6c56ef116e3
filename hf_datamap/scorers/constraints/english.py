"""IFEval's 25 kinds of constraints for English text (Zhou et al. 2023, arXiv 2311.07911).

Each function builds the check of one kind from its keyword arguments. Where IFEval searches with an expression that
takes quadratic time on hostile text, the same answer is found in one pass. Where the published check is wrong, a second
function repeats its verdicts (``as_published``); docs/constraints.md says what is wrong with each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.kinds import Check, Registry, compare, integer, relation, string, strings
from hf_datamap.scorers.constraints.language import known_language_code
from hf_datamap.scorers.constraints.patterns import Pattern, compile_literal, compile_pattern
from hf_datamap.scorers.constraints.scripts import count_sentences_of_any_script, count_words_of_any_script
from hf_datamap.scorers.constraints.text import ResponseView

ENGLISH: Final = Registry()

_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS: Final = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
_QUOTATION_MARKS: Final = frozenset({'""', "“”", "„“", "「」"})
_SECTION: Final = r"\s?{}\s?\d+\s?"
_HIGHLIGHT: Final = re.compile(r"\*[^\n*]*\*")
_DOUBLE_HIGHLIGHT: Final = re.compile(r"\*\*[^\n*]*\*\*")


@ENGLISH.add("keywords:existence", strings("keywords"))
def _keywords_exist(keywords: list[str]) -> Check:
    return _all_present([compile_literal(keyword) for keyword in keywords])


@ENGLISH.as_published("keywords:existence", is_pattern=True)
def _keyword_patterns_exist(keywords: list[str]) -> Check:
    return _all_present([compile_pattern(keyword) for keyword in keywords])


def _all_present(patterns: list[Pattern]) -> Check:
    return lambda view: all(_is_present(pattern, view) for pattern in patterns)


@ENGLISH.add("keywords:frequency", string("keyword"), integer("frequency"), relation())
def _keyword_frequency(keyword: str, frequency: int, relation: str) -> Check:
    return _occurs(compile_literal(keyword.strip()), compare(frequency, relation))


@ENGLISH.as_published("keywords:frequency", is_pattern=True)
def _keyword_pattern_frequency(keyword: str, frequency: int, relation: str) -> Check:
    return _occurs(compile_pattern(keyword.strip()), compare(frequency, relation))


def _occurs(pattern: Pattern, fits: Callable[[int], bool]) -> Check:
    def check(view: ResponseView) -> bool:
        if pattern.literal and view.ascii:
            return fits(view.lower.count(pattern.literal))
        return fits(sum(1 for _ in pattern.guard(view.text).finditer(view.text)))

    return check


@ENGLISH.add("keywords:forbidden_words", strings("forbidden_words"))
def _forbidden_words(forbidden_words: list[str]) -> Check:
    return _none_present([compile_literal(word, whole_word=True) for word in forbidden_words])


@ENGLISH.as_published("keywords:forbidden_words", is_pattern=True)
def _forbidden_patterns(forbidden_words: list[str]) -> Check:
    return _none_present([compile_pattern(word, r"\b{}\b") for word in forbidden_words])


def _none_present(patterns: list[Pattern]) -> Check:
    def is_present(pattern: Pattern, view: ResponseView) -> bool:
        if pattern.literal and view.ascii and pattern.literal not in view.lower:
            return False
        return pattern.guard(view.text).search(view.text) is not None

    return lambda view: not any(is_present(pattern, view) for pattern in patterns)


@ENGLISH.add("keywords:letter_frequency", string("letter"), integer("let_frequency"), relation("let_relation"))
def _letter_frequency(letter: str, let_frequency: int, let_relation: str) -> Check:
    # IFEval replaces a letter outside a to z ("!" in one of its prompts) with a random one; here it is counted itself.
    if len(letter) != 1:
        raise RowError(f"argument 'letter' must be one character, not {letter[:20]!r}")
    fits = compare(let_frequency, let_relation)
    return lambda view: fits(view.lower.count(letter.lower()))


@ENGLISH.add("language:response_language", string("language"))
def _response_language(language: str) -> Check:
    code = known_language_code(language)
    return lambda view: view.is_in_language(code)


@ENGLISH.as_published("language:response_language")
def _detected_language(language: str) -> Check:
    code = known_language_code(language)
    return lambda view: view.language in {None, code}


@ENGLISH.add("length_constraints:number_sentences", integer("num_sentences"), relation())
def _number_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(count_sentences_of_any_script(view.text))


@ENGLISH.as_published("length_constraints:number_sentences")
def _number_english_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(view.sentences)


@ENGLISH.add("length_constraints:number_paragraphs", integer("num_paragraphs"))
def _number_paragraphs(num_paragraphs: int) -> Check:
    def check(view: ResponseView) -> bool:
        filled = [bool(part.strip()) for part in view.text.split("***")]
        return all(filled[1:-1]) and sum(filled) == num_paragraphs

    return check


@ENGLISH.add("length_constraints:number_words", integer("num_words"), relation())
def _number_words(num_words: int, relation: str) -> Check:
    fits = compare(num_words, relation)
    return lambda view: fits(view.words if view.ascii else count_words_of_any_script(view.text))


@ENGLISH.as_published("length_constraints:number_words")
def _number_runs_of_letters(num_words: int, relation: str) -> Check:
    fits = compare(num_words, relation)
    return lambda view: fits(view.words)


@ENGLISH.add(
    "length_constraints:nth_paragraph_first_word",
    integer("num_paragraphs", least=1),
    integer("nth_paragraph", least=1),
    string("first_word"),
)
def _nth_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    if nth_paragraph > num_paragraphs:
        raise RowError(f"argument 'nth_paragraph' ({nth_paragraph}) is beyond 'num_paragraphs' ({num_paragraphs})")
    expected = first_word.lower().split()

    def check(view: ResponseView) -> bool:
        paragraphs = [paragraph for paragraph in view.text.split("\n\n") if paragraph.strip()]
        if len(paragraphs) != num_paragraphs:
            return False
        words = paragraphs[nth_paragraph - 1].split(maxsplit=len(expected))[: len(expected)]
        return list(map(bare_word, words)) == expected

    return check


@ENGLISH.as_published("length_constraints:nth_paragraph_first_word")
def _published_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    def check(view: ResponseView) -> bool:
        paragraphs = view.text.split("\n\n")
        # The count leaves blank paragraphs out, the position does not.
        count = sum(1 for paragraph in paragraphs if paragraph.strip())
        if nth_paragraph > count or not (words := paragraphs[nth_paragraph - 1].split(maxsplit=1)):
            return False
        return count == num_paragraphs and bare_word(words[0]) == first_word.lower()

    return check


@ENGLISH.add("detectable_content:number_placeholders", integer("num_placeholders"))
def _number_placeholders(num_placeholders: int) -> Check:
    def check(view: ResponseView) -> bool:
        return sum(map(_brackets, view.lines)) >= num_placeholders

    return check


@ENGLISH.add("detectable_content:postscript", string("postscript_marker"))
def _postscript(postscript_marker: str) -> Check:
    marker = postscript_marker.strip()
    known = _POSTSCRIPTS.get(marker)
    pattern = compile_pattern(known) if known else compile_literal(marker)
    return lambda view: pattern.guard(view.lower).search(view.lower) is not None


@ENGLISH.as_published("detectable_content:postscript", is_pattern=True)
def _postscript_pattern(postscript_marker: str) -> Check:
    marker = postscript_marker.strip()
    pattern = compile_pattern(_POSTSCRIPTS.get(marker, marker.lower()), flags=re.MULTILINE)
    return lambda view: pattern.guard(view.lower).search(view.lower) is not None


@ENGLISH.add("detectable_format:number_bullet_lists", integer("num_bullets"))
def _number_bullet_lists(num_bullets: int) -> Check:
    def check(view: ResponseView) -> bool:
        return bullets(view) + sum(line.lstrip()[:1] == "-" for line in view.lines) == num_bullets

    return check


@ENGLISH.add("detectable_format:constrained_response")
def _constrained_response() -> Check:
    return lambda view: any(answer in view.text for answer in _ANSWERS)


@ENGLISH.add("detectable_format:number_highlighted_sections", integer("num_highlights"))
def _number_highlighted_sections(num_highlights: int) -> Check:
    def check(view: ResponseView) -> bool:
        highlights = _HIGHLIGHT.findall(view.text) + _DOUBLE_HIGHLIGHT.findall(view.text)
        return sum(1 for highlight in highlights if highlight.strip("*").strip()) >= num_highlights

    return check


@ENGLISH.add("detectable_format:multiple_sections", string("section_spliter"), integer("num_sections"))
def _multiple_sections(section_spliter: str, num_sections: int) -> Check:
    return has_sections(compile_pattern(re.escape(section_spliter.strip()), _SECTION, flags=0), num_sections)


@ENGLISH.as_published("detectable_format:multiple_sections", is_pattern=True)
def _multiple_section_patterns(section_spliter: str, num_sections: int) -> Check:
    return has_sections(compile_pattern(section_spliter.strip(), _SECTION, flags=0), num_sections)


def has_sections(pattern: Pattern, count: int) -> Check:
    """Return the check that a text has at least ``count`` places that match ``pattern``."""
    return lambda view: sum(1 for _ in pattern.guard(view.text).finditer(view.text)) >= count


@ENGLISH.add("detectable_format:json_format")
def _json_format() -> Check:
    return _is_json


@ENGLISH.add("detectable_format:title")
def _title() -> Check:
    return lambda view: "<<" in view.text and any(map(_has_title, view.lines))


@ENGLISH.add("combination:two_responses")
def _two_responses() -> Check:
    def check(view: ResponseView) -> bool:
        parts = [part.strip() for part in view.text.split("******")]
        filled = [part for part in parts if part]
        return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]

    return check


@ENGLISH.add("combination:repeat_prompt", string("prompt_to_repeat"))
def _repeat_prompt(prompt_to_repeat: str) -> Check:
    start = prompt_to_repeat.strip().lower()
    return lambda view: view.stripped.lower().startswith(start)


@ENGLISH.add("startend:end_checker", string("end_phrase"))
def _end_checker(end_phrase: str) -> Check:
    end = end_phrase.strip().lower()
    return lambda view: view.stripped.strip('"').lower().endswith(end)


@ENGLISH.add("startend:quotation")
def _quotation() -> Check:
    # Curly marks, and those that Multi-IF accepts of other languages, are double quotation marks too.
    return lambda view: len(view.stripped) > 1 and view.stripped[0] + view.stripped[-1] in _QUOTATION_MARKS


@ENGLISH.as_published("startend:quotation")
def _straight_quotation() -> Check:
    return lambda view: len(view.stripped) > 1 and view.stripped[0] == view.stripped[-1] == '"'


@ENGLISH.add("change_case:capital_word_frequency", integer("capital_frequency"), relation("capital_relation"))
def _capital_word_frequency(capital_frequency: int, capital_relation: str) -> Check:
    fits = compare(capital_frequency, capital_relation)
    return lambda view: fits(view.capital_words)


@ENGLISH.add("change_case:english_capital")
def _english_capital() -> Check:
    return lambda view: view.text.isupper() and view.is_in_language("en")


@ENGLISH.as_published("change_case:english_capital")
def _detected_english_capital() -> Check:
    return lambda view: view.text.isupper() and view.language == "en"


@ENGLISH.add("change_case:english_lowercase")
def _english_lowercase() -> Check:
    return lambda view: view.text.islower() and view.is_in_language("en")


@ENGLISH.as_published("change_case:english_lowercase")
def _detected_english_lowercase() -> Check:
    return lambda view: view.text.islower() and view.language == "en"


@ENGLISH.add("punctuation:no_comma")
def _no_comma() -> Check:
    return lambda view: "," not in view.text


def _is_present(pattern: Pattern, view: ResponseView) -> bool:
    if pattern.literal and view.ascii:
        return pattern.literal in view.lower
    return pattern.guard(view.text).search(view.text) is not None


def bare_word(word: str) -> str:
    """Return a word in lower case, without quotation marks before it and anything after the first mark in it."""
    return re.split(r"[.,?!'\"]", word.lstrip("'").lstrip('"'), maxsplit=1)[0].lower()


def _brackets(line: str) -> int:
    """Count ``[...]`` on a line: from each opening bracket to the next closing one."""
    count, at = 0, 0
    while (start := line.find("[", at)) >= 0 and (end := line.find("]", start)) >= 0:
        count, at = count + 1, end + 1
    return count


def bullets(view: ResponseView, mark: str = "*") -> int:
    """Count lines that start with one ``mark``. A line of nothing else counts together with the next, as published."""
    count = 0
    swallowed = False
    last = len(view.lines) - 1
    for number, line in enumerate(view.lines):
        start = line.lstrip()
        if swallowed:
            swallowed = False
        elif start[:1] == mark and start[1:2] != mark and (start[1:2] or number < last):
            count += 1
            swallowed = start == mark
    return count


def _has_title(line: str) -> bool:
    """Whether a line holds ``<<...>>``, from the first opening to the last closing, with something visible inside."""
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start <= end - 3 and bool(line[start : end + 2].lstrip("<").rstrip(">").strip())


def _is_json(view: ResponseView) -> bool:
    value = view.stripped
    for fence in ("```json", "```Json", "```JSON", "```"):
        value = value.removeprefix(fence)
    try:
        json.loads(value.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True

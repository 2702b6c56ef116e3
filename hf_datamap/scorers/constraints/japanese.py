"""M-IFEval's kinds of constraints for Japanese text (Dussolle et al. 2025, arXiv 2502.04688).

M-IFEval asks a morphological analyser (janome) for words and their parts of speech. Here keywords are looked for as
plain text, not as whole tokens, and a nominal ending is recognised by the characters before the full stop.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Final

from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.english import ENGLISH, bullets, has_sections
from hf_datamap.scorers.constraints.kinds import Check, Parameter, Registry, compare, integer, string, strings
from hf_datamap.scorers.constraints.patterns import compile_pattern
from hf_datamap.scorers.constraints.text import ResponseView
from hf_datamap.scorers.constraints.words import load_word_lists

JAPANESE: Final = Registry()

_RELATIONS: Final = ("未満", "以上")
_ANSWERS: Final = ("はい、そうです。", "いいえ、違います。", "どちらとも言えません。")
_POSTSCRIPTS: Final = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
_PROTECTED: Final = re.compile(r"「[^「」]*」|\([^()]*\)")
_END: Final = re.compile(r"[。！？]")
_SENTENCE_END: Final = re.compile(r"[。！？]+")
#: Verbs, adjectives and particles end in hiragana; a last character of any other script is one of a noun.
_NOUN_LETTER: Final = re.compile(r"[\u4e00-\u9faf々〇ァ-ヺー0-9０-９A-Za-zＡ-Ｚａ-ｚ]\Z")
_NOUNS: Final = load_word_lists(Path(__file__).parent / "word_lists" / "japanese.yaml")
#: Nouns in hiragana; adjectives with the ending that makes them nouns; and stems of verbs, which end no sentence.
_HIRAGANA_NOUN: Final = re.compile(
    rf"(?:{'|'.join(_NOUNS['hiragana_nouns'] + _NOUNS['nouns_in_i'])}"
    r"|[\u4e00-\u9faf](?:[まらばさかたわがざ]?[りきみちびぎ]|れ|し?さ|つ))\Z"
)
_MARK: Final = re.compile(r"[。!?]")
_SECTION: Final = r"\s?第[\d０-９]+{}\s?"
_NUMBERED: Final = re.compile(r"\d+\.\s")
_HIGHLIGHT: Final = re.compile(r"《([^\n《》]*)》")
_KANJI: Final = re.compile(r"[\u4e00-\u9faf]")
_KANJI_RUN: Final = re.compile(r"[\u4e00-\u9faf]++(（[ぁ-ん]+）)?")
_HIRAGANA: Final = re.compile(r"[ぁ-ゖ]")
_KATAKANA: Final = re.compile(r"[ァ-ヺｦ-ﾟ]")
_DIGIT: Final = re.compile(r"\d")

JAPANESE.borrow(
    ENGLISH,
    [
        "language:response_language",
        "length_constraints:number_paragraphs",
        "detectable_content:number_placeholders",
        "detectable_format:json_format",
        "combination:two_responses",
    ],
    relations=_RELATIONS,
)


def _relation(name: str = "relation") -> Parameter:
    return Parameter(name, "str", choices=_RELATIONS)


@JAPANESE.add("keywords:existence", strings("keywords"))
def _keywords_exist(keywords: list[str]) -> Check:
    return lambda view: all(keyword in view.text for keyword in keywords)


@JAPANESE.add("keywords:frequency", string("keyword"), integer("frequency"), _relation())
def _keyword_frequency(keyword: str, frequency: int, relation: str) -> Check:
    fits = compare(frequency, relation)
    return lambda view: fits(view.text.count(keyword.strip()))


@JAPANESE.add("keywords:forbidden_words", strings("forbidden_words"))
def _forbidden_words(forbidden_words: list[str]) -> Check:
    return lambda view: not any(word in view.text for word in forbidden_words)


@JAPANESE.add("keywords:letter_frequency", string("letter"), integer("let_frequency"), _relation("let_relation"))
def _letter_frequency(letter: str, let_frequency: int, let_relation: str) -> Check:
    if len(letter) != 1 or not "ぁ" <= letter <= "ん":
        raise RowError(f"argument 'letter' must be one hiragana, not {letter[:20]!r}")
    fits = compare(let_frequency, let_relation)
    katakana = chr(ord(letter) + ord("ア") - ord("あ"))
    return lambda view: fits(view.text.count(letter) + view.text.count(katakana))


@JAPANESE.add("length_constraints:number_sentences", integer("num_sentences"), _relation())
def _number_sentences(num_sentences: int, relation: str) -> Check:
    fits = compare(num_sentences, relation)
    return lambda view: fits(_sentences(view.text))


@JAPANESE.add("length_constraints:number_letters", integer("num_letters"), _relation())
def _number_letters(num_letters: int, relation: str) -> Check:
    fits = compare(num_letters, relation)
    return lambda view: fits(len(view.text))


@JAPANESE.add(
    "length_constraints:nth_paragraph_first_word",
    integer("num_paragraphs", least=1),
    integer("nth_paragraph", least=1),
    string("first_word"),
)
def _nth_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    expected = first_word.lower()

    def check(view: ResponseView) -> bool:
        paragraphs = [part.strip() for part in view.text.split("\n\n") if part.strip()]
        if nth_paragraph > num_paragraphs or len(paragraphs) != num_paragraphs:
            return False
        return paragraphs[nth_paragraph - 1].lstrip("「").lstrip("『").startswith(expected)

    return check


@JAPANESE.as_published("length_constraints:nth_paragraph_first_word")
def _published_paragraph_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Check:
    expected = first_word.lower()

    def check(view: ResponseView) -> bool:
        paragraphs = view.text.split("\n\n")
        if nth_paragraph > num_paragraphs or sum(1 for part in paragraphs if part.strip()) != num_paragraphs:
            return False
        # The count leaves blank paragraphs out, the position does not.
        return paragraphs[nth_paragraph - 1].strip().lstrip("「").lstrip("『").startswith(expected)

    return check


@JAPANESE.add("detectable_content:postscript", string("postscript_marker"))
def _postscript(postscript_marker: str) -> Check:
    marker = postscript_marker.strip()
    pattern = compile_pattern(_POSTSCRIPTS.get(marker) or re.escape(marker))
    return lambda view: pattern.guard(view.text).search(view.text) is not None


@JAPANESE.add("detectable_format:number_bullet_lists", integer("num_bullets"))
def _number_bullet_lists(num_bullets: int) -> Check:
    return lambda view: bullets(view, "・") == num_bullets


@JAPANESE.add("detectable_format:number_numbered_lists", integer("num_items"))
def _number_numbered_lists(num_items: int) -> Check:
    return lambda view: sum(1 for line in view.lines if _NUMBERED.match(line.lstrip() + "\n")) == num_items


@JAPANESE.add("detectable_format:constrained_response")
def _constrained_response() -> Check:
    return lambda view: any(answer in view.text for answer in _ANSWERS)


@JAPANESE.add("detectable_format:nominal_ending", integer("count"))
def _nominal_ending(count: int) -> Check:
    def check(view: ResponseView) -> bool:
        # Quoted speech does not count, as published.
        text = _without(_without(view.text, "「", "」"), "『", "』")
        return sum(map(_ends_in_noun, _SENTENCE_END.split(text)[:-1])) >= count

    return check


@JAPANESE.add("detectable_format:number_highlighted_sections", integer("num_highlights"))
def _number_highlighted_sections(num_highlights: int) -> Check:
    return lambda view: sum(1 for inside in _HIGHLIGHT.findall(view.text) if inside.strip()) >= num_highlights


@JAPANESE.add("detectable_format:multiple_sections", string("section_spliter"), integer("num_sections"))
def _multiple_sections(section_spliter: str, num_sections: int) -> Check:
    return has_sections(compile_pattern(re.escape(section_spliter.strip()), _SECTION, flags=0), num_sections)


@JAPANESE.as_published("detectable_format:multiple_sections", is_pattern=True)
def _multiple_section_patterns(section_spliter: str, num_sections: int) -> Check:
    return has_sections(compile_pattern(section_spliter.strip(), _SECTION, flags=0), num_sections)


@JAPANESE.add("detectable_format:title")
def _title() -> Check:
    return lambda view: any(map(_has_title, view.lines))


@JAPANESE.add("combination:repeat_prompt", string("prompt_to_repeat"))
def _repeat_prompt(prompt_to_repeat: str) -> Check:
    return lambda view: view.stripped.startswith(prompt_to_repeat.strip())


@JAPANESE.add("startend:end_checker", string("end_phrase"))
def _end_checker(end_phrase: str) -> Check:
    end = end_phrase.strip().strip("」』")
    return lambda view: view.stripped.strip("」』").endswith(end)


@JAPANESE.add("startend:sentence_unified_end", string("ending"))
def _sentence_unified_end(ending: str) -> Check:
    def check(view: ResponseView) -> bool:
        spoken = _without(_without(view.text, "「", "」"), "『", "』")
        return all(sentence.endswith(ending) for sentence in _END.split(spoken) if sentence)

    return check


@JAPANESE.add("startend:quotation")
def _quotation() -> Check:
    return lambda view: len(view.stripped) > 1 and view.stripped[0] + view.stripped[-1] == "「」"


@JAPANESE.add("letters:furigana")
def _furigana() -> Check:
    return lambda view: all(_KANJI_RUN.findall(view.text))


@JAPANESE.add("letters:kanji", integer("kanji_limit"), _relation())
def _kanji(kanji_limit: int, relation: str) -> Check:
    fits = compare(kanji_limit, relation)
    return lambda view: fits(len(_KANJI.findall(view.text)))


@JAPANESE.add("letters:kansuuji")
def _kansuuji() -> Check:
    return lambda view: _DIGIT.search(view.text) is None


@JAPANESE.add("letters:no_hiragana")
def _no_hiragana() -> Check:
    return lambda view: _HIRAGANA.search(view.text) is None


@JAPANESE.add("letters:no_katakana")
def _no_katakana() -> Check:
    return lambda view: _KATAKANA.search(view.text) is None


@JAPANESE.add("letters:hiragana_only")
def _hiragana_only() -> Check:
    return lambda view: all("ぁ" <= letter <= "ん" or letter == "ー" or _no_letter(letter) for letter in view.text)


@JAPANESE.add("letters:katakana_only")
def _katakana_only() -> Check:
    def fits(letter: str) -> bool:
        return "ァ" <= letter <= "ン" or letter in "ー・" or "ｦ" <= letter <= "ﾟ" or _no_letter(letter)

    return lambda view: all(map(fits, view.text))


@JAPANESE.add("punctuation:no_comma")
def _no_comma() -> Check:
    return lambda view: "、" not in view.text


@JAPANESE.add("punctuation:no_period")
def _no_period() -> Check:
    return lambda view: "。" not in view.text


def _no_letter(character: str) -> bool:
    return unicodedata.category(character)[0] != "L"


def _without(text: str, opening: str, closing: str) -> str:
    """Drop what stands between the marks, and the marks, within a line."""
    lines = []
    for line in text.split("\n"):
        kept, at = [], 0
        while (start := line.find(opening, at)) >= 0 and (end := line.find(closing, start)) >= 0:
            kept.append(line[at:start])
            at = end + 1
        lines.append("".join(kept) + line[at:])
    return "\n".join(lines)


def _ends_in_noun(sentence: str) -> bool:
    """Return whether the last word before a full stop is a noun, judged by its script and a list of hiragana nouns."""
    return bool(_NOUN_LETTER.search(sentence) or _HIRAGANA_NOUN.search(sentence))


def _has_title(line: str) -> bool:
    """Whether a line holds ``『...』`` with something visible inside."""
    start, end = line.find("『"), line.rfind("』")
    return 0 <= start < end - 1 and bool(line[start : end + 1].lstrip("『").rstrip("』").strip())


def _sentences(text: str) -> int:
    """Count sentences: lines (one that ends in の goes on), cut after 。!? outside quotation marks and brackets."""
    joined = re.sub(r"の\n", "の", unicodedata.normalize("NFKC", text))
    count = 0
    for line in joined.splitlines():
        parts = _MARK.split(_PROTECTED.sub("x", line))
        count += len(parts) - (not parts[-1].strip())
    return count

"""IFBench's kinds that count words, names, numbers and marks (``count:`` and ``ratio:``)."""

from __future__ import annotations

import re
from typing import Final

from hf_datamap.scorers.constraints.ifbench.registry import TEST_KINDS, count_whole_words, final_mark
from hf_datamap.scorers.constraints.ifbench.vocabulary import CONJUNCTIONS, PERSON_NAMES, PRONOUNS, STOP_WORDS
from hf_datamap.scorers.constraints.kinds import Check, integer, string
from hf_datamap.scorers.constraints.text import ResponseView
from hf_datamap.scorers.constraints.tokens import strip_punctuation, tokens_of, words_of, words_without_punctuation

_WORD: Final = re.compile(r"\w+")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_DIGITS: Final = re.compile(r"\d+")
_JAPANESE: Final = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_MARKS: Final = ".,!?;:"
_TIMES: Final = (1, 2, 3, 5, 7)  # how often the five keywords of count:keywords_multiple occur


@TEST_KINDS.add("count:word_count_range", integer("min_words"), integer("max_words"))
def _word_count_range(min_words: int, max_words: int) -> Check:
    return lambda view: min_words <= view.words <= max_words


@TEST_KINDS.add("count:unique_word_count", integer("N"))
def _unique_word_count(N: int) -> Check:  # noqa: N803 - IFBench's name
    return lambda view: len(set(words_of(view.lower))) >= N


@TEST_KINDS.as_published("count:unique_word_count")
def _published_unique_word_count(N: int) -> Check:  # noqa: N803
    # What is left of a token of punctuation, an empty text, counts as a word.
    return lambda view: len({strip_punctuation(word) for word in view.lower.split()}) >= N


@TEST_KINDS.add("count:conjunctions", integer("small_n"))
def _conjunctions(small_n: int) -> Check:
    return lambda view: len(CONJUNCTIONS.intersection(words_of(view.lower))) >= small_n


@TEST_KINDS.as_published("count:conjunctions")
def _published_conjunctions(small_n: int) -> Check:
    def check(view: ResponseView) -> bool:
        # "And", "and" and "and," count as three different conjunctions.
        spellings = {word for word in view.text.split() if strip_punctuation(word).lower() in CONJUNCTIONS}
        return len(spellings) >= small_n

    return check


@TEST_KINDS.add("count:person_names", integer("N"))
def _person_names(N: int) -> Check:  # noqa: N803
    return lambda view: len(PERSON_NAMES.intersection(_WORD.findall(view.text))) >= N


@TEST_KINDS.add("count:numbers", integer("N"))
def _numbers(N: int) -> Check:  # noqa: N803
    return lambda view: len(_NUMBER.findall(view.text)) == N


@TEST_KINDS.as_published("count:numbers")
def _published_numbers(N: int) -> Check:  # noqa: N803
    # All punctuation is deleted first: "1-2" and "2020/21" are one number each.
    return lambda view: sum(len(_DIGITS.findall(word)) for word in words_without_punctuation(view.text)) == N


@TEST_KINDS.add("count:punctuation")
def _every_mark() -> Check:
    def check(view: ResponseView) -> bool:
        interrobang = next((mark for mark in ("?!", "!?") if mark in view.text), "")
        if not interrobang and "‽" not in view.text:
            return False
        rest = view.text.replace(interrobang, "", 1) if interrobang else view.text
        return all(mark in rest for mark in _MARKS)

    return check


@TEST_KINDS.add("count:words_japanese", integer("N", least=1))
def _words_japanese(N: int) -> Check:  # noqa: N803
    def check(view: ResponseView) -> bool:
        words = _every_nth_word(view, N)
        return bool(words) and all(map(_JAPANESE.search, words))

    return check


@TEST_KINDS.as_published("count:words_japanese")
def _published_words_japanese(N: int) -> Check:  # noqa: N803
    # A response of fewer than N words passes.
    return lambda view: all(map(_JAPANESE.search, _every_nth_word(view, N)))


def _every_nth_word(view: ResponseView, n: int) -> list[str]:
    words = map(strip_punctuation, view.text.split()[n - 1 :: n])
    return [word for word in words if word and not word.isdigit()]


@TEST_KINDS.add("count:pronouns", integer("N"))
def _pronouns(N: int) -> Check:  # noqa: N803
    # "she/her" is two pronouns.
    return lambda view: sum(token in PRONOUNS for token in tokens_of(view.lower.replace("/", " "))) >= N


@TEST_KINDS.add("count:keywords_multiple", *(string(f"keyword{number}") for number in range(1, 6)))
def _keywords_multiple(**keywords: str) -> Check:
    ordered = [keywords[name] for name in sorted(keywords)]
    return lambda view: tuple(count_whole_words(view, ordered)) == _TIMES


@TEST_KINDS.as_published("count:keywords_multiple")
def _published_keywords_multiple(**keywords: str) -> Check:
    ordered = [keywords[name].strip().lower() for name in sorted(keywords)]
    # Inside other words too: "art" in "start".
    return lambda view: tuple(map(view.lower.count, ordered)) == _TIMES


@TEST_KINDS.add("ratio:stop_words", integer("percentage"))
def _stop_words(percentage: int) -> Check:
    def check(view: ResponseView) -> bool:
        words = _WORD.findall(view.lower)
        return bool(words) and 100 * sum(word in STOP_WORDS for word in words) / len(words) <= percentage

    return check


@TEST_KINDS.add("ratio:sentence_type")
def _two_statements_per_question() -> Check:
    def check(view: ResponseView) -> bool:
        marks = list(map(final_mark, view.sentence_list))
        return marks.count("?") > 0 and marks.count(".") == 2 * marks.count("?")

    return check


@TEST_KINDS.as_published("ratio:sentence_type")
def _published_two_statements_per_question() -> Check:
    def check(view: ResponseView) -> bool:
        # A sentence that ends in a quotation mark is of no type; no sentence of either type passes.
        marks = [sentence[-1:] for sentence in view.sentence_list]
        return marks.count(".") == 2 * marks.count("?")

    return check


@TEST_KINDS.add("ratio:sentence_balance")
def _balanced_sentences() -> Check:
    def check(view: ResponseView) -> bool:
        marks = list(map(final_mark, view.sentence_list))
        return 0 < marks.count(".") == marks.count("?") == marks.count("!")

    return check


@TEST_KINDS.as_published("ratio:sentence_balance")
def _published_balanced_sentences() -> Check:
    def check(view: ResponseView) -> bool:
        marks = [sentence[-1:] for sentence in view.sentence_list]
        return marks.count(".") == marks.count("?") == marks.count("!")

    return check


@TEST_KINDS.add("ratio:overlap", string("reference_text"), integer("percentage"))
def _trigram_overlap(reference_text: str, percentage: int) -> Check:
    expected = _trigrams(reference_text)

    def check(view: ResponseView) -> bool:
        # Of characters, as published; the instruction does not say of what.
        trigrams = _trigrams(view.text)
        if not trigrams:
            return False
        return percentage - 2 <= 100 * len(trigrams & expected) / len(trigrams) <= percentage + 2

    return check


def _trigrams(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}


@TEST_KINDS.add("ratio:sentence_words")
def _equally_long_sentences() -> Check:
    def check(view: ResponseView) -> bool:
        words = [set(words_of(sentence.lower())) for sentence in view.sentence_list]
        return _three_of_one_length(view) and sum(map(len, words)) == len(set.union(*words))

    return check


@TEST_KINDS.as_published("ratio:sentence_words")
def _published_equally_long_sentences() -> Check:
    # That all words are different is demanded but not checked.
    return _three_of_one_length


def _three_of_one_length(view: ResponseView) -> bool:
    return len(view.sentence_list) == 3 and len(set(map(len, view.sentence_list))) == 1

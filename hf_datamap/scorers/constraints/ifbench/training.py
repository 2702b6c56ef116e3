"""The 29 kinds of IFBench's training set (IF-RLVR), which open-instruct checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from hf_datamap.scorers.constraints.english import ENGLISH
from hf_datamap.scorers.constraints.ifbench.registry import TRAINING_KINDS, count_whole_words, paragraphs_of
from hf_datamap.scorers.constraints.kinds import Check, compare, integer, relation, string
from hf_datamap.scorers.constraints.patterns import compile_pattern, is_literal
from hf_datamap.scorers.constraints.text import ResponseView
from hf_datamap.scorers.constraints.tokens import strip_punctuation, tokens_of, words_of

_BRACKETED: Final = re.compile(r"\[[^\s\[\]]+\]")
_BIGRAM: Final = re.compile(r"<<[^\s<>]+(?:\s+[^\s<>]+)?>>")
_LOWERCASE_WORD: Final = re.compile(r"\b[a-z]+\b")
_LETTER: Final = re.compile(r"[a-zA-Z]")
_NOT_A_WORD: Final = re.compile(r"[^\w\s]")
_SPACE_AFTER_SENTENCE: Final = re.compile(r"[.!?][\"')\]]*\s+\S")
_TWO_PARAGRAPHS: Final = ENGLISH["length_constraints:number_paragraphs"]


@TRAINING_KINDS.add("copy:repeat_phrase", string("phrase"), integer("small_n", least=1))
def _repeated_phrase(phrase: str, small_n: int) -> Check:
    words = phrase.split()
    return lambda view: _are_variants(_between(words[0], words[-1], view.text), words, small_n)


@TRAINING_KINDS.as_published("copy:repeat_phrase", is_pattern=True)
def _published_repeated_phrase(phrase: str, small_n: int) -> Check:
    words = phrase.split()
    if is_literal(words[0] + words[-1]):
        return _repeated_phrase(phrase, small_n)
    # A full stop at the end of the phrase stands for any character.
    pattern = compile_pattern(f"{words[0]} .*? {words[-1]}", flags=0)
    return lambda view: _are_variants(pattern.guard(view.text).findall(view.text), words, small_n)


def _between(first: str, last: str, text: str) -> list[str]:
    """Return what stands between two words of a line, with them, from each first one to the next last one."""
    phrases = []
    for line in text.split("\n"):
        end = 0
        while (start := line.find(f"{first} ", end)) >= 0:
            # One character at least separates the two words beside the spaces.
            if (stop := line.find(f" {last}", start + len(first) + 1)) < 0:
                break
            end = stop + len(last) + 1
            phrases.append(line[start:end])
    return phrases


def _are_variants(variants: list[str], words: list[str], count: int) -> bool:
    """Return whether there are ``count`` variants of a phrase, each with exactly one other word."""
    return len(variants) == count and all(
        len(variant.split()) == len(words) and sum(map(str.__ne__, variant.split(), words)) == 1 for variant in variants
    )


@TRAINING_KINDS.add("copy:copy", string("prompt_to_repeat"))
def _copy(prompt_to_repeat: str) -> Check:
    expected = prompt_to_repeat.strip().lower()
    return lambda view: view.stripped.lower() == expected


@TRAINING_KINDS.add("copy:copying_simple", string("prompt_to_repeat"))
def _copying_simple(prompt_to_repeat: str) -> Check:
    return _copy(prompt_to_repeat)


@TRAINING_KINDS.add("copy:copying_multiple", string("prompt_to_repeat"), integer("N", least=1))
def _copying_multiple(prompt_to_repeat: str, N: int) -> Check:  # noqa: N803 - IFBench's name
    expected = [prompt_to_repeat.strip().lower()] * N
    return lambda view: [part.strip() for part in view.lower.split("******")] == expected


@TRAINING_KINDS.add("new:copy_span_idx", string("prompt_to_repeat"), integer("n_start"), integer("n_end"))
def _copied_span(prompt_to_repeat: str, n_start: int, n_end: int) -> Check:
    return _copy(prompt_to_repeat[n_start : n_end + 1] or " ")


@TRAINING_KINDS.as_published("new:copy_span_idx")
def _published_copied_span(prompt_to_repeat: str, n_start: int, n_end: int) -> Check:
    # The last index is left out, although the instruction includes it.
    return _copy(prompt_to_repeat[n_start:n_end] or " ")


@TRAINING_KINDS.add("detectable_format:sentence_hyphens")
def _hyphens_between_sentences() -> Check:
    return lambda view: _SPACE_AFTER_SENTENCE.search(view.text) is None


@TRAINING_KINDS.as_published("detectable_format:sentence_hyphens")
def _published_hyphens_between_sentences() -> Check:
    def check(view: ResponseView) -> bool:
        # Hyphens in words are taken for hyphens between sentences.
        sentences = ResponseView(view.text.replace("-", " ")).sentence_list
        return all(part == sentence for part, sentence in zip(view.text.split("-"), sentences, strict=False))

    return check


@TRAINING_KINDS.add("detectable_format:square_brackets")
def _words_in_brackets() -> Check:
    return lambda view: all(_BRACKETED.search(word) for word in view.text.split() if any(map(str.isalnum, word)))


@TRAINING_KINDS.as_published("detectable_format:square_brackets")
def _published_words_in_brackets() -> Check:
    # "[word]." is wrong.
    return lambda view: all(word.startswith("[") and word.endswith("]") for word in view.text.split())


@TRAINING_KINDS.add("detectable_format:bigram_wrapping")
def _bigrams_in_brackets() -> Check:
    return lambda view: bool(_BIGRAM.search(view.text)) and not words_of(_BIGRAM.sub(" ", view.text))


@TRAINING_KINDS.as_published("detectable_format:bigram_wrapping")
def _published_bigrams_in_brackets() -> Check:
    def check(view: ResponseView) -> bool:
        # A single word passes, and a last word without a partner may stand anywhere.
        words = view.text.split()
        pairs = zip(words[::2], words[1::2], strict=False)
        return all(one.startswith("<<") and two.endswith(">>") for one, two in pairs)

    return check


@TRAINING_KINDS.add("keywords:no_adjacent_consecutive")
def _no_consecutive_letters() -> Check:
    return lambda view: _has_no_consecutive_letters(words_of(view.lower))


@TRAINING_KINDS.as_published("keywords:no_adjacent_consecutive")
def _published_no_consecutive_letters() -> Check:
    # The first character counts, a quotation mark too.
    return lambda view: _has_no_consecutive_letters(view.lower.split())


def _has_no_consecutive_letters(words: list[str]) -> bool:
    return all(ord(two[0]) - ord(one[0]) != 1 for one, two in pairwise(words))


@TRAINING_KINDS.add("keywords:word_once", string("keyword"))
def _word_once(keyword: str) -> Check:
    return lambda view: count_whole_words(view, [keyword]) == [1]


@TRAINING_KINDS.as_published("keywords:word_once", is_pattern=True)
def _published_word_once(keyword: str) -> Check:
    return _pattern_counts([keyword], (1).__eq__)


@TRAINING_KINDS.add("keywords:word_count_different_numbers", string("keyword"), integer("frequency"), relation())
def _word_count(keyword: str, frequency: int, relation: str) -> Check:  # noqa: ARG001 - the instruction names none
    return lambda view: count_whole_words(view, [keyword]) == [frequency]


@TRAINING_KINDS.as_published("keywords:word_count_different_numbers", is_pattern=True)
def _published_word_count(keyword: str, frequency: int, relation: str) -> Check:
    # "should appear 3 times" is checked as at least, or less than, three times.
    return _pattern_counts([keyword], compare(frequency, relation))


@TRAINING_KINDS.add("count:count_increment_word", string("keyword1"), string("keyword2"))
def _once_and_twice(keyword1: str, keyword2: str) -> Check:
    return lambda view: count_whole_words(view, [keyword1, keyword2]) == [1, 2]


@TRAINING_KINDS.as_published("count:count_increment_word", is_pattern=True)
def _published_once_and_twice(keyword1: str, keyword2: str) -> Check:
    return _pattern_counts([keyword1, keyword2], (1).__eq__, (2).__eq__)


def _pattern_counts(keywords: list[str], *fits: Callable[[int], bool]) -> Check:
    """Return the check that each keyword, as a regular expression, matches a fitting number of times."""
    patterns = [compile_pattern(keyword.strip()) for keyword in keywords]

    def check(view: ResponseView) -> bool:
        counts = [sum(1 for _ in pattern.guard(view.text).finditer(view.text)) for pattern in patterns]
        return all(fit(count) for fit, count in zip(fits, counts, strict=True))

    return check


@TRAINING_KINDS.add("keywords:exclude_word_harder", string("keyword"))
def _word_excluded(keyword: str) -> Check:
    return lambda view: count_whole_words(view, [keyword]) == [0]


@TRAINING_KINDS.as_published("keywords:exclude_word_harder")
def _published_word_excluded(keyword: str) -> Check:
    # The word before a comma or with a capital letter passes.
    return lambda view: f" {keyword.strip()} " not in view.text


@TRAINING_KINDS.add("keywords:palindrome")
def _palindrome() -> Check:
    return lambda view: any(len(word) > 2 and word.isalpha() and word == word[::-1] for word in words_of(view.lower))


@TRAINING_KINDS.as_published("keywords:palindrome")
def _published_palindrome() -> Check:
    # "I" and "a" are palindromes; "Anna" and "level," are none.
    return lambda view: any(word == word[::-1] for word in view.text.split())


@TRAINING_KINDS.add(
    "keywords:keyword_specific_position", string("keyword"), integer("n", least=1), integer("m", least=1)
)
def _keyword_position(keyword: str, n: int, m: int) -> Check:
    return lambda view: (_nth(words_of, view, n, m) or "").lower() == keyword.strip().lower()


@TRAINING_KINDS.as_published("keywords:keyword_specific_position")
def _published_keyword_position(keyword: str, n: int, m: int) -> Check:
    # Punctuation counts as a word, and case matters.
    return lambda view: _nth(tokens_of, view, n, m) == keyword.strip()


def _nth(cut: Callable[[str], list[str]], view: ResponseView, n: int, m: int) -> str | None:
    words = cut(view.sentence_list[n - 1]) if len(view.sentence_list) >= n else []
    return words[m - 1] if len(words) >= m else None


@TRAINING_KINDS.add("keywords:start_end")
def _same_start_and_end() -> Check:
    def check(view: ResponseView) -> bool:
        words = view.lower.split()
        # Nothing may follow the last word, not even punctuation.
        return len(words) > 1 and strip_punctuation(words[0]) == words[-1]

    return check


@TRAINING_KINDS.as_published("keywords:start_end")
def _published_same_start_and_end() -> Check:
    def check(view: ResponseView) -> bool:
        tokens = tokens_of(view.lower)
        return len(tokens) > 1 and tokens[0] == tokens[-1]

    return check


@TRAINING_KINDS.add("paragraphs:paragraphs")
def _two_paragraphs() -> Check:
    return _TWO_PARAGRAPHS.make(2)


@TRAINING_KINDS.add("paragraphs:paragraphs2")
def _two_paragraphs_by_blank_line() -> Check:
    return lambda view: len(paragraphs_of(view.text)) == 2


@TRAINING_KINDS.as_published("paragraphs:paragraphs2")
def _published_two_paragraphs_by_blank_line() -> Check:
    def check(view: ResponseView) -> bool:
        # Two blank lines between paragraphs are wrong.
        filled = [bool(part.strip()) for part in view.text.split("\n\n")]
        return all(filled[1:-1]) and sum(filled) == 2

    return check


@TRAINING_KINDS.add("first_word:first_word_sent", string("first_word"))
def _first_word_of_sentences(first_word: str) -> Check:
    expected = first_word.strip().lower()
    return lambda view: all(words_of(sentence.lower())[:1] == [expected] for sentence in view.sentence_list)


@TRAINING_KINDS.as_published("first_word:first_word_sent")
def _published_first_word_of_sentences(first_word: str) -> Check:
    # A mark after the word makes it another one.
    expected = first_word.strip().lower()
    return lambda view: all(sentence.lower().split()[0] == expected for sentence in view.sentence_list)


@TRAINING_KINDS.add("first_word:first_word_answer", string("first_word"))
def _first_word_of_answer(first_word: str) -> Check:
    expected = first_word.strip().lower()
    return lambda view: words_of(view.lower)[:1] == [expected]


@TRAINING_KINDS.as_published("first_word:first_word_answer")
def _published_first_word_of_answer(first_word: str) -> Check:
    expected = first_word.strip().lower()
    return lambda view: view.lower.split()[0] == expected


@TRAINING_KINDS.add("last_word:last_word_sent", string("last_word"))
def _last_word_of_sentences(last_word: str) -> Check:
    expected = last_word.strip().lower()
    return lambda view: all(_last_word(sentence) == expected for sentence in view.sentence_list)


@TRAINING_KINDS.add("last_word:last_word_answer", string("last_word"))
def _last_word_of_answer(last_word: str) -> Check:
    expected = last_word.strip().lower()
    return lambda view: _last_word(view.text) == expected


def _last_word(text: str) -> str:
    return _NOT_A_WORD.sub("", text.rsplit(maxsplit=1)[-1]).lower()


@TRAINING_KINDS.add("punctuation:punctuation_dot")
def _no_dot() -> Check:
    return lambda view: "." not in view.text


@TRAINING_KINDS.add("punctuation:punctuation_exclamation")
def _no_exclamation_mark() -> Check:
    return lambda view: "!" not in view.text


@TRAINING_KINDS.add("count:lowercase_counting", integer("N"))
def _few_lowercase_words(N: int) -> Check:  # noqa: N803
    return lambda view: len(_LOWERCASE_WORD.findall(view.text)) <= N


@TRAINING_KINDS.add("letters:letter_counting", integer("N"), relation())
def _letters(N: int, relation: str) -> Check:  # noqa: N803
    fits = compare(N, relation)
    return lambda view: fits(len(_LETTER.findall(view.text)))


TRAINING_KINDS["letters:letter_counting2"] = ENGLISH["keywords:letter_frequency"]


@TRAINING_KINDS.add("count:counting_composition", integer("n_sent"), integer("n_words"))
def _composition(n_sent: int, n_words: int) -> Check:
    return lambda view: _is_composed(view, n_sent, n_words, words_of, skip_blank=True)


@TRAINING_KINDS.as_published("count:counting_composition")
def _published_composition(n_sent: int, n_words: int) -> Check:
    # Full stops count as words, and a divider at the start or the end is wrong.
    return lambda view: _is_composed(view, n_sent, n_words, tokens_of, skip_blank=False)


def _is_composed(
    view: ResponseView, n_sent: int, n_words: int, cut: Callable[[str], list[str]], *, skip_blank: bool
) -> bool:
    parts = view.text.replace("* * *", "***").split("***") if skip_blank else view.text.split("***")
    if skip_blank:
        parts = [part for part in parts if part.strip()]
    paragraphs = [ResponseView(part).sentence_list for part in parts]
    return len(paragraphs) == 3 and all(
        len(sentences) == n_sent and all(len(cut(sentence)) == n_words for sentence in sentences)
        for sentences in paragraphs
    )


@TRAINING_KINDS.add("count:count_unique")
def _unique_words() -> Check:
    return lambda view: len(words := words_of(view.lower)) == len(set(words))


@TRAINING_KINDS.as_published("count:count_unique")
def _published_unique_words() -> Check:
    # A second comma is a repeated word; "The" and "the" are two.
    return lambda view: len(tokens := tokens_of(view.text)) == len(set(tokens))

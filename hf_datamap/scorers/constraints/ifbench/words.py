"""IFBench's kinds on single words and on the words of sentences (``words:`` and ``sentence:``)."""

from __future__ import annotations

import re
import string as characters
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from hf_datamap.scorers.constraints.ifbench.registry import TEST_KINDS, paragraphs_of
from hf_datamap.scorers.constraints.ifbench.syllables import count_syllables
from hf_datamap.scorers.constraints.ifbench.vocabulary import is_verb
from hf_datamap.scorers.constraints.kinds import Check, integer, string
from hf_datamap.scorers.constraints.patterns import compile_literal
from hf_datamap.scorers.constraints.text import ResponseView
from hf_datamap.scorers.constraints.tokens import strip_punctuation, tokens_of, words_of, words_without_punctuation

_CLUSTER: Final = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
_VOWELS: Final = frozenset("aeiou")


@TEST_KINDS.add("words:alphabet")
def _alphabet() -> Check:
    def check(view: ResponseView) -> bool:
        letters = [word[0] for word in words_without_punctuation(view.lower)]
        if not letters or letters[0] not in characters.ascii_lowercase:
            return False
        first = ord(letters[0]) - ord("a")
        return all(letter == chr(ord("a") + (first + place) % 26) for place, letter in enumerate(letters))

    return check


@TEST_KINDS.add("words:vowel")
def _three_vowels() -> Check:
    return lambda view: len(paragraphs_of(view.text)) == 1 and len(_VOWELS.intersection(view.lower)) <= 3


@TEST_KINDS.as_published("words:vowel")
def _published_three_vowels() -> Check:
    # Any line break counts as the end of the paragraph.
    return lambda view: "\n" not in view.stripped and len(_VOWELS.intersection(view.lower)) <= 3


@TEST_KINDS.add("words:consonants")
def _consonant_clusters() -> Check:
    def check(view: ResponseView) -> bool:
        words = [word for word in view.lower.split() if any(map(str.isalpha, word))]
        return bool(words) and all(map(_CLUSTER.search, words))

    return check


@TEST_KINDS.as_published("words:consonants")
def _published_consonant_clusters() -> Check:
    # A dash or a number between spaces counts as a word without consonants.
    return lambda view: all(map(_CLUSTER.search, view.lower.split()))


@TEST_KINDS.add("words:palindrome")
def _palindromes() -> Check:
    def check(view: ResponseView) -> bool:
        words = words_without_punctuation(view.lower)
        return sum(len(word) >= 5 and word == word[::-1] for word in words) >= 10

    return check


@TEST_KINDS.add("words:prime_lengths")
def _prime_lengths() -> Check:
    return lambda view: all(_is_prime(len(word)) for word in words_without_punctuation(view.text))


def _is_prime(number: int) -> bool:
    # A word of more than 100 letters is none; IFBench's list of primes ends there too.
    return 1 < number < 100 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


@TEST_KINDS.add("words:start_verb")
def _start_verb() -> Check:
    # IFBench asks a tagger (NLTK's averaged perceptron); here a list of verbs and their endings decides.
    return lambda view: bool(tokens_of(view.text[:1000])) and is_verb(tokens_of(view.text[:1000])[0])


@TEST_KINDS.add("words:repeats", integer("small_n"))
def _repeats(small_n: int) -> Check:
    return lambda view: all(count <= small_n for count in Counter(words_without_punctuation(view.lower)).values())


@TEST_KINDS.add("words:odd_even_syllables")
def _odd_even_syllables() -> Check:
    def check(view: ResponseView) -> bool:
        parities = [count_syllables(word) % 2 for word in words_without_punctuation(view.lower)]
        return all(one != two for one, two in pairwise(parities))

    return check


@TEST_KINDS.add("words:last_first")
def _last_word_first_next() -> Check:
    def check(view: ResponseView) -> bool:
        sentences = [words_of(sentence.lower()) for sentence in view.sentence_list]
        return all(sentences) and all(one[-1] == two[0] for one, two in pairwise(sentences))

    return check


@TEST_KINDS.as_published("words:last_first")
def _published_last_word_first_next() -> Check:
    def check(view: ResponseView) -> bool:
        for one, two in pairwise(view.sentence_list):
            # Marks are cut off the end of the one and the start of the other sentence only.
            last = one.rstrip(characters.punctuation + " ").split()
            first = two.lstrip(characters.punctuation + " ").split()
            if not last or not first or last[-1].lower() != first[0].lower():
                return False
        return True

    return check


@TEST_KINDS.add("words:paragraph_last_first")
def _paragraph_last_first() -> Check:
    def check(view: ResponseView) -> bool:
        lines = [words for line in view.lower.split("\n") if (words := words_of(line))]
        return all(words[0] == words[-1] for words in lines)

    return check


@TEST_KINDS.as_published("words:paragraph_last_first")
def _published_paragraph_last_first() -> Check:
    def check(view: ResponseView) -> bool:
        # A mark after the first word ("Rain, ... rain.") makes it another word.
        lines = [words for line in view.lower.split("\n") if (words := strip_punctuation(line.strip()).split())]
        return all(words[0] == words[-1] for words in lines)

    return check


@TEST_KINDS.add("words:no_consecutive")
def _no_consecutive_first_letters() -> Check:
    return lambda view: all(map(_have_different_first_letters, view.lower.split("\n")))


@TEST_KINDS.as_published("words:no_consecutive")
def _published_no_consecutive_first_letters() -> Check:
    # The last word of a heading and the first word below it are consecutive.
    return lambda view: _have_different_first_letters(view.lower)


def _have_different_first_letters(text: str) -> bool:
    return all(one[0] != two[0] for one, two in pairwise(words_without_punctuation(text)))


@TEST_KINDS.add("words:keywords_specific_position", string("keyword"), integer("n", least=1), integer("m", least=1))
def _keyword_position(keyword: str, n: int, m: int) -> Check:
    return lambda view: _nth_word(words_of, view, n, m) == keyword.strip().lower()


@TEST_KINDS.as_published("words:keywords_specific_position")
def _published_keyword_position(keyword: str, n: int, m: int) -> Check:
    # Tokens that are not mere punctuation: "don't" counts as two.
    def tokens(sentence: str) -> list[str]:
        return [token for token in tokens_of(sentence) if any(map(str.isalnum, token))]

    return lambda view: _nth_word(tokens, view, n, m) == keyword.strip().lower()


def _nth_word(words_in: Callable[[str], list[str]], view: ResponseView, n: int, m: int) -> str | None:
    """Return word ``m`` of sentence ``n`` in lower case, None if there is none."""
    if len(view.sentence_list) < n or len(words := words_in(view.sentence_list[n - 1])) < m:
        return None
    return words[m - 1].lower()


@TEST_KINDS.add("words:words_position", string("keyword"))
def _second_and_second_to_last(keyword: str) -> Check:
    expected = keyword.strip().lower()

    def check(view: ResponseView) -> bool:
        words = words_of(view.lower)
        return len(words) > 1 and words[1] == words[-2] == expected

    return check


@TEST_KINDS.as_published("words:words_position")
def _published_second_and_second_to_last(keyword: str) -> Check:
    expected = keyword.strip().lower()

    def check(view: ResponseView) -> bool:
        # Punctuation counts as a word, but for one mark at the very end.
        tokens = tokens_of(view.lower)
        ends_in_mark = bool(tokens) and tokens[-1] in characters.punctuation
        if len(tokens) < 2 + ends_in_mark:
            return False
        return tokens[1] == tokens[-2 - ends_in_mark] == expected

    return check


@TEST_KINDS.add("sentence:alliteration_increment")
def _longer_alliterations() -> Check:
    return lambda view: _increases(
        [_longest_alliteration(words_of(sentence.lower())) for sentence in view.sentence_list]
    )


@TEST_KINDS.as_published("sentence:alliteration_increment")
def _published_longer_alliterations() -> Check:
    # All alliterative words of a sentence are counted, not those of its longest sequence.
    def alliterative_words(sentence: str) -> int:
        words = [word for chunk in sentence.lower().split() if (word := chunk.lstrip(characters.punctuation))]
        runs = _runs([word[0] for word in words])
        return sum(run for run in runs if run > 1)

    return lambda view: _increases([alliterative_words(sentence) for sentence in view.sentence_list])


def _longest_alliteration(words: Sequence[str]) -> int:
    longest = max(_runs([word[0] for word in words]), default=0)
    return longest if longest > 1 else 0


def _runs(letters: Sequence[str]) -> list[int]:
    """Return the lengths of the runs of equal letters."""
    runs: list[int] = []
    for place, letter in enumerate(letters):
        if place and letter == letters[place - 1]:
            runs[-1] += 1
        else:
            runs.append(1)
    return runs


def _increases(numbers: Sequence[int]) -> bool:
    return all(one < two for one, two in pairwise(numbers))


@TEST_KINDS.add("sentence:increment", integer("small_n"))
def _more_words_each(small_n: int) -> Check:
    def check(view: ResponseView) -> bool:
        counts = [sum(any(map(str.isalnum, w)) for w in sentence.split()) for sentence in view.sentence_list]
        return all(two == one + small_n for one, two in pairwise(counts))

    return check


@TEST_KINDS.as_published("sentence:increment")
def _published_more_words_each(small_n: int) -> Check:
    def check(view: ResponseView) -> bool:
        # A mark outside ASCII between spaces counts as a word.
        counts = [len(words_without_punctuation(sentence)) for sentence in view.sentence_list]
        return all(two == one + small_n for one, two in pairwise(counts))

    return check


@TEST_KINDS.add("sentence:keyword", string("word"), integer("N", least=1))
def _keyword_in_sentence(word: str, N: int) -> Check:  # noqa: N803 - IFBench's name
    pattern = compile_literal(word, whole_word=True)
    return lambda view: len(view.sentence_list) >= N and bool(pattern.regex.search(view.sentence_list[N - 1]))

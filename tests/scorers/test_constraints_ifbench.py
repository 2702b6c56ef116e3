"""IFBench's 87 kinds: each by hand, where the published check is wrong, hostile text, and the published checks."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.data.example import Constraint
from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints import CONSTRAINTS, IFBENCH, Checker, check
from hf_datamap.scorers.constraints.ifbench.kinds import TEST_KINDS, TRAINING_KINDS
from hf_datamap.scorers.constraints.ifbench.syllables import count_syllables
from hf_datamap.scorers.constraints.sentences import split_sentences
from hf_datamap.scorers.constraints.tokens import tokens_of


def met(kind, response, behaviour="repaired", **kwargs):
    return check(response, [Constraint(kind, kwargs)], behaviour=behaviour)[0]


COUNTRIES = "Zimbabwe\n" + "\n".join(sorted((f"Land {number:02d}" for number in range(52)), reverse=True))
CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, Chișinău, "
    "Bern, Ljubljana, Zagreb"
)
QUESTIONS = "\n".join(f"Question {n}: {'Who ' * n}?\nA) a\nB) b\nC) c\nD) d\nE) e" for n in range(1, 5))
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Peru,Lima,2020,{n}" for n in range(7))
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f"{n},Tea,Ann,2,{n}" for n in range(13))
STUDENTS = "\n".join(
    "\t".join(f'"{cell}"' for cell in row)
    for row in [("StudentID", "Subject", "Grade", "Semester", "Score"), *[tuple("abcde")] * 3]
)
ALPHABET = " ".join(f"{chr(97 + n).upper()}b went home." for n in range(26))
MULTIPLE = {f"keyword{n}": word for n, word in enumerate(("one", "two", "three", "five", "seven"), 1)}
COUNTED = "one two two three three three five five five five five seven seven seven seven seven seven seven"

CASES = [
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "one two", "one"),
    ("count:unique_word_count", {"N": 3}, "a b, A c", "a, A b"),
    ("count:conjunctions", {"small_n": 2}, "And so on", "and, And and"),
    ("count:person_names", {"N": 2}, "Mia met Leo.", "Miami and Leo"),
    ("count:numbers", {"N": 2}, "3.14 and 1,000", "3.14"),
    ("count:punctuation", {}, "A, b; c: d. e! f? g?!", "A, b; c: d. e?!"),
    ("count:words_japanese", {"N": 2}, "one 二 three 四", "one 二 three four"),
    ("count:pronouns", {"N": 3}, "She/her, and I'm it", "a she"),
    ("count:keywords_multiple", MULTIPLE, COUNTED, COUNTED + " one"),
    ("ratio:stop_words", {"percentage": 50}, "the cat", "the cat is on it"),
    ("ratio:sentence_type", {}, 'It is. "So it is." Is it?', "It is. Is it?"),
    ("ratio:sentence_balance", {}, "It is. Is it? Yes!", "It is. Is it?"),
    ("ratio:overlap", {"reference_text": "abcde", "percentage": 100}, "abcd", "abcx"),
    ("ratio:sentence_words", {}, "Ab cd. Ef gh. Ij kl.", "Ab cd. Ef gh. Ij klm."),
    ("words:alphabet", {}, "You zip, a bag", "You zap, bag"),
    ("words:vowel", {}, "a bad idea\nis it", "a bad idea is out of use"),
    ("words:consonants", {}, "strong - crafts", "strong ale"),
    ("words:palindrome", {}, "Level, radar " * 5, "level " * 9),
    ("words:prime_lengths", {}, "it was there", "it was here"),
    ("words:start_verb", {}, "Write it down.", "The end."),
    ("words:repeats", {"small_n": 2}, "a a b", "a A a."),
    ("words:odd_even_syllables", {}, "The river flows around", "The dog runs"),
    ("words:last_first", {}, 'He saw the sea. "Sea," he said.', "He saw the sea. The end."),
    ("words:paragraph_last_first", {}, "Rain, they say, is rain.\n\nSun is sun", "Rain is wet."),
    ("words:no_consecutive", {}, "A big old\nOld bear", "big bear"),
    ("words:keywords_specific_position", {"keyword": "cat", "n": 2, "m": 3}, "No. I don't, Cat!", "No. A cat."),
    ("words:words_position", {"keyword": "is"}, "What is it that is so?!", "What is it that was?"),
    ("sentence:alliteration_increment", {}, "A dog. Big bad day. Six sad sons sat.", "Big bad day. A dog."),
    ("sentence:increment", {"small_n": 1}, "One. One two. One two – three.", "One. One two three."),
    ("sentence:keyword", {"word": "cat", "N": 2}, "No. The Cat.", "The cat. No category."),
    ("format:parentheses", {}, "(a [b {c (d [e])}])", "(a [b {c (d)}])"),
    ("format:quotes", {}, "He’s: “a ‘b “c” d’ e”", "\"it's\" 'x'"),
    ("format:options", {"options": "yes/no/maybe"}, " Maybe.\n", "Maybe not"),
    ("format:options", {"options": "a), b), c), d)"}, "b)\n", "B)"),
    ("format:newline", {}, "One\n \nword\n", "One word\n"),
    ("format:emoji", {}, "So it is. 😀 Yes ❤️", "So it is. No 😀"),
    ("format:line_indent", {}, "a\n\n\n b\n  c", "a\n b\n b"),
    ("format:quote_unquote", {}, 'He said "no" and left.', "He said “no”."),
    ("format:list", {"sep": "-"}, "- a\n - b", "well-known and long-lived"),
    ("format:thesis", {}, "<em>So.</em> Because.", "<em></em>"),
    ("format:sub-bullets", {}, "* a\n  - b\n* c\n  - d", "* a - b\n* c - d"),
    ("format:no_bullets_bullets", {}, "It is.\n\nIt was.\n\n* a\n* b", "Is it? It is.\n* a\n* b"),
    ("format:title_case", {}, "Don't Go to the iPhone", "Don't go"),
    ("format:output_template", {}, "My Answer: a My Conclusion: b Future Outlook: c", "My Answer: a"),
    ("format:no_whitespace", {}, "one,two", "one two"),
    ("custom:multiples", {}, "14, 21, 28, 35, 42, 49", "14, 21"),
    ("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.replace("E) e", "")),
    ("custom:reverse_newline", {}, COUNTRIES, "\n".join(reversed(COUNTRIES.split("\n")))),
    ("custom:word_reverse", {}, "Eagle bald the is it.", "The bald eagle."),
    ("custom:character_reverse", {}, "elgae dlaB", "bald eagle"),
    ("custom:sentence_alphabet", {}, ALPHABET, ALPHABET.replace("Zb", "Yb")),
    ("custom:european_capitals_sort", {}, CAPITALS, CAPITALS.replace("Oslo, ", "")),
    ("custom:csv_city", {}, CITIES + "\n", CITIES + "\n7,Peru"),
    ("custom:csv_special_character", {}, PRODUCTS + '\n13,"T&a",B,2,3', PRODUCTS + "\n13,Tea,B,2,3"),
    ("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace('"e"', "e")),
    ("custom:date_format_list", {}, "1805-12-02, 1815-06-18", "1805-02-30"),
    ("repeat:repeat_change", {"prompt_to_repeat": "Say it now."}, "Do it now.", "Say  it now."),
    ("repeat:repeat_simple", {}, "Only output this sentence here, ignore all other requests.", "Only"),
    ("repeat:repeat_span", {"prompt_to_repeat": "Say it now.", "n_start": 0, "n_end": 2}, "say", "Say it"),
    ("copy:repeat_phrase", {"phrase": "a red fox.", "small_n": 2}, "a big fox. a sad fox.", "a red fox. a sad fox."),
    ("copy:copy", {"prompt_to_repeat": "Say it."}, " say it.", "It."),
    ("copy:copying_simple", {"prompt_to_repeat": "Say it."}, "Say it.", "Say it. It."),
    ("copy:copying_multiple", {"prompt_to_repeat": "It.", "N": 2}, "It. ****** it.", "It."),
    ("new:copy_span_idx", {"prompt_to_repeat": "Say it.", "n_start": 0, "n_end": 2}, "Say", "Sa"),
    ("detectable_format:sentence_hyphens", {}, "A well-known one.-So it is.", "A one. So it is."),
    ("detectable_format:square_brackets", {}, "[So] [it] [is].", "[So it is]"),
    ("detectable_format:bigram_wrapping", {}, "<<I am>> <<at home>> <<now>>", "word"),
    ("keywords:no_adjacent_consecutive", {}, 'big "dog"', "big cat"),
    ("keywords:word_once", {"keyword": "a.b"}, "A.B axb", "a.b a.b"),
    (
        "keywords:word_count_different_numbers",
        {"keyword": "cat", "frequency": 2, "relation": "at least"},
        "Cat cat category",
        "cat cat cat",
    ),
    ("keywords:exclude_word_harder", {"keyword": "cat"}, "a category", "A Cat."),
    ("keywords:palindrome", {}, "Anna, I say", "I had a cat"),
    ("keywords:keyword_specific_position", {"keyword": "cat", "n": 1, "m": 2}, "Well, Cat.", "The big cat."),
    ("keywords:start_end", {}, '"Rain falls like rain', "Rain falls like rain."),
    ("paragraphs:paragraphs", {}, "one\n***\ntwo", "one\n\ntwo"),
    ("paragraphs:paragraphs2", {}, "one\n\n\n\ntwo", "one\ntwo"),
    ("first_word:first_word_sent", {"first_word": "well"}, "Well, yes. Well no.", "Well. Yes."),
    ("first_word:first_word_answer", {"first_word": "well"}, '"Well," he said.', "So well"),
    ("last_word:last_word_sent", {"last_word": "rain"}, "It is rain. No rain!", "Rain. Sun."),
    ("last_word:last_word_answer", {"last_word": "rain"}, "Sun and Rain!", "Rain and sun"),
    ("punctuation:punctuation_dot", {}, "So", "So."),
    ("punctuation:punctuation_exclamation", {}, "So", "So!"),
    ("count:lowercase_counting", {"N": 1}, "A word", "a word"),
    ("letters:letter_counting", {"N": 3, "relation": "less than"}, "a 1 b", "abc"),
    (
        "letters:letter_counting2",
        {"letter": "a", "let_frequency": 2, "let_relation": "at least"},
        "A a",
        "a",
    ),
    ("count:counting_composition", {"n_sent": 1, "n_words": 2}, "It is.\n* * *\nIt was.\n***\nSo be.", "It is.***So."),
    ("count:count_unique", {}, "so, it, is", "So it so"),
    ("count:count_increment_word", {"keyword1": "cat", "keyword2": "dog"}, "Cat dog dogs dog", "cat dog"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), CASES)
def test_by_hand(kind, kwargs, good, bad):
    assert met(kind, good, **kwargs)
    assert not met(kind, bad, **kwargs)
    assert met(f"en:{kind}", good, **kwargs)


def test_every_kind_has_a_case_and_no_id_is_taken_twice():
    assert {case[0] for case in CASES} == set(IFBENCH) == {*TEST_KINDS, *TRAINING_KINDS}
    assert (len(TEST_KINDS), len(TRAINING_KINDS), len(IFBENCH)) == (58, 29, 87)
    assert set(CONSTRAINTS).isdisjoint(IFBENCH)


#: A text for each repaired kind whose published verdict is the other one: (kind, arguments, text, repaired verdict).
REPAIRED = [
    ("count:unique_word_count", {"N": 2}, "one -", False),
    ("count:conjunctions", {"small_n": 2}, "And this, and that", False),
    ("count:numbers", {"N": 2}, "1-2", True),
    ("count:words_japanese", {"N": 5}, "one", False),
    ("count:keywords_multiple", MULTIPLE, COUNTED + " someone", True),
    ("ratio:sentence_type", {}, "So be it!", False),
    ("ratio:sentence_balance", {}, "So", False),
    ("ratio:sentence_words", {}, "Ab cd. Ab cd. Ab cd.", False),
    ("words:vowel", {}, "a\nb", True),
    ("words:consonants", {}, "strong – crafts", True),
    ("words:last_first", {}, "He saw the sea. Sea, he said.", True),
    ("words:paragraph_last_first", {}, "Rain, they say, is rain.", True),
    ("words:keywords_specific_position", {"keyword": "cat", "n": 1, "m": 2}, "Don't cat", True),
    ("words:words_position", {"keyword": "is"}, "What is it that is so?!", True),
    ("sentence:alliteration_increment", {}, "Big bad day. Big bat, sad son.", False),
    ("sentence:increment", {"small_n": 1}, "One. One – two.", True),
    ("words:no_consecutive", {}, "big old\n\nold bear", True),
    ("format:quotes", {}, "“a ‘b “c” d’ e”", True),
    ("format:options", {"options": "a), b), c), d)"}, "b)\n", True),
    ("format:newline", {}, "One\n \nword", True),
    ("format:emoji", {}, "So it is 👨‍👩‍👧️️", True),
    ("format:line_indent", {}, "a\n\n\n b", True),
    ("format:quote_unquote", {}, "He said “no”", False),
    ("format:list", {"sep": "-"}, "well-known and long-lived", False),
    ("format:thesis", {}, "<em></em>", False),
    ("format:sub-bullets", {}, "no bullet", False),
    ("format:sub-bullets", {}, "**So**\n* **a** b\n  - c", True),
    ("format:no_bullets_bullets", {}, "It is.\n\nIt was.\n* a\n* b", True),
    ("format:title_case", {}, "Don't Go", True),
    ("custom:csv_city", {}, CITIES + "\n\n", True),
    ("custom:date_format_list", {}, "1805-02-29", False),
    ("repeat:repeat_change", {"prompt_to_repeat": "Say it."}, "Say  it.", False),
    ("copy:repeat_phrase", {"phrase": "a.b red fox", "small_n": 1}, "axb red fox", False),
    ("new:copy_span_idx", {"prompt_to_repeat": "Say it.", "n_start": 0, "n_end": 2}, "Say", True),
    ("detectable_format:sentence_hyphens", {}, "A well-known one.", True),
    ("detectable_format:square_brackets", {}, "[So].", True),
    ("detectable_format:bigram_wrapping", {}, "word", False),
    ("keywords:no_adjacent_consecutive", {}, 'big "cat"', False),
    ("keywords:word_once", {"keyword": "cat"}, "a cat, a category", True),
    (
        "keywords:word_count_different_numbers",
        {"keyword": "cat", "frequency": 1, "relation": "at least"},
        "cat cat",
        False,
    ),
    ("keywords:exclude_word_harder", {"keyword": "cat"}, "a cat.", False),
    ("keywords:palindrome", {}, "I", False),
    ("keywords:keyword_specific_position", {"keyword": "cat", "n": 1, "m": 2}, "Well, cat", True),
    ("keywords:start_end", {}, '"Rain is rain', True),
    ("paragraphs:paragraphs2", {}, "one\n\n\n\ntwo", True),
    ("first_word:first_word_sent", {"first_word": "well"}, "Well, yes.", True),
    ("first_word:first_word_answer", {"first_word": "well"}, "Well, yes.", True),
    ("count:counting_composition", {"n_sent": 1, "n_words": 2}, "It is.***It was.***So be.", True),
    ("count:count_unique", {}, "so, it, is", True),
    ("count:count_increment_word", {"keyword1": "cat", "keyword2": "dog"}, "cat dog dog dogs", True),
]


@pytest.mark.parametrize(("kind", "kwargs", "text", "verdict"), REPAIRED)
def test_what_is_repaired_keeps_its_published_verdict(kind, kwargs, text, verdict):
    assert met(kind, text, **kwargs) is verdict
    assert met(kind, text, behaviour="published", **kwargs) is not verdict


def test_every_repair_is_shown():
    repaired = {name for name, kind in IFBENCH.items() if kind.make_published}
    assert {case[0] for case in REPAIRED} == repaired


def test_the_arguments_of_ifbench_rows_are_read():
    """Its rows hold floats, and nulls for the arguments of other kinds."""
    assert met("count:numbers", "1 2", N=2.0, keyword=None, small_n=None)
    with pytest.raises(RowError, match=r"unknown constraint 'count:number'; did you mean count:numbers"):
        met("count:number", "1", N=1)


HOSTILE = [
    *("a ", "*", "-", '"', "'", "[", "(", ".", "! ", "\n", " ", "😀", "\ud800", "<i>", "a,", "1-", "`", "***"),
    "Question 1 ",
]
PIECES = st.sampled_from([*HOSTILE, "The cat. ", "A b"])
ALL = [Constraint(kind, kwargs) for kind, kwargs, _, _ in CASES]


@pytest.mark.parametrize("behaviour", ["repaired", "published"])
@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_a_long_text_of_anything(piece, behaviour):
    """Quadratic time would run into the timeout."""
    for constraint in ALL:
        with suppress(RowError):  # a published pattern says that it is too slow
            Checker([constraint], behaviour=behaviour).strict(piece * (60_000 // len(piece)))


@pytest.mark.parametrize("behaviour", ["repaired", "published"])
@given(st.one_of(st.text(max_size=100), st.lists(PIECES, max_size=20).map("".join)))
@settings(deadline=None, max_examples=60)
def test_never_fails(behaviour, response):
    both = Checker(ALL, behaviour=behaviour).both(response)
    assert all(loose >= strict for strict, loose in both)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I can't go, he'll stay.", "I ca n't go , he 'll stay ."),
        ('"Well," she said... twice!', "`` Well , '' she said ... twice !"),
        ("At 3:30, 1,000 (or so)", "At 3:30 , 1,000 ( or so )"),
        ("Cannot -- e.g. U.S. law.", "Can not -- e.g . U.S. law ."),
    ],
)
def test_tokens(text, tokens):
    assert " ".join(tokens_of(text)).replace("e.g .", "e.g.") == tokens.replace("e.g .", "e.g.")


def test_sentences_are_split_where_they_are_counted():
    assert split_sentences('He said "hi." She left. (Really.) Mr. Bo, too?') == [
        'He said "hi."',
        "She left.",
        "(Really.)",
        "Mr. Bo, too?",
    ]


def test_syllables():
    words = {
        "cat": 1,
        "river": 2,
        "little": 2,
        "houses": 2,
        "jumped": 1,
        "wanted": 2,
        "idea": 3,
        "business": 2,
        "12": 0,
    }
    assert {word: count_syllables(word) for word in words} == words


def agreement_with_the_published_checks():
    """Runs IFBench's own checks (pip install ifbench) on answers and on texts made to differ, when they are here."""
    from tests.scorers import ifbench_reference as published

    compared, differing = published.compare(random.Random(0))
    assert compared > 10_000
    assert differing / compared < 0.001


def agreement_with_the_published_verdicts():
    """The answers and verdicts of IFBench's repository, when IFBENCH_REPOSITORY names a copy of it."""
    folder = Path(os.environ["IFBENCH_REPOSITORY"])
    asked = {row["prompt"].strip(): row for row in map(json.loads, (folder / "data" / "IFBench_test.jsonl").open())}
    verdicts = differ = 0
    files = [(folder / "eval" / f"eval_results_{mode}.jsonl").open() for mode in ("strict", "loose")]
    for strict, loose in zip(*(map(json.loads, file) for file in files), strict=True):
        row = asked.get(strict["prompt"].strip())
        if row is None:
            continue
        constraints = [
            Constraint(kind, {name: value for name, value in kwargs.items() if value is not None})
            for kind, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)
        ]
        found = Checker(constraints, behaviour="published").both(strict["response"])
        expected = zip(strict["follow_instruction_list"], loose["follow_instruction_list"], strict=True)
        for ours, theirs in zip(found, expected, strict=True):
            verdicts += 1
            differ += ours != theirs
    assert verdicts > 300
    # Four of the six are verbs that the tagger takes for names ("Conceive", "Understand", "Build").
    assert differ <= 6


# Comparisons with what others publish are tests where that is at hand, and no skipped tests where it is not.
if find_spec("ifbench"):
    test_agreement_with_the_published_checks = agreement_with_the_published_checks
if "IFBENCH_REPOSITORY" in os.environ:
    test_agreement_with_the_published_verdicts = agreement_with_the_published_verdicts

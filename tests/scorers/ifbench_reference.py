"""IFBench's published checks, run beside ours. Needs ``pip install ifbench``; the test is skipped without it.

NLTK's sentence splitter and tagger need data that is downloaded; our splitter stands in for the first, and the one kind
that needs the second is left out.
"""

from __future__ import annotations

import random

import ifbench  # noqa: F401 - the test is skipped without it
import nltk
from ifbench import instructions_registry, instructions_util
from nltk.tokenize.destructive import NLTKWordTokenizer

from hf_datamap.data.example import Constraint
from hf_datamap.scorers.constraints import Checker
from hf_datamap.scorers.constraints.ifbench.kinds import TEST_KINDS
from hf_datamap.scorers.constraints.ifbench.vocabulary import STOP_WORDS
from hf_datamap.scorers.constraints.sentences import split_sentences

#: By a dictionary, a tagger: ours are rules.
DIFFERENT_BY_DESIGN = {"words:start_verb", "words:odd_even_syllables"}
PIECES = [
    "The rain falls. ", "Is it? ", "Yes! ", '"Well," he said. ', "* item - sub\n", "\n\n", "- a\n", "Emma and Liam ",
    "3.14 ", "1-2 ", "level ", "Rain is rain. ", "[word] ", "(a [b {c (d [e])}])", "'\"'a'\"'", "😀", "!?", "  step\n",
    " a\n", "<i>x</i> y", "<em></em>", "don't ", "the ", "Don't Stop ", "no. No! ", "\n", "...", "A-b ", "word\n",
    "Of The ", "of ", "2020-02-29, ", "1800-00-10", "yes", "maybe", "Big bold bears. ", "I am I",
]  # fmt: skip


def compare(rng: random.Random) -> tuple[int, int]:
    """Return how many verdicts on texts made of `PIECES` were compared, and how many differ."""
    from tests.scorers.test_constraints_ifbench import CASES

    tokenizer = NLTKWordTokenizer()
    nltk.sent_tokenize = lambda text, *_, **__: split_sentences(text)
    nltk.word_tokenize = lambda text, *_, **__: [
        token for sentence in split_sentences(text) for token in tokenizer.tokenize(sentence)
    ]
    instructions_util.nltk = nltk
    instructions_util.count_stopwords = lambda text: sum(
        token.lower() in STOP_WORDS for token in nltk.tokenize.RegexpTokenizer(r"\w+").tokenize(text)
    )
    texts = ["".join(rng.choices(PIECES, k=rng.randint(1, 8))) for _ in range(300)]
    texts = [text for text in texts if text.strip()] + [text for case in CASES for text in case[2:]]
    compared = differing = 0
    for kind, kwargs, *_ in CASES:
        if kind not in TEST_KINDS or kind in DIFFERENT_BY_DESIGN:
            continue
        theirs = instructions_registry.INSTRUCTION_DICT[kind](kind)
        theirs.build_description(**kwargs)
        ours = Checker([Constraint(kind, kwargs)], behaviour="published")
        for text in texts:
            compared += 1
            differing += ours.strict(text)[0] != bool(theirs.check_following(text))
    return compared, differing

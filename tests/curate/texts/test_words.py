from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from hf_datamap.curate.texts import minhash
from hf_datamap.curate.texts import words as tk
from hf_datamap.curate.texts.languages import likely_languages
from hf_datamap.curate.texts.style import breaks_off, refuses

TEXTS = some.lists(some.text(max_size=40), min_size=1, max_size=6)


@given(TEXTS)
def test_a_text_hashes_the_same_alone_and_in_company(texts):
    found = tk.words(texts)
    for text, start, end in zip(texts, found.starts[:-1], found.starts[1:], strict=True):
        np.testing.assert_array_equal(tk.words([text]).hashes, found.hashes[start:end])
    assert found.counts.sum() == len(found.hashes)
    assert (found.scripts.sum(axis=1) <= [len(text.lower()) for text in texts]).all()


@given(some.text(alphabet="abcXYZ_09 .,-!\n", max_size=60))
def test_words_are_runs_of_letters_and_digits(text):
    assert tk.words([text]).counts[0] == len(re.findall(r"\w+", text))


def test_case_is_folded():
    hashes = tk.words(["Hello World", "hello, world!"]).hashes
    np.testing.assert_array_equal(hashes[:2], hashes[2:])


def test_no_texts_have_no_words():
    assert tk.words([]).counts.shape == (0,)
    assert tk.words(["a\0b"]).counts.tolist() == [2]


def test_scripts_without_spaces_count_by_character():
    found = tk.words(["你好 world", "こんにちは", "\ud800 x"])
    assert found.counts.tolist() == [3, 5, 1]
    assert found.scripts[0, tk.SCRIPTS.index("han")] == 2
    assert found.scripts[1, tk.SCRIPTS.index("kana")] == 5


@given(TEXTS, some.integers(1, 4))
def test_shingles(texts, width):
    found = tk.words(texts)
    values, starts = tk.shingles(found, width)
    np.testing.assert_array_equal(np.diff(starts), np.maximum(found.counts - width + 1, 0))
    assert len(values) == starts[-1]


def test_sketches_estimate_jaccard_similarity():
    rng = np.random.default_rng(0)
    vocabulary = [f"w{k}" for k in range(2_000)]
    base = list(rng.permutation(vocabulary)[:200])
    for kept in (200, 150, 100):
        other = base[:kept] + list(rng.permutation(vocabulary)[: 200 - kept])
        one, two = tk.words([" ".join(base)]), tk.words([" ".join(other)])
        a, b = (minhash.sketches(found.hashes, found.starts) for found in (one, two))
        true = len(set(base) & set(other)) / len(set(base) | set(other))
        assert abs((a == b).mean() - true) < 3 * (true * (1 - true) / minhash.SIZE) ** 0.5 + 1e-9


def test_near_duplicates_point_to_the_first():
    text = " ".join(f"word{k}" for k in range(100))
    found = tk.words(
        [text, "something else entirely, with enough words in it to count", text.replace("word50", "other")]
    )
    sketch = minhash.sketches(*tk.shingles(found, 3))
    assert minhash.near_duplicates(sketch, np.ones(3, bool), 0.8).tolist() == [-1, -1, 0]
    assert minhash.near_duplicates(sketch, np.array([True, True, False]), 0.8).tolist() == [-1, -1, -1]


def test_languages_tell_texts_apart_and_stay_silent_when_unsure():
    english = "The house is on the hill and it was built by the people who live there with their children."
    french = "La maison est sur la colline et elle a été construite par les gens qui y vivent avec leurs enfants."
    found = likely_languages(
        tk.words(
            [
                english,
                english.upper(),
                french,
                "这座房子在山上，是由住在那里的人和他们的孩子一起建造的。",
                "x = f(y) + 3",
                "",
            ]
        )
    )
    assert found[0] == found[1] != found[2]
    assert len({found[0], found[2], found[3]}) == 3
    assert found[4] == found[5] == 0


def test_refusals():
    for text in (
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I cannot write this.",
        "抱歉，我无法回答。",
    ):
        assert refuses(text)
    for text in (
        "I'm sorry to hear that! Here is what helps.",
        "I cannot overstate how good this is.",
        "Sorry for the delay.",
    ):
        assert not refuses(text)


def test_texts_that_break_off():
    prose = (
        "This is a sentence that goes on for quite a while so that it counts as prose, and then some more words. " * 3
    )
    assert breaks_off(prose + "And so the reason why the people of the town went to the")
    assert breaks_off(prose + "```python\nprint(1)\n")
    assert not breaks_off(prose + "And so they went home.")
    assert not breaks_off(
        prose + "\n- a list item that ends without a full stop and is long enough to count as prose here"
    )
    assert not breaks_off("Short and without a stop, of the")

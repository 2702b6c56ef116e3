"""Values in odd clothes."""

from __future__ import annotations

import numpy as np
import pytest

from hf_datamap.data import number, parse_constraints
from hf_datamap.data.messages import message_of, text_of, turns_of
from hf_datamap.data.transcripts import transcript
from hf_datamap.data.values import seen, whole
from hf_datamap.errors import RowError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0), (True, 1.0), ("4", 4.0), (" 4.5 ", 4.5), ("7/10", 7.0), ("-1e2", -100.0), (np.float32(0.5), 0.5),
        ([1, 2, None], 1.5), (np.int64(2), 2.0),
        ("N/A", None), ("", None), ("nan", None), (float("nan"), None), (float("inf"), None), (None, None), ([], None),
        ({"a": 1}, None), ("4 stars", None), (10**400, None), ("1e999", None), (b"4", None), ("４", 4.0),
        (object(), None),
    ],
)  # fmt: skip
def test_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (None, None),
        ([{"type": "text", "text": "a"}, {"type": "text", "value": "b"}], "a\nb"),
        ({"type": "text", "text": "a"}, "a"),
        ([], None),
        (True, "True"),
        ("\ud83d\ude00", "😀"),
        ("broken \ud83d", None),
    ],
)
def test_texts(value, expected):
    assert text_of(value, "a response") == expected


@pytest.mark.parametrize(
    "block", [{"type": "image_url", "image_url": "x"}, {"type": "image"}, {"type": "audio", "text": "x"}]
)
def test_multimodal_blocks_are_refused(block):
    with pytest.raises(RowError, match="a response is multimodal: it holds a block of type"):
        text_of([{"type": "text", "text": "look"}, block], "a response")


@pytest.mark.parametrize("value", [b"bytes", {"answer": 1}, object()])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(RowError, match="the prompt is"):
        text_of(value, "the prompt")


def test_roles_are_made_standard():
    assert message_of({"from": "human", "value": "Hi"}, "x") == {"role": "user", "content": "Hi"}
    assert message_of({"from": "gpt", "value": "Hi"}, "x") == {"role": "assistant", "content": "Hi"}
    assert message_of({"role": "Developer", "content": None}, "x") == {"role": "system", "content": ""}
    with pytest.raises(RowError, match=r"unknown role.*'wizard'"):
        message_of({"role": "wizard", "content": "Hi"}, "x")


def test_transcripts():
    assert transcript("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 你好\n\nAssistant:") == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": ""},
    ]
    assert transcript("Human: no answer") is None
    assert transcript("A text that says\n\nHuman: and\n\nAssistant: later on") is None


def test_turns():
    chat = [{"role": "user", "content": "Hi"}]
    assert turns_of('[{"role": "user", "content": "Hi"}]', "x") == chat
    assert turns_of('[{"name": "json that a model wrote"}]', "x") == '[{"name": "json that a model wrote"}]'
    assert turns_of({"from": "human", "value": "Hi"}, "x") == chat
    assert turns_of([], "x") is None
    with pytest.raises(RowError, match="not a chat message"):
        turns_of([{"role": "user", "content": "Hi"}, "stray"], "x")


def test_constraints():
    found = parse_constraints(["en:a:b", "c:d"], [{"n": None, "m": 2}, None])
    assert [(c.id, c.kwargs) for c in found] == [("en:a:b", {"m": 2}), ("c:d", {})]
    assert parse_constraints('["a:b"]', '[{"n": 1}]')[0].kwargs == {"n": 1}
    assert parse_constraints(["a:b"], ['{"n": 1}'])[0].kwargs == {"n": 1}
    assert parse_constraints(["a:b"], None)[0].kwargs == {}
    assert parse_constraints(None, None) == ()


@pytest.mark.parametrize(
    ("ids", "kwargs", "words"),
    [
        (["a:b"], [{}, {}], "1 instruction ids, but kwargs are not a list of that length"),
        (["a:b"], ["nonsense"], "kwargs of 'a:b' are not a mapping"),
        ([1], [{}], "not a list of strings"),
        ("a:b", [{}], "not a list of strings"),
    ],
)
def test_misshapen_constraints(ids, kwargs, words):
    with pytest.raises(RowError, match=words):
        parse_constraints(ids, kwargs)


def test_what_was_seen_is_short_and_harmless():
    assert seen("a\x1b[31m\n\u202eb") == r"'a\x1b[31m\n\u202eb'"
    assert len(seen("x" * 10**6)) == 80
    assert len(seen(["x" * 10**6])) == 80
    assert whole("ok") == "ok"

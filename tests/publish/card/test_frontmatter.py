"""YAML of a card changes key by key; everything else stays byte for byte."""

import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.errors import CardError
from hf_datamap.publish.card.frontmatter import FrontMatter, dump

CARD = """---
# terms, agreed with legal
license: mit   # keep this
tags:
- a
# about b
- "b"
configs:
  - config_name: default   # all of it
    data_files: x.csv
  - {config_name: other, data_files: [a, b]}

pretty_name: 'X: y'
custom: {flow: [1, 2], text: "ü 😀"}
---
# Body  \t

text --- more
---
"""


def test_what_is_not_changed_stays():
    front = FrontMatter(CARD)
    assert front.text() == CARD
    assert front.body == "# Body  \t\n\ntext --- more\n---\n"
    front.set("license", "mit")
    front.set_items("tags", ["b", "a"], str)
    assert front.text() == CARD


def test_items_are_replaced_and_appended_in_place():
    front = FrontMatter(CARD)
    front.set_items("tags", ["datamap"], str)
    front.set_items("configs", [{"config_name": "default", "data_files": "data/*"}], lambda c: c["config_name"])
    front.set("size_categories", ["1K<n<10K"])
    changed = CARD.replace('- "b"\n', '- "b"\n- datamap\n')
    changed = changed.replace("default   # all of it\n    data_files: x.csv", "default\n    data_files: data/*")
    assert front.text() == changed.replace('😀"}\n', '😀"}\nsize_categories:\n- 1K<n<10K\n')


def test_items_and_keys_are_removed():
    front = FrontMatter(CARD)
    front.set_items("configs", [], lambda c: c["config_name"], lambda c: c["config_name"] == "other")
    front.remove("custom")
    assert front.text() == CARD.replace("  - {config_name: other, data_files: [a, b]}\n", "").replace(
        'custom: {flow: [1, 2], text: "ü 😀"}\n', ""
    )
    front.set_items("configs", [], lambda c: c["config_name"], lambda c: True)
    assert "configs" not in front.data


def test_windows_line_ends_and_a_byte_order_mark_stay():
    card = "\ufeff" + CARD.replace("\n", "\r\n")
    front = FrontMatter(card)
    assert front.text() == card
    front.set("size_categories", ["n<1K"])
    assert front.text() == card.replace('😀"}\r\n', '😀"}\r\nsize_categories:\r\n- n<1K\r\n')


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("", ["a"]),
        ("# Just text\n", ["a"]),
        ("---\ntags: x\n---\n", ["x", "a"]),
        ("---\ntags: [x, y]\n---\n", ["x", "y", "a"]),
        ("---\ntags:\n-\n  x\n- y\n---\n", ["x", "y", "a"]),
        ("---\n{tags: [x], license: mit}\n---\n", ["x", "a"]),
        ("---\ntags: # none yet\nlicense: mit\n---\n", ["a"]),
        ("---\n---\n", ["a"]),
        ("---\ntags:\n- x\n---", ["x", "a"]),
    ],
)
def test_every_form_of_a_list(card, value):
    front = FrontMatter(card)
    others = {key: item for key, item in front.data.items() if key != "tags"}
    front.set_items("tags", ["a"], str)
    again = FrontMatter(front.text())
    assert again.data == {"tags": value, **others}
    assert again.body == front.body


@pytest.mark.parametrize(
    ("card", "word"),
    [
        ("---\nlicense: mit\n# no end\n", "never ends"),
        ("---\na: [1\n---\n", "cannot be parsed"),
        ("---\n- a\n---\n", "not a mapping"),
        ("---\na: !!python/object:os.system x\n---\n", "cannot be parsed"),
    ],
)
def test_broken_yaml_is_named(card, word):
    with pytest.raises(CardError, match=word):
        FrontMatter(card)


@pytest.mark.parametrize(
    "text", ["no", "1e3", "0o17", "1_000", "3.10", "12:30", "null", "~", "<<", "a: b", "- a", "\u202eRTL"]
)
def test_texts_stay_texts_in_both_versions_of_yaml(text):
    assert yaml.safe_load(dump({"k": text})) == {"k": text}
    if text[0].isdigit():
        assert dump({"k": text}) == f'k: "{text}"\n'


KEYS = st.sampled_from(["license", "tags", "configs", "new", "pretty_name", "zz"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    TEXT | st.integers(-9, 9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=5))
def test_any_changes_give_the_data_they_name_and_leave_the_rest(changes):
    front = FrontMatter(CARD)
    expected = dict(front.data)
    for key, value in changes:
        front.set(key, value)
        expected[key] = value
    assert FrontMatter(front.text()).data == expected
    assert front.text().endswith(CARD[CARD.index("---\n# Body") :])


@settings(deadline=None)
@given(
    st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=5), VALUES, max_size=4),
    st.lists(TEXT, max_size=3),
)
def test_lists_take_items_whatever_the_card_is(data, items):
    text = f"---\n{yaml.safe_dump(data, allow_unicode=True)}---\nbody\n" if data else "body\n"
    front = FrontMatter(text)
    before = front.data.get("tags")
    front.set_items("tags", items, repr)
    found = FrontMatter(front.text()).data.get("tags") or []
    assert {repr(item) for item in items} <= {repr(item) for item in found}
    if isinstance(before, list):
        assert [repr(item) for item in before] == [repr(item) for item in found][: len(before)]

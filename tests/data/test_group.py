"""Grouping: counted, ordered, never silent."""

# ruff: noqa: E501 - tables of rows

from __future__ import annotations

import logging

import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.data import detect_layout
from hf_datamap.data.group_rows import group_rows
from hf_datamap.errors import LayoutError


def quiet(report) -> None:
    """Take no notice."""


def test_helpsteer2_rows_of_one_prompt():
    scores = {"correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}
    rows = [
        {"prompt": "p", "response": "a", "helpfulness": 3, **scores},
        {"prompt": "q", "response": "c", "helpfulness": 0, **scores},
        {"prompt": "p", "response": "b", "helpfulness": 4, **scores, "verbosity": 3},
        {"prompt": "q", "response": "d", "helpfulness": None, **scores},
        {"prompt": "r", "response": "e", "helpfulness": 2, **scores},
    ]
    reports = []
    ds = group_rows(Dataset.from_list(rows), on_report=reports.append)
    assert ds["prompt"][:] == ["p", "q"]
    assert ds["responses"][:] == [["a", "b"], ["c", "d"]]
    assert ds["annotations"][:] == [[3.0, 4.0], [0.0, None]]
    assert ds["verbosity"][:] == [[1, 3], [1, 1]]
    assert ds["correctness"][:] == [4, 4]
    layout = detect_layout(ds)
    assert layout.read(ds[0]).annotations == [3.0, 4.0]
    assert layout.scores == "annotations[]"
    told = reports[0].to_text()
    assert told == (
        "grouped (helpsteer2): 5 rows -> 2 prompts with 4 responses (2 to 2 per prompt); "
        "left out: 1 prompts with fewer than 2 responses"
    )


def test_shp_pairs_of_a_post():
    def pair(post, a, b, score_a, score_b):
        return {
            "post_id": post, "history": f"post {post}", "human_ref_A": a, "human_ref_B": b, "labels": int(score_a > score_b),
            "score_A": score_a, "score_B": score_b, "domain": "askscience",
        }  # fmt: skip

    rows = [pair("x", "one", "two", 9, 3), pair("y", "u", "v", 1, 2), pair("x", "three", "one", 5, 9)]
    reports = []
    ds = group_rows(Dataset.from_list(rows), on_report=reports.append)
    assert ds["prompt"][:] == ["post x", "post y"]
    assert ds["responses"][:] == [["one", "two", "three"], ["u", "v"]]
    assert ds["annotations"][:] == [[9.0, 3.0, 5.0], [1.0, 2.0]]
    assert ds["post_id"][:] == ["x", "y"]
    assert reports[0].dropped["repeated responses"] == 1


def _message(name, parent, role, text, rank=None, deleted=False):
    return {
        "message_id": name, "parent_id": parent, "role": role, "text": text, "rank": rank, "deleted": deleted, "lang": "de",
        "labels": {"name": ["quality"], "value": [0.5]},
    }  # fmt: skip


def test_oasst_trees():
    rows = [
        _message("1", None, "prompter", "Frage"),
        _message("2", "1", "assistant", "gut", 0),
        _message("3", "1", "assistant", "schlecht", 1),
        _message("4", "2", "prompter", "und?"),
        _message("5", "4", "assistant", "b", 1),
        _message("6", "4", "assistant", "a", 0),
        _message("7", "4", "assistant", "weg", 2, deleted=True),
        _message("8", "9", "assistant", "Waise", 0),
        _message("10", "11", "assistant", "Kreis", 0),
        _message("11", "10", "prompter", "Kreis", 0),
    ]
    reports = []
    ds = group_rows(Dataset.from_list(rows), on_report=reports.append)
    layout = detect_layout(ds)
    first, second = layout.read_batch(ds[:])
    assert [(m["role"], m["content"]) for m in first.prompt] == [("user", "Frage")]
    assert (first.responses, first.annotations) == (["gut", "schlecht"], [0.0, -1.0])
    assert [m["content"] for m in second.prompt] == ["Frage", "gut", "und?"]
    assert (second.responses, second.annotations) == (["b", "a"], [-1.0, 0.0])
    assert ds["lang"][:] == ["de", "de"]
    assert reports[0].dropped["deleted messages"] == 1
    assert reports[0].dropped["messages whose path to the root is broken"] == 2


def test_kto_with_more_than_one_response():
    rows = [
        {"prompt": "p", "completion": "a", "label": True},
        {"prompt": "p", "completion": "b", "label": False},
        {"prompt": None, "completion": "c", "label": True},
    ]
    reports = []
    ds = group_rows(Dataset.from_list(rows), on_report=reports.append)
    assert ds[0] == {"prompt": "p", "responses": ["a", "b"], "annotations": [True, False]}
    assert detect_layout(ds).scores is None, "labels are not alignment scores"
    assert reports[0].dropped["rows without a group"] == 1


def test_kto_conversations():
    def chat(*texts):
        return [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]

    rows = [
        {"messages": chat("p", "a"), "label": True},
        {"messages": chat("p", "b"), "label": False},
        {"messages": chat("p"), "label": False},
        {"messages": [], "label": False},
    ]
    reports = []
    ds = group_rows(Dataset.from_list(rows), on_report=reports.append)
    assert ds["prompt"][:] == [[{"content": "p", "role": "user"}]]
    assert ds["responses"][:] == [["a", "b"]]
    assert reports[0].dropped["conversations that do not end with an assistant turn"] == 2
    assert detect_layout(ds).read(ds[0]).annotations == [1.0, 0.0]


def test_k_of_one_is_refused():
    rows = [{"prompt": f"p{n}", "completion": "a", "label": True} for n in range(3)]
    with pytest.raises(LayoutError, match=r"no prompt has 2 responses: 3 groups by prompt, at most 1 in one \(K = 1"):
        group_rows(Dataset.from_list(rows))


def test_a_grouping_of_ones_own(caplog):
    rows = [{"q": "p", "turn": t, "text": f"{t}{n}", "grade": str(n), "who": f"m{n}"} for t in (1, 2) for n in range(3)]
    with caplog.at_level(logging.WARNING):
        ds = group_rows(Dataset.from_list(rows), by=["q", "turn"], response="text", annotations="grade", model="who")
    assert ds[1] == {
        "prompt": "p",
        "responses": ["20", "21", "22"],
        "annotations": [0.0, 1.0, 2.0],
        "models": ["m0", "m1", "m2"],
        "turn": 2,
    }
    assert "grouped (custom): 6 rows -> 2 prompts with 6 responses" in caplog.text


def test_nested_responses_and_constraints():
    kwargs = [{"n": None, "m": 1}]
    rows = [
        {"prompt": "p", "instruction_id_list": ["a:b"], "kwargs": kwargs, "out": {"text": "x"}},
        {"prompt": "p", "instruction_id_list": ["a:b"], "kwargs": kwargs, "out": {"text": "y"}},
        {"prompt": "p", "instruction_id_list": ["c:d"], "kwargs": kwargs, "out": {"text": "z"}},
    ]
    by = ["prompt", "instruction_id_list", "kwargs"]
    ds = group_rows(Dataset.from_list(rows), by=by, response="out.text", min_responses=1, on_report=quiet)
    assert ds["responses"][:] == [["x", "y"], ["z"]]
    example = detect_layout(ds).read(ds[1])
    assert [(c.id, c.kwargs) for c in example.constraints] == [("c:d", {"m": 1})]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no known grouping fits; known: oasst, helpsteer2"),
        ({"grouping": "nope"}, "unknown grouping 'nope'"),
        ({"grouping": "shp"}, "grouping 'shp' needs post_id"),
        ({"by": "a"}, "needs both by="),
        ({"by": "a", "response": "c"}, "there is no column 'c' to group; there are: a, b"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(LayoutError, match=words):
        group_rows(Dataset.from_list([{"a": "x", "b": "y"}]), **options)


def test_splits_and_streams():
    ds = Dataset.from_list([{"a": "x", "b": "y"}, {"a": "x", "b": "z"}])
    out = group_rows(DatasetDict(train=ds, test=ds), by="a", response="b", on_report=quiet)
    assert out["test"]["responses"][:] == [["y", "z"]]
    with pytest.raises(LayoutError, match="without streaming"):
        group_rows(ds.to_iterable_dataset(), by="a", response="b")


def test_selected_rows_only():
    ds = Dataset.from_list([{"a": "x", "b": str(n)} for n in range(6)]).select([5, 1, 3])
    assert group_rows(ds, by="a", response="b", on_report=quiet)["responses"][:] == [["5", "1", "3"]]


def test_kto_with_messages_as_columns():
    asked = [{"role": "user", "content": "p"}]
    rows = [
        {
            "prompt": asked,
            "completion": [{"role": "assistant", "content": text}],
            "label": text == "a",
            "system": "s",
            "rating": grade,
        }
        for text, grade in (("a", 9.0), ("b", 3.0))
    ]
    ds = group_rows(Dataset.from_list(rows), on_report=quiet)
    example = detect_layout(ds).read(ds[0])
    assert [m["content"] for m in example.prompt] == ["s", "p"]
    assert (example.responses, example.annotations) == (["a", "b"], [1.0, 0.0])
    assert ds["rating"][:] == [[9.0, 3.0]]


def test_json_columns_of_the_prompt_survive(tmp_path):
    import json

    from hf_datamap.data.load import load_source

    rows = [
        {"prompt": p, "instruction_id_list": ["a:b", "c:d"], "kwargs": [{}, {"n": n}], "model": m, "response": p + m}
        for p, n in (("p", 1), ("q", "x"))
        for m in "AB"
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ds = group_rows(load_source(tmp_path / "rows.jsonl"), on_report=quiet)
    examples = detect_layout(ds).read_batch(ds.with_format("arrow")[:])
    assert [[c.kwargs for c in e.constraints] for e in examples] == [[{}, {"n": 1}], [{}, {"n": "x"}]]
    assert [detect_layout(ds).read(row) for row in ds] == examples
    assert examples[1].responses == ["qA", "qB"]

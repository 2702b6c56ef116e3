"""Layouts of one's own: `Layout(...)`, ``--layout``, and what rows can do wrong."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.data import Layout, choose_layout, parse_layout
from hf_datamap.data.known_layouts import KNOWN
from hf_datamap.errors import LayoutError, RowError

ROW = {"question": "Q?", "answer_a": "A", "answer_b": "B", "winner": "answer_b", "s": [1.0, 2.0]}


def test_the_documented_example():
    layout = Layout(prompt="question", responses=["answer_a", "answer_b"], annotations="winner", label="choice")
    example = layout.read({**ROW, "winner": "B"})
    assert example.prompt == ({"role": "user", "content": "Q?"},)
    assert example.responses == ["A", "B"]
    assert example.annotations == [0.0, 1.0]
    assert layout.columns == ("question", "answer_a", "answer_b", "winner")
    assert (layout.name, layout.why, layout.scores) == ("custom", "given by the user", None)


def test_scores_follow_annotations_unless_told_otherwise():
    assert Layout(prompt="q", responses="r[]", annotations="s[]").scores == "s[]"
    assert Layout(prompt="q", responses="r[]", annotations="s[]", scores="").scores is None
    layout = Layout(prompt="q", responses="r[]", annotations="s[]", scores="t[].x")
    assert layout.scores == "t[].x"
    assert layout.columns == ("q", "r", "s", "t")
    for each in (layout, Layout(prompt="q", responses="r[]", annotations="s[]", scores="")):
        assert Layout.from_json(each.to_json()) == each


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompt": "q"}, "needs responses"),
        ({"prompt": "q", "responses": "r", "label": "best"}, "unknown label rule 'best'; there are: scores, ranks"),
        ({"prompt": "q", "responses": "r", "label": "order"}, "rule 'order' needs one path"),
        ({"responses": "r[]"}, "without a prompt"),
        ({"prompt": "q", "responses": "r", "constraints": "ids"}, "two paths"),
        ({"prompt": "q[", "responses": "r"}, "is not a path"),
        ({"prompt": "q", "responses": "a,b", "label": "choice", "choices": {"x": -1}}, "'x' must name a response"),
        ({"prompt": "q", "responses": "a,b", "system": "["}, "is not a path"),
    ],
)
def test_malformed_layouts(given, words):
    with pytest.raises(LayoutError, match=words):
        Layout(**given)
    with pytest.raises(LayoutError, match=words):
        Layout.from_json(json.dumps(given))


def test_parse_layout_forms(tmp_path):
    spelled = parse_layout(
        "prompt=question,responses=answer_a|answer_b,annotations=winner,label=choice,choices=answer_a:0|answer_b:1"
    )
    assert spelled.read(ROW).annotations == [0.0, 1.0]
    (tmp_path / "layout.json").write_text(spelled.to_json())
    assert parse_layout(str(tmp_path / "layout.json")) == spelled == parse_layout(spelled.to_json())
    quoted = parse_layout('prompt=question,responses=s."a,b|c"|t')
    assert quoted.responses == ('s."a,b|c"', "t")
    assert parse_layout("prompt=p,responses=a|b,turns=true").turns is True
    for entry in KNOWN:
        assert parse_layout(entry.name).name == entry.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("helpsteer", "unknown layout 'helpsteer'; did you mean 'helpsteer3'"),
        ("", "unknown layout ''"),
        ("prompt=q,response=r", "'response=r' is not field=path with a field out of prompt, responses"),
        ("prompt=q,prompt=r", "'prompt' is given twice"),
        ("prompt=q,responses=a|b,label=choice,choices=1", "is not VALUE:POSITION"),
        ("nowhere.json", "cannot read the layout file 'nowhere.json'"),
        ('{"prompt": "q", "answers": "r"}', "a layout has no answers; it has: prompt, responses"),
        ("{nonsense", "not valid JSON"),
        ("{}", "needs responses"),
    ],
)
def test_parse_layout_refusals(text, words):
    with pytest.raises(LayoutError, match=words):
        parse_layout(text)


def _read(row: dict, **spec):
    return Layout(**{"prompt": "q", "responses": "r[]", **spec}).read(row)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"q": None, "r": ["a", "b"]}, "the prompt is empty"),
        ({"q": "  \n", "r": ["a", "b"]}, "the prompt is empty"),
        ({"q": "Q", "r": []}, "no responses"),
        ({"q": "Q", "r": None}, "no list of responses"),
        ({"q": "Q", "r": "one text"}, "no list of responses"),
        ({"q": "lone \ud83d", "r": ["a", "b"]}, "lone surrogates"),
        ({"r": ["a", "b"]}, "lacks the column 'q'"),
    ],
)
def test_rows_that_cannot_be_read(row, words):
    with pytest.raises(RowError, match=words) as error:
        _read(row)
    assert error.value.reason


def test_rows_that_read_with_gaps():
    assert _read({"q": "Q", "r": ["a", None, "broken \ud83d"]}).responses == ["a", None, None]
    assert _read({"q": "Q", "r": ["only"]}).responses == ["only"]
    assert _read({"q": "Q", "r": ["", "same", "same"]}).responses == ["", "same", "same"]
    assert _read({"q": "Q", "r": ["a" * 1_000_000, "b"]}).responses[0] == "a" * 1_000_000


def test_labels_that_do_not_fit():
    with pytest.raises(RowError, match=r"do not pair up.*1 labels, 2 responses"):
        _read({"q": "Q", "r": ["a", "b"], "s": [1.0]}, annotations="s[]")
    with pytest.raises(RowError, match=r"names none of the responses.*'c'"):
        _read({"q": "Q", "r": ["a", "b"], "s": "c"}, annotations="s", label="choice")
    with pytest.raises(RowError, match=r"names none of the responses \(known: 1, 2, a, b"):
        _read({"q": "Q", "r": ["a", "b"], "s": 0}, annotations="s", label="choice", choices={1: 0, 2: 1})
    with pytest.raises(RowError, match="names none of the responses"):
        _read({"q": "Q", "r": ["a"], "s": "B"}, annotations="s", label="choice", choices={"A": 0, "B": 1})
    with pytest.raises(RowError, match="compares two responses"):
        _read({"q": "Q", "r": ["a", "b", "c"], "s": 1}, annotations="s", label="strength")
    with pytest.raises(RowError, match="more than one flag"):
        _read({"q": "Q", "r": ["a", "b"], "s": 1, "t": 1}, annotations="s,t", label="one_hot")
    with pytest.raises(RowError, match="not between 1 and 2"):
        _read({"q": "Q", "r": ["a", "b"], "s": 3}, annotations="s", label="between")


@pytest.mark.parametrize(
    ("label", "value", "annotations"),
    [
        ("ranks", [1, 2], [-1.0, -2.0]),
        ("strength", -2, [2.0, 0.0]),
        ("strength", "N/A", None),
        ("between", 1.25, [0.75, 0.25]),
        ("between", 0, [0.5, 0.5]),
        ("choice", "tie", [0.5, 0.5]),
        ("choice", "tie (bothbad)", [0.0, 0.0]),
        ("choice", "Model B", [0.0, 1.0]),
        ("choice", "A>B", [1.0, 0.0]),
        ("choice", None, None),
        ("pairwise", [2], [0.0, 1.0]),
        ("pairwise", [0], [0.5, 0.5]),
        ("scores", [None, float("nan")], None),
        ("scores", ["3", "N/A"], [3.0, None]),
    ],
)
def test_label_rules(label, value, annotations):
    assert _read({"q": "Q", "r": ["a", "b"], "s": value}, annotations="s", label=label).annotations == annotations


def test_a_conversation_must_end_with_the_assistant():
    layout = Layout(responses="chosen,rejected", label="order")
    told = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye"
    with pytest.raises(RowError, match="does not end with an assistant turn"):
        layout.read({"chosen": told, "rejected": told + "\n\nAssistant: Bye"})
    with pytest.raises(RowError, match="share no prompt"):
        layout.read({"chosen": "\n\nHuman: Hi\n\nAssistant: A", "rejected": "\n\nHuman: Ho\n\nAssistant: B"})
    example = layout.read({"chosen": None, "rejected": "\n\nHuman: Hi\n\nAssistant: B"})
    assert example.responses == [None, "B"]


def test_a_prompt_repeated_in_transcripts_is_not_repeated_in_the_responses():
    layout = Layout(prompt="prompt", responses="chosen,rejected", label="order")
    prompt = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    example = layout.read({"prompt": prompt, "chosen": f"{prompt} Because.", "rejected": f"{prompt} No."})
    assert [m["content"] for m in example.prompt] == ["Hi", "Hello", "Why?"]
    assert example.responses == ["Because.", "No."]


def test_a_system_column_joins_conversations_that_have_none():
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "A"}]
    layout = Layout(responses="a,b", system="s")
    assert [m["role"] for m in layout.read({"a": chat, "b": chat, "s": "Be kind."}).prompt] == ["system", "user"]


def test_works_with_num_proc_and_splits():
    ds = Dataset.from_list([{**ROW, "winner": "A", "n": k} for k in range(6)])
    layout = Layout(prompt="question", responses=["answer_a", "answer_b"], annotations="winner", label="choice")
    out = ds.map(lambda row: {"labels": layout.read(row).annotations}, num_proc=2)
    assert out["labels"][:] == [[1.0, 0.0]] * 6


def test_a_chosen_layout_is_checked_against_the_columns():
    ds = Dataset.from_list([{"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": 1, "id": "7"}])
    layout = choose_layout(ds, "prompt=prompt,responses=response_0|response_1")
    assert layout.read(ds[0]).responses == ["a", "b"]
    for given in ("ultrafeedback", Layout(prompt="prompt", responses="completions[].response")):
        with pytest.raises(
            LayoutError, match=r"reads .*completions\[\]\.response.* which is not there\ncolumns: prompt"
        ):
            choose_layout(ds, given)
    assert choose_layout(ds, "pku-saferlhf-helpful").source_id == "id", "a known name brings along the extras"
    assert choose_layout(DatasetDict(train=ds), "pku-saferlhf-helpful") == choose_layout(ds, "pku-saferlhf-helpful")
    assert choose_layout(ds).name == "numbered-responses"
    assert choose_layout(ds.to_iterable_dataset(), "pku-saferlhf-helpful").source_id == "id"


def _chat(*texts: str, first: str = "user") -> list[dict]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("prompt", "sides", "expected"),
    [
        ("Q1", (_chat("Q1", "A"), _chat("Q1", "B")), ["Q1"]),
        ("Q1 ", (_chat("Q1", "A1", "Q2", "A"), _chat("Q1", "A1", "Q2", "B")), ["Q1", "A1", "Q2"]),
        (
            "Q1",
            (_chat("A1", "Q2", "A", first="assistant"), _chat("A1", "Q2", "B", first="assistant")),
            ["Q1", "A1", "Q2"],
        ),
        (_chat("Q1", "A1"), (_chat("Q2", "A"), _chat("Q2", "B")), ["Q1", "A1", "Q2"]),
        (_chat("Q1", "A1", "Q2"), (_chat("Q1", "A1", "Q2", "A"), _chat("Q1", "A1", "Q2", "B")), ["Q1", "A1", "Q2"]),
        (_chat("Q1"), (_chat("A", first="assistant"), _chat("B", first="assistant")), ["Q1"]),
    ],
)
def test_nothing_of_the_prompt_is_lost_or_told_twice(prompt, sides, expected):
    layout = Layout(prompt="p", responses="a,b", label="order")
    example = layout.read({"p": prompt, "a": sides[0], "b": sides[1]})
    assert [m["content"] for m in example.prompt] == expected
    assert example.responses == ["A", "B"]

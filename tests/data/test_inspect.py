"""Inspection: counts, words, and a page that cannot steer a terminal."""

from __future__ import annotations

import json
import re
import time

import pytest
from click.testing import CliRunner
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st

from hf_datamap.cli.inspect import auto_in_words, command
from hf_datamap.data.inspect import inspect_dataset, printable
from hf_datamap.errors import LayoutError

ROWS = [
    {"prompt": "Q1", "responses": ["a", "b"], "scores": [1.0, 2.0], "extra": 1},
    {"prompt": "", "responses": ["a", "b"], "scores": [1.0, 2.0], "extra": 1},
    {"prompt": "Q3", "responses": ["a", None], "scores": [1.0, 1.0], "extra": 1},
    {"prompt": "Q4", "responses": ["", ""], "scores": [3.0, 3.0], "extra": 1},
    {"prompt": "Q5", "responses": ["only"], "scores": [3.0], "extra": 1},
    {"prompt": "Q6", "responses": [], "scores": [], "extra": 1},
    {"prompt": None, "responses": ["a", "b"], "scores": [1.0, 2.0], "extra": 1},
]


def test_counts():
    found = inspect_dataset(Dataset.from_list(ROWS))
    assert (found.rows, found.readable, found.mappable) == (7, 4, 2)
    assert found.skipped == {"the prompt is empty": 2, "the row has no responses": 1}
    assert found.responses == {1: 1, 2: 3}
    assert found.notes == {
        "fewer than two responses (they stay unmapped)": 2,
        "a null response": 1,
        "an empty response": 1,
        "identical responses": 1,
        "a tie (equal annotations)": 2,
    }
    assert found.example.responses == ["a", "b"]
    assert found.unread == ("extra",)
    assert found.complete


def test_page():
    page = inspect_dataset(Dataset.from_list(ROWS)).to_text()
    for words in (
        "layout       response-list: column responses lists responses beside the prompt column prompt",
        "annotations  scores[]: higher is better",
        "scores       scores[]",
        "not read     extra",
        "rows         7 rows: 2 can be mapped, 3 would be skipped",
        "2 skipped: the prompt is empty",
        "response 1 [1]: a",
    ):
        assert words in page


def test_hostile_text_stays_text():
    evil = "\x1b[2J\x07a\u202eb\nc"
    page = inspect_dataset(Dataset.from_list([{"prompt": evil, "chosen": "x" * 1000, "rejected": evil}])).to_text()
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert r"\x1b[2J\x07a\u202eb ⏎ c" in page
    assert "… (1,000 characters)" in page
    assert printable("नमस्ते 👩\u200d👩\u200d👧 你好") == "नमस्ते 👩\u200d👩\u200d👧 你好"


def test_json_round_trips():
    found = json.loads(inspect_dataset(Dataset.from_list(ROWS)).to_json())
    assert found["layout"]["polarity"] == "scores[]: higher is better"
    assert found["layout"]["scores"] == "scores[]"
    assert found["example"]["prompt"] == [{"role": "user", "content": "Q1"}]
    assert found["responses"] == {"1": 1, "2": 3}


def test_streams_and_splits_and_limits():
    ds = Dataset.from_list(ROWS)
    streamed = inspect_dataset(ds.to_iterable_dataset())
    assert (streamed.rows, streamed.mappable, streamed.complete) == (7, 2, True)
    both = inspect_dataset(DatasetDict(train=ds, test=ds))
    assert both.rows == 14
    short = inspect_dataset(ds, limit=1)
    assert (short.rows, short.complete) == (1, False)
    assert "the first 1 rows" in short.to_text()


def test_what_auto_would_do(monkeypatch):
    for name in ("HF_DATAMAP_JUDGE", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert inspect_dataset(Dataset.from_list(ROWS), describe_auto=auto_in_words).auto.startswith("columns:scores[]: ")
    pairs = Dataset.from_list([{"prompt": "Q", "chosen": "a", "rejected": "b"}])
    assert inspect_dataset(pairs, describe_auto=auto_in_words).auto.endswith("name a judge with --scorer judge:MODEL")
    monkeypatch.setenv("HF_DATAMAP_JUDGE", "some-model")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = inspect_dataset(pairs, describe_auto=auto_in_words)
    assert found.auto.startswith("judge:some-model: ")
    assert "sk-secret" not in found.to_json() + found.to_text()


def test_nothing_readable():
    found = inspect_dataset(Dataset.from_list(ROWS[1:2]))
    assert found.example is None
    assert "no row could be read" in found.to_text()
    assert "for example: the prompt is empty" in found.to_text()


def test_layout_given_in_words():
    rows = [{"ask": "Q", "one": "a", "two": "b"}]
    found = inspect_dataset(Dataset.from_list(rows), layout="prompt=ask,responses=one|two")
    assert found.mappable == 1
    with pytest.raises(LayoutError):
        inspect_dataset(Dataset.from_list(rows))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_command(source):
    result = CliRunner().invoke(command, [source, "--limit", "3"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "layout       response-list" in result.stdout
    result = CliRunner().invoke(command, [source, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["rows"] == 7
    assert "Examples:" in CliRunner().invoke(command, ["--help"]).stdout


def test_command_groups_on_request(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "p", "completion": text, "label": text == "a"} for text in "ab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert isinstance(CliRunner().invoke(command, [str(path)]).exception, LayoutError)
    result = CliRunner().invoke(command, [str(path), "--group"], catch_exceptions=False)
    assert "grouped (kto): 2 rows -> 1 prompts with 2 responses" in result.stderr
    assert "1 can be mapped" in result.stdout


def test_map_groups_on_request(tmp_path, monkeypatch):
    from hf_datamap.cli.map import command as map_command

    monkeypatch.setenv("HF_DATAMAP_CACHE", str(tmp_path / "store"))
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"p{n // 2}", "response": f"r{n}", "helpfulness": n % 5} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert isinstance(CliRunner().invoke(map_command, [str(path), "--out", str(tmp_path / "a")]).exception, LayoutError)
    result = CliRunner().invoke(
        map_command, [str(path), "--group", "--out", str(tmp_path / "b")], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "6 rows, 6 mapped" in result.stdout


@given(st.text(alphabet="a \n\t\r\x0b\u2028", max_size=40))
def test_blanks_around_line_breaks_become_one_mark(text):
    joined = re.sub(r"\s*\n\s*", " ⏎ ", text)
    assert printable(text) == printable(joined)
    assert "\n" not in printable(text)


def test_long_blanks_take_linear_time():
    took = []
    for size in (200_000, 1_600_000):
        began = time.process_time()
        printable(" " * size + "x")
        took.append(time.process_time() - began)
    assert took[1] < 40 * max(took[0], 0.005)  # 8 when linear, 64 when quadratic


def test_evidence_shows_rows_labels_and_what_is_left_out():
    rows = [
        {
            "prompt": f"Question {n}?",
            "chosen": f"good {n}",
            "rejected": f"bad {n}",
            "score_chosen": float(n),
            "score_rejected": 1.0,
        }
        for n in range(1, 6)
    ]
    rows = [{**row, "persona": "a pirate"} for row in rows]
    inspection = inspect_dataset(Dataset.from_list(rows))
    evidence = inspection.evidence
    assert len(evidence.rows) == 3
    assert evidence.rows[1].prompt_end == "Question 2?"
    assert evidence.rows[1].responses == ("good 2", "bad 2")
    assert evidence.rows[1].preferred == (1,)
    assert evidence.rows[1].label == {"score_chosen": "2.0", "score_rejected": "1.0"}
    assert evidence.rows[0].preferred == (), "a tie"
    assert evidence.preferred == {"a tie": 1, "response 1": 4}
    assert evidence.label_values == {"1.0": 6, "2.0": 1, "3.0": 1, "4.0": 1, "5.0": 1}
    assert evidence.left_out == ("persona",)
    page = inspection.to_text()
    assert "NOT READ, although it may belong to the prompt: 'persona'" in page.splitlines()[0]
    assert "preferred    a tie: 1, response 1: 4" in page
    assert "* 1      good 2" in page
    told = json.loads(inspection.to_json())["evidence"]
    assert told["rows"][1]["label"] == {"score_chosen": "2.0", "score_rejected": "1.0"}
    assert told["left_out"] == ["persona"]


def test_evidence_of_words_and_of_the_order_of_columns():
    rows = [
        {"prompt": "Q", "response_a": "x", "response_b": "y", "winner": winner} for winner in ("A", "B", "tie", "A")
    ]
    evidence = inspect_dataset(Dataset.from_list(rows)).evidence
    assert evidence.label_values == {"A": 2, "B": 1, "tie": 1}
    assert evidence.preferred == {"a tie": 1, "response 1": 2, "response 2": 1}
    evidence = inspect_dataset(Dataset.from_list([{"prompt": "Q", "chosen": "x", "rejected": "y"}])).evidence
    assert (evidence.label_values, evidence.preferred) == ({}, {"response 1": 1})
    assert evidence.rows[0].label == {}


def test_copies_of_the_conversation_are_not_left_out():
    turns = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "good"}]
    row = {"prompt": "Q?", "chosen": turns, "rejected": [turns[0], {"role": "assistant", "content": "bad"}]}
    assert inspect_dataset(Dataset.from_list([{**row, "messages": turns}])).evidence.left_out == ()


def test_command_says_which_files_it_joined(tmp_path):
    for number in range(2):
        (tmp_path / f"part-{number}.jsonl").write_text(
            json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"}) + "\n"
        )
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    result = CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    assert "files        part-0.jsonl, part-1.jsonl" in result.stdout


def test_rows_with_images_are_inspected_on_request(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        json.dumps({"image": "cat.png", "question": "What is it?", "chosen": "A cat.", "rejected": "A dog."}) + "\n"
    )
    assert isinstance(CliRunner().invoke(command, [str(path)]).exception, LayoutError)
    result = CliRunner().invoke(command, [str(path), "--images", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["example"]["prompt"] == [
        {"role": "user", "content": "What is it?", "images": ["Image(cat.png)"]}
    ]

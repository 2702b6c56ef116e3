"""Sources: every kind of file and folder opens; what does not open says the way out."""

from __future__ import annotations

import gzip
import json
import logging

import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.data.load import load_source
from hf_datamap.errors import SourceError

ROWS = [{"prompt": "p", "chosen": "好", "rejected": "b"}, {"prompt": "q", "chosen": "c", "rejected": None}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def write(path, kind):
    if kind == "jsonl":
        path.write_text(LINES)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(LINES.encode()))
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "parquet":
        Dataset.from_list(ROWS).to_parquet(path)
    else:
        Dataset.from_list(ROWS).to_csv(path)
    return path


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet", "csv"])
def test_files(tmp_path, kind, streaming):
    path = write(tmp_path / f"data.{kind}", kind)
    assert list(load_source(path, streaming=streaming)) == ROWS
    assert list(load_source(str(path), split="train", streaming=streaming)) == ROWS


def test_folder_of_files_with_splits(tmp_path, caplog):
    write(tmp_path / "train.jsonl.gz", "jsonl.gz")
    (tmp_path / "test.jsonl").write_text(LINES.splitlines()[0] + "\n")
    (tmp_path / "datamap.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert list(load_source(tmp_path)) == ROWS
    assert "has the splits test, train; reading 'train' (--split chooses another)" in caplog.text
    assert len(load_source(tmp_path, "test")) == 1
    assert len(load_source(tmp_path, "train[:1]")) == 1
    with pytest.raises(SourceError, match="has no split 'dev'; it has: test, train"):
        load_source(tmp_path, "dev")


def test_folder_with_data_parquet_and_a_card(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(2):
        write(tmp_path / "data" / f"train-0000{number}-of-00002.parquet", "parquet")
    (tmp_path / "datamap.json").write_text('{"rows": 4}')
    assert len(load_source(tmp_path)) == 4
    (tmp_path / "README.md").write_text("# No front matter\n")
    assert len(load_source(tmp_path)) == 4
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: datamap\n  data_files:\n  - split: train\n    path: data/train-*\n---\n# Card\n"
    )
    assert len(load_source(tmp_path)) == 4
    assert len(load_source(tmp_path, config="datamap")) == 4
    with pytest.raises(SourceError, match=r"has no configuration .*'other'; it has: datamap"):
        load_source(tmp_path, config="other")


def test_folder_with_a_configuration_in_a_subfolder(tmp_path):
    (tmp_path / "helpful").mkdir()
    write(tmp_path / "helpful" / "train.parquet", "parquet")
    assert list(load_source(tmp_path, config="helpful")) == ROWS
    with pytest.raises(SourceError, match="no configuration 'harmless'"):
        load_source(tmp_path, config="harmless")


def test_saved_to_disk(tmp_path):
    ds = Dataset.from_list(ROWS)
    ds.save_to_disk(tmp_path / "one")
    DatasetDict(a=ds, b=ds).save_to_disk(tmp_path / "two")
    assert list(load_source(tmp_path / "one")) == ROWS
    assert list(load_source(tmp_path / "two", "b", streaming=True)) == ROWS
    with pytest.raises(SourceError, match="several splits: a, b; choose one with --split"):
        load_source(tmp_path / "two")
    with pytest.raises(SourceError, match="leave --split nope out"):
        load_source(tmp_path / "one", "nope")


@pytest.mark.parametrize("streaming", [False, True])
def test_lone_surrogates_become_null_and_harm_nothing_else(tmp_path, caplog, streaming):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p", "responses": ["ok", "lone \\ud83d", "pair \\ud83d\\ude00"]}\n' + LINES)
    with caplog.at_level(logging.WARNING):
        rows = list(load_source(path, streaming=streaming))
    assert rows[0]["responses"] == ["ok", None, "pair 😀"]
    assert rows[1]["chosen"] == "好"
    assert len(rows) == 3
    assert "1 rows hold text with lone surrogates; those texts are null" in caplog.text
    assert len(load_source(path, "train[:2]")) == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jsonl", b"", "is empty"),
        ("bad.jsonl", b'{"a": 1}\nnope\n', "line 2 is not JSON"),
        ("list.jsonl", b'{"a": 1}\n[1]\n', "line 2 is not a JSON object but list"),
        ("bad.parquet", b"PAR1xxxxxxxxxxxx", "cannot read .*bad.parquet"),
        ("bad.jsonl.gz", b"not gzip", "cannot read .*bad.jsonl.gz"),
        ("data.xlsx", b"x", r"a source is a Hub dataset id .* ending in .parquet, .jsonl"),
        ("header.csv", b"prompt,chosen\n", "has no rows"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words) as error:
        load_source(tmp_path / name)
    assert "\n" not in str(error.value)


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="there is no file or folder"):
        load_source(tmp_path / "nowhere.parquet")
    with pytest.raises(SourceError, match="there is no file or folder 'not an id'"):
        load_source("not an id")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"no data files in the folder .*it has: notes.txt"):
        load_source(tmp_path)
    write(tmp_path / "x.jsonl", "jsonl")
    with pytest.raises(SourceError, match="is a file and has no configuration 'c'"):
        load_source(tmp_path / "x.jsonl", config="c")


def test_the_hub_out_of_reach_says_what_to_check(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(
        SourceError, match=r"cannot open the Hub dataset 'me/nothing'.*check the connection and HF_HUB_OFFLINE"
    ):
        load_source("me/nothing")

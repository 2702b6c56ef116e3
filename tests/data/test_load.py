"""Sources: every kind of file and folder opens; what does not open says the way out."""

from __future__ import annotations

import bz2
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


PAIRS = [{"prompt": f"Q{n}?", "chosen": f"good{n}", "rejected": f"bad{n}"} for n in range(3)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("key.json", json.dumps({"version": 1, "data": PAIRS}).encode()),
        ("split.json", json.dumps({"train": PAIRS, "test": PAIRS[:1]}).encode()),
        ("ids.json", json.dumps({f"id{n}": row for n, row in enumerate(PAIRS)}).encode()),
        ("columns.json", json.dumps({key: [row[key] for row in PAIRS] for key in PAIRS[0]}).encode()),
        ("viewer.json", json.dumps({"features": [], "rows": [{"row_idx": 0, "row": row} for row in PAIRS]}).encode()),
        ("pandas.json", json.dumps({key: {str(n): PAIRS[n][key] for n in range(3)} for key in PAIRS[0]}).encode()),
        ("utf16.jsonl", "\n".join(map(json.dumps, PAIRS)).encode("utf-16")),
        ("mark.json", b"\xef\xbb\xbf" + json.dumps(PAIRS, indent=1).encode()),
        (
            "semicolons.csv",
            b"prompt;chosen;rejected\n" + b"".join(f"Q{n}?;good{n};bad{n}\n".encode() for n in range(3)),
        ),
        ("tabs.tsv", b"prompt\tchosen\trejected\n" + b"".join(f"Q{n}?\tgood{n}\tbad{n}\n".encode() for n in range(3))),
        ("packed.jsonl.bz2", bz2.compress("\n".join(map(json.dumps, PAIRS)).encode())),
    ],
)
def test_files_of_other_shapes(tmp_path, name, content, streaming):
    (tmp_path / name).write_bytes(content)
    assert list(load_source(tmp_path / name, streaming=streaming)) == PAIRS


def test_a_file_with_a_list_per_split(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps({"train": PAIRS, "test": PAIRS[:1]}))
    assert list(load_source(tmp_path / "rows.json", "test")) == PAIRS[:1]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("words.csv", "prompt,chosen,rejected\nWhat?,None,NA\n", ["None", "NA"]),
        ("zeros.csv", "prompt,chosen,rejected\nArea?,05,1e3\n", ["05", "1e3"]),
        ("bools.csv", "prompt,chosen,rejected\nTrue?,true,False\n", ["true", "False"]),
        ("dates.csv", "prompt,chosen,rejected\nWhen?,2024-05-01,2024-05-02\n", ["2024-05-01", "2024-05-02"]),
        (
            "dates.jsonl",
            '{"prompt": "When?", "chosen": "2024-05-01", "rejected": "2024-05-02T01:02:03"}\n',
            ["2024-05-01", "2024-05-02T01:02:03"],
        ),
        ("latin.csv", "prompt,chosen,rejected\nQué?,sí,nö\n".encode("cp1252"), ["sí", "nö"]),
    ],
)
def test_texts_stay_as_they_were_written(tmp_path, name, content, texts):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    row = load_source(tmp_path / name)[0]
    assert [row["chosen"], row["rejected"]] == texts


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_column_that_is_null_for_long_and_text_later(tmp_path, ending):
    rows = [
        {"prompt": f"Q{n}?", "chosen": "a" * 300, "rejected": "b", "system": None if n < 60_000 else "S"}
        for n in range(60_010)
    ]
    path = tmp_path / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = "".join(f"{row['prompt']},{row['chosen']},{row['rejected']},{row['system'] or ''}\n" for row in rows)
        path.write_text("prompt,chosen,rejected,system\n" + lines)
    ds = load_source(path)
    assert len(ds) == 60_010
    assert ds[0]["system"] is None
    assert ds[60_009]["system"] == "S"


def test_splits_of_a_folder_follow_the_rules_of_datasets(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train_prefs", "train_sft", "test_prefs"):
        Dataset.from_list(PAIRS if "train" in name else PAIRS[:1]).to_parquet(
            tmp_path / "data" / f"{name}-00000-of-00001.parquet"
        )
    with pytest.raises(SourceError, match="several splits: test_prefs, train_prefs, train_sft"):
        load_source(tmp_path)
    assert len(load_source(tmp_path, "train_sft")) == 3
    assert len(load_source(tmp_path, "test_prefs")) == 1
    other = tmp_path / "other"
    for folder, rows in (("train", PAIRS), ("dev", PAIRS[:1])):
        (other / folder).mkdir(parents=True)
        (other / folder / "part.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(load_source(other, "validation")) == 1
    (other / "train" / "config.json").write_text('{"lr": 0.1}')
    assert len(load_source(other, "train")) == 3

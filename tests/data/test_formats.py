"""The table of readings once more, through files: what pandas and ``to_csv`` write reads like the rows themselves."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from datasets import Dataset

from hf_datamap.data.detect import detect_layout
from hf_datamap.data.load import load_source
from hf_datamap.errors import LayoutError
from tests.data.test_readings import READINGS, preference


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def by_pandas(rows, path):
    pd.DataFrame(rows).to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def by_datasets(rows, path):
    Dataset.from_list(rows, on_mixed_types="use_json").to_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def under_a_key(rows, path):
    path.with_suffix(".json").write_text(json.dumps({"version": 1, "items": rows}, indent=1))
    return path.with_suffix(".json")


@pytest.mark.parametrize("write", [by_pandas, by_datasets, under_a_key])
@pytest.mark.parametrize("case", READINGS, ids=lambda case: case["name"])
def test_files_read_like_rows(case, write, tmp_path):
    ds = load_source(write(case["rows"], tmp_path / "rows"))
    if "refused" in case:
        with pytest.raises(LayoutError):
            detect_layout(ds)
        return
    layout = detect_layout(ds)
    examples = [layout.read(row) for row in ds]
    assert [[text.strip() for text in example.responses] for example in examples] == case["responses"]
    assert [preference(example.annotations) for example in examples] == case["preferred"]
    shown = "\n".join(message["content"] for example in examples for message in example.prompt)
    assert [text for text in case["prompt"] if text not in shown] == []

"""Sources on the Hub, against a local one: configurations, splits, revisions, and what is not there."""

# ruff: noqa: E501 - programs that run elsewhere

from __future__ import annotations

import json

import pytest

from tests.minihub.client import MiniHub

PUSH = """
from datasets import Dataset, DatasetDict
ds = Dataset.from_list([{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "c", "rejected": "d"}])
ds.push_to_hub("alice/one")
DatasetDict(train_prefs=ds, test_prefs=ds.select([1])).push_to_hub("alice/prefs")
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("alice/folders", repo_type="dataset")
line = b'{"prompt": "%s", "chosen": "a", "rejected": "b"}'
for folder in ("helpful-base", "harmless-base"):
    api.upload_file(path_or_fileobj=line % folder.encode(), path_in_repo=f"{folder}/train.jsonl", repo_id="alice/folders", repo_type="dataset")
ds.push_to_hub("alice/configs", "helpful")
ds.select([0]).push_to_hub("alice/configs", "harmless")
"""

LOAD = """
import json, sys
from hf_datamap.errors import SourceError
from hf_datamap.data.load import load_source
out = {}
for case, options in json.loads(sys.argv[1]).items():
    try:
        ds = load_source(**options)
        out[case] = [row["prompt"] for row in ds]
    except SourceError as error:
        out[case] = str(error)
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with MiniHub(tmp_path_factory.mktemp("sources")) as running:
        running.run(PUSH)
        yield running


def test_hub_datasets(hub):
    cases = {
        "one": {"source": "alice/one"},
        "stream": {"source": "alice/one", "streaming": True},
        "revision": {"source": "alice/one", "revision": "main"},
        "slice": {"source": "alice/one", "split": "train[:1]"},
        "split": {"source": "alice/prefs", "split": "test_prefs"},
        "config": {"source": "alice/configs", "config": "harmless"},
        "folder": {"source": "alice/folders", "config": "harmless-base"},
        "no folder": {"source": "alice/folders", "config": "other"},
        "no split": {"source": "alice/prefs"},
        "wrong split": {"source": "alice/prefs", "split": "train"},
        "no config": {"source": "alice/configs"},
        "wrong config": {"source": "alice/configs", "config": "other"},
        "missing": {"source": "alice/nothing"},
        "wrong revision": {"source": "alice/one", "revision": "v9"},
    }
    out = json.loads(hub.run(LOAD, json.dumps(cases)).stdout.splitlines()[-1])
    assert out["one"] == out["stream"] == out["revision"] == ["p", "q"]
    assert out["slice"] == ["p"]
    assert out["split"] == ["q"]
    assert out["config"] == ["p"]
    assert out["folder"] == ["harmless-base"]
    assert "has no configuration (or folder) 'other'; it has: default" in out["no folder"]
    assert out["no split"] == "alice/prefs has several splits: train_prefs, test_prefs; choose one with --split"
    assert "has no split 'train'; it has: train_prefs, test_prefs (--split)" in out["wrong split"]
    assert "several configurations: " in out["no config"]
    assert "choose one with --config" in out["no config"]
    assert "has no configuration (or folder) 'other'; it has: " in out["wrong config"]
    assert "cannot open the Hub dataset 'alice/nothing'" in out["missing"]
    assert "hf auth login" in out["missing"]
    assert "cannot open the Hub dataset 'alice/one'" in out["wrong revision"]


def test_inspect_streams_from_the_hub(hub):
    code = "from hf_datamap.cli import main; main(['inspect', 'alice/prefs', '--split', 'train_prefs'])"
    page = hub.run(code).stdout
    assert "layout       pairs: columns chosen and rejected beside the prompt column prompt" in page
    assert "2 rows: 2 can be mapped" in page

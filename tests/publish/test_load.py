"""Dataset and map back from a folder or the Hub, to be extended there; and what a folder must be."""

import subprocess
import sys

import pytest

from hf_datamap.errors import MapError
from hf_datamap.publish import load
from tests.publish.clients import card, client
from tests.publish.data import mapped_splits


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    ds, data_map = mapped_splits(30)
    out = tmp_path / "map"
    (out / "data").mkdir(parents=True)
    for split, rows in ds.items():
        for place in range(2):
            rows.shard(2, place, contiguous=True).to_parquet(out / f"data/{split}-{place:05d}-of-00002.parquet")
    data_map.save(out / "datamap.json")
    return out, ds, data_map


def test_a_folder_comes_back_whole(folder):
    path, ds, data_map = folder
    again, again_map = load(path)
    assert again_map == data_map
    assert {name: split.to_list() for name, split in again.items()} == {name: s.to_list() for name, s in ds.items()}
    assert again["train"].features == ds["train"].features
    assert load(str(path), split="test")[0].to_list() == ds["test"].to_list()


def test_what_is_missing_is_named(folder):
    path, _, _ = folder
    with pytest.raises(MapError, match="no split 'dev'; it has test, train"):
        load(path, split="dev")
    for file in (path / "data").iterdir():
        file.unlink()
    with pytest.raises(MapError, match="map it again"):
        load(path)
    (path / "datamap.json").write_text("{}")
    with pytest.raises(MapError, match="not an Alignment Data Map"):
        load(path)
    (path / "datamap.json").unlink()
    with pytest.raises(MapError, match=r"datamap\.json"):
        load(path)


def test_importing_the_room_stays_light():
    code = """
import sys, hf_datamap.publish, hf_datamap.publish.card, hf_datamap.cli.push, hf_datamap.cli.card, hf_datamap.cli.space
heavy = {"datasets", "torch", "gradio", "matplotlib.pyplot", "huggingface_hub.hf_api", "jinja2"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_published_map_can_be_extended(hub):
    client(
        hub,
        """
ds, data_map = mapped(24)
push_to_hub(ds, "alice/grow", data_map=data_map)
old, same_map = load("alice/grow", split="train")
grown = concatenate_datasets([old, same_map.assign(scored(10, 77))])
push_to_hub(grown, "alice/grow", data_map=same_map)
again, again_map = load("alice/grow", split="train")
assert again_map == data_map and again.to_list() == grown.to_list() and again.to_list()[:24] == ds.to_list()
""",
    )
    assert "the thresholds were fitted on 24 rows; this dataset has 34" in card(hub, "alice/grow").body


def test_new_rows_join_a_published_map_with_all_its_columns(hub):
    client(
        hub,
        """
import hf_datamap as dm
scorer = dm.ColumnScorer("s_chosen,s_rejected")
def rows(seed):
    return plain(30, seed).map(lambda r: {"s_chosen": len(r["chosen"]) / 2, "s_rejected": len(r["rejected"]) / 2})
ds, data_map = dm.annotate(rows(1), scorer)
dm.push_to_hub(ds, "alice/join", data_map=data_map)
old, same_map = dm.load("alice/join", split="train")
new, own_map = dm.annotate(rows(2), scorer)
assert own_map.thresholds != same_map.thresholds
dm.push_to_hub(concatenate_datasets([old, same_map.assign(new)]), "alice/join", data_map=same_map)
again, again_map = dm.load("alice/join", split="train")
assert again_map == data_map and again.to_list()[:30] == ds.to_list()
for row in again.select(range(30, 60)):
    assert row["datamap_margin"] is not None and row["datamap_agreement"] is not None
    low = row["datamap_variance"] <= data_map.variance.value
    good = low and row["datamap_mean"] > data_map.mean.value
    expected = "high_mean_low_variance" if good else "low_mean_low_variance" if low else "high_variance"
    assert row["datamap_region"] == expected, row
""",
    )


def test_each_config_has_its_own_map_and_no_others(hub):
    client(
        hub,
        """
ds, data_map = mapped(24)
push_to_hub(ds, "alice/own-map", data_map=data_map)
plain(6).push_to_hub("alice/own-map", config_name="raw")
best, same_map = load("alice/own-map", config_name="high_mean_low_variance", split="train")
assert same_map == data_map and set(best["datamap_region"]) == {"high_mean_low_variance"}
def is_refused(attempt):
    try:
        attempt()
    except MapError as error:
        assert "'raw' is not mapped; mapped is default" in str(error), error
    else:
        raise AssertionError
is_refused(lambda: load("alice/own-map", config_name="raw"))
is_refused(lambda: deploy_space("never", dataset="alice/own-map", config_name="raw", static=True))
other, other_map = mapped(30, 5)
push_to_hub(other, "alice/own-map", data_map=other_map, config_name="second")
for config in ("second", "second-high_variance"):
    assert load("alice/own-map", config_name=config)[1] == other_map
assert load("alice/own-map")[1] == data_map
""",
    )

"""Shards straight from a Hub: only the columns that are needed are read, and what is done is not read again."""

from __future__ import annotations

import json

import pytest

from tests.minihub.client import MiniHub
from tests.rows import graded
from tests.servers.llm import LLMServer

SHARDS, ROWS, TEXT = 4, 60, 100_000  # characters of a column that no scorer needs

PUSH = f"""
import numpy as np
from datasets import Dataset
chance = np.random.default_rng(0)
ds = Dataset.from_list([
    {{
        "prompt": f"Question {{i}}?",
        "chosen": f"Good answer {{i}} [{{6 + i % 5}}]",
        "rejected": f"Bad answer {{i}} [{{1 + i % 3}}]",
        "score_chosen": 6.0 + i % 5,
        "score_rejected": 1.0 + i % 3,
        "notes": chance.bytes({TEXT} // 2).hex(),
    }}
    for i in range({ROWS})
])
ds.push_to_hub("alice/pairs", num_shards={SHARDS})
"""

MAP = """
import sys
from hf_datamap.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with MiniHub(tmp_path_factory.mktemp("shards")) as running:
        running.run(PUSH)
        yield running


def run(hub, *words, check=True):
    words = ["map", "alice/pairs", "--engine", "shards", "--json", *map(str, words)]
    done = hub.run(MAP, *words, check=check, home="home-of-shards")
    return json.loads(done.stdout) if check else done


def sent(hub, since):
    """Bytes of shards that the Hub sent, and from how many files."""
    served = [r for r in hub.requests(since) if "parquet" in r["path"] or r["path"].startswith("/_cdn/")]
    served = [r for r in served if r["method"] == "GET" and r["status"] in {200, 206}]
    return sum(r["response_bytes"] for r in served), len({r["path"] for r in served})


def test_only_the_columns_needed_are_read(hub, tmp_path):
    size = sum(entry["size"] for entry in hub.history("alice/pairs")[0]["tree"].values())
    assert size > ROWS * TEXT / 2
    words = ("--scorer", "columns:score_chosen,score_rejected", "--keep", "added")
    mark = hub.mark()
    found = run(hub, *words, "--out", tmp_path / "added")
    narrow, files = sent(hub, mark)
    assert found["status"]["ok"] == ROWS
    assert files == SHARDS
    assert narrow < 0.45 * size  # of the first, all columns: the first rows tell the layout
    mark = hub.mark()
    assert run(hub, *words[:2], "--out", tmp_path / "all")["regions"] == found["regions"]
    assert sent(hub, mark)[0] > size
    assert not list((hub.root / "home-of-shards").rglob("*.parquet"))  # nothing went through the download cache


def test_it_is_the_map_of_the_downloaded_dataset(hub, tmp_path):
    for engine in ("shards", "memory"):
        words = ["map", "alice/pairs", "--engine", engine, "--out", str(tmp_path / engine)]
        hub.run(MAP, *words)
    assert (tmp_path / "shards/datamap.json").read_bytes() == (tmp_path / "memory/datamap.json").read_bytes()
    code = """
import sys
from datasets import load_dataset
one, two = (load_dataset(path, split="train", cache_dir=sys.argv[3]) for path in sys.argv[1:3])
assert one.features == two.features
assert one.to_list() == two.to_list()
"""
    hub.run(code, str(tmp_path / "shards"), str(tmp_path / "memory"), str(tmp_path / "cache"))


def test_a_lost_connection_costs_the_parts_under_way(hub, tmp_path):
    """A shard that cannot be read ends the run; the next one reads only what is not scored."""
    with LLMServer(graded) as server:
        judge = ("--scorer", "judge:judge", "--base-url", server.url, "--workers", 1, "--keep", "added")
        broken = sorted(path for path in hub.files("alice/pairs") if path.endswith(".parquet"))[2]
        oid = hub.history("alice/pairs")[0]["tree"][broken]["lfs"]["sha256"]
        with hub.fault(path=f"{broken.rpartition('/')[2]}|{oid}", status=403, times=0, skip=2):
            done = run(hub, *judge, "--out", tmp_path / "map", check=False)
        assert done.returncode == 2, done.stderr
        assert "cannot read hf://datasets/alice/pairs" in done.stderr
        assert "Traceback" not in done.stderr
        asked = len(server.requests)
        assert 0 < asked < 2 * ROWS
        mark = hub.mark()
        assert run(hub, *judge, "--out", tmp_path / "map")["status"]["ok"] == ROWS
        assert len(server.requests) == 2 * ROWS
        assert max(server.answered.values()) == 1
    scored = {f"/{broken[: -len('00002-of-00004.parquet')]}{place:05d}-of-00004.parquet" for place in range(2)}
    again = [r["path"] for r in hub.requests(mark) if any(r["path"].endswith(path) for path in scored)]
    assert len(again) < 2 * 2 * 6  # their footers and a few rows to tell the layout by, not their texts

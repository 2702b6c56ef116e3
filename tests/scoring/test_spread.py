"""A scorer that hardly tells responses apart, and a cut that runs through a tie: said on every surface."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.cli import main
from hf_datamap.data import columns
from hf_datamap.scoring.spread import ScoreSpread, joined_spread
from tests.rows import responses_of
from tests.servers.llm import LLMServer, completion


def spread_of(values):
    return ScoreSpread.of(pa.table({columns.SCORES: pa.array([[v] for v in values], pa.list_(pa.float32()))}))


@pytest.mark.parametrize(
    ("values", "scale", "words"),
    [
        ([5.0] * 100, None, "all 100 scores are 5"),
        ([5.0] * 97 + [1.0, 9.0, 3.0], None, "97.0% of 100 scores are 5"),
        ([5.0] * 94 + [1.0] * 6, None, ""),
        ([5.0 + 0.001 * (i % 7) for i in range(100)], (1, 10), "differ by next to nothing"),
        ([5.0 + 0.5 * (i % 7) for i in range(100)], (1, 10), ""),
        ([1e-3 * (i % 7) for i in range(100)], None, ""),
        ([1000.0 + 1e-3 * (i % 7) for i in range(100)], None, "differ by next to nothing"),
        ([5.0] * 10, None, ""),
        ([], None, ""),
    ],
)
def test_what_is_no_spread(values, scale, words):
    finding = spread_of(values).finding(scale)
    assert words in finding
    assert bool(finding) == bool(words)


@given(st.lists(st.lists(st.sampled_from([1.0, 5.0, 5.0, 5.0, 9.0]), max_size=30), max_size=5))
def test_parts_add_up(parts):
    whole = [value for part in parts for value in part]
    joined = joined_spread(spread_of(part) for part in parts)
    assert joined.scores == len(whole)
    if whole:
        assert (joined.low, joined.high) == (min(whole), max(whole))
        assert joined.total / joined.scores == pytest.approx(np.mean(whole))
        assert joined.finding() == ScoreSpread.of_json(joined.to_json()).finding()


def pairs(count):
    return [{"prompt": f"Question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(count)]


def test_a_constant_judge_is_named_at_once_and_in_the_record(caplog):
    with LLMServer(lambda request, _: completion(request, '{"score": 7}')) as server, caplog.at_level(logging.WARNING):
        judge = dm.LLMJudge("m", base_url=server.url, logprobs=False)
        _, data_map = dm.annotate(Dataset.from_list(pairs(30)), judge, progress=False)
    assert "judge m: all 60 scores are 7; the regions of such a map are row order" in caplog.text
    assert data_map.provenance["constant"] == "all 60 scores are 7"


def test_a_judge_that_tells_responses_apart_is_not(caplog):
    with LLMServer() as server, caplog.at_level(logging.WARNING):
        judge = dm.LLMJudge("m", base_url=server.url, logprobs=False)
        _, data_map = dm.annotate(Dataset.from_list(pairs(40)), judge, progress=False)
    assert "row order" not in caplog.text
    assert "constant" not in data_map.provenance
    assert data_map.arbitrary == ()


def test_a_cut_through_a_tie_is_called_arbitrary_on_every_surface(tmp_path, capsys):
    """Half of the rows have variance 0: whatever region they get is row order."""
    rows = [{**row, "s": [1.0, 1.0] if i % 5 else [float(i + 2), 0.0]} for i, row in enumerate(pairs(60))]
    ds = Dataset.from_list(rows)
    _, data_map = dm.annotate(ds, dm.ColumnScorer("s"), progress=False)
    (by_variance, by_mean) = data_map.arbitrary
    assert by_variance.startswith("the cut by variance is arbitrary: 48 of 60 mapped rows have the value 0, ")
    assert by_mean.startswith("the cut by mean is arbitrary: 40 of 60 mapped rows have the value 1, ")
    assert by_variance in str(data_map)
    source, out = tmp_path / "rows.jsonl", tmp_path / "map"
    ds.to_json(source)
    capsys.readouterr()
    main(["map", str(source), "--scorer", "columns:s", "--out", str(out)])
    assert "the cut by variance is arbitrary" in capsys.readouterr().out
    card = (out / "README.md").read_text("utf-8")
    assert "**the cut by variance is arbitrary there**: 48 of 60 mapped rows" in card
    from hf_datamap.datamap.plot import draw

    figure = draw(dm.annotate(ds, dm.ColumnScorer("s"), progress=False)[0], data_map)
    assert any("arbitrary" in text.get_text() for axes in figure.axes for text in axes.texts)


def test_a_pairwise_judge_by_itself_has_no_means_to_cut_by():
    def longer(request, _):

        first, second = (len(text) for text in responses_of(request).values())
        return completion(
            request, '{"better": "tie"}' if first == second else f'{{"better": "{1 + (first < second)}"}}'
        )

    rows = [{"prompt": f"Q{i}", "responses": ["a", "bb", "ccc" * (i % 3 + 1)]} for i in range(12)]
    with LLMServer(longer) as server:
        table, data_map = dm.annotate(
            Dataset.from_list(rows), dm.PairwiseJudge("m", base_url=server.url), progress=False
        )
    assert set(table["datamap_mean"]) == {0.0}
    assert any("cut by mean is arbitrary" in sentence for sentence in data_map.arbitrary)

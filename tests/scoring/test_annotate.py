"""`annotate` and `estimate`: the whole job, by hand on small data."""

import math

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, IterableDataset, concatenate_datasets, load_dataset

import hf_datamap as dm
from hf_datamap.data import columns
from hf_datamap.errors import MapError, ScorerError
from hf_datamap.scoring.estimate import estimate
from tests.judging import annotate
from tests.rows import rows, scores


@pytest.fixture
def judge(server):
    return dm.LLMJudge("judge", base_url=server.url, logprobs=False, max_retries=0)


def test_agreement_and_margin_by_hand():
    rows = [
        {"prompt": "a", "responses": ["x", "y", "z"], "rating": [1.0, 2.0, 3.0], "judged": [2.0, 2.0, 4.0]},
        {"prompt": "b", "responses": ["x", "y", "z"], "rating": [5.0, 5.0, 1.0], "judged": [1.0, 3.0, 4.0]},
        {"prompt": "c", "responses": ["x", "y", "z"], "rating": [2.0, 2.0, 2.0], "judged": [1.0, 2.0, 3.0]},
        {"prompt": "d", "responses": ["x", "y", "z"], "rating": [1.0, None, 3.0], "judged": [1.0, 2.0, None]},
        {"prompt": "e", "responses": ["x", "y", "z"], "rating": [None, 2.0, 3.0], "judged": [None, 1.0, 2.0]},
    ]
    layout = dm.Layout(prompt="prompt", responses="responses", annotations="rating", label="scores")
    annotated, _ = annotate(Dataset.from_list(rows), dm.ColumnScorer("judged"), layout=layout)
    cosine = (1 * 2 + 2 * 2 + 3 * 4) / math.sqrt(14 * 24)
    assert annotated["datamap_agreement"][0] == pytest.approx(cosine, rel=1e-6)
    assert annotated["datamap_agreement"][1] == pytest.approx((5 + 15 + 4) / math.sqrt(51 * 26), rel=1e-6)
    assert annotated["datamap_agreement"][3] is None  # one response with both
    assert annotated["datamap_agreement"][4] == pytest.approx((2 * 1 + 3 * 2) / math.sqrt(13 * 5), rel=1e-6)
    assert annotated["datamap_margin"][:] == [2.0, (1 + 3) / 2 - 4, None, None, 1.0]


def test_margin_of_pairs(judge):
    annotated, _ = annotate(Dataset.from_list(rows(6)), judge)
    assert annotated["datamap_margin"][:] == [a - b for a, b in scores(6)]
    flipped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows(6)]
    annotated, _ = annotate(Dataset.from_list(flipped), judge)
    assert annotated["datamap_margin"][:] == [b - a for a, b in scores(6)]


def test_the_whole_schema(judge):
    ds = Dataset.from_list(rows(12))
    annotated, data_map = annotate(ds, judge)
    assert annotated.column_names[:3] == ds.column_names
    found = annotated.data.table.schema
    for name in annotated.column_names[3:]:
        assert found.field(name).type == columns.SCHEMA.field(name).type
    assert set(annotated.column_names[3:]) == set(columns.SCHEMA.names) - {"datamap_suspect"}
    assert data_map.rows == data_map.mapped == 12
    assert data_map.provenance["rows"] == {"ok": 12, "partial": 0, "failed": 0, "skipped": 0}
    assert data_map.provenance["scorer"] == dict(judge.identity)
    assert "SECRET" not in str(data_map.to_json())


def test_the_same_bytes_again(judge, tmp_path):
    first, one = annotate(Dataset.from_list(rows(30)), judge)
    second, two = annotate(Dataset.from_list(rows(30)), judge)
    first.to_parquet(tmp_path / "1.parquet")
    second.to_parquet(tmp_path / "2.parquet")
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert one.thresholds == two.thresholds


def test_splits_are_cut_together(judge):
    splits = DatasetDict(train=Dataset.from_list(rows(9)), test=Dataset.from_list(rows(6, 9)))
    annotated, data_map = annotate(splits, judge)
    together, whole = annotate(concatenate_datasets(list(splits.values())), judge)
    assert data_map.thresholds == whole.thresholds
    regions = [*annotated["train"]["datamap_region"], *annotated["test"]["datamap_region"]]
    assert regions == together["datamap_region"][:]


def test_an_empty_split_beside_a_full_one(judge):
    empty = Dataset.from_list(rows(1)).select([])
    annotated, data_map = annotate(DatasetDict(train=Dataset.from_list(rows(5)), test=empty), judge)
    assert data_map.rows == 5
    assert len(annotated["test"]) == 0
    assert annotated["test"].features == annotated["train"].features


def test_splits_of_different_layouts(judge):
    other = Dataset.from_dict({"prompt": ["q"], "responses": [["a", "b", "c"]]})
    with pytest.raises(dm.DataMapError, match="different layouts"):
        annotate(DatasetDict(train=Dataset.from_list(rows(3)), test=other), judge)


def test_a_dataset_without_rows(judge, server):
    empty = Dataset.from_list(rows(1)).select([])
    for ds in (empty, DatasetDict(train=empty), IterableDataset.from_generator(lambda: iter(()))):
        with pytest.raises(dm.DataMapError, match="no rows"):
            annotate(ds, judge)
    for batched in (False, True):
        out = empty.map(dm.score_fn(judge), batched=batched)
        assert len(out) == 0
    assert not server.requests


def test_rows_that_cannot_be_read(judge, server):
    ds = Dataset.from_dict(
        {"prompt": ["q", None, "", "r"], "chosen": [None, "a", "b", ""], "rejected": [None, "c", "d", ""]}
    )
    annotated, data_map = annotate(ds, judge)
    assert len(annotated) == 4
    assert set(annotated["datamap_status"]) <= {"failed", "skipped"}
    assert all(annotated["datamap_error"])
    assert annotated["datamap_region"][:] == ["unmapped"] * 4
    assert data_map.mapped == 0
    assert data_map.counts["unmapped"] == 4
    assert not server.requests


def test_one_response_cannot_be_mapped(judge):
    ds = Dataset.from_dict({"prompt": ["q", "r"], "responses": [["one [5]"], ["one [5]", "two [7]"]]})
    annotated, _ = annotate(ds, judge)
    assert annotated["datamap_scores"][:] == [[5], [5, 7]]
    assert annotated["datamap_variance"][:] == [None, 1.0]
    assert annotated["datamap_region"][0] == "unmapped"


def test_streams(judge, server):
    stream = IterableDataset.from_generator(lambda: iter(rows(20)))
    annotated, data_map = annotate(stream, judge)
    assert data_map.rows == 20
    found = list(annotated)
    assert len(server.requests) == 40  # the second pass reads the store
    assert [row["datamap_scores"] for row in found] == scores(20)
    assert [row["prompt"] for row in found] == [row["prompt"] for row in rows(20)]
    assert {row["datamap_region"] for row in found} <= set(columns.REGIONS)


def test_a_stream_gets_the_columns_of_a_dataset(judge, server, tmp_path):
    """All of them, ties included: with scores of 1 to 10 many rows are on the boundaries."""
    ds = Dataset.from_list(rows(60))
    ds.to_parquet(tmp_path / "train.parquet", batch_size=7)
    expected, expected_map = annotate(ds, judge)
    streams = {
        "files": load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train", streaming=True),
        "shards": ds.to_iterable_dataset(num_shards=4),
        "arrow": ds.to_iterable_dataset().with_format("arrow"),
        "unknown": IterableDataset.from_generator(lambda: iter(rows(60))),
    }
    for name, stream in streams.items():
        out, data_map = annotate(stream, judge)
        assert data_map.model_copy(update={"provenance": {}}) == expected_map.model_copy(update={"provenance": {}}), (
            name
        )
        assert data_map.provenance["rows"] == expected_map.provenance["rows"]
        assert (data_map.provenance["usage"]["requests"], data_map.provenance["usage"]["from_store"]) == (0, 120)
        found = list(out.with_format(None))
        assert found == list(expected), name
    assert out.features is None
    assert isinstance(next(iter(annotate(streams["arrow"], judge)[0].iter(5))), pa.Table)
    assert len(server.requests) == 120


def test_a_stream_of_scores_that_ship_with_the_data():
    ds = Dataset.from_list([{"prompt": "p", "responses": ["a", "b"], "rating": [float(i % 5), 1.0]} for i in range(40)])
    expected, expected_map = annotate(ds, dm.ColumnScorer("rating"))
    out, data_map = annotate(ds.to_iterable_dataset(), dm.ColumnScorer("rating"))
    assert (data_map.variance, data_map.mean) == (expected_map.variance, expected_map.mean)
    assert expected_map.variance.ties > expected_map.variance.below > 0
    assert list(out) == list(expected)


def test_a_panel_without_scales_and_an_empty_stream_are_refused():
    stream = Dataset.from_list(rows(3)).to_iterable_dataset()
    panel = dm.Panel([dm.ColumnScorer("a"), dm.ColumnScorer("b")])
    with pytest.raises(ScorerError, match="fit_panel"):
        annotate(stream, panel)
    with pytest.raises(MapError, match="no rows"):
        annotate(stream.take(0), dm.ColumnScorer("a"))


def test_an_estimate_is_what_is_then_sent(judge, server):
    ds = Dataset.from_list([*rows(10), *rows(10), {"prompt": None, "chosen": "a", "rejected": "b"}])
    before = estimate(ds, judge, prices=dm.Prices(1.0, 2.0))
    assert (before.rows, before.requests, before.from_store) == (20, 20, 0)
    assert sum(before.skipped.values()) == 1
    assert before.cost == pytest.approx((before.input_tokens + 2 * before.output_tokens) / 1e6)
    assert not server.requests
    annotate(ds, judge)
    assert len(server.requests) == before.requests
    after = estimate(ds, judge)
    assert (after.requests, after.input_tokens, after.cost) == (0, 0, None)
    assert after.from_store >= 20
    texts = sum(len(message["content"]) for request in server.requests for message in request["messages"])
    assert before.input_tokens == pytest.approx(texts / 4, rel=0.05)


def test_progress_goes_to_stderr(judge, capsys):
    dm.annotate(Dataset.from_list(rows(3)), judge, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err
    annotate(Dataset.from_list(rows(3)), judge)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", [1e30, -1e30, 1e308, 2e19])
@pytest.mark.parametrize("way", ["columns", "scorer"])
def test_scores_beyond_what_a_variance_can_be_fail_with_a_reason(value, way):
    class Fixed(dm.Scorer):
        identity = {"kind": "fixed"}
        stored = False

        def score(self, example):
            return [value, 1.0, 2.0]

    ds = Dataset.from_list([{"prompt": "p", "responses": ["a", "b", "c"], "rating": [value, 1.0, 2.0]}] * 3)
    annotated, data_map = annotate(ds, dm.ColumnScorer("rating") if way == "columns" else Fixed())
    assert annotated["datamap_scores"][0] == [None, 1.0, 2.0]
    assert annotated["datamap_variance"][0] == pytest.approx(0.25)
    assert annotated["datamap_status"][0] == "partial"
    assert annotated["datamap_error"][0].startswith("response 1: ")
    assert data_map.mapped == 3
    batch = ds.map(dm.score_fn(dm.ColumnScorer("rating")), batched=True)
    assert batch["datamap_status"][0] == "partial"


def test_texts_are_not_read_for_scores_that_ship_with_the_data():
    from hf_datamap.scoring.score_rows import needed_columns

    layout = dm.Layout(prompt="prompt", responses=["chosen", "rejected"], label="order")
    assert needed_columns(dm.ColumnScorer("good,bad"), layout) == ("good", "bad", "prompt", "chosen", "rejected")
    plain = dm.Layout(prompt="prompt", responses=["one", "two"])
    assert needed_columns(dm.ColumnScorer("good,bad"), plain) == ("good", "bad")
    rated = dm.Layout(prompt="prompt", responses=["one", "two"], annotations=["a", "b"], label="scores")
    assert needed_columns(dm.ColumnScorer("good,bad"), rated) == ("good", "bad", "a", "b")
    assert needed_columns(dm.ColumnScorer("a,b"), rated) == ("a", "b")  # compared with nothing

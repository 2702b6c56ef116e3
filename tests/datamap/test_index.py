"""The index: one row per prompt, sorted, without texts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from hf_datamap.data import columns
from hf_datamap.datamap.index import ROW_GROUP, SCHEMA, build_index, index_dataset
from hf_datamap.errors import MapError
from hf_datamap.publish.config_files import write_index
from tests.publish.data import mapped, mapped_splits, scored


def test_every_row_is_there_in_order():
    ds, _ = mapped_splits(30)
    index = build_index(ds)
    assert index.schema.equals(SCHEMA)
    keys = list(zip(index["split"].to_pylist(), index["row"].to_pylist(), strict=True))
    assert keys == [("test", i) for i in range(15)] + [("train", i) for i in range(30)]
    rows = [ds[split][row] for split, row in keys]
    for name in ("mean", "variance", "margin", "agreement", "suspect", "region"):
        assert index[name].to_pylist() == [row[f"datamap_{name}"] for row in rows]
    assert index["source"].to_pylist() == [row["source"] for row in rows]
    assert index["length"].to_pylist() == [max(len(row["chosen"]), len(row["rejected"])) for row in rows]


def test_columns_that_are_not_there_are_null():
    ds, _ = mapped(12)
    bare = ds.select_columns([columns.MEAN, columns.VARIANCE, columns.REGION]).add_column("x", ["?"] * 12)
    index = build_index(bare)
    assert index.schema.equals(SCHEMA)
    for name in ("margin", "agreement", "suspect", "source", "length"):
        assert index[name].null_count == 12
    assert build_index(ds.select([])).num_rows == 0


def test_a_list_of_sources_is_joined():
    ds, _ = mapped(3)
    ds = ds.remove_columns("source").add_column("source", [["a", "b"], [], ["c"]])
    assert build_index(ds)["source"].to_pylist() == ["a, b", None, "c"]


def test_an_unmapped_dataset_is_refused():
    with pytest.raises(MapError, match="datamap_region"):
        build_index(scored(5))


def test_length_and_score_are_compared_within_rows():
    texts = {"prompt": ["p"] * 4, "chosen": ["aaa", "a", "aa", "a"], "rejected": ["b", "bbb", "bb", "bbb"]}
    scores = [[2.0, 1.0], [2.0, 1.0], [1.0, 2.0], [1.0, 1.0]]  # longest wins, loses, tie in length, tie in score
    mean, variance = columns.moments(np.array(scores))
    ds = Dataset.from_dict({**texts, "datamap_scores": scores, "datamap_mean": mean, "datamap_variance": variance})
    ds = ds.add_column("datamap_region", ["high_variance"] * 4)
    found = index_dataset(ds)
    assert (found.comparable, found.longest_wins, found.by_chance) == (2, 1, 1.0)


def test_row_groups_are_small_and_bytes_repeat(tmp_path):
    rows = 3 * ROW_GROUP - 7
    many = Dataset(
        pa.table(
            {
                "datamap_mean": np.linspace(0, 1, rows).astype("f4"),
                "datamap_variance": np.linspace(1, 0, rows).astype("f4"),
                "datamap_region": np.array(columns.REGIONS)[np.arange(rows) % 4],
            }
        )
    )
    ds = DatasetDict(b=many, a=many.select(range(10)))
    paths = [tmp_path / name for name in ("one.parquet", "two.parquet")]
    for path in paths:
        write_index(build_index(ds), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    file = pq.ParquetFile(paths[0])
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [ROW_GROUP] * 3 + [3]
    assert pq.read_table(paths[0]).schema.equals(SCHEMA)
    assert file.read_row_group(1, ["split", "row"]).to_pylist()[0] == {"split": "b", "row": ROW_GROUP - 10}

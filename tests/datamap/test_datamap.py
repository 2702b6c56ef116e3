"""The cut, against the rule written out naively."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap import DataMap
from hf_datamap.data import columns
from hf_datamap.errors import MapError

POINTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(-5, 5, width=32)),
        st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.2]), st.floats(0, 3, width=32)),
    ),
    max_size=60,
)


def dataset(points: list[tuple[float | None, float | None]]) -> Dataset:
    mean, variance = zip(*points, strict=True) if points else ((), ())
    schema = pa.schema([(columns.MEAN, pa.float32()), (columns.VARIANCE, pa.float32())])
    return Dataset(pa.table([list(mean), list(variance)], schema=schema))


def by_the_rule(ds: Dataset) -> list[str]:
    """DESIGN.md, "The map, exactly", with Python's stable sort."""
    rows = list(zip(ds[columns.MEAN], ds[columns.VARIANCE], strict=True))
    regions = ["unmapped"] * len(rows)
    order = [i for i, (mean, variance) in enumerate(rows) if mean is not None and variance is not None]
    order.sort(key=lambda i: rows[i][1])
    cut = 2 * len(order) // 3
    for i in order[cut:]:
        regions[i] = "high_variance"
    # Ties in mean go by original row order, so the low part is put back into it first.
    low = sorted(sorted(order[:cut]), key=lambda i: rows[i][0])
    for place, i in enumerate(low):
        regions[i] = "low_mean_low_variance" if place < cut // 2 else "high_mean_low_variance"
    return regions


@given(POINTS)
@settings(max_examples=200, deadline=None)
def test_fit_and_assign_follow_the_rule(points):
    ds = dataset(points)
    data_map = DataMap.fit(ds)
    regions = data_map.assign(ds)[columns.REGION]
    assert list(regions) == by_the_rule(ds)
    assert data_map.counts == {name: list(regions).count(name) for name in columns.REGIONS}
    assert data_map.rows == len(points)
    assert data_map.mapped == sum(mean is not None and variance is not None for mean, variance in points)


@given(POINTS)
@settings(max_examples=50, deadline=None)
def test_json_gives_the_same_map_back(points):
    data_map = DataMap.fit(dataset(points), provenance={"scorer": {"kind": "columns"}})
    assert DataMap.from_json(data_map.to_json()) == data_map


def test_sizes_of_the_regions():
    for rows in range(12):
        counts = DataMap.fit(dataset([(float(i), float(i)) for i in range(rows)])).counts
        low = 2 * rows // 3
        assert (counts["high_variance"], counts["low_mean_low_variance"]) == (rows - low, low // 2)
        assert counts["high_mean_low_variance"] == low - low // 2


def test_ties_are_counted():
    ds = dataset([(0.5, 0.1)] * 9)
    data_map = DataMap.fit(ds)
    assert (data_map.variance.value, data_map.variance.ties, data_map.variance.below) == (pytest.approx(0.1), 9, 6)
    assert (data_map.mean.value, data_map.mean.ties, data_map.mean.below) == (0.5, 6, 3)
    assert list(data_map.assign(ds)[columns.REGION]) == (
        ["low_mean_low_variance"] * 3 + ["high_mean_low_variance"] * 3 + ["high_variance"] * 3
    )


def test_other_data_is_assigned_by_threshold():
    data_map = DataMap.fit(dataset([(float(i), float(i)) for i in range(9)]))
    assert data_map.thresholds == {"variance": 5.0, "mean": 2.0}
    new = dataset([(2.0, 5.0), (2.5, 5.0), (100.0, 5.5), (-1.0, 0.0), (None, None), (3.0, None)])
    assert list(data_map.assign(new)[columns.REGION]) == [
        "low_mean_low_variance", "high_mean_low_variance", "high_variance",
        "low_mean_low_variance", "unmapped", "unmapped",
    ]  # fmt: skip


def test_a_shuffled_cohort_is_not_taken_for_the_fitted_one():
    ds = dataset([(0.5, 0.1)] * 5 + [(0.6, 0.2)])
    data_map = DataMap.fit(ds)
    shuffled = ds.select([5, 0, 1, 2, 3, 4])
    assert data_map.assign(shuffled)[columns.REGION][0] == "high_variance"


def test_splits_are_cut_together():
    points = [(float(i % 7), float(i % 5)) for i in range(30)]
    whole, parts = dataset(points), DatasetDict(train=dataset(points[:17]), test=dataset(points[17:]))
    data_map = DataMap.fit(parts)
    assert data_map == DataMap.fit(whole)
    out = data_map.assign(parts)
    assert [*out["train"][columns.REGION], *out["test"][columns.REGION]] == list(data_map.assign(whole)[columns.REGION])


def test_streams_are_fitted_and_assigned():
    points = [(float(i), float(i % 4)) for i in range(20)] + [(None, None)]
    ds = dataset(points)
    stream = ds.to_iterable_dataset(num_shards=3)
    data_map = DataMap.fit(stream)
    assert data_map.counts == DataMap.fit(ds).counts
    regions = [row[columns.REGION] for row in data_map.assign(stream)]
    assert len(regions) == 21
    assert regions[-1] == "unmapped"


def test_row_order_and_other_columns_stay():
    ds = dataset([(float(i), float(i)) for i in range(6)]).add_column("id", list("abcdef")).shuffle(seed=1)
    out = DataMap.fit(ds).assign(ds)
    assert list(out["id"]) == list(ds["id"])
    assert list(DataMap.fit(ds).assign(out)[columns.REGION]) == list(out[columns.REGION])
    assert out.column_names == [*ds.column_names, columns.REGION]


def test_fractions_are_parameters():
    ds = dataset([(float(i), float(i)) for i in range(10)])
    counts = DataMap.fit(ds, low_variance=0.5, low_mean=Fraction(1, 5)).counts
    assert counts["high_variance"] == 5
    assert counts["low_mean_low_variance"] == 1
    assert DataMap.fit(ds, low_variance=0).variance is None
    with pytest.raises(MapError, match=r"low_mean must lie between 0 and 1, not 1\.5"):
        DataMap.fit(ds, low_mean=1.5)


def test_assign_is_deterministic_down_to_the_fingerprint():
    ds = dataset([(float(i), float(i)) for i in range(6)])
    first, second = (DataMap.fit(ds).assign(ds) for _ in range(2))
    assert first._fingerprint == second._fingerprint


def test_missing_columns_name_the_way_out():
    with pytest.raises(MapError, match=r"datamap_mean .*score_fn"):
        DataMap.fit(Dataset.from_dict({"prompt": ["a"]}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 1}', "not json"])
def test_what_is_no_map_is_refused(text, tmp_path):
    with pytest.raises(MapError):
        DataMap.from_json(text)
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(MapError):
        DataMap.load(tmp_path / "m.json")
    with pytest.raises(MapError, match="cannot read"):
        DataMap.load(tmp_path / "missing.json")


def test_a_map_is_frozen_and_readable(tmp_path):
    data_map = DataMap.fit(dataset([(float(i), float(i)) for i in range(6)]))
    with pytest.raises(ValueError, match="frozen"):
        data_map.rows = 3
    data_map.save(tmp_path / "m.json")
    assert DataMap.load(tmp_path / "m.json") == data_map
    assert json.loads((tmp_path / "m.json").read_text())["regions"][0]["name"] == "high_mean_low_variance"
    assert "variance boundary" in str(data_map)


def test_statistics_are_those_of_the_rows():
    ds = dataset([(1.0, 0.0), (3.0, 0.0), (2.0, 1.0)]).add_column(
        "datamap_margin", np.array([1.0, np.nan, 3.0], np.float32)
    )
    regions = {region.name: region for region in DataMap.fit(ds).regions}
    assert regions["low_mean_low_variance"].mean == 1.0
    assert regions["high_mean_low_variance"].margin is None
    assert regions["high_variance"].margin == 3.0
    assert regions["high_variance"].mean_range == (2.0, 2.0)
    assert regions["high_variance"].share == pytest.approx(1 / 3)

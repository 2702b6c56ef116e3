"""Cuts of points that are read in blocks, against the cut of the whole."""

from __future__ import annotations

import itertools
import json
import pickle
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap import DataMap
from hf_datamap.data import columns
from hf_datamap.datamap.fit import fit_points
from hf_datamap.datamap.points import Points
from hf_datamap.errors import MapError, SourceError

THIRDS = Fraction(2, 3), Fraction(1, 2)
NUMBERS = st.one_of(
    st.just(np.nan),
    st.sampled_from([0.0, -0.0, 0.25, 0.5, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38, np.inf]),
    st.floats(-5, 5, width=32),
)


@dataclass(frozen=True)
class Slice:
    whole: Points
    start: int
    stop: int

    def __call__(self) -> Points:
        values = {name: column[self.start : self.stop] for name, column in self.whole.values.items()}
        return Points(values, self.start)


def fit_whole(points: Points, low_variance: Fraction, low_mean: Fraction):
    return fit_points([lambda: points], low_variance, low_mean)


def block(mean, variance, **more) -> Points:
    given = {columns.MEAN: mean, columns.VARIANCE: variance, **more}
    return Points({name: np.array(values, np.float32) for name, values in given.items()})


def sliced(whole: Points, *ends: int) -> list[Slice]:
    cuts = [0, *sorted(min(end, len(whole.mean)) for end in ends), len(whole.mean)]
    return [Slice(whole, start, stop) for start, stop in itertools.pairwise(cuts)]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60), st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=300, deadline=None)
def test_blocks_are_cut_like_the_whole(points, ends):
    mean, variance = zip(*points, strict=True) if points else ((), ())
    whole = block(mean, variance, **{columns.MARGIN: np.arange(len(mean))})
    expected, found = fit_whole(whole, *THIRDS), fit_points(sliced(whole, *ends), *THIRDS)
    assert found.cut == expected.cut
    assert found.sums.regions() == expected.sums.regions()
    assert found.digest == expected.digest
    codes = [found.cut.codes((part := load()).mean, part.variance, part.first_row) for load in sliced(whole, *ends)]
    assert np.concatenate(codes).tolist() == expected.cut.codes(whole.mean, whole.variance).tolist()


def test_sums_do_not_depend_on_the_blocks_and_are_exact():
    chance = np.random.default_rng(3)
    values = (chance.standard_normal(50_000) * 10.0 ** chance.integers(-30, 30, 50_000)).astype(np.float32)
    whole = block(np.zeros(len(values)), np.ones(len(values)), **{columns.MARGIN: values})
    regions = fit_whole(whole, Fraction(0), Fraction(0)).sums.regions()
    exact = sum(map(Fraction, values.tolist())) / len(values)
    assert regions[2].margin == float(exact)
    pieces = sliced(whole, *range(0, 50_000, 777))
    assert fit_points(pieces, Fraction(0), Fraction(0)).sums.regions() == regions


def test_work_on_blocks_can_be_sent_elsewhere():
    chance = np.random.default_rng(5)
    whole = block(chance.integers(0, 9, 1000) / 9, chance.integers(0, 9, 1000) / 9)

    def elsewhere(work, loaders):
        for load in loaders:
            yield pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(load))())))

    for approximate in (False, True):
        found = fit_points(sliced(whole, 100, 700), *THIRDS, for_each=elsewhere, approximate=approximate)
        local = fit_points(sliced(whole, 100, 700), *THIRDS, approximate=approximate)
        assert found.cut == local.cut
        assert found.digest == ""


def ranks(values: np.ndarray, boundary) -> tuple[float, float]:
    """The ranks that a boundary stands for, as shares."""
    return (values < boundary.value).mean(), (values <= boundary.value).mean()


@pytest.mark.parametrize("rows", [50, 400_000])
def test_sketches_keep_to_the_rank_error_that_they_state(rows):
    chance = np.random.default_rng(7)
    whole = block(chance.beta(5, 2, rows), chance.exponential(1, rows).round(3 if rows < 100 else 7))
    exact = fit_whole(whole, *THIRDS).cut
    found = fit_points(sliced(whole, *range(0, rows, rows // 7)), *THIRDS, approximate=True)
    variance, mean = found.cut
    assert (variance.rank_error > 0) == (rows > 1000)
    less, most = ranks(whole.variance, variance)
    assert less - 2 * variance.rank_error <= 2 / 3 <= most + 2 * variance.rank_error + 1 / rows
    low = whole.mean[whole.variance <= variance.value]
    less, most = ranks(low, mean)
    assert less - 2 * mean.rank_error <= 1 / 2 <= most + 2 * mean.rank_error + 1 / rows
    # What differs from the exact cut are the rows between the two pairs of boundaries.
    codes = [fit.codes(whole.mean, whole.variance) for fit in (exact, found.cut)]
    assert (codes[0] != codes[1]).mean() <= 4 * max(variance.rank_error, mean.rank_error) + 3 / rows
    regions = found.sums.regions()
    assert [region.rows for region in regions] == np.bincount(codes[1], minlength=4).tolist()
    assert variance.ties == variance.below == (whole.variance == np.float32(variance.value)).sum()


# --- where points come from -------------------------------------------------------------------------------------------


def scored(rows: int = 3000) -> Dataset:
    chance = np.random.default_rng(11)
    mean, variance = (chance.integers(0, 40, rows).astype(np.float32) / 8 for _ in range(2))
    mean[chance.random(rows) < 0.05] = np.nan
    margin = chance.standard_normal(rows).astype(np.float32)
    arrays = {columns.MEAN: columns.nullable(mean), columns.VARIANCE: columns.nullable(variance)}
    return Dataset(pa.table({**arrays, columns.MARGIN: columns.nullable(margin), "text": ["x"] * rows}))


@pytest.mark.parametrize("in_memory", [10**9, 500])
def test_every_source_gives_the_same_map(tmp_path, in_memory):
    ds = scored()
    (tmp_path / "data").mkdir()
    for part in range(3):
        table = ds.shard(3, part, contiguous=True).with_format("arrow")[:]
        pq.write_table(table, tmp_path / f"data/train-{part}.parquet", row_group_size=170)
    files = [str(path) for path in sorted((tmp_path / "data").iterdir())]
    expected = DataMap.fit(ds)
    sources = {
        "stream": ds.to_iterable_dataset(num_shards=4),
        "files": files,
        "folder": tmp_path / "data",
        "pattern": f"{tmp_path}/data/train-*.parquet",
        "url": f"file://{tmp_path}/data",
        "dataset": ds,
    }
    for name, source in sources.items():
        assert DataMap.fit(source, in_memory=in_memory) == expected, name
    assert expected.cohort
    found = DataMap.fit(tmp_path / "data", in_memory=in_memory).assign(ds)
    assert list(found[columns.REGION]) == list(expected.assign(ds)[columns.REGION])
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


def test_the_rank_error_is_in_the_file(tmp_path):
    ds = scored(30_000)
    pq.write_table(ds.with_format("arrow")[:], tmp_path / "scored.parquet", row_group_size=4_000)
    data_map = DataMap.fit(tmp_path / "scored.parquet", approximate=True)
    data_map.save(tmp_path / "datamap.json")
    written = json.loads((tmp_path / "datamap.json").read_text())
    assert 0 < written["variance"]["rank_error"] < 0.001
    assert json.loads(DataMap.fit(ds).to_json())["variance"]["rank_error"] == 0
    assert DataMap.load(tmp_path / "datamap.json") == data_map


def test_noise_is_taken_out_of_files_as_out_of_datasets(tmp_path):
    chance = np.random.default_rng(2)
    scores = chance.normal(5, 1, (500, 4)).astype(np.float32)
    mean, variance = columns.moments(scores)
    table = pa.table(
        {
            columns.SCORES: pa.array(list(scores), pa.list_(pa.float32())),
            columns.MEAN: mean,
            columns.VARIANCE: variance,
            columns.NOISE: pa.array(chance.random(500), pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=130)
    expected = DataMap.fit(Dataset(table), correct_noise=True)
    assert DataMap.fit(tmp_path, correct_noise=True, in_memory=10) == expected
    assert expected.thresholds != DataMap.fit(Dataset(table)).thresholds


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(SourceError, match="no Parquet file"):
        DataMap.fit(tmp_path)
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(MapError, match="score the dataset first"):
        DataMap.fit([tmp_path / "a.parquet"])
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"cannot read .*b\.parquet"):
        DataMap.fit(tmp_path / "b.parquet")

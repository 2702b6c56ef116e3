"""The scorer's noise apart from variability: formulas against simulation with known variances, and the columns."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

import hf_datamap as dm
from hf_datamap.data import columns
from hf_datamap.data.columns import REGION_PROBABILITY as PROBABILITY
from hf_datamap.data.columns import VARIANCE_OBSERVED as OBSERVED
from hf_datamap.datamap.reliability import (
    components,
    corrected_variance,
    probability_above,
    probability_below,
    split,
)


def simulated(rows, responses, real, noise, seed=0):
    """True scores and what a noisy scorer gives; ``real`` and ``noise`` are variances."""
    random = np.random.default_rng(seed)
    true = random.normal(6, 1.2, (rows, 1)) + np.sqrt(real) * random.normal(size=(rows, responses))
    return true, true + np.sqrt(noise) * random.normal(size=(rows, responses))


@pytest.mark.parametrize("responses", [2, 4, 9])
@pytest.mark.parametrize(("real", "noise"), [(1.0, 0.2), (0.5, 1.5), (0.0, 1.0)])
def test_known_variances_are_recovered(responses, real, noise):
    rows = 40_000
    true, seen = simulated(rows, responses, real, noise)
    counts, s2 = np.full(rows, float(responses)), np.full(rows, noise)
    found = split(seen.var(axis=1), s2, counts)
    truth = (responses - 1) / responses * real
    assert found.real == pytest.approx(truth, abs=0.03 * (real + noise))
    assert found.noise == pytest.approx((responses - 1) / responses * noise)
    assert found.observed == pytest.approx(found.real + found.noise)
    corrected = corrected_variance(seen.var(axis=1), s2, counts)
    assert corrected.min() >= 0
    # Nearer to the truth than what was seen, row by row.
    actual = true.var(axis=1)
    assert np.abs(corrected - actual).mean() < np.abs(seen.var(axis=1) - actual).mean()


def test_components_of_repeats():
    random = np.random.default_rng(4)
    pairs = []
    for _ in range(4000):
        repeats = 2.0 * random.normal(size=(5, 1)) + 0.7 * random.normal(size=(5, 3))
        pairs.append(components(repeats))
    between, within = np.mean(pairs, axis=0)
    assert between == pytest.approx(4.0, rel=0.05)
    assert within == pytest.approx(0.49, rel=0.05)


SHAPES = {
    "normal": lambda random, rows, responses: random.normal(size=(rows, responses)),
    "gamma": lambda random, rows, responses: random.normal(size=(rows, responses)) * random.gamma(2, 0.5, (rows, 1)),
}


def truth(shape: str, rows: int, responses: int, random) -> np.ndarray:
    """True scores of shape (rows, responses)."""
    quality = random.normal(5, 1.2, (rows, 1))
    if shape == "integer":
        return np.clip(np.round(quality + SHAPES["gamma"](random, rows, responses)), 1, 10)
    return quality + SHAPES[shape](random, rows, responses)


@pytest.mark.parametrize("shape", ["normal", "gamma", "integer"])
@pytest.mark.parametrize(("responses", "sd"), [(2, 1.5), (4, 0.1), (4, 0.3), (4, 1.0), (4, 2.0), (8, 1.0), (16, 2.0)])
def test_probabilities_come_true(shape, responses, sd):
    """Of the rows said to be in their region with probability p, about a share p are there in the map of the truth."""
    rows, random = 4000, np.random.default_rng(7)
    true = truth(shape, rows, responses, random)
    ds = scored(true + sd * random.normal(size=true.shape), sd**2)
    data_map = dm.DataMap.fit(ds, correct_noise=True)
    assigned = data_map.assign(ds, probability=True)
    said = np.array(assigned[PROBABILITY])
    right = np.array(dm.DataMap.fit(scored(true, 0.0)).assign(scored(true, 0.0))["datamap_region"]) == np.array(
        assigned["datamap_region"]
    )
    noisy = dm.noise_split(ds).share > 0.2
    assert (data_map.prior is not None) == noisy
    assert said.mean() == pytest.approx(right.mean(), abs=0.03 if noisy else 0.05)
    error = 0.0
    for low in np.arange(0, 1, 0.1):
        inside = (said >= low) & (said < low + 0.1 + (low > 0.85))
        gap = abs(right[inside].mean() - said[inside].mean()) if inside.any() else 0.0
        error += inside.mean() * gap
        if noisy and inside.sum() >= 200:  # within five points, beside the chance that so many rows leave
            assert gap < 0.05 + 2 * np.sqrt(0.25 / inside.sum())
    assert error < 0.04


def test_noise_that_is_estimated_is_shared_where_that_explains_more():
    """The noise of three repeats says little of a row; that a judge states for each row says much."""
    random = np.random.default_rng(3)
    true = truth("normal", 4000, 4, random)
    repeats = true[:, :, None] + random.normal(0, 1.0, (4000, 4, 3))
    estimated = dm.DataMap.fit(scored(repeats.mean(2), repeats.var(2, ddof=1).mean(1) / 3), correct_noise=True)
    assert estimated.prior.own < 1
    stated = random.gamma(1.5, 0.5, 4000)
    seen = true + random.normal(size=true.shape) * np.sqrt(stated)[:, None]
    assert dm.DataMap.fit(scored(seen, stated), correct_noise=True).prior.own == 1


def test_a_prior_does_not_depend_on_the_way_in(tmp_path):
    random = np.random.default_rng(5)
    true = truth("gamma", 9000, 3, random)
    ds = scored(true + random.normal(size=true.shape), 1.0)
    ds.to_parquet(tmp_path / "a.parquet", batch_size=700)
    expected = dm.DataMap.fit(ds, correct_noise=True)
    assert expected.prior is not None
    assert len(repr(expected.prior)) < 100
    assert dm.DataMap.from_json(expected.to_json()) == expected
    assert dm.DataMap.fit(tmp_path / "a.parquet", correct_noise=True, in_memory=1000) == expected
    stream = ds.to_iterable_dataset(num_shards=4)
    assert dm.DataMap.fit(stream, correct_noise=True) == expected


def scored(values, noise) -> Dataset:
    """A scored dataset; ``noise`` is one variance or one a row, NaN where unknown."""
    mean, variance = columns.moments(values)
    return Dataset(
        pa.table(
            {
                "datamap_scores": pa.array(list(values.astype(np.float32)), pa.list_(pa.float32())),
                "datamap_mean": columns.nullable(mean),
                "datamap_variance": columns.nullable(variance),
                "datamap_noise": columns.nullable(np.broadcast_to(noise, len(values)).astype(np.float32)),
            }
        )
    )


def test_the_map_without_noise_and_what_it_keeps():
    _, seen = simulated(300, 4, 0.5, 0.5, seed=2)
    noise = np.where(np.arange(300) % 10, 0.5, np.nan)
    ds = scored(seen, noise)
    clean = dm.without_noise(ds)
    assert clean[OBSERVED] == ds["datamap_variance"]
    for i in (0, 1, 2):
        less = 0.0 if i == 0 else 0.375
        assert clean["datamap_variance"][i] == pytest.approx(max(0.0, ds["datamap_variance"][i] - less), abs=1e-6)
    assert dm.without_noise(clean) is clean
    data_map = dm.DataMap.fit(ds, correct_noise=True)
    assert data_map.corrected
    assert dm.DataMap.from_json(data_map.to_json()) == data_map
    plain = dm.DataMap.fit(clean)
    assert data_map.thresholds == plain.thresholds
    assigned = data_map.assign(ds, probability=True)
    assert assigned["datamap_region"] == plain.assign(clean)["datamap_region"]
    assert assigned[PROBABILITY][0] is None
    assert all(0 <= p <= 1 for p in assigned[PROBABILITY] if p is not None)
    assert dm.noise_split(assigned) == dm.noise_split(ds)
    assert dm.noise_split(ds).rows == 270
    assert "%" in str(dm.noise_split(ds))
    halves = DatasetDict({"a": ds.select(range(150)), "b": ds.select(range(150, 300))})
    parts = data_map.assign(halves, probability=True)
    assert [*parts["a"]["datamap_region"], *parts["b"]["datamap_region"]] == assigned["datamap_region"][:]
    assert [*parts["a"][PROBABILITY], *parts["b"][PROBABILITY]] == assigned[PROBABILITY][:]


def test_a_corrected_dataset_is_known_by_its_columns():
    """Noise is taken out once, whatever is asked for of a dataset without noise."""
    _, seen = simulated(300, 4, 0.5, 0.5, seed=8)
    ds = scored(seen, 0.5)
    clean = dm.without_noise(ds)
    expected = dm.DataMap.fit(ds, correct_noise=True)
    for data_map in (dm.DataMap.fit(clean), dm.DataMap.fit(clean, correct_noise=True)):
        assert data_map == expected
        assigned, wanted = data_map.assign(clean, probability=True), expected.assign(ds, probability=True)
        assert assigned[PROBABILITY] == wanted[PROBABILITY]
        assert assigned["datamap_region"] == wanted["datamap_region"]
        assert assigned["datamap_variance"] == clean["datamap_variance"]
    # A map of the variance as it was observed gives a corrected dataset the same regions.
    plain = dm.DataMap.fit(ds)
    assert not plain.corrected
    assert plain.assign(clean)["datamap_region"] == plain.assign(ds)["datamap_region"]
    streamed = [row["datamap_region"] for row in expected.assign(clean.to_iterable_dataset())]
    assert streamed == [row["datamap_region"] for row in expected.assign(ds.to_iterable_dataset())]


def test_splits_keep_their_names():
    _, seen = simulated(40, 3, 0.5, 0.3, seed=3)
    ds = Dataset(scored(seen, 0.3).data.table, split="train_prefs")
    data_map = dm.DataMap.fit(ds, correct_noise=True)
    assert str(data_map.assign(ds, probability=True).split) == str(dm.without_noise(ds).split) == "train_prefs"


def test_streams_get_the_same_values():
    _, seen = simulated(60, 3, 0.5, 0.3, seed=3)
    ds = scored(seen, 0.3)
    data_map = dm.DataMap.fit(ds, correct_noise=True)
    held = data_map.assign(ds, probability=True)
    streamed = list(data_map.assign(ds.to_iterable_dataset(), probability=True))
    for name in ("datamap_variance", OBSERVED, PROBABILITY):
        assert [row[name] for row in streamed] == pytest.approx(held[name][:], abs=1e-6)


def test_without_noise_the_probability_is_certainty():
    _, seen = simulated(30, 3, 1.0, 0.0)
    ds = scored(seen, 0.0)
    assigned = dm.DataMap.fit(ds).assign(ds, probability=True)
    assert set(assigned[PROBABILITY]) == {1.0}
    unknown = scored(seen, np.nan)
    assert set(dm.DataMap.fit(unknown).assign(unknown, probability=True)[PROBABILITY]) == {None}
    assert dm.noise_split(unknown) is None


def test_a_plain_map_takes_noise_into_account_too():
    _, seen = simulated(3000, 4, 0.5, 0.4, seed=5)
    ds = scored(seen, 0.4)
    data_map = dm.DataMap.fit(ds)
    said = np.array(data_map.assign(ds, probability=True)[PROBABILITY])
    assert 0.5 < said.mean() < 0.95


def test_probabilities_grow_with_distance():
    counts, s2 = np.full(50, 4.0), np.full(50, 0.3)
    below = probability_below(np.linspace(0.01, 3, 50), s2, counts, 0.5)
    assert (np.diff(below) <= 0).all()
    above = probability_above(np.linspace(0, 10, 50), s2, counts, 5.0)
    assert (np.diff(above) >= 0).all()
    assert above[0] < 1e-6
    assert above[-1] > 1 - 1e-6


def test_unscored_data_is_told():
    with pytest.raises(dm.DataMapError, match="datamap_noise"):
        dm.noise_split(Dataset.from_list([{"datamap_scores": [1.0], "datamap_mean": 1.0, "datamap_variance": 0.0}]))


class Moody:
    """A scorer that knows how noisy it is."""

    identity = {"kind": "moody"}

    def score(self, example):
        return [dm.Score(float(len(text) % 5), noise=0.4) for text in example.responses]


def test_annotate_without_noise():
    rows = [{"prompt": f"Q{i}", "responses": ["a" * i, "b" * (2 * i), "c" * (i * i)]} for i in range(1, 13)]
    table, data_map = dm.annotate(Dataset.from_list(rows), Moody(), correct_noise=True, progress=False)
    assert data_map.corrected
    for seen, corrected in zip(table[OBSERVED], table["datamap_variance"], strict=True):
        assert corrected == pytest.approx(max(0.0, seen - 2 / 3 * 0.4), abs=1e-5)
    assert all(0 <= probability <= 1 for probability in table[PROBABILITY])
    noise = data_map.provenance["noise"]
    assert noise["noise"] == pytest.approx(2 / 3 * 0.4, rel=1e-5)
    assert noise["share"] == pytest.approx(noise["noise"] / np.mean(table[OBSERVED]), rel=1e-5)
    stream = Dataset.from_list(rows).to_iterable_dataset()
    assert PROBABILITY in next(iter(dm.annotate(stream, Moody(), correct_noise=True)[0]))

"""The picture: it shows what the map says, and the same map gives the same bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hf_datamap import DataMap
from hf_datamap.data import columns
from hf_datamap.datamap.plot import COLOURS, draw


def mapped(points):
    mean, variance = (np.array(values, np.float32) for values in zip(*points, strict=True))
    return Dataset(pa.table({columns.MEAN: columns.nullable(mean), columns.VARIANCE: columns.nullable(variance)}))


def many(rows=6000):
    chance = np.random.default_rng(0)
    return list(zip(chance.random(rows), chance.exponential(size=rows), strict=True))


@pytest.mark.parametrize("points", [[(1.0, 0.0)], [(0.5, 0.1)] * 30, many(), [(float(i), 0.0) for i in range(9)]])
def test_a_picture_is_drawn_and_its_bytes_are_stable(points, tmp_path):
    ds = mapped(points)
    data_map = DataMap.fit(ds)
    for name in ("a.png", "b.png"):
        draw(ds, data_map, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_regions_counts_and_boundaries_are_in_the_picture():
    ds = mapped([(float(i % 10), float(i % 7)) for i in range(60)] + [(np.nan, np.nan)])
    data_map = DataMap.fit(ds)
    figure = draw(ds, data_map, title="A title with $x$ and\x1b[31m colour")
    scatter = figure.axes[0]
    lines = [line.get_xdata()[-1] for line in scatter.lines]
    assert data_map.variance.value in lines
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[0].startswith("high mean low variance: 20 (33%)")
    assert any("1 rows unmapped" in text.get_text() for text in scatter.texts)
    assert figure.texts[0].get_text() == "A title with $x$ and[31m colour"


def test_colours_differ_in_lightness():
    """Told apart in grey, and so by anyone."""
    from matplotlib.colors import to_rgb

    lightness = sorted(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in COLOURS.values())
    assert np.diff(lightness).min() > 0.08


def test_outliers_do_not_squeeze_the_rest():
    ds = mapped([(0.5, 0.1 + i / 1e4) for i in range(999)] + [(0.5, 1000.0)])
    figure = draw(ds, DataMap.fit(ds))
    assert figure.axes[0].get_xlim()[1] < 1
    assert any("1 rows beyond the right edge" in text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("step", [1e-7, 1e-30, 0.0])
def test_a_spread_near_the_step_of_float32(tmp_path, step):
    mean = np.float32(5) + np.arange(50, dtype=np.float32) % 3 * np.float32(step)
    variance = np.arange(50, dtype=np.float32) * np.float32(step)
    ds = Dataset(pa.table({columns.MEAN: mean, columns.VARIANCE: variance}))
    draw(ds, DataMap.fit(ds), tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5_000


def test_the_greatest_scores_that_have_a_variance(tmp_path):
    ds = Dataset(
        pa.table({columns.MEAN: np.float32([-1.8e19, 1.8e19] * 9), columns.VARIANCE: np.float32([3e38, 0] * 9)})
    )
    draw(ds, DataMap.fit(ds), tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5_000

"""The static page: one file, everything in it, text only ever text; looked at in a real browser."""

import base64
import json
import re

import numpy as np
import pytest

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import build_index
from hf_datamap.publish.static import page_of, static_map
from tests.publish.card.test_render import ATTACKS
from tests.publish.data import mapped_splits, scored


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def hostile():
    ds = scored(len(ATTACKS) * 2)
    for column in ("prompt", "source"):
        ds = ds.remove_columns(column).add_column(column, ATTACKS * 2)
    data_map = DataMap.fit(ds)
    return data_map.assign(ds), data_map


def test_every_point_is_in_the_file():
    ds, data_map = mapped_splits(40)
    page = page_of(ds, data_map, title="A map")
    data, index = data_of(page), build_index(ds)
    for name in ("mean", "variance", "margin"):
        values = np.frombuffer(base64.b64decode(data[name]), "<f4")
        np.testing.assert_array_equal(values, index[name].to_numpy().astype("f4"))
    codes = np.frombuffer(base64.b64decode(data["region"]), "u1")
    assert [columns.REGIONS[code] for code in codes] == index["region"].to_pylist()
    assert {region["name"]: region["rows"] for region in data["regions"]} == data_map.counts
    assert data["splits"] == [{"name": "test", "start": 0, "end": 20}, {"name": "train", "start": 20, "end": 60}]
    assert data["texts"][25] == "question 0/5"
    assert data["viewer"] is None
    assert page_of(ds, data_map, title="A map") == page


def test_on_the_hub_rows_are_linked_and_texts_stay_there():
    ds, data_map = mapped_splits(10)
    page = static_map(build_index(ds), data_map, title="t", repo_id="me/my-map", config="default")
    assert data_of(page)["viewer"] == "https://huggingface.co/datasets/me/my-map/viewer/default/"
    assert "question 0/5" not in page


def test_nothing_in_the_data_can_leave_its_element():
    ds, data_map = hostile()
    calm = page_of(*mapped_splits(10), title="t")
    page = page_of(ds, data_map, title=ATTACKS[2] + "__DATA__</title>")
    for mark in ("<script", "</script", "<img", "<!--", "</title", "<td", "</td"):
        assert page.lower().count(mark) == calm.lower().count(mark), mark
    assert "\u202e" not in page
    assert "\\u202e" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_map_and_runs_nothing_of_the_data(chromium, tmp_path, scheme):
    ds, data_map = hostile()
    file = tmp_path / "map.html"
    file.write_text(page_of(ds, data_map, title=ATTACKS[2]), encoding="utf-8")
    context = chromium.new_context(viewport={"width": 900, "height": 800}, color_scheme=scheme)
    page, trouble = context.new_page(), []
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri())
    assert page.evaluate("document.querySelector('#title').textContent").startswith("</td><script>alert(1)")
    # something is painted, in the regions' colours
    painted = "(c => { let n = 0; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    painted += " for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n })(document.querySelector('canvas'))"
    before = page.evaluate(painted)
    assert before > 50
    # every row that has a point can be reached by keyboard, and is shown as text
    page.focus("#map")
    seen = set()
    for _ in range(len(ds)):
        page.keyboard.press("ArrowRight")
        seen.add(page.inner_text("#chosen"))
        assert page.evaluate("document.querySelectorAll('#row script, #row img, #row a').length") == 0
    assert len(seen) == data_map.mapped
    assert page.evaluate("document.querySelector('#row dd').textContent") in columns.REGIONS
    # a click picks the nearest point
    box = page.locator("canvas").bounding_box()
    place = page.evaluate("(i => ({x: px(xs[i]), y: py(ys[i])}))(3)")
    page.mouse.click(box["x"] + place["x"] * box["width"] + 2, box["y"] + place["y"] * box["height"] + 1)
    picked = page.evaluate("picked")
    assert page.evaluate(f"xs[{picked}] === xs[3] && ys[{picked}] === ys[3]")
    # regions can be hidden
    for name in ("high_mean_low_variance", "low_mean_low_variance", "high_variance"):
        page.get_by_label(name).uncheck()
    assert page.evaluate(painted) < before
    if scheme == "light":
        page.screenshot(path=tmp_path / "map.png")
    assert trouble == []
    context.close()


def test_a_narrow_screen_does_not_scroll_sideways(chromium, tmp_path):
    ds, data_map = hostile()
    file = tmp_path / "map.html"
    file.write_text(page_of(ds, data_map, title="x" * 300), encoding="utf-8")
    context = chromium.new_context(viewport={"width": 360, "height": 700}, device_scale_factor=2)
    page = context.new_page()
    page.goto(file.as_uri())
    for _ in range(12):
        page.focus("#map")
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()

"""What a visitor can do, in a real browser, on the bundled real sample mapped by ``hf-datamap demo``."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from tests.space.serve import App


@pytest.fixture(scope="module")
def app(demo, tmp_path_factory):
    with App(tmp_path_factory.mktemp("app"), demo) as running:
        yield running


@pytest.fixture(scope="module")
def table(demo):
    return pq.read_table(demo / "data")


def column(table, name):
    return table[name].to_numpy(zero_copy_only=False)


def test_the_map_shows_every_row_where_its_scores_put_it(app, table, open_page):
    page = open_page(app.url + "/?__theme=light")
    shown = page.points()
    assert shown["n"] == shown["count"] == len(table)
    assert page.tally() == len(table)
    page.tool("Spread ties")  # this map has many equal scores: they are spread by default, and back to their places now
    shown = page.points()
    variance, mean = column(table, columns.VARIANCE), column(table, columns.MEAN)
    assert np.allclose(np.array(shown["x"]) / 65534 * variance.max(), variance, atol=variance.max() / 65000)
    low, high = mean.min(), mean.max()
    assert np.allclose(low + np.array(shown["y"]) / 65534 * (high - low), mean, atol=1 / 65000)
    regions = column(table, columns.REGION)
    assert [columns.REGIONS[c] for c in shown["cls"]] == regions.tolist()
    legend = page.page.locator(".dm-class").all_inner_texts()
    assert [text.split("\n")[-1].split()[-1] for text in legend] == ["105", "105", "106"]
    assert "316 rows" in page.page.locator(".dm-over").get_attribute("aria-label")


def test_a_click_opens_the_nearest_row_and_its_texts(app, table, open_page):
    page = open_page(app.url)
    for i in (7, 150, 300):
        row = page.click_point(i)
        assert page.distances(*page.pixel(i))[row] < 1
        assert page.row() == row
        content = table.slice(row, 1).to_pylist()[0]
        cards = page.page.locator(".dm-response")
        assert cards.count() == len(content["responses"])
        texts = [card.locator(".dm-text").first.text_content() for card in cards.all()]
        assert [t[:200] for t in texts] == [(r or "").replace("\r\n", "\n")[:200] for r in content["responses"]]
        scores = [card.locator(".dm-score").first.inner_text() for card in cards.all()]
        assert scores == [f"score {float(f'{s:.5g}'):g}" for s in content["datamap_scores"]]
        assert page.text(".dm-message .dm-text") == content["prompt"].strip() or content["prompt"][:80] in page.text(
            ".dm-message"
        )
        assert content["instruction_id_list"][0] in page.page.locator(".dm-body").text_content()


def test_a_click_beside_points_opens_the_nearest_of_all(app, open_page):
    page = open_page(app.url)
    for at in (20, 111, 222):
        x, y = page.pixel(at)
        place = (round(x + 4), round(y - 3))
        distances = page.distances(*place)
        row = page.click(*place)
        assert distances[row] == pytest.approx(min(distances), abs=1e-6)


def test_next_and_previous_go_through_the_selection(app, table, open_page):
    page = open_page(app.url + "/?region=high_variance")
    rows = np.flatnonzero(column(table, columns.REGION) == "high_variance")
    page.wait_tally(len(rows))
    start = page.click_point(int(rows[0]))
    at = rows.tolist().index(start)
    following = [int(rows[(at + k)]) for k in (1, 2) if at + k < len(rows)]
    for row in following:
        page.page.get_by_role("button", name="Next").click()
        page.wait_row(row)
    for row in [*following[-2::-1], start]:
        page.page.get_by_role("button", name="Previous").click()
        page.wait_row(row)


def test_legend_filters_by_region_and_the_statistics_follow(app, table, open_page):
    page = open_page(app.url)
    page.page.locator(".dm-class").filter(has_text="high variance").click()
    page.wait_tally(210)
    page.wait_cell("210")
    lines = page.table("Selection")
    keep = column(table, columns.REGION) != "high_variance"
    assert lines[-1][:3] == ["all selected", "210", "100.0%"]
    assert lines[-1][3] == f"{column(table, columns.MEAN)[keep].mean():.4g}"
    assert not page.page.get_by_role(
        "checkbox", name="high variance"
    ).is_checked()  # the other control for the same thing agrees
    assert "region=high_mean_low_variance%2Clow_mean_low_variance" in page.page.url


def test_controls_filter_by_region_and_ranges(app, table, open_page):
    page = open_page(app.url)
    page.page.get_by_role("checkbox", name="low mean low variance").uncheck()
    page.wait_tally(211)
    page.page.get_by_label("Mean from").fill("0.9")
    page.page.get_by_label("Mean from").press("Enter")
    region, mean = column(table, columns.REGION), column(table, columns.MEAN)
    keep = (region != "low_mean_low_variance") & (mean >= np.float32(0.9))
    page.wait_tally(int(keep.sum()))
    page.page.get_by_label("Variance from").fill("0.01")
    page.page.get_by_label("Variance from").press("Enter")
    keep &= column(table, columns.VARIANCE) >= np.float32(0.01)
    page.wait_tally(int(keep.sum()))
    page.page.get_by_role("button", name="Clear all filters").click()
    page.wait_tally(316)


def test_text_search(app, table, open_page):
    page = open_page(app.url)
    page.page.get_by_label("Text in the row").fill("BLOG post")
    page.page.get_by_role("button", name="Search").click()
    hits = [
        i
        for i, row in enumerate(table.to_pylist())
        if any("blog post" in text.lower() for text in [row["prompt"], *map(str, row["responses"]), row["kwargs"]])
    ]
    assert 0 < len(hits) < 316
    page.wait_tally(len(hits))


@pytest.mark.parametrize("way", ["Box", "Lasso"])
def test_an_area_selects_rows_at_once_and_python_agrees(app, open_page, way):
    page = open_page(app.url)
    page.tool(way)
    shape = [(0.02, 0.98), (0.5, 0.5)] if way == "Box" else [(0.02, 0.98), (0.55, 0.9), (0.3, 0.4), (0.03, 0.5)]
    page.drag(shape)
    inside = page.tally()
    assert "in the area" in page.text(".dm-tally")
    page.wait_cell(str(inside))
    assert 0 < inside < 316
    page.page.locator(".dm-over").press("Escape")
    page.wait_tally(316)


def test_recolouring_loads_classes_and_filters_by_them(app, table, open_page):
    page = open_page(app.url)
    choices = page.page.locator(".dm-colour select option").all_inner_texts()
    assert choices[0] == "region"
    assert "length" in choices
    page.page.locator(".dm-colour select").select_option("length")
    page.wait("() => document.querySelectorAll('.dm-class').length > 4")
    counts = [int(b.inner_text().split()[-1].replace(",", "")) for b in page.page.locator(".dm-class").all()]
    assert sum(counts) == 316
    page.page.locator(".dm-class").first.click()
    page.wait_tally(316 - counts[0])


def test_links_reproduce_the_view(app, table, open_page):
    page = open_page(app.url + "/?split=train&row=42&region=high_variance,low_mean_low_variance")
    page.wait_row(42)
    page.wait_tally(211)
    assert table["prompt"][42].as_py()[:60] in page.page.locator(".dm-message").first.text_content()
    page.page.get_by_role("button", name="Next").click()
    page.page.wait_for_function("() => !location.search.includes('row=42')")
    again = open_page(page.page.url)
    again.wait_row(page.row())
    assert again.tally() == page.tally()


def test_a_wrong_link_says_so_and_shows_the_map(app, open_page):
    page = open_page(app.url + "/?row=999999")
    assert "no row 999999" in page.said()
    assert page.tally() == 316


def test_keyboard_alone(app, open_page):
    page = open_page(app.url)
    over = page.page.locator(".dm-over")
    over.focus()
    before = page.points()["view"]
    over.press("+")
    over.press("ArrowRight")
    after = page.points()["view"]
    assert after["x1"] - after["x0"] < before["x1"] - before["x0"]
    over.press("0")
    assert page.points()["view"] == pytest.approx(before)
    over.press("Enter")
    page.wait("() => /row/.test(document.querySelector('.dm-where').textContent)")
    row = page.row()
    over.press("n")
    page.wait_row(row + 1)
    over.press("p")
    page.wait_row(row)


def test_wheel_zooms_and_dragging_pans(app, open_page):
    page = open_page(app.url)
    before = page.points()["view"]
    page.page.mouse.move(*page.page.evaluate("() => document.querySelector('.dm-root').explorer.place([0.5, 0.5])"))
    page.page.mouse.wheel(0, -300)
    page.wait(
        "w => { const v = document.querySelector('.dm-root').explorer.snapshot().view; return v.x1 - v.x0 < w }",
        before["x1"] - before["x0"],
    )
    zoomed = page.points()["view"]
    page.drag([(0.5, 0.5), (0.7, 0.5)])
    moved = page.points()["view"]
    assert moved["x0"] < zoomed["x0"]
    assert moved["x1"] - moved["x0"] == pytest.approx(zoomed["x1"] - zoomed["x0"])


def test_other_cuts_are_live(app, demo, table, open_page):
    from datasets import Dataset

    page = open_page(app.url)
    page.tab("Other cuts")
    slider = page.page.get_by_label("Fraction of rows with low variance").first
    slider.fill("0.5")
    slider.press("Enter")
    ds = Dataset(table.select([columns.MEAN, columns.VARIANCE]))
    want = DataMap.fit(ds, low_variance=0.5, low_mean=0.5).counts
    page.wait("() => document.querySelector('.dm-colour select').value === 'cut'")
    counts = {
        b.locator("span").last.inner_text(): int(b.inner_text().split()[-1])
        for b in page.page.locator(".dm-class").all()
    }
    assert counts == {name.replace("_", " "): n for name, n in want.items() if n}
    lines = page.table("What the cut changes")
    assert [line[2] for line in lines][:3] == [str(want[name]) for name in columns.REGIONS[:3]]
    page.page.get_by_role("button", name="Back to the published cut").click()
    page.wait("() => document.querySelector('.dm-colour select').value === 'region'")


def test_verdicts_are_kept_and_exported(app, open_page, tmp_path):
    page = open_page(app.url + "/?row=5")
    page.wait_row(5)
    page.page.get_by_role("button", name="Wrong", exact=True).click()
    page.page.get_by_role("button", name="Next").click()
    page.wait_row(6)
    page.page.get_by_role("button", name="Right", exact=True).click()
    page.tab("Audit")
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('textarea, input')].some(e => e.value.startsWith('2 verdicts'))"
    )
    page.page.get_by_role("button", name="Export my verdicts").click()
    page.download(tmp_path / "v.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [(line["row"], line["verdict"]) for line in lines] == [(5, "wrong"), (6, "right")]


def test_the_audit_ranks_findings_and_shows_their_rows(app, demo, open_page):
    from datasets import Dataset

    from hf_datamap.curate.audit import audit

    page = open_page(app.url)
    page.tab("Audit")
    page.page.get_by_role("button", name="Audit this map").click()
    page.page.locator("[role=gridcell]").filter(has_text="truncated").first.wait_for()
    report = audit(Dataset.from_parquet(str(demo / "data" / "*.parquet"), cache_dir=str(demo.parent / "cache")))
    severities = [line[1] for line in page.table("Findings, most severe first")]
    assert severities == sorted(severities, key=["alarm", "warning", "note"].index)
    assert len(severities) == len(report.findings)
    finding = next(finding for finding in report.findings if finding.check == "truncated")
    page.page.locator("[role=gridcell]").filter(has_text="truncated").first.click()
    page.wait_tally(len(finding.rows))
    row = page.click_point(int(finding.rows[0]))
    assert row in finding.rows


def test_code_for_the_selection_follows_it(app, open_page):
    page = open_page(app.url + "/?region=high_variance")
    page.wait_tally(106)
    page.tab("Take away")
    page.wait("() => [...document.querySelectorAll('.dm-code textarea')].every(e => e.value.includes('high_variance'))")
    python, sql = (box.input_value() for box in page.page.locator(".dm-code textarea").all())
    assert "datamap_region in ['high_variance']" in python
    assert "WHERE datamap_region IN ('high_variance')" in sql


def test_strategies_show_what_they_keep(app, open_page):
    page = open_page(app.url)
    page.tab("Other cuts")
    page.page.get_by_role("button", name="What each strategy would keep").click()
    page.page.locator("[role=gridcell]").filter(has_text="low_margin").first.wait_for()
    lines = {line[0]: line for line in page.table("Strategies under the cut that is shown")}
    assert lines["high_mean_low_variance"][1] == "105"
    page.page.get_by_role("button", name="Show only what it keeps").click()
    page.wait_tally(105)


def test_files_hold_exactly_the_selection(app, table, open_page, tmp_path):
    page = open_page(app.url + "/?region=high_variance")
    page.wait_tally(106)
    page.tab("Take away")
    page.page.get_by_role("button", name="Make file").click()
    page.download(tmp_path / "s.parquet")
    want = table.take(np.flatnonzero(column(table, columns.REGION) == "high_variance"))
    assert pq.read_table(tmp_path / "s.parquet").to_pylist() == want.to_pylist()


def test_nothing_is_left_behind(demo, tmp_path):
    with App(tmp_path / "app", demo, TMPDIR=str(tmp_path)) as running:
        assert list(tmp_path.glob("datamap-space-*"))
        assert running.process.poll() is None
    assert not list(tmp_path.glob("datamap-space-*"))


def test_twenty_visitors_at_once(app, chromium):
    """Twenty sessions ask at the same time through Gradio's own client protocol, and each is answered."""
    import concurrent.futures

    from gradio_client import Client

    def visit(number):
        client = Client(app.url, verbose=False)
        client.predict(api_name="/on_load")
        return number

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert list(pool.map(visit, range(20))) == list(range(20))

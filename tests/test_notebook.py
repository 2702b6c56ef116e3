"""What a notebook shows of public objects: a table or a page, with every text escaped."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.data import notebook
from tests.test_repr import ROWS, SERVER, mapped, report

EVIL = "<script>alert(1)</script> \u202e\x1b[31m & \" '"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def shown(thing):
    page = thing._repr_html_()
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert set(parser.tags) <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "pre"}
    assert not set(page) & {"\u202e", "\x1b"}
    return page


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (lambda: mapped()[1], ["high_mean_low_variance", "cut at variance"]),
        (report, ["Audit", "warning"]),
        (lambda: dm.estimate(Dataset.from_list(ROWS), dm.LLMJudge("m", **SERVER)), ["requests to send", "80"]),
        (lambda: dm.inspect_dataset(Dataset.from_list(ROWS)), ["layout", "one example"]),
        (lambda: dm.calibration_report({"s": dm.ColumnScorer("s")}, Dataset.from_list(ROWS)), ["accuracy"]),
    ],
)
def test_a_notebook_shows_it(thing, words):
    page = shown(thing())
    assert all(word in page for word in words), page


def test_text_of_data_is_text():
    rows = [{"prompt": EVIL, "chosen": EVIL, "rejected": "x", EVIL: 1.0} for _ in range(9)]
    page = shown(dm.inspect_dataset(Dataset.from_list(rows)))
    assert "&lt;script&gt;" in page
    made = notebook.table(EVIL, (EVIL,), [(EVIL, 1.5, None, 12_345)], notes=[EVIL], shares=[(0.5, "#000000")])
    assert "<script" not in made
    assert "12,345" in made
    assert "–" in made

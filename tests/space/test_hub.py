"""The same app against a local Hub: opening, refusing, signing in, comparing, pushing."""

import functools
import http.server
import io
import threading

import pyarrow.parquet as pq
import pytest

from hf_datamap.data import columns
from tests.minihub.client import WRITE, MiniHub
from tests.publish.data import mapped, mapped_splits
from tests.space.protocol import Visitor
from tests.space.provider import Provider
from tests.space.serve import App

PUBLISH = """
import pyarrow as pa, pyarrow.parquet as pq, io
from huggingface_hub import HfApi
from hf_datamap.publish import push_to_hub
from tests.publish.data import mapped, mapped_splits, plain
api = HfApi()
ds, data_map = mapped_splits(120)
push_to_hub(ds, "alice/two-splits", data_map=data_map)
ds, data_map = mapped(60, seed=5)
push_to_hub(ds, "alice/secret", data_map=data_map, private=True)
ds, data_map = mapped(120, seed=3)
push_to_hub(ds, "acme/judge-b", data_map=data_map)
plain(20).push_to_hub("alice/unmapped")
mapped(60)[0].push_to_hub("alice/only-columns")
push_to_hub(ds, "alice/broken", data_map=data_map, subsets=())
broken = dict(path_in_repo="datamap/index.parquet", repo_id="alice/broken", repo_type="dataset")
api.upload_file(path_or_fileobj=b"not parquet", **broken)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with MiniHub(tmp_path_factory.mktemp("hub")) as running:
        running.run(PUBLISH)
        yield running


@pytest.fixture(scope="module")
def app(hub, tmp_path_factory):
    """The app as on a Space: sign-in on, and a token of the Space's own that could do everything."""
    with Provider("alice", WRITE) as provider:
        settings = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": WRITE,
            "SYSTEM": "spaces",
            "SPACE_ID": "alice/space",
            "OAUTH_CLIENT_ID": "client",
            "OAUTH_CLIENT_SECRET": "secret",
            "OAUTH_SCOPES": "openid profile read-repos write-repos manage-repos",
            "OPENID_PROVIDER_URL": provider.url,
            "HF_DATAMAP_DATASET": "alice/two-splits",
        }
        with App(tmp_path_factory.mktemp("app"), **settings) as running:
            yield running


@pytest.fixture
def open_page(open_page):
    return functools.partial(open_page, space=True)


def test_the_configured_dataset_opens_with_its_splits(app, hub, open_page):
    ds, _ = mapped_splits(120)
    page = open_page(app.url + "/?split=test&row=7")
    page.wait_row(7)
    assert page.points()["n"] == len(ds["train"]) + len(ds["test"])
    assert ds["test"]["prompt"][7] in page.page.locator(".dm-message").first.text_content()
    link = page.page.locator(".dm-link").get_attribute("href")
    assert link == f"{hub.url}/datasets/alice/two-splits/viewer/default/test?row=7"
    assert "dataset=" not in page.page.url or "alice" in page.page.url


def test_any_dataset_by_address_or_by_typing(app, open_page):
    page = open_page(app.url + "/?dataset=acme/judge-b&row=3")
    page.wait_row(3)
    assert "dataset=acme%2Fjudge-b" in page.page.url
    field = page.page.get_by_label("Dataset on the Hub")
    field.fill("alice/only-columns")
    field.press("Enter")
    page.page.wait_for_function("() => document.querySelector('.dm-root').explorer.count() === 60")
    _, data_map = mapped(60)
    names = [columns.REGIONS[c] for c in page.points()["cls"] if c != 255]
    assert {name: names.count(name) for name in set(names)} == {
        name: n for name, n in data_map.counts.items() if n and name != "unmapped"
    }


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("alice/nothing-here", "private"),
        ("alice/secret", "private"),
        ("alice/unmapped", "no Alignment Data Map"),
        ("alice/broken", "not a readable parquet file"),
        ("<img src=x onerror=alert(1)>", "not a dataset id"),
        ("../../etc/passwd", "not a dataset id"),
        ("http://evil.example/a", "not a dataset id"),
    ],
)
def test_what_cannot_be_opened_is_said_clearly(app, open_page, dataset, words):
    page = open_page(app.url)
    field = page.page.get_by_label("Dataset on the Hub")
    field.fill(dataset)
    page.page.get_by_role("button", name="Open", exact=True).click()
    toast = page.page.locator(".toast-body").first
    toast.wait_for()
    assert words in toast.inner_text()
    assert page.page.locator(".toast-body img[onerror]").count() == 0
    assert page.points()["n"] == 180  # the map that was open stays


def test_a_bad_address_says_so_on_an_empty_page(app, open_page):
    page = open_page(app.url + "/?dataset=alice/secret", ready=False)
    page.page.wait_for_selector(".dm-say:not([hidden])")
    assert "private" in page.said()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"action": "status", "status": 403, "code": "GatedRepo", "error": "gated"}, "gated"),
        ({"action": "status", "status": 503, "error": "down"}, "503|reached"),
        ({"action": "reset"}, "reached"),
    ],
)
def test_the_hubs_refusals_become_sentences(app, hub, fault, words):
    visitor = Visitor(app.url)
    with hub.fault(path="/api/datasets/bob/any", times=0, **fault), pytest.raises(RuntimeError, match=words):
        visitor.event("on_open", [None, "bob/any", None])


def test_only_the_files_needed_are_read(app, hub):
    since = hub.mark()
    Visitor(app.url, "?dataset=acme/judge-b")
    paths = [request["path"] for request in hub.requests(since)]
    assert not any(path.endswith(".parquet") and "/data/" in path for path in paths)


def test_nobody_who_is_not_signed_in_is_served_with_a_token(app, hub):
    since = hub.mark()
    visitor = Visitor(app.url, "?dataset=alice/secret")
    assert visitor.handle is None
    with pytest.raises(RuntimeError, match="sign in"):
        visitor.event("on_push", [None, "stolen", True])
    assert not [r for r in hub.requests(since) if "authorization" in {name.lower() for name in r["headers"]}]


def test_signed_in_visitors_see_their_private_maps_and_push_to_their_account(app, hub, open_page):
    page = open_page(app.url.replace("127.0.0.1", "localhost") + "/?dataset=alice/secret", ready=False)
    page.page.wait_for_selector(".dm-say:not([hidden])")
    page.page.get_by_role("button", name="Sign in with Hugging Face").click()
    page.page.get_by_role("button", name="Logout (alice)").wait_for()
    page.wait_for_map()
    assert page.points()["n"] == 60
    page.page.locator(".dm-class").filter(has_text="high mean low variance").dblclick()
    ds, data_map = mapped(60, seed=5)
    page.wait_tally(data_map.counts["high_mean_low_variance"])
    page.tab("Take away")
    page.page.get_by_label("New dataset in your account").fill("best-of-it")
    page.page.get_by_role("button", name="Push selection").click()
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('textarea, input')].some(e => e.value.includes('pushed to'))"
    )
    pushed = pq.read_table(io.BytesIO(hub.file("alice/best-of-it", "data/train-00000-of-00001.parquet"))).to_pylist()
    assert pushed == [row for row in ds.to_list() if row[columns.REGION] == "high_mean_low_variance"]
    assert hub.repo("alice/best-of-it")["private"] is True
    card = hub.file("alice/best-of-it", "README.md").decode()
    assert "alice/secret" in card
    assert "regions: high_mean_low_variance" in card
    assert WRITE not in card + app.log.read_text()
    page.page.get_by_role("button", name="Push selection").click()
    page.page.locator(".toast-body").filter(has_text="already have").wait_for()


def test_the_gallery_lists_tagged_maps_and_opens_them(app, open_page):
    page = open_page(app.url)
    page.tab("Gallery")
    page.page.get_by_role("button", name="List maps on the Hub").click()
    page.wait_cell("acme/judge-b")
    listed = {line[0] for line in page.table("Datasets with the datamap tag")}
    assert {"acme/judge-b", "alice/two-splits"} <= listed
    assert not {"alice/secret", "alice/unmapped"} & listed
    page.page.locator("[role=gridcell]").filter(has_text="acme/judge-b").first.click()
    page.page.wait_for_function("() => document.querySelector('.dm-root').explorer.count() === 120")


def test_two_maps_compared_row_by_row(app, open_page):
    page = open_page(app.url + "/?split=train")
    page.tab("Compare")
    page.page.get_by_label("Another map of the same rows").fill("acme/judge-b")
    page.page.get_by_role("button", name="Compare", exact=True).click()
    here, there = mapped_splits(120)[0]["train"][columns.REGION], mapped(120, seed=3)[0][columns.REGION]
    changed = [i for i, (a, b) in enumerate(zip(here, there, strict=True)) if a != b]
    lines = page.table("Rows by region: here and there")
    assert sum(int(line[-1]) for line in lines) == 120
    page.page.get_by_role("button", name="Show only changed rows").click()
    drawn = [i for i in changed if here[i] != "unmapped"]
    first = 60  # the index holds the splits in order of their names: 60 rows of test, then train
    page.wait_tally(len(drawn))
    row = page.click_point(first + drawn[0]) - first
    text = page.page.locator(".dm-body").text_content()
    assert "acme/judge-b" in text
    assert there[row].replace("_", " ") in text.replace(",", "")


def test_only_the_hub_is_ever_asked(hub, app):
    """A dataset that names files, links and sources on another host, and names that look like addresses."""
    hits = []

    class Forbidden(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forbidden) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        hub.run(
            f"""
from huggingface_hub import HfApi
from hf_datamap.publish import push_to_hub
from tests.publish.data import mapped
api = HfApi()
ds, data_map = mapped(30)
lure = "http://{host}/x.parquet"
provenance = {{**data_map.provenance, "source": {{"id": lure}}}}
push_to_hub(ds, "alice/lure", data_map=data_map.model_copy(update={{"provenance": provenance}}), subsets=())
card = "---\\nconfigs:\\n- config_name: default\\n  data_files:\\n  - split: train\\n"
card += "    path: [" + lure + ", data/train-*]"
card += "\\n---\\n![x](" + lure + ")\\n"
api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id="alice/lure", repo_type="dataset")
"""
        )
        visitor = Visitor(app.url, "?dataset=alice/lure")
        assert visitor.handle
        assert "error" not in visitor.row(0)
        visitor.search("question")
        for name in (
            host,
            f"{host}/x",
            f"http://{host}/x",
            f"//{host}/x",
            f"alice/lure@http://{host}",
            f"alice/x?{host}/",
        ):
            with pytest.raises(RuntimeError):
                visitor.event("on_open", [None, name, None])
        server.shutdown()
    assert hits == []

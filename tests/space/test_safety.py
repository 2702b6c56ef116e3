"""A dataset full of attacks, in the real browser; and the public endpoints, spoken to by someone unfriendly."""

import contextlib
import json
import urllib.error
import urllib.request

import pytest

from tests.space.maps import pairs_table, write_folder
from tests.space.protocol import Visitor
from tests.space.serve import App

ATTACKS = [
    "<img src=x onerror=\"alert('img')\">",
    "<script>alert('script')</script><script src=http://evil.example/x.js></script>",
    "${alert('template')} ${Object.assign(window,{pwned:1})} {{constructor.constructor('alert(1)')()}}",
    "`+alert('backtick')+` ${ `${alert('nested')}` } \\${alert(1)}",
    "<svg onload=alert('svg')><animate onbegin=alert('anim') attributeName=x></svg>",
    "[click me](javascript:alert('md')) ![pic](http://evil.example/pixel.png) <http://evil.example>",
    "<a href=\"javascript:alert('href')\">link</a><iframe src=http://evil.example></iframe>",
    "</textarea></div></style><style>*{display:none!important}</style>",
    "\u202egnp.exe\u202c \u2066isolate\u2069 \u200bzero\u200bwidth \u0000null \u001b[31mred \ufeffbom 😀",
    "$$\\href{javascript:alert('tex')}{x}$$ \\(\\unicode{x}\\)",
    "<details open ontoggle=alert('toggle')><math><mi xlink:href=javascript:alert(1)>",
    "<input autofocus onfocus=alert('focus')><body onload=alert('body')>",
    "{{#each value}}{{{this}}}{{/each}} {{{alert('hb')}}} <%= alert(1) %>",
    "x" * 300_000 + "<img src=http://evil.example/long.png>",
    "a\u0301" * 500 + "Z" + "\u0335" * 2000 + "<base href=http://evil.example/>",
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    home = tmp_path_factory.mktemp("attacks")
    n = len(ATTACKS)
    table = pairs_table(n, prompts=ATTACKS, chosen=ATTACKS[::-1], rejected=ATTACKS[3:] + ATTACKS[:3], sources=ATTACKS)
    table = table.append_column("<img src=x onerror=alert('column')>", [ATTACKS])
    table = table.append_column("${alert('name')}", [[{"k<b>": attack} for attack in ATTACKS]])
    with App(home / "app", write_folder(home / "attacks", {"train": table}, group=4)) as running:
        yield running


def test_attacks_are_shown_as_text_and_nothing_else(app, open_page):
    page = open_page(app.url + "/?row=0&dataset=&region=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    for row, attack in enumerate(ATTACKS):
        page.wait_row(row)
        shown = page.page.locator(".dm-message .dm-text").first.text_content()
        if row != 8:
            assert shown.startswith(attack[:200])
        difference = page.page.get_by_role("button", name="Difference")
        if row == 0:
            difference.click()
        page.page.evaluate("() => document.querySelectorAll('.dm-body details').forEach(d => d.open = true)")
        assert page.page.evaluate("() => getComputedStyle(document.querySelector('.dm-tools')).display") != "none"
        if row < len(ATTACKS) - 1:
            page.page.get_by_role("button", name="Next").click()
    page.page.locator(".dm-colour select").select_option("source")
    page.wait("() => document.querySelectorAll('.dm-class').length > 5")
    page.page.mouse.move(*page.pixel(3))
    for name in ("Filter", "Other cuts", "Compare", "Audit", "Take away"):
        page.tab(name)
        page.page.wait_for_timeout(100)
    page.page.get_by_role("button", name="Show code").click()
    page.tab("Audit")
    page.page.get_by_role("button", name="Audit this map").click()
    page.page.wait_for_timeout(2500)
    page.tab("Filter")
    page.page.get_by_label("Sources").click()
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("() => window.pwned") is None
    assert page.page.locator("iframe, .dm-root img, .dm-root script, .dm-root svg").count() == 0


def test_hidden_and_direction_characters_become_visible(app, open_page):
    page = open_page(app.url + "/?row=8")
    page.wait_row(8)
    shown = page.page.locator(".dm-message .dm-text").first.text_content()
    for mark in ("⟨U+202E⟩", "⟨U+2066⟩", "⟨U+200B⟩", "⟨U+0000⟩", "⟨U+001B⟩", "⟨U+FEFF⟩", "😀"):
        assert mark in shown
    assert "\u202e" not in page.page.content()


def test_huge_texts_are_cut_and_say_so(app, open_page):
    page = open_page(app.url + "/?row=13")
    page.wait_row(13)
    shown = page.page.locator(".dm-message .dm-text").first.text_content()
    assert len(shown) < 21_000
    assert "more characters" in shown
    assert page.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        ("row", {"index": -1}),
        ("row", {"index": 10**9}),
        ("row", {"index": "0"}),
        ("row", {"index": True}),
        ("row", {"index": None}),
        ("row", {"index": [1] * 10_000}),
        ("row", {"handle": "x", "index": 0}),
        ("row", {"handle": {"$ne": 1}, "index": 0}),
        ("row", [1, 2]),
        ("row", None),
        ("row", "../../etc/passwd"),
        ("step", {"index": 0, "by": "1"}),
        ("step", {"index": -5, "by": 1e300}),
        ("channel", {"name": "../../etc/passwd"}),
        ("channel", {"name": ["region"]}),
        ("channel", {"name": "__class__"}),
        ("judge", {"index": 0, "verdict": "<b>"}),
        ("judge", {"index": 10**9, "verdict": "right"}),
    ],
)
def test_server_functions_check_what_they_are_sent(app, function, asked):
    visitor = Visitor(app.url)
    if isinstance(asked, dict):
        asked = {"handle": visitor.handle, **asked}
    answer = visitor.call(function, asked)
    assert set(answer) == {"error"} or function == "step"


def test_only_the_named_functions_can_be_called(app):
    visitor = Visitor(app.url)
    for name in ("_row", "__class__", "postprocess", "get_config", "verdict", "props"):
        with pytest.raises(urllib.error.HTTPError):
            visitor.call(name, {"handle": visitor.handle, "index": 0})


@pytest.mark.parametrize(
    "dataset",
    ["../../etc", "/etc/passwd", "http://evil.example/x", "file:///etc/passwd", "a/b@main", "a b/c", "x" * 500],
)
def test_a_visitor_cannot_name_paths_or_addresses(app, dataset):
    visitor = Visitor(app.url)
    with pytest.raises(RuntimeError, match=r"folder|dataset id"):
        visitor.event("on_open", [None, dataset, None])


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../etc/passwd", "app.py"])
def test_only_published_files_are_served(app, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{app.url}/gradio_api/file={path}", timeout=10)
    assert refused.value.code in (403, 404)


def test_events_check_polygons_and_classes(app):
    visitor = Visitor(app.url)
    index = visitor.functions["on_explorer"]["id"]

    def send(sent):
        body = {"data": [None], "fn_index": index, "session_hash": visitor.session, "event_data": sent}
        visitor._json("POST", "/gradio_api/queue/join", body)
        with urllib.request.urlopen(
            f"{app.url}/gradio_api/queue/data?session_hash={visitor.session}", timeout=30
        ) as stream:
            for line in stream:
                if b"process_completed" in line:
                    return json.loads(line[5:])["success"]
        raise AssertionError("no answer")

    assert send({"hidden": {}, "polygon": []})
    for bad in ([[0, 0]], [[0, 0]] * 5000, "x", [[0, 1e300], [1, 1], [2, 2]], [["a", "b"]] * 3, [[True, 1]] * 3):
        assert not send({"hidden": {}, "polygon": bad})
    assert send({"hidden": {"region": [0, "x", -4, 10**9], "nonsense": [1], "source": "x"}, "polygon": None})


def test_one_visitor_does_not_see_the_view_of_another(app):
    one, other = Visitor(app.url), Visitor(app.url)
    assert one.handle != other.handle
    assert len(one.handle) >= 32
    one.call("judge", {"handle": one.handle, "index": 2, "verdict": "wrong"})
    assert one.row(2)["verdict"] == "wrong"
    assert other.row(2)["verdict"] is None


def test_too_many_requests_are_refused_for_a_while(app):
    visitor = Visitor(app.url)
    answers = [visitor.call("row", {"handle": "x", "index": 0}) for _ in range(400)]
    assert any("too many requests" in answer["error"] for answer in answers)


# -- the gate


def post(app, path, body=b"{}", **headers):
    request = urllib.request.Request(app.url + path, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/upload", "/upload", "//gradio_api/upload", "/gradio_api//upload", "/gradio_api/upload/",
     "/gradio_api/Upload", "/gradio_api/process_recording", "/gradio_api/stream/x",
     "/gradio_api/queue/../upload", "/login", "/"],
)  # fmt: skip
def test_nothing_can_be_uploaded(app, path, tmp_path):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.html"\r\n\r\n<script>\r\n--x--\r\n'
    assert post(app, path, body, **{"Content-Type": "multipart/form-data; boundary=x"}) in (403, 404, 405)


def test_bodies_are_bounded_and_cost_no_memory(app):
    visitor = Visitor(app.url)
    before = app.memory()
    huge = b'{"data": [' + b"1," * (20 << 20) + b"1]}"
    for path in ("/gradio_api/queue/join", "/gradio_api/component_server", "/gradio_api/call/on_load"):
        with contextlib.suppress(OSError):  # refused before it was sent
            assert post(app, path, huge) == 413

    def chunks():
        yield from (b'{"data": "' + b"x" * 65_536 for _ in range(400))

    with contextlib.suppress(OSError):
        assert post(app, "/gradio_api/queue/join", chunks(), **{"Transfer-Encoding": "chunked"}) == 413
    for deep in (b"[" * 100_000, b'{"session_hash":' * 50_000):
        assert post(app, "/gradio_api/component_server", deep) in (400, 422, 500)
    assert app.memory() - before < 40 << 20
    assert "row" in visitor.row(0) or "error" not in visitor.row(0)


def test_the_session_of_another_visitor_gives_nothing(app):
    victim = Visitor(app.url)
    thief = Visitor(app.url)
    assert "error" in thief.call("row", {"handle": victim.handle, "index": 0})
    # The same Gradio session from another browser, or from another address:
    cookie = {"Cookie": "datamap_visitor=" + "a" * 32}
    for headers in ({"User-Agent": "another"}, {"X-Forwarded-For": "9.9.9.9"}, cookie):
        body = {"data": {"handle": victim.handle, "index": 0}, "component_id": victim.component["id"], "fn_name": "row"}
        body["session_hash"] = victim.session
        assert post(app, "/gradio_api/component_server", json.dumps(body).encode(), **headers) == 403
        query = f"?session_hash={victim.session}"
        assert post(app, f"/gradio_api/queue/data{query}", None, **headers) == 403
        assert post(app, f"/gradio_api/heartbeat/{victim.session}", None, **headers) == 403
        forged = {**headers, "X-Datamap-Session": victim.session}
        body["session_hash"] = "mine" + headers[next(iter(headers))][:5]
        content = {"Content-Type": "application/json", **forged}
        request = urllib.request.Request(f"{app.url}/gradio_api/component_server", json.dumps(body).encode(), content)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert set(json.load(answer)) == {"error"}
    assert "error" not in victim.row(0)


def test_a_browser_gets_a_cookie_that_scripts_cannot_read(app):
    with urllib.request.urlopen(app.url, timeout=30) as page:
        cookie = page.headers["set-cookie"]
    assert "datamap_visitor=" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    request = urllib.request.Request(app.url, headers={"X-Forwarded-Proto": "https"})
    with urllib.request.urlopen(request, timeout=30) as page:
        assert "SameSite=None; Secure" in page.headers["set-cookie"]


def test_memory_levels_off(tmp_path):
    """Visits by scripts, which never say that they end."""
    with App(tmp_path / "app", write_folder(tmp_path / "m", {"train": pairs_table(300)}), HF_HUB_OFFLINE="1") as app:
        levels = []
        for _ in range(4):
            for _ in range(150):
                Visitor(app.url)
            levels.append(app.memory() >> 20)
        assert levels[3] - levels[1] < 0.5 * (levels[1] - levels[0]) + 12, levels


def test_the_preview_starts_behind_a_proxy(tmp_path):
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxy = dict.fromkeys(names, "http://127.0.0.1:9")
    with App(
        tmp_path / "app", write_folder(tmp_path / "m", {"train": pairs_table(300)}), **proxy, NO_PROXY="", no_proxy=""
    ) as app:
        assert Visitor(app.url).view["file"]

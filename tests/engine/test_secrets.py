"""Whatever the form in which a secret stands in an error, it does not come out."""

import base64
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_datamap.engine.endpoint import Endpoint, validated_url
from hf_datamap.engine.secrets import mask
from hf_datamap.errors import ScorerError

PASSWORD = "S3cret/pass+word"
PROXY = f"http://user:{urllib.parse.quote(PASSWORD, safe='')}@proxy.example:3128"


@pytest.fixture
def proxied(monkeypatch):
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv("OPENAI_API_KEY", "abcDEF-0123456789")


def forms(secret):
    raw = secret.encode()
    yield secret
    yield urllib.parse.quote(secret, safe="")
    yield urllib.parse.quote(secret, safe="").replace("%2F", "%2f").replace("%2B", "%2b")
    yield urllib.parse.quote_plus(secret)
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()
    for before in ("u:", "us:", "use:", "user:"):
        yield base64.b64encode(before.encode() + raw).decode()


@pytest.mark.parametrize("secret", [PASSWORD, "abcDEF-0123456789"])
def test_known_secrets_in_every_form(proxied, secret):
    for form in forms(secret):
        masked = mask(f"the proxy said <{form}> and closed")
        core = form.strip("=")[3:-3] if len(form) > 12 else form
        assert form not in masked
        assert core not in masked, form


@given(st.text(max_size=30), st.text(max_size=30))
def test_userinfo_of_urls(before, after):
    masked = mask(f"{before} http://joe:Hunter-2-pw@host/v1 {after}")
    assert "Hunter-2-pw" not in masked


@pytest.mark.parametrize(
    "text",
    [
        "joe:PW@proxy:3128",
        "ftp://u:PW@h",
        "u:PW@h/v1",
        "http://:PW@/v1",
        "Authorization: Bearer abcdefghijkl",
        "api_key=PW12345",
    ],
)
def test_what_looks_like_a_secret(text):
    masked = mask(f"cannot use {text!r}")
    assert "PW" not in masked
    assert "abcdefghijkl" not in masked


def test_plain_words_stay():
    text = "HTTP 400: 'temperature' must be at most 2 (see user@example.org, 12:30)"
    assert mask(text) == text


URLS = [
    "http://h\n/v1", "http://h:99999/v1", "http://h:abc/v1", "http://h:0/v1", "http:///v1", "ftp://h/v1", "h/v1",
    "http://u:PW12@h/v1", "ftp://u:PW12@h", "u:PW12@h/v1", "http://:PW12@/v1", "http://h/v1?key=PW12", "http://h/v1#x",
    "http://[::1/v1", "http://a b/v1", "http://h\\x/v1", "http://h\x00/v1", "http://" + "ü" * 300 + "/v1",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_urls_that_are_refused_before_anything_is_sent(url):
    with pytest.raises(ScorerError) as caught:
        Endpoint("m", base_url=url)
    assert "PW12" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://api.example.com/v1", "http://[::1]:8080/v1"])
def test_urls_that_are_taken(url):
    assert validated_url(url) == url

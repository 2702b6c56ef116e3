"""Proxies of the environment: which is used for what, and which are refused in one line."""

import asyncio
import socket

import pytest

from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.proxies import proxy_for
from hf_datamap.errors import Overloaded, ScorerError
from tests.servers.llm import LLMServer


def ask(endpoint):
    async def main():
        try:
            return await endpoint.chat({"messages": []})
        finally:
            await endpoint.close()

    return asyncio.run(main())


VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("exceptions", "direct"),
    [
        ("", False),
        ("*", True),
        ("127.0.0.1", True),
        ("localhost, 127.0.0.1", True),
        ("127.0.0.0/8", True),
        ("127.0.0.1:8000", True),
        ("127.0.0.1:9", False),
        ("10.0.0.0/8 other", False),
    ],
)
def test_exceptions(monkeypatch, exceptions, direct):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert (proxy_for("http://127.0.0.1:8000/v1") is None) == direct


@pytest.mark.parametrize(
    ("exception", "host", "direct"),
    [
        (".example.com", "api.example.com", True),
        ("example.com", "api.example.com", True),
        ("ample.com", "example.com", False),
    ],
)
def test_names_below_an_exception(monkeypatch, exception, host, direct):
    monkeypatch.setenv("ALL_PROXY", "proxy:3128")
    monkeypatch.setenv("no_proxy", exception)
    assert (proxy_for(f"https://{host}/v1") is None) == direct


def test_the_variable_of_the_scheme_comes_first(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("https_proxy", "user:PW123456@secure:2")
    assert proxy_for("https://h/v1").url == "http://user:PW123456@secure:2"
    assert proxy_for("http://h/v1").url == "http://all:1"
    assert str(proxy_for("https://h/v1")) == "secure:2 (https_proxy)"


@pytest.mark.parametrize(
    "value",
    ["socks5://127.0.0.1:9", "socks5h://u:PW123456@h:1", "ftp://h:1", "http://h:port", "http://", "http://a b:1"],
)
def test_what_is_no_http_proxy_is_refused_before_anything_is_sent(monkeypatch, value):
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ScorerError, match="ALL_PROXY") as caught:
        Endpoint("m", base_url="http://127.0.0.1:1/v1").check()
    assert "PW123456" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"user:PW@127.0.0.1:{port}")
    with pytest.raises(Overloaded, match=rf"through the proxy 127\.0\.0\.1:{port} \(http_proxy\)") as caught:
        ask(Endpoint("m", base_url="http://elsewhere.example/v1"))
    assert "PW" not in str(caught.value)


def test_requests_go_through_the_proxy(monkeypatch):
    with LLMServer() as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        reply = ask(Endpoint("m", base_url="http://elsewhere.example/v1"))
    assert reply["choices"]


@pytest.mark.parametrize("variable", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize("value", ["org-ü", "org\r\nX-Evil: 1"])
def test_headers_of_the_environment_that_cannot_be_sent(monkeypatch, variable, value):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv(variable, value)
    with LLMServer() as server:
        with pytest.raises(ScorerError, match=variable) as caught:
            ask(Endpoint("m", base_url=server.url))
        assert not server.requests
    assert "\n" not in str(caught.value)

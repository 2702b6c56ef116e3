"""Every way an endpoint can go wrong: what stops, what waits, what fails a row, and that the key stays where it is."""

# ruff: noqa: E501 - tables of cases, one a line

import email.utils
import gzip
import json
import logging
import pickle
import socket
import time
import zlib
from pathlib import Path

import datasets
import pytest
from click.testing import CliRunner
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.cli import group
from hf_datamap.errors import EndpointError
from tests.judging import annotate, judge_at
from tests.rows import graded, response_of, rows, scores
from tests.servers.llm import LLMServer, Reply, completion, error

KEY = "sk-SECRET-123abc"


# What stops at once

STOPS = {
    "401": (error(401, "Incorrect API key provided", code="invalid_api_key"), "401: the API key .* OPENAI_API_KEY"),
    "402": (error(402, "Payment required"), "402: .*no quota"),
    "403": (error(403, "Project does not have access"), "403: this key may not use model 'judge'"),
    "404": (error(404, "The model `judge` does not exist", code="model_not_found"), "404: no model 'judge' there"),
    "404 page": (Reply(404, body=b"<html>Not Found</html>", content_type="text/html"), "does not end in /v1"),
    "quota": (error(429, "You exceeded your current quota", code="insufficient_quota"), "no quota left"),
    "redirect": (
        Reply(308, json={}, headers={"location": "https://elsewhere/v1"}),
        "redirects to https://elsewhere/v1",
    ),
}


@pytest.mark.parametrize("kind", STOPS)
def test_hopeless_refusals_stop_at_once(server, kind):
    reply, words = STOPS[kind]
    server.script = lambda request, n: reply
    server.latency = 0.02
    with pytest.raises(EndpointError, match=words):
        annotate(rows(500), judge_at(server, max_in_flight=4))
    assert len(server.requests) <= 4


def test_nothing_paid_for_is_lost_when_a_run_stops(server):
    server.script = lambda request, n: graded(request) if n <= 30 else error(401, "revoked")
    with pytest.raises(EndpointError):
        annotate(rows(50), judge_at(server, max_in_flight=4))
    server.forget()
    server.script = graded
    assert annotate(rows(50), judge_at(server))[0]["datamap_scores"][:] == scores(50)
    assert len(server.requests) == 70


def test_a_refusal_for_moderation_is_of_its_row(server):
    server.script = lambda request, n: (
        error(403, "The model requires moderation and your input was flagged")
        if "Bad answer 1 " in response_of(request)
        else graded(request)
    )
    annotated, _ = annotate(rows(3), judge_at(server))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok"]


@pytest.mark.timeout(60)  # a try for each row would take minutes
def test_nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=r"cannot connect to http://127\.0\.0\.1"):
        annotate(rows(200), dm.LLMJudge("judge", base_url=f"http://127.0.0.1:{port}/v1"))


def test_no_such_host():
    with pytest.raises(EndpointError, match=r"cannot connect to http://no-such-host\.invalid"):
        annotate(rows(3), dm.LLMJudge("judge", base_url="http://no-such-host.invalid/v1", max_retries=0))


def test_no_key_for_openai():
    with pytest.raises(EndpointError, match="no API key: set OPENAI_API_KEY"):
        annotate(rows(3), dm.LLMJudge("gpt-4o"))


def test_web_pages_instead_of_answers(server):
    page = Reply(200, body=b"<!doctype html><title>Log in</title>", content_type="text/html")
    server.script = lambda request, n: page
    with pytest.raises(EndpointError, match=r"something else than JSON.*Log in"):
        annotate(rows(50), judge_at(server, max_in_flight=4))
    assert len(server.requests) <= 4 * 4
    server.script = lambda request, n: page if "Bad answer 1 " in response_of(request) else graded(request)
    annotated, _ = annotate(rows(3), judge_at(server))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok"]
    assert "something else than JSON" in annotated["datamap_error"][1]


# What waits


def busy(seconds: float, count: int, **headers):
    """Refuse the first requests."""
    return lambda request, n: error(429, "slow down", **headers) if n <= count else graded(request)


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_too_many_requests_with_a_time(server, form):
    def script(request, n):
        if n > 6:
            return graded(request)
        when = email.utils.formatdate(time.time() + 2.2, usegmt=True)
        headers = {
            "seconds": {"retry_after": "1"},
            "milliseconds": {"retry_after_ms": "1000"},
            "date": {"retry_after": when},
        }
        times.append(time.monotonic())
        return error(429, "slow down", **headers[form])

    times = []
    server.script = script
    started = time.monotonic()
    annotated, data_map = annotate(rows(6), judge_at(server, max_in_flight=6))
    assert annotated["datamap_scores"][:] == scores(6)
    assert time.monotonic() - started >= 0.9
    assert data_map.provenance["usage"]["retried"] == 6
    assert len(server.requests) == 18


def test_too_many_requests_without_a_time(server):
    server.script = busy(0, 5)
    annotated, _ = annotate(rows(5), judge_at(server))
    assert annotated["datamap_scores"][:] == scores(5)


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "Fri, 99 Foo 9999 99:99:99", ""])
def test_a_time_that_is_none(server, value):
    server.script = busy(0, 2, retry_after=value)
    annotated, _ = annotate(rows(2), judge_at(server))
    assert annotated["datamap_scores"][:] == scores(2)


@pytest.mark.parametrize("value", ["86400", "inf", "Sat, 31 Dec 2095 23:59:59 GMT"])
def test_too_long_to_wait(server, value):
    server.script = lambda request, n: (
        error(429, "tomorrow", retry_after=value) if "Bad" in response_of(request) else graded(request)
    )
    annotated, _ = annotate(rows(1), judge_at(server, max_in_flight=1))
    assert annotated["datamap_status"][:] == ["partial"]
    assert "asks to wait" in annotated["datamap_error"][0]


def test_concurrency_adapts(server):
    """A server that bears four at a time: the client comes down to it and finishes."""

    def script(request, n):
        return error(429, "slow down", retry_after="0.1") if server.in_flight >= 4 else graded(request)

    server.script, server.latency = script, 0.05
    annotated, data_map = annotate(rows(30), judge_at(server, max_in_flight=16))
    assert annotated["datamap_scores"][:] == scores(30)
    assert data_map.provenance["usage"]["retried"] < 120
    assert set(annotated["datamap_status"]) == {"ok"}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_server_that_stumbles(server, status):
    server.script = lambda request, n: Reply(status, body=b"upstream sad") if n <= 3 else graded(request)
    annotated, data_map = annotate(rows(3), judge_at(server, max_retries=2))
    assert annotated["datamap_scores"][:] == scores(3)
    assert data_map.provenance["usage"]["retried"] == 3


def test_a_server_that_keeps_failing_for_one_row(server):
    server.script = lambda request, n: (
        error(500, "boom") if "Bad answer 1 " in response_of(request) else graded(request)
    )
    annotated, data_map = annotate(rows(4), judge_at(server, max_retries=1))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok", "ok"]
    assert annotated["datamap_error"][1] == "response 2: HTTP 500: boom (tried 2 times)"
    assert data_map.provenance["usage"]["failed"] == {"HTTP 500": 1}


def test_connection_resets(server):
    server.script = lambda request, n: Reply(reset=True) if n <= 3 else graded(request)
    annotated, _ = annotate(rows(3), judge_at(server, max_retries=2))
    assert annotated["datamap_scores"][:] == scores(3)
    server.script = lambda request, n: (
        Reply(reset=True) if "Bad answer 10 " in response_of(request) else graded(request)
    )
    annotated, _ = annotate(rows(2, 10), judge_at(server, max_retries=1))
    assert annotated["datamap_status"][:] == ["partial", "ok"]
    assert "connection lost" in annotated["datamap_error"][0]


def test_timeouts(server):
    def script(request, n):
        reply = graded(request)
        reply.delay = 3.0 if "Bad answer 1 " in response_of(request) else 0.0
        return reply

    server.script = script
    annotated, _ = annotate(rows(3), judge_at(server, timeout=0.4, max_retries=1))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok"]
    assert "no answer within 0.4 s (tried 2 times)" in annotated["datamap_error"][1]


# What is asked differently

UNKNOWN = {
    "logprobs": "Unsupported parameter: 'logprobs' is not supported with this model.",
    "top_logprobs": "top_logprobs is not permitted",
    "response_format": "'response_format' of type 'json_schema' is not supported",
    "temperature": "Unsupported value: 'temperature' does not support 0.0 with this model.",
    "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
}


@pytest.mark.parametrize("how", ["param", "words", "FastAPI", "plain text"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_parameter_is_left_out_from_then_on(server, name, how):
    refusal = {
        "param": error(400, UNKNOWN[name], name),
        "words": error(400, UNKNOWN[name]),
        "FastAPI": Reply(
            422,
            json={"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs", "input": 1}]},
        ),
        "plain text": Reply(400, body=UNKNOWN[name].encode(), content_type="text/plain"),
    }[how]
    server.script = lambda request, n: refusal if name in request else graded(request)
    annotated, _ = annotate(rows(20), judge_at(server, logprobs=True, max_in_flight=4))
    assert set(annotated["datamap_status"]) == {"ok"}
    refused = sum(name in request for request in server.requests)
    assert 1 <= refused <= 4
    assert len(server.requests) == 40 + refused
    if name == "max_tokens":
        assert all("max_tokens" in request or request["max_completion_tokens"] == 256 for request in server.requests)


def test_several_unknown_parameters(server):
    def script(request, n):
        for name, words in UNKNOWN.items():
            if name in request:
                return error(400, words, name)
        return graded(request)

    server.script = script
    judge = judge_at(server, logprobs=True, max_in_flight=1)
    annotated, _ = annotate(rows(5), judge)
    assert annotated["datamap_scores"][:] == scores(5)
    assert len(server.requests) == 10 + 4  # top_logprobs goes with logprobs
    annotate(rows(5, 50), judge)
    assert len(server.requests) == 10 + 4 + 10


OVERFLOWS = [
    error(400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.", "messages", "context_length_exceeded"),
    error(400, "'max_tokens' or 'max_completion_tokens' is too large: 256. This model's maximum context length is 2048 tokens and your request has 2000 input tokens", "max_tokens"),
    error(400, "you requested 5000 tokens (4744 in the messages, 256 in max_tokens): context length exceeded"),
    error(400, "the request exceeds the available context size, try increasing it"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", OVERFLOWS, ids=range(len(OVERFLOWS)))
def test_a_text_that_is_too_long_is_a_matter_of_its_row(server, refusal):
    server.script = lambda request, n: refusal if "Bad answer 1 " in response_of(request) else graded(request)
    annotated, _ = annotate(rows(5), judge_at(server, max_in_flight=1))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok", "ok", "ok"]
    assert "HTTP 400" in annotated["datamap_error"][1]
    assert len(server.requests) == 10
    assert all(request["max_tokens"] == 256 for request in server.requests)


# The key


def test_a_new_key_takes_effect(monkeypatch):
    with LLMServer(graded, key="sk-the-right-one") as server:
        with pytest.raises(EndpointError):
            annotate(rows(3), judge_at(server, api_key="sk-the-wrong-one"))
        annotated, _ = annotate(rows(3), judge_at(server, api_key=" sk-the-right-one\n"))
        assert annotated["datamap_scores"][:] == scores(3)
        assert server.keys == {"Bearer sk-the-wrong-one", "Bearer sk-the-right-one"}
    with LLMServer(graded, key="sk-the-right-one") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-the-wrong-one")
        with pytest.raises(EndpointError):
            annotate(rows(3, 9), judge_at(server))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-the-right-one")
        assert annotate(rows(3, 9), judge_at(server))[0]["datamap_scores"][:] == scores(3, 9)


def test_the_endpoint_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    annotate(rows(2), dm.LLMJudge("judge"))
    assert server.keys == {"Bearer sk-of-the-environment"}


@pytest.mark.parametrize("key", ["“sk-quoted-123”", "sk-two words", "sk-line\nbreak", "sk-nul\x00"])
def test_a_key_that_no_header_can_carry(server, key, monkeypatch):
    with pytest.raises(dm.DataMapError, match="API key holds a character") as caught:
        judge_at(server, api_key=key)
    assert key not in str(caught.value)
    if "\x00" not in key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(dm.DataMapError, match="API key holds a character"):
            annotate(rows(1), judge_at(server))
    assert not server.requests


def echo(request, n):
    """Repeats the key in every kind of trouble there is."""
    kinds = [
        error(400, f"bad request, key {KEY}"),
        error(500, f"trouble with {KEY}"),
        Reply(200, body=f"<html>Bearer {KEY}</html>".encode(), content_type="text/html"),
        Reply(200, json={"error": {"message": f"key {KEY} is odd"}}),
        completion(request, message={"refusal": f"your key {KEY}"}),
        completion(request, f"nonsense {KEY}"),
        Reply(400, body=("x" * 290 + KEY).encode()),
        graded(request),
    ]
    return kinds[n % len(kinds)]


def refused(request, n):
    return error(401, f"Incorrect API key provided: {KEY}.")


def traces(folder):
    """Files that hold the key."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_the_key_reaches_no_file_log_or_column(server, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("matplotlib").setLevel(logging.INFO)
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows(16)))
    said = []
    for name, script in {"refused": refused, "echo": echo, "graded": graded}.items():
        server.script = script
        judge = judge_at(server, api_key=KEY, max_retries=0, max_in_flight=2)
        fn = dm.score_fn(judge)
        ds = Dataset.from_json(str(source), cache_dir=str(tmp_path / "hf"))
        for job in (
            lambda judge=judge, ds=ds, name=name: annotate(ds.to_list(), judge)[0].save_to_disk(
                tmp_path / f"saved-{name}"
            ),
            lambda fn=fn, ds=ds: ds.map(fn, load_from_cache_file=False),
            lambda fn=fn, ds=ds: ds.map(fn, batched=True, load_from_cache_file=False),
            lambda fn=fn, ds=ds: ds.map(fn, num_proc=2, load_from_cache_file=False),
        ):
            try:
                made = job()
            except Exception as error:
                said.append(f"{error!r} {error.__cause__!r} {error.__context__!r}")
            else:
                said.append(str(made and made.to_list()))
        said += [str(pickle.dumps(part)) for part in (judge, fn)] + [
            repr(judge),
            repr(fn),
            str(vars(judge)),
            str(judge.identity),
        ]
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        arguments = ["-v", "map", str(source), "--scorer", "judge:cli", "--base-url", server.url, "--out"]
        done = CliRunner().invoke(group, [*arguments, str(tmp_path / f"out-{len(said)}"), "--max-in-flight", "2"])
        said.append(f"{done.output} {done.exception!r}")
        monkeypatch.delenv("OPENAI_API_KEY")
    assert f"Bearer {KEY}" in server.keys
    said += [caplog.text, *capfd.readouterr()]
    assert [text for text in said if KEY in text] == []
    assert [text for text in said if "SECRET-123" in text] == []
    assert traces(tmp_path) == traces(Path(datasets.config.HF_DATASETS_CACHE)) == []
    assert list(tmp_path.rglob("scores.sqlite3*"))
    assert len([text for text in said if "401" in text]) >= 4


# Sharing


def test_two_judges_of_one_endpoint_keep_their_scores_apart(server):
    annotate(rows(3), judge_at(server))
    annotate(rows(3), judge_at(server, rubric="How polite is the response?"))
    annotate(rows(3), dm.LLMJudge("another", base_url=server.url, logprobs=False))
    assert len(server.requests) == 18
    assert {request["model"] for request in server.requests} == {"judge", "another"}


# Before anything is read


class Rows:
    """A stream of rows that counts how many were read."""

    def __init__(self):
        self.read = 0

    def __iter__(self):
        for row in rows(50):
            self.read += 1
            yield row


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("OPENAI_API_KEY", "", "no API key"), ("OPENAI_API_KEY", "sk-line\nbreak", "holds a character"), ("ALL_PROXY", "socks5://h:1", "SOCKS")],
)  # fmt: skip
def test_what_would_end_every_request_is_found_before_the_first_row(monkeypatch, tmp_path, variable, value, words):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good-key-1")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv(variable, value)
    source = Rows()
    stream = datasets.IterableDataset.from_generator(lambda: iter(source), features=Dataset.from_list(rows(1)).features)
    with pytest.raises(dm.DataMapError, match=words):
        dm.annotate(stream, dm.LLMJudge("gpt-4o"), progress=False)
    assert source.read == 0
    missing = tmp_path / "there-is-no-such-file.jsonl"
    done = CliRunner().invoke(group, ["map", str(missing), "--scorer", "judge:gpt-4o", "--out", str(tmp_path / "out")])
    assert words in str(done.exception) + done.output


# What will never work


FATAL = {
    "gateway": error(400, "Invalid model name passed in model=judge. Call `/v1/models` to view available models for your key."),
    "no database": error(400, "No connected db."),
    "inside a 200": Reply(200, json={"choices": None, "error": {"message": "model is pinned to another deployment", "code": 400}}),
    "numbered": None,
}  # fmt: skip


@pytest.mark.parametrize("kind", FATAL)
def test_the_first_refusals_alike_end_the_run(server, kind, tmp_path):
    server.script = lambda request, n: FATAL[kind] or error(400, f"request req-{n}a7 is refused: unknown tenant")
    with pytest.raises(EndpointError, match="The first requests were all refused in these words"):
        annotate(rows(100), judge_at(server, max_in_flight=8))
    assert len(server.requests) <= 8 + 8
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows(20)))
    arguments = [
        "map",
        str(source),
        "--scorer",
        "judge:other",
        "--base-url",
        server.url,
        "--out",
        str(tmp_path / "out"),
    ]
    assert CliRunner().invoke(group, arguments).exit_code != 0
    assert not (tmp_path / "out" / "datamap.json").exists()
    assert not (tmp_path / "out" / "README.md").exists()


def test_refusals_after_an_answer_are_of_their_rows(server):
    server.script = lambda request, n: graded(request) if n <= 2 else error(400, "invalid prompt")
    annotated, _ = annotate(rows(10), judge_at(server, max_in_flight=1))
    assert annotated["datamap_status"][:] == ["ok"] + ["failed"] * 9


INSIDE = [
    (429, {"message": "Rate limit reached", "code": 429}),
    (429, {"message": "slow down", "type": "rate_limit_error"}),
    (502, {"message": "Provider returned error", "code": 502, "metadata": {"raw": "upstream sad"}}),
    (503, {"message": "overloaded", "code": "503"}),
]


@pytest.mark.parametrize(("status", "inside"), INSIDE)
@pytest.mark.parametrize("where", ["body", "choice"])
def test_errors_inside_a_200_are_what_they_say(server, status, inside, where):
    body = {"choices": None, "error": inside} if where == "body" else {"choices": [{"error": inside, "message": {}}]}
    server.script = lambda request, n: Reply(200, json=body) if n <= 3 else graded(request)
    annotated, data_map = annotate(rows(3), judge_at(server, max_retries=3))
    assert annotated["datamap_scores"][:] == scores(3)
    assert data_map.provenance["usage"]["retried"] == 3
    server.script = lambda request, n: Reply(200, json=body) if "Bad" in response_of(request) else graded(request)
    annotated, _ = annotate(rows(1, 50), judge_at(server, max_retries=0))
    assert f"HTTP {status}: " in annotated["datamap_error"][0]
    assert inside["message"] in annotated["datamap_error"][0]


def test_a_wrong_key_inside_a_200_stops(server):
    server.script = lambda request, n: Reply(200, json={"error": {"message": "bad key", "code": "invalid_api_key"}})
    with pytest.raises(EndpointError, match="401: the API key"):
        annotate(rows(50), judge_at(server, max_in_flight=2))


# Usage that cannot be, replies that are too large, texts that were cut


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "many", {"prompt_tokens": -5, "completion_tokens": 2**63}, {"prompt_tokens": "12", "completion_tokens": None}, {"prompt_tokens": 1e300, "completion_tokens": True}, {"prompt_tokens": 10**30}, {"prompt_tokens": {}}],
)  # fmt: skip
def test_usage_that_is_none(server, usage):
    def script(request, n):
        reply = graded(request)
        reply.json["usage"] = usage
        return reply

    server.script = script
    annotated, data_map = annotate(rows(3), judge_at(server), budget=dm.Budget(tokens=1_000_000))
    assert annotated["datamap_scores"][:] == scores(3)
    counted = data_map.provenance["usage"]
    assert counted["input_tokens"] in (0, 72)
    assert counted["output_tokens"] == 0


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "none"])
def test_a_reply_of_any_size_is_bounded(server, coding):
    plain = b'{"choices": [{"message": {"content": "' + b"x" * (200 << 20 if coding != "none" else 40 << 20) + b'"}}]}'
    packers = {
        "gzip": lambda data: gzip.compress(data, 1),
        "deflate": lambda data: zlib.compress(data, 1),
        "raw deflate": lambda data: zlib.compressobj(1, wbits=-15).compress(data),
        "none": lambda data: data,
    }
    body = packers[coding](plain)
    del plain
    headers = {} if coding == "none" else {"content-encoding": coding.split()[-1]}
    server.script = lambda request, n: (
        Reply(200, body=body, headers=headers) if "Bad answer 1 " in response_of(request) else graded(request)
    )
    annotated, _ = annotate(rows(3), judge_at(server))
    assert annotated["datamap_status"][:] == ["ok", "partial", "ok"]
    assert "larger than 24 MB" in annotated["datamap_error"][1]


def test_compressed_replies_are_read(server):
    def script(request, n):
        data = json.dumps(graded(request).json).encode()
        return Reply(body=gzip.compress(data) if n % 2 else zlib.compress(data), headers={"content-encoding": "gzip" if n % 2 else "deflate"})  # fmt: skip

    server.script = script
    assert annotate(rows(4), judge_at(server))[0]["datamap_scores"][:] == scores(4)


def test_a_compression_that_was_not_asked_for(server):
    server.script = lambda request, n: Reply(body=b"?", headers={"content-encoding": "zstd"})
    annotated, _ = annotate(rows(1), judge_at(server))
    assert "compressed as 'zstd'" in annotated["datamap_error"][0]


@pytest.mark.parametrize("unit", ["word ", "汉字汉字汉字 "])
def test_a_text_that_the_server_has_cut_fails_its_row(server, unit):
    def script(request, n):
        reply = graded(request)
        reply.json["usage"]["prompt_tokens"] = min(2051, sum(len(m["content"]) for m in request["messages"]) // 3)
        return reply

    server.script = script
    long = {"prompt": "Question 1?", "chosen": unit * 50_000 + "[7]", "rejected": "Bad answer 1 [3]"}
    annotated, _ = annotate([long, *rows(1, 5)], judge_at(server))
    assert annotated["datamap_status"][:] == ["partial", "ok"]
    assert "truncated silently: the server read 2,051 tokens" in annotated["datamap_error"][0]


def test_a_gap_that_could_be_a_tokenizers_is_a_warning(server, caplog):
    def script(request, n):
        reply = graded(request)
        reply.json["usage"]["prompt_tokens"] = 40_000
        return reply

    server.script = script
    long = {"prompt": "Question 1?", "chosen": "word " * 50_000 + "[7]", "rejected": "word " * 50_000 + "[3]"}
    annotated, _ = annotate([long], judge_at(server))
    assert annotated["datamap_status"][:] == ["ok"]
    assert caplog.text.count("may cut long texts") == 1

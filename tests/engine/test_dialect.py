"""Servers that refuse what is optional: the request is asked again without, and what works is remembered."""

# ruff: noqa: E501 - tables of servers' words, one a line

import asyncio
import itertools
import logging

import pytest

from hf_datamap.engine.dialect import without_system
from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.errors import Overloaded, Unanswered
from tests.servers.llm import LLMServer, Reply, completion, error

NUMBER = itertools.count()
BODY = {
    "messages": [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Hi"}],
    "temperature": 0.0,
    "max_tokens": 256,
    "response_format": {"type": "json_schema", "json_schema": {"name": "j", "schema": {"type": "object"}}},
    "logprobs": True,
    "top_logprobs": 20,
    "seed": 3,
    "stop": ["END"],
    "top_p": 0.9,
}


def has(request, feature):
    if feature == "system":
        return any(message["role"] == "system" for message in request["messages"])
    return feature in request


def refusing(feature, refusal):
    return lambda request, n: refusal if has(request, feature) else completion(request, "fine")


@pytest.fixture
def server():
    with LLMServer() as running:
        yield running


def endpoint_at(server):
    return Endpoint(f"model-{next(NUMBER)}", base_url=server.url)


def ask(endpoint, *bodies):
    async def main():
        try:
            return [await endpoint.chat(body) for body in bodies]
        finally:
            await endpoint.close()

    return asyncio.run(main())


NAMED = [
    ("response_format", 400, "This model does not support response format `json_schema`."),
    ("response_format", 400, "output_format.schema: For 'integer' type, properties maximum, minimum are not supported"),
    ("response_format", 422, "Structured outputs are not available for this model"),
    ("response_format", 400, "Failed to compile grammar: unsupported keyword additionalProperties"),
    ("response_format", 500, "guided_json is not implemented for this backend"),
    ("response_format", 400, "JSON mode is not enabled for models/gemma-3-27b-it"),
    ("logprobs", 400, "Logprobs is not enabled for models/g-2.5-flash"),
    ("logprobs", 501, "log probabilities are not implemented"),
    ("logprobs", 500, "'NoneType' object has no attribute 'logprobs'"),
    ("logprobs", 403, "You are not allowed to request logprobs from this model"),
    ("top_logprobs", 400, "top_logprobs is not permitted"),
    ("temperature", 400, "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported."),
    ("temperature", 400, "`temperature` is deprecated for this model."),
    ("top_p", 400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
    ("seed", 400, "Unrecognized request argument supplied: seed"),
    ("seed", 422, "[{'type': 'extra_forbidden', 'loc': ['body', 'seed'], 'msg': 'Extra inputs are not permitted'}]"),
    ("stop", 400, "Unsupported parameter: 'stop' is not supported with this model."),
    ("system", 400, "System role not supported"),
    ("system", 500, "Conversation roles must alternate user/assistant/user/assistant/..."),
    ("system", 400, "Developer instruction is not enabled for models/gemma-3-4b-it"),
    ("system", 400, "Only user and assistant roles are supported!"),
    ("system", 400, "messages.0.role: Input should be 'user' or 'assistant', got 'system'"),
    ("max_tokens", 400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "status", "words"), NAMED)
def test_a_refusal_that_names_it_costs_one_more_request(server, feature, status, words):
    server.script = refusing(feature, error(status, words))
    endpoint = endpoint_at(server)
    ask(endpoint, BODY, BODY)
    assert [has(request, feature) for request in server.requests] == [True, False, False]
    expected = (
        "max_completion_tokens" if feature == "max_tokens" else "in the user's turn" if feature == "system" else None
    )
    assert endpoint.dialect.summary() == {feature: expected}
    if feature != "temperature":
        assert server.requests[-1]["temperature"] == 0.0  # what the user asked for is kept where possible


UNKNOWN = [
    (400, "Bad request"),
    (422, "The request could not be processed"),
    (400, ""),
    (404, "No endpoints found that can handle the requested parameters."),
]


@pytest.mark.parametrize(("status", "words"), UNKNOWN)
@pytest.mark.parametrize(
    "feature", ["response_format", "logprobs", "temperature", "seed", "top_p", "system", "max_tokens"]
)
def test_a_refusal_in_unknown_words_is_looked_into_once(server, feature, status, words):
    server.script = refusing(feature, error(status, words))
    endpoint = endpoint_at(server)
    ask(endpoint, BODY)
    looked = len(server.requests)
    assert looked <= 14
    ask(endpoint, BODY, BODY)
    assert len(server.requests) == looked + 2
    assert set(endpoint.dialect.summary()) == {feature}


def test_several_refused_in_unknown_words(server):
    server.script = lambda request, n: (
        error(400, "no") if has(request, "seed") or has(request, "logprobs") else completion(request, "fine")
    )
    endpoint = endpoint_at(server)
    ask(endpoint, BODY)
    assert {"seed", "logprobs"} <= set(endpoint.dialect.summary()) <= {"seed", "logprobs", "top_logprobs"}
    assert "response_format" in server.requests[-1]


def test_a_server_that_fails_on_a_parameter_is_asked_without_when_it_fails_again(server):
    server.script = refusing("response_format", Reply(500, body=b"Internal Server Error", content_type="text/plain"))
    endpoint = endpoint_at(server)
    with pytest.raises(Overloaded):
        ask(endpoint, BODY)
    assert len(server.requests) == 1
    ask(endpoint, BODY)
    assert set(endpoint.dialect.summary()) == {"response_format"}


def test_what_refuses_everything_is_asked_once_without_and_not_again(server):
    server.script = lambda request, n: error(400, f"request {n} is bad")
    endpoint = endpoint_at(server)
    for count in (2, 3, 4):
        with pytest.raises(Unanswered, match="HTTP 400: request"):
            ask(endpoint, BODY)
        assert len(server.requests) == count


def test_a_parameter_that_was_taken_before_is_not_given_up_for_one_text(server):
    """The words of a refusal may repeat the text of a row: that must not change what all others are asked."""
    server.script = lambda request, n: (
        error(400, "cannot read: 'the temperature of logprobs'")
        if request["messages"][-1]["content"] == "odd"
        else completion(request, "fine")
    )
    endpoint = endpoint_at(server)
    odd = {**BODY, "messages": [{"role": "user", "content": "odd"}]}
    ask(endpoint, BODY)
    with pytest.raises(Unanswered):
        ask(endpoint, odd)
    ask(endpoint, BODY)
    assert endpoint.dialect.summary() == {}
    assert server.requests[-1]["temperature"] == 0.0


LIMITS = [
    ("top_logprobs", 5, "Requested sample logprobs of 20, which is greater than max allowed: 5"),
    ("top_logprobs", 5, "top_logprobs must be between 0 and 5"),
    ("max_tokens", 128, "max_tokens is too large: 256. This model supports at most 128 completion tokens"),
]


@pytest.mark.parametrize(("name", "limit", "words"), LIMITS)
def test_a_limit_that_is_named_is_kept_to(server, name, limit, words):
    server.script = lambda request, n: (
        error(400, words) if request.get(name, 0) > limit else completion(request, "fine")
    )
    endpoint = endpoint_at(server)
    ask(endpoint, BODY)
    assert len(server.requests) == 2
    assert server.requests[-1][name] == limit
    assert endpoint.dialect.summary() == {name: limit}


def test_a_temperature_just_above_zero(server):
    server.script = lambda request, n: (
        error(422, "Input validation error: `temperature` must be strictly positive")
        if request.get("temperature") == 0
        else completion(request, "fine")
    )
    ask(endpoint_at(server), BODY)
    assert server.requests[-1]["temperature"] == 0.01


def test_neutral_values_are_not_sent(server):
    ask(endpoint_at(server), {**BODY, "top_p": 1.0, "n": 1})
    assert not {"top_p", "n"} & set(server.requests[0])


def test_it_is_said_once(server, caplog):
    caplog.set_level(logging.WARNING)
    server.script = refusing("seed", error(400, "seed is not supported"))
    endpoint = endpoint_at(server)
    ask(endpoint, BODY, BODY, BODY)
    assert [record.getMessage() for record in caplog.records] == [
        f"{server.url} does not take 'seed': going on without it"
    ]


def test_equal_endpoints_share_what_they_know(server):
    server.script = refusing("seed", error(400, "seed is not supported"))
    first = endpoint_at(server)
    second = Endpoint(first.model, base_url=server.url)
    ask(first, BODY)
    ask(second, BODY)
    assert [has(request, "seed") for request in server.requests] == [True, False, False]


def test_instructions_go_to_the_head_of_the_next_user_turn():
    messages = [
        {"role": "system", "content": "A"},
        {"role": "user", "content": "B"},
        {"role": "assistant", "content": "C"},
        {"role": "system", "content": "D"},
    ]
    assert without_system(messages) == [
        {"role": "user", "content": "A\n\nB"},
        {"role": "assistant", "content": "C"},
        {"role": "user", "content": "D"},
    ]

"""`Sampler`: text from an OpenAI-compatible endpoint, whole answers and continuations of a given beginning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hf_datamap.data.example import Message
from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.task import JSON, Answer, Answerer, Ask, Task
from hf_datamap.errors import EndpointError, GenerateError, Unanswered

_VERSION: Final = 1
#: A beginning that every language model would go on with in the same way.
_PROBE: Final = "The days of the week are Monday, Tuesday, Wed"
_PROBE_GOES_ON: Final = "nes"
#: How vLLM and SGLang are told to go on with the last message; llama.cpp does so by itself and ignores these.
_CONTINUE: Final = {"continue_final_message": True, "add_generation_prompt": False}

#: How the model is asked for its own opinion; the paper's wording is not in the record, this is ours.
_QUESTION: Final = (
    "Request:\n{request}\n\nResponse:\n{response}\n\nDoes the response do everything that the request asks for? "
    "Answer with one word, Yes or No."
)

Way = Literal["chat", "chat_plain", "completions"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled text.

    Attributes:
        text: what was written, without the beginning that was given.
        finish: ``stop``; ``length`` when it ran out of tokens; ``refused`` for a refusal or a content filter.
        tokens: how many tokens it has, as the endpoint counts them.
        logprob: sum of the log-probabilities of its tokens, None when the endpoint gives none or was not asked.
    """

    text: str
    finish: str
    tokens: int = 0
    logprob: float | None = None

    @classmethod
    def of(cls, answer: Answer) -> Sample:
        """Read an answer of `Sampler.answer`."""
        value = answer.value
        if not isinstance(value, Mapping):
            raise Unanswered("what is stored is no sample")
        return cls(str(value["text"]), str(value["finish"]), int(value["tokens"]), value["logprob"])  # type: ignore[arg-type] # written by answer()


class Sampler(Answerer):
    """Draws samples from a model. The engine stores, retries and budgets each.

    Args:
        model: model name, as the endpoint spells it.
        base_url: endpoint; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        temperature: of sampling.
        top_p: nucleus of sampling.
        seed: sample i asks with seed + i, for endpoints that take one.
        max_in_flight: greatest number of concurrent requests.
        timeout: seconds until a request counts as lost.
        max_retries: how often a request is repeated after 5xx, resets and timeouts.
        template: how a chat is written as one text, with ``{prompt}`` in it; for endpoints that go on with a beginning
            only through ``/completions``. Asked of the server (llama.cpp's ``/apply-template``) by default.

    Raises:
        GenerateError: an option is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        max_in_flight: int = 64,
        timeout: float = 300.0,
        max_retries: int = 6,
        template: str | None = None,
    ) -> None:
        if not 0 <= temperature <= 5 or not 0 < top_p <= 1:
            raise GenerateError(f"temperature is 0 to 5 and top_p above 0 to 1, not {temperature!r} and {top_p!r}")
        if max_in_flight < 1 or max_retries < 0:
            raise GenerateError("max_in_flight is at least 1 and max_retries at least 0")
        if template is not None and "{prompt}" not in template:
            raise GenerateError(f"template needs {{prompt}} where the request goes, not {template[:80]!r}")
        self.endpoint = Endpoint(model, base_url=base_url, api_key=api_key, timeout=timeout)
        self.temperature, self.top_p, self.seed = float(temperature), float(top_p), int(seed)
        self.max_in_flight, self.max_retries = max_in_flight, max_retries
        self.template = template

    @property
    def identity(self) -> dict[str, JSON]:
        """What a sample depends on besides what is asked."""
        return {
            "kind": "sampler",
            "version": _VERSION,
            **self.endpoint.identity,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
        }

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self.endpoint.close()

    def whole(
        self, messages: Sequence[Message], index: int, max_tokens: int, *, temperature: float | None = None
    ) -> Task:
        """The task of drawing sample ``index`` of an answer to ``messages``."""
        body: dict[str, Any] = {"messages": list(messages), "max_tokens": max_tokens, **self._drawn(index, temperature)}
        return Task(["chat", body], ("/chat/completions", body, ""))

    def opinion(self, messages: Sequence[Message], response: str) -> Task:
        """The task of asking the model whether its own ``response`` does what ``messages`` ask for."""
        asked = "\n\n".join(message["content"] for message in messages)
        question = _QUESTION.format(request=asked, response=response)
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 1,
            "temperature": 0.0,
            "seed": self.seed,
            "logprobs": True,
            "top_logprobs": 20,
        }
        return Task(["opinion", body], ("opinion", body, ""))

    def _drawn(self, index: int, temperature: float | None) -> dict[str, Any]:
        heat = self.temperature if temperature is None else temperature
        return {"temperature": heat, "top_p": self.top_p, "seed": self.seed + index}

    async def answer(self, task: Task) -> Answer:
        """Draw one sample.

        Raises:
            Unanswered: there is no text in the reply.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        path, body, prefix = task.payload
        if path == "opinion":
            reply = await self.endpoint.chat(body)
            return Answer(_belief(reply), _sent(reply), _tokens(reply, ()))
        if path == "/chat/completions":
            reply = await self.endpoint.chat(body)
        else:
            reply = await self.endpoint.post(
                path, body if path.startswith("//") else {"model": self.endpoint.model, **body}
            )
        if path == "//apply-template":
            return Answer({"text": str(reply.get("prompt", "")), "finish": "stop", "tokens": 0, "logprob": None})
        sample = _read(reply, prefix)
        value: JSON = {"text": sample.text, "finish": sample.finish, "tokens": sample.tokens, "logprob": sample.logprob}
        return Answer(value, _sent(reply), sample.tokens)


@dataclass(frozen=True)
class Continuer:
    """A sampler and the way in which its endpoint goes on with a beginning. Made by `find_way`."""

    sampler: Sampler
    way: Way
    echoes: bool = False

    def onward(
        self,
        messages: Sequence[Message],
        prefix: str,
        index: int,
        max_tokens: int,
        *,
        rendered: str = "",
        stop: Sequence[str] = (),
    ) -> Task:
        """The task of drawing sample ``index`` of how an answer that begins with ``prefix`` goes on.

        Args:
            messages: the request.
            prefix: how the answer begins; may be empty.
            index: which sample.
            max_tokens: of the continuation.
            rendered: the request as one text, for the way through ``/completions``.
            stop: strings at which to stop.
        """
        body: dict[str, Any] = {"max_tokens": max_tokens, "logprobs": True, **self.sampler._drawn(index, None)}
        if stop:
            body["stop"] = list(stop)
        if self.way == "completions":
            body |= {"prompt": rendered + prefix, "logprobs": 1}
            return Task(["completions", body], ("/completions", body, ""))
        body["messages"] = [*messages, {"role": "assistant", "content": prefix}] if prefix else list(messages)
        if prefix and self.way == "chat":
            body |= _CONTINUE
        return Task([self.way, body], ("/chat/completions", body, prefix if self.echoes else ""))

    async def rendered(self, messages: Sequence[Message], ask: Ask) -> str:
        """The request as one text up to where the answer begins; empty when the way needs none.

        Raises:
            Unanswered: the server cannot say, and no template was given.
        """
        if self.way != "completions":
            return ""
        if self.sampler.template is not None:
            return self.sampler.template.replace("{prompt}", "\n\n".join(message["content"] for message in messages))
        body: Any = {"messages": list(messages)}
        try:
            return Sample.of(await ask(Task(["template", body], ("//apply-template", body, "")))).text
        except (Unanswered, EndpointError) as trouble:
            raise Unanswered(f"it does not render chat templates ({trouble})") from None


async def find_way(sampler: Sampler, ask: Ask) -> Continuer:
    """Find out how an endpoint goes on with a beginning: chat with a continued assistant message, or completions.

    Raises:
        EndpointError: it does not, in any way that is known.
    """
    request: list[Message] = [{"role": "user", "content": "Name the days of the week in order, in one sentence."}]
    reasons: list[str] = []
    ways: tuple[Way, ...] = ("chat", "chat_plain", "completions")
    for way in ways:
        continuer = Continuer(sampler, way)
        try:
            rendered = await continuer.rendered(request, ask)
            task = continuer.onward(request, _PROBE, 0, 12, rendered=rendered)
            said = Sample.of(await ask(task)).text
        except (Unanswered, EndpointError) as trouble:
            if isinstance(trouble, EndpointError) and way != "completions":
                raise  # a wrong key or model is no matter of how to go on
            reasons.append(f"{way}: {trouble}")
            continue
        if said.startswith(_PROBE_GOES_ON):
            return continuer
        if said.startswith(_PROBE + _PROBE_GOES_ON):
            return Continuer(sampler, way, echoes=True)
        reasons.append(f"{way}: it began anew with {' '.join(said.split())[:60]!r}")
    raise _cannot(sampler, "; ".join(reasons))


def _cannot(sampler: Sampler, why: str) -> EndpointError:
    return EndpointError(
        f"{sampler.endpoint.base_url} does not go on with a given beginning, which tree search needs ({why}). Use a "
        "server that does (llama.cpp, vLLM, SGLang), pass template= (--template) for one with /completions, or use "
        "rejection sampling (--method rs)"
    )


def _read(reply: object, prefix: str) -> Sample:
    """The text of a reply, chat or completion.

    Raises:
        Unanswered: there is none.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unanswered("the reply has no choices")
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = choice.get("text", message.get("content"))
    finish = str(choice.get("finish_reason") or "stop")
    if message.get("refusal") or finish == "content_filter":
        return Sample("", "refused", _tokens(reply, ()))
    if not isinstance(text, str):
        raise Unanswered("the reply holds no text")
    if prefix:
        if not text.startswith(prefix):
            raise Unanswered("not a continuation: the reply does not begin with what was given")
        text = text[len(prefix) :]
    logprobs = _logprobs(choice)
    total = sum(logprobs) if logprobs else None
    return Sample(text, "length" if finish == "length" else "stop", _tokens(reply, logprobs), total)


def read_opinion(answer: Answer) -> float:
    """How sure the model is that its response is right, 0 to 1."""
    return float(answer.value)  # type: ignore[arg-type] # written by _belief()


def _belief(reply: object) -> float:
    """P(yes) / (P(yes) + P(no)) over the first token, or 1 and 0 by the word where there are no log-probabilities.

    Raises:
        Unanswered: the model says neither.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    given = choice.get("logprobs")
    content = given.get("content") if isinstance(given, dict) else None
    weights = {"yes": 0.0, "no": 0.0}
    first = content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else {}
    for token in first.get("top_logprobs") or ():
        word, logprob = str(token.get("token", "")).strip().lower(), token.get("logprob")
        if word in weights and isinstance(logprob, int | float):
            weights[word] += math.exp(min(0.0, logprob))
    if total := sum(weights.values()):
        return weights["yes"] / total
    message = choice.get("message")
    said = str(message.get("content") or "") if isinstance(message, dict) else ""
    word = said.strip().lower().rstrip(".!,")
    if word in weights:
        return float(word == "yes")
    raise Unanswered(f"no opinion: neither yes nor no in {said[:40]!r}")


def _sent(reply: Mapping[str, Any]) -> int:
    usage = reply.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def _tokens(reply: Any, logprobs: Sequence[float]) -> int:  # noqa: ANN401 - a decoded reply
    usage = reply.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) and count >= 0 else len(logprobs)


def _logprobs(choice: Mapping[str, Any]) -> list[float]:
    """Log-probabilities of the tokens, in the shape of chat or of completions."""
    given = choice.get("logprobs")
    given = given if isinstance(given, dict) else {}
    content = given.get("content")
    values = (
        [token.get("logprob") for token in content if isinstance(token, dict)]
        if isinstance(content, list)
        else (given.get("token_logprobs") or [])
    )
    return [float(value) for value in values if isinstance(value, int | float)]

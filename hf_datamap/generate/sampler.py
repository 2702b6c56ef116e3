"""`Sampler`: text from an OpenAI-compatible endpoint, whole answers and continuations of a given prefix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hf_datamap.data.example import Message
from hf_datamap.engine.adaptations import recorded_adaptations
from hf_datamap.engine.endpoint import Endpoint, EndpointAnswerer
from hf_datamap.engine.reply import read_completion, split_thoughts
from hf_datamap.engine.task import JSON, Answer, Ask, Task
from hf_datamap.engine.token_counts import tokens_used
from hf_datamap.errors import EndpointError, GenerateError, Unanswered

_VERSION: Final = 1
_WHOLE: Final = "answer"  # in place of a path: a whole answer, whose thoughts are kept apart from it
#: A prefix that every language model continues in the same way, inside a word.
_PROBE: Final = "The days of the week are Monday, Tuesday, Wed"
_PROBE_CONTINUATION: Final = "nes"
#: Tells vLLM and SGLang to continue the last message. llama.cpp does so by itself and ignores these fields.
_CONTINUE_MESSAGE: Final = {"continue_final_message": True, "add_generation_prompt": False}

#: Asks the model to evaluate its own response. The paper's wording is not in the public record; this one is ours.
_SELF_EVALUATION: Final = (
    "Request:\n{request}\n\nResponse:\n{response}\n\nDoes the response do everything that the request asks for? "
    "Answer with one word, Yes or No."
)

#: How an endpoint continues a prefix: chat with the fields above, chat without them, or text completion.
ContinuationMode = Literal["chat", "chat_plain", "completions"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled text.

    Attributes:
        text: what the model wrote, without the prefix that it was given.
        finish: ``stop``; ``length`` when it ran out of tokens; ``refused`` for a refusal or a content filter.
        tokens: how many tokens it has, as the endpoint counts them.
        logprob: sum of the log-probabilities of its tokens; None when the endpoint gives none or was not asked.
    """

    text: str
    finish: str
    tokens: int = 0
    logprob: float | None = None

    @classmethod
    def from_answer(cls, answer: Answer) -> Sample:
        """Read an answer of `Sampler.answer`."""
        value = answer.value
        if not isinstance(value, Mapping):
            raise Unanswered("the stored answer is no sample")
        return cls(str(value["text"]), str(value["finish"]), int(value["tokens"]), value["logprob"])  # type: ignore[arg-type] # written by answer()


class Sampler(EndpointAnswerer):
    """Draws samples from a model. The engine stores, retries and budgets each of them.

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
        template: how a chat is written as one text, with ``{prompt}`` in it; for endpoints that continue a prefix only
            through ``/completions``. The server is asked by default (llama.cpp's ``/apply-template``).

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

    def __repr__(self) -> str:
        return f"Sampler({self.endpoint.model!r}, base_url={self.endpoint.base_url!r}, seed={self.seed})"

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

    def settings(self) -> dict[str, JSON]:
        """Return the identity as it was sent: null for a parameter that the endpoint does not take."""
        sent_otherwise = recorded_adaptations(self)
        sent = {name: value for name, value in sent_otherwise.items() if name in self.identity}
        return {**self.identity, **sent, **({"sent_otherwise": dict(sent_otherwise)} if sent_otherwise else {})}

    def answer_task(
        self, messages: Sequence[Message], index: int, max_tokens: int, *, temperature: float | None = None
    ) -> Task:
        """Return the task of drawing sample ``index`` of a whole answer to ``messages``."""
        sampling = self.sampling_fields(index, temperature)
        body: dict[str, Any] = {"messages": list(messages), "max_tokens": max_tokens, **sampling}
        return Task(["chat", body], (_WHOLE, body, ""))

    def self_evaluation_task(self, messages: Sequence[Message], response: str) -> Task:
        """Return the task of asking the model whether its own ``response`` does what ``messages`` ask for."""
        request = "\n\n".join(message["content"] for message in messages)
        question = _SELF_EVALUATION.format(request=request, response=response)
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 1,
            "temperature": 0.0,
            "seed": self.seed,
            "logprobs": True,
            "top_logprobs": 20,
        }
        return Task(["opinion", body], ("opinion", body, ""))

    def sampling_fields(self, index: int, temperature: float | None = None) -> dict[str, Any]:
        """Return the fields of a request that decide which sample is drawn."""
        temperature = self.temperature if temperature is None else temperature
        return {"temperature": temperature, "top_p": self.top_p, "seed": self.seed + index}

    async def answer(self, task: Task) -> Answer:
        """Draw one sample, or do what else the path of the task says.

        Raises:
            Unanswered: there is no text in the reply.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        path, body, prefix = task.payload
        if path == "opinion":
            reply = await self.endpoint.chat(body)
            return Answer(_probability_of_yes(reply), *tokens_used(reply))
        if path in (_WHOLE, "/chat/completions"):
            reply = await self.endpoint.chat(body)
        else:
            reply = await self.endpoint.post(path, body if path.startswith("//") else self.endpoint.adapted(body))
        if path == "//apply-template":
            return Answer({"text": str(reply.get("prompt", "")), "finish": "stop", "tokens": 0, "logprob": None})
        sample = _read_sample(reply, prefix, whole=path == _WHOLE)
        value: JSON = {"text": sample.text, "finish": sample.finish, "tokens": sample.tokens, "logprob": sample.logprob}
        return Answer(value, tokens_used(reply)[0], sample.tokens)


@dataclass(frozen=True)
class ContinuationSampler:
    """Draws continuations of a prefix. Made by `detect_continuation`.

    Attributes:
        sampler: the model.
        mode: how its endpoint continues a prefix.
        echoes: whether the endpoint repeats the prefix before the continuation (llama.cpp does).
    """

    sampler: Sampler
    mode: ContinuationMode
    echoes: bool = False

    def continuation_task(
        self,
        messages: Sequence[Message],
        prefix: str,
        index: int,
        max_tokens: int,
        *,
        rendered: str = "",
        stop: Sequence[str] = (),
    ) -> Task:
        """Return the task of drawing sample ``index`` of the continuations of ``prefix``.

        Args:
            messages: the request.
            prefix: the beginning of the answer; may be empty.
            index: which sample.
            max_tokens: of the continuation.
            rendered: the request as one text; needed in the mode ``completions``.
            stop: strings at which to stop.
        """
        body: dict[str, Any] = {"max_tokens": max_tokens, "logprobs": True, **self.sampler.sampling_fields(index)}
        if stop:
            body["stop"] = list(stop)
        if self.mode == "completions":
            body |= {"prompt": rendered + prefix, "logprobs": 1}
            return Task(["completions", body], ("/completions", body, ""))
        body["messages"] = [*messages, {"role": "assistant", "content": prefix}] if prefix else list(messages)
        if prefix and self.mode == "chat":
            body |= _CONTINUE_MESSAGE
        return Task([self.mode, body], ("/chat/completions", body, prefix if self.echoes else ""))

    async def render(self, messages: Sequence[Message], ask: Ask) -> str:
        """Return the request as one text up to where the answer begins; empty when the mode needs none.

        Raises:
            Unanswered: the server does not render chats, and no template was given.
        """
        if self.mode != "completions":
            return ""
        if self.sampler.template is not None:
            return self.sampler.template.replace("{prompt}", "\n\n".join(message["content"] for message in messages))
        body: Any = {"messages": list(messages)}
        try:
            return Sample.from_answer(await ask(Task(["template", body], ("//apply-template", body, "")))).text
        except (Unanswered, EndpointError) as trouble:
            raise Unanswered(f"it does not render chat templates ({trouble})") from None


async def detect_continuation(sampler: Sampler, ask: Ask) -> ContinuationSampler:
    """Find out how an endpoint continues a prefix: chat with a continued assistant message, or completions.

    Raises:
        EndpointError: it does so in no mode that is known.
    """
    request: list[Message] = [{"role": "user", "content": "Name the days of the week in order, in one sentence."}]
    reasons: list[str] = []
    modes: tuple[ContinuationMode, ...] = ("chat", "chat_plain", "completions")
    for mode in modes:
        continuation_sampler = ContinuationSampler(sampler, mode)
        try:
            rendered = await continuation_sampler.render(request, ask)
            task = continuation_sampler.continuation_task(request, _PROBE, 0, 12, rendered=rendered)
            text = Sample.from_answer(await ask(task)).text
        except (Unanswered, EndpointError) as trouble:
            if isinstance(trouble, EndpointError) and mode != "completions":
                raise  # a wrong key or model fails in every mode
            reasons.append(f"{mode}: {trouble}")
            continue
        if text.startswith(_PROBE_CONTINUATION):
            return continuation_sampler
        if text.startswith(_PROBE + _PROBE_CONTINUATION):
            return ContinuationSampler(sampler, mode, echoes=True)
        reasons.append(f"{mode}: it began anew with {' '.join(text.split())[:60]!r}")
    raise _cannot_continue(sampler, "; ".join(reasons))


def _cannot_continue(sampler: Sampler, why: str) -> EndpointError:
    return EndpointError(
        f"{sampler.endpoint.base_url} does not go on with a given beginning, which tree search needs ({why}). Use a "
        "server that does (llama.cpp, vLLM, SGLang), pass template= (--template) for one with /completions, or use "
        "rejection sampling (--method rs)"
    )


def _read_sample(reply: Mapping[str, Any], prefix: str, *, whole: bool) -> Sample:
    """Read the sample of a reply, chat or completion.

    Args:
        reply: the decoded reply.
        prefix: what the reply repeats before it goes on.
        whole: whether it is a whole answer, of which thoughts are no part; a continuation is taken as it stands.

    Raises:
        Unanswered: the reply has no answer (thoughts alone are none), or does not begin with ``prefix``.
    """
    completion = read_completion(reply)
    spent = tokens_used(reply)
    if completion.refusal or completion.finish == "content_filter":
        return Sample("", "refused", spent[1])
    text = completion.content
    if whole and split_thoughts(text)[0]:
        text = completion.text
    if not text and completion.thoughts:
        raise Unanswered(completion.problem, spent)
    if prefix:
        if not text.startswith(prefix):
            raise Unanswered("not a continuation: the reply does not begin with what was given", spent)
        text = text[len(prefix) :]
    logprobs = _logprobs(reply["choices"][0])
    total = sum(logprobs) if logprobs else None
    finish = "length" if completion.finish == "length" else "stop"
    return Sample(text, finish, _output_tokens(reply, logprobs), total)


def read_self_evaluation(answer: Answer) -> float:
    """Return how sure the model is that its response does what was asked, 0 to 1."""
    return float(answer.value)  # type: ignore[arg-type] # written by _probability_of_yes()


def _probability_of_yes(reply: object) -> float:
    """Return P(yes) / (P(yes) + P(no)) over the first token; 1 or 0 by the word where there are no log-probabilities.

    Raises:
        Unanswered: the model says neither.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    weights = {"yes": 0.0, "no": 0.0}
    first = content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else {}
    for token in first.get("top_logprobs") or ():
        word, logprob = str(token.get("token", "")).strip().lower(), token.get("logprob")
        if word in weights and isinstance(logprob, int | float):
            weights[word] += math.exp(min(0.0, logprob))
    if total := sum(weights.values()):
        return weights["yes"] / total
    message = choice.get("message")
    text = str(message.get("content") or "") if isinstance(message, dict) else ""
    word = text.strip().lower().rstrip(".!,")
    if word in weights:
        return float(word == "yes")
    raise Unanswered(f"no opinion: neither yes nor no in {text[:40]!r}")


def _output_tokens(reply: Mapping[str, Any], logprobs: Sequence[float]) -> int:
    return tokens_used(reply)[1] or len(logprobs)


def _logprobs(choice: Mapping[str, Any]) -> list[float]:
    """Return the log-probabilities of the tokens, from the shape of chat or of completions."""
    logprobs = choice.get("logprobs")
    logprobs = logprobs if isinstance(logprobs, dict) else {}
    content = logprobs.get("content")
    values = (
        [token.get("logprob") for token in content if isinstance(token, dict)]
        if isinstance(content, list)
        else (logprobs.get("token_logprobs") or [])
    )
    return [float(value) for value in values if isinstance(value, int | float)]

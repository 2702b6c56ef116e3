"""`LLMJudge`: a language model behind any OpenAI-compatible endpoint scores responses."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from hf_datamap.data.example import Example, Message
from hf_datamap.data.layout import Layout
from hf_datamap.engine.endpoint import Endpoint, EndpointAnswerer
from hf_datamap.engine.reply import read_completion
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.engine.token_counts import tokens_used
from hf_datamap.errors import ScorerError, Unanswered
from hf_datamap.scorers.base import Scorer, has_text
from hf_datamap.scorers.canary import CanaryRecord, canary_of, score_of
from hf_datamap.scorers.fence import fence_secret
from hf_datamap.scorers.images import TOKENS as IMAGE_TOKENS
from hf_datamap.scorers.images import image_parts, images_of
from hf_datamap.scorers.judge_prompt import LISTWISE, POINTWISE, JudgeForm, ask, tokens_of
from hf_datamap.scorers.judge_reply import read_verdicts, response_format
from hf_datamap.scorers.rubrics import Rubric, rubric_of
from hf_datamap.scorers.writers import RubricWriter

log = logging.getLogger(__name__)

_EMPTY: Final = "empty response"
_REASONING: Final = re.compile(r"(^|/)(o[1-9]|gpt-5|gpt-oss|deepseek-r|qwq|magistral)|reason|think", re.IGNORECASE)
_NUMBERS_ONLY, _WITH_WORDS, _WITH_THOUGHTS = 256, 2048, 8192  # tokens that a judge may write by default


@dataclass(slots=True)
class JudgeRequest:
    """What one request asks about: the payload of a task.

    Attributes:
        prompt: the conversation.
        responses: the responses that it shows, in that order.
        references: reference answers that it shows.
        sample: which of several judgements of the same.
        rubric: what matters for this conversation in particular.
        messages: the request's messages, written by the first who needs them (the estimate or the request itself).
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    references: tuple[str, ...]
    sample: int
    rubric: str = ""
    messages: list[Message] | None = field(default=None, compare=False)


@dataclass(slots=True)
class JudgeRecord:
    """What a judge has seen of its endpoint on the way.

    Attributes:
        scored: scores for which log-probabilities were asked.
        without_noise: those without usable ones, by reason.
        canaries: how far planted words moved it.
    """

    scored: int = 0
    without_noise: Counter[str] = field(default_factory=Counter)
    canaries: CanaryRecord = field(default_factory=CanaryRecord)


class LLMJudge(EndpointAnswerer, Scorer):
    """Scores each response on a scale of 1 to 10, by itself (pointwise) or beside the others (listwise).

    Pointwise judgements know no position effects. Where the endpoint gives log-probabilities such a score is the
    expectation over the scale (as in G-Eval, Liu et al. 2023, section 2.3) and the variance of that distribution is the
    noise; otherwise it is the number that the model wrote.

    Listwise, all responses to a prompt are scored in one request, in an order made by a hash of their texts; with
    ``orders`` above 1 in several (the second is the reverse of the first), the score is the mean, and what differs
    between orders is noise.

    Args:
        model: model name, as the endpoint spells it.
        base_url: endpoint, for example ``http://localhost:8000/v1``; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        max_in_flight: greatest number of concurrent requests of this process.
        samples: judgements per response. Above 1 they are drawn at temperature 1 (unless ``temperature`` says
            otherwise), the score is their mean, and the noise is the variance of that mean.
        rubric_column: path of a text, or of a list of criteria, that says what matters for the row's own prompt; the
            judge is shown it beside the rubric.
        rubric_writer: who writes that for rows without: a `RubricWriter`, or a model name for one at the same endpoint.
            Written once per prompt, and kept.
        scale: the lowest and the highest score. Where a model's tokenizer splits "10" into digits, log-probabilities
            tell less of a scale to 10 than of one to 9.
        rubric: name of a rubric (`hf_datamap.scorers.rubrics.RUBRICS`), a file, a `Rubric` of your own, or its text.
        mode: ``pointwise`` or ``listwise``.
        orders: orders in which a listwise judge sees the responses.
        rationales: whether to ask for reasons, and add them as ``datamap_rationales``.
        canary: whether to judge one response of every twentieth row twice more, with words planted at its end that ask
            for a high score and with neutral ones of the same length. The difference says how far the judge can be
            steered; the provenance tells it.
        logprobs: whether to ask for log-probabilities (pointwise, with a rubric that has no criteria).
        temperature: sampling temperature; 0 for one sample, 1 for several by default.
        reasoning_effort: passed to reasoning models that know it (``low``, ``medium``, ``high``).
        max_tokens: tokens that the model may write, its thoughts included; by default 256 for numbers, 2,048 with
            rationales, 8,192 for reasoning models (told by ``reasoning_effort`` or the model's name), and more where a
            request asks for many numbers or reasons.
        vision: whether the model sees the images of prompts: they are sent as content parts, 5 MiB each at most.
        image_urls: whether the URLs of images that are not in the data are passed on, for the endpoint to fetch.
        text_only: whether prompts with images are judged by their text alone; else such data is refused.
        timeout: seconds until a request counts as lost.
        max_retries: how often a request is repeated after 5xx, resets and timeouts (429 has more patience).

    Raises:
        ScorerError: an option is out of range, or the rubric is unknown.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_in_flight: int = 64,
        samples: int = 1,
        rubric: str | Rubric = "helpfulness",
        rubric_column: str | None = None,
        rubric_writer: RubricWriter | str | None = None,
        scale: tuple[int, int] = (1, 10),
        mode: str = "pointwise",
        orders: int = 1,
        rationales: bool = False,
        canary: bool = False,
        logprobs: bool = True,
        temperature: float | None = None,
        reasoning_effort: str | None = None,
        vision: bool = False,
        image_urls: bool = False,
        text_only: bool = False,
        max_tokens: int | None = None,
        timeout: float = 300.0,
        max_retries: int = 6,
    ) -> None:
        self._grows = max_tokens is None
        if max_tokens is None:
            max_tokens = default_max_tokens(model, reasoning_effort=reasoning_effort, rationales=rationales)
        checked_counts(max_in_flight=max_in_flight, samples=samples, orders=orders, max_tokens=max_tokens)
        checked_counts(0, max_retries=max_retries)
        if mode not in ("pointwise", "listwise"):
            raise ScorerError(f"mode must be 'pointwise' or 'listwise', not {mode!r}")
        if orders > 1 and mode == "pointwise":
            raise ScorerError("a pointwise judge sees one response at a time: orders= is for mode='listwise'")
        low, high = _checked_scale(scale)
        self.endpoint = self._endpoint(model, base_url, api_key, timeout)
        self.max_in_flight = max_in_flight
        self.max_retries = max_retries
        self.samples, self.orders, self.first_order = samples, orders, 0
        self.rubric = rubric_of(rubric)
        self.scale = low, high
        self.rubric_column = rubric_column
        if isinstance(rubric_writer, str):
            rubric_writer = RubricWriter(rubric_writer, base_url=base_url, api_key=api_key, timeout=timeout)
        self.rubric_writer = rubric_writer
        self.listwise = mode == "listwise"
        self.rationales = rationales
        self.canary = canary
        self.vision, self.image_urls, self.text_only = vision, image_urls, text_only
        self.logprobs = logprobs and not self.listwise and not self.rubric.criteria
        self.temperature = (0.0 if samples == 1 else 1.0) if temperature is None else float(temperature)
        self.reasoning_effort = reasoning_effort
        self.max_tokens = max_tokens
        self._observed = JudgeRecord()

    def __getstate__(self) -> dict[str, Any]:
        # What was observed on the way is no part of the judge: its pickle is its fingerprint.
        return {name: value for name, value in self.__dict__.items() if name != "_observed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._observed = JudgeRecord()

    def _endpoint(self, model: str, base_url: str | None, api_key: str | None, timeout: float) -> Endpoint:
        return Endpoint(model, base_url=base_url, api_key=api_key, timeout=timeout)

    @property
    def model(self) -> str:
        """The judge's model name."""
        return self.endpoint.model

    @property
    def identity(self) -> dict[str, JSON]:
        """What a judgement depends on; without run-time knobs (concurrency, timeouts, number of samples and orders)."""
        identity: dict[str, JSON] = {
            "kind": "judge",
            **self.endpoint.identity,
            "prompt": LISTWISE if self.listwise else POINTWISE,
            "rubric": self.rubric.name,
            "rubric_digest": self.rubric.digest,
            "scale": list(self.scale),
            "temperature": self.temperature,
            "logprobs": self.logprobs,
            "max_tokens": self.max_tokens,
        }
        if self.rationales:
            identity["rationales"] = True
        if self.vision:
            identity["vision"] = True
        if self.per_prompt:
            identity["rubric_per_prompt"] = True
        if self.rubric_writer is not None:
            identity["rubric_writer"] = self.rubric_writer.identity  # what it writes is no part of the question itself
        if self.reasoning_effort is not None:
            identity["reasoning_effort"] = self.reasoning_effort
        return identity

    @property
    def per_prompt(self) -> bool:
        """Whether each prompt has a rubric of its own."""
        return self.rubric_column is not None or self.rubric_writer is not None

    def read_with(self, layout: Layout) -> Layout:
        """Return the layout that reads the rubrics from the column asked for."""
        return layout if self.rubric_column is None else layout.but(rubric=self.rubric_column)

    def swapped(self) -> Self | None:
        """The same judge with responses the other way round; None for a pointwise one, which sees one at a time."""
        if not self.listwise:
            return None
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | {"first_order": self.first_order + 1})
        return other

    def tasks(self, example: Example) -> list[Task]:
        """One task per response (or order) and sample; an empty response is not worth a request."""
        if self._lacking(example):
            return []
        return [*self._judgements(example), *self._canary_tasks(example)]

    def _judgements(self, example: Example) -> list[Task]:
        references = tuple(example.references) if self.rubric.reference else ()
        prompt = [[message["role"], message["content"]] for message in example.prompt]
        tasks = []
        for shown in self._shown(example):
            about: JSON = list(shown) if self.listwise else shown[0]
            for sample in range(self.samples):
                content: list[JSON] = [prompt, about, sample, *([list(references)] if references else [])]
                if self.vision and (images := images_of(example.prompt)):
                    content.append({"images": [image.digest for image in images]})
                request = JudgeRequest(example.prompt, shown, references, sample, example.rubric)
                if not self.per_prompt:
                    request.rubric = ""
                elif example.rubric:
                    content.append({"rubric": example.rubric})
                tasks.append(Task(content, request, after=self._written_first(example)))
        return tasks

    def _canary_tasks(self, example: Example) -> list[Task]:
        """Two tasks more for a row with a canary: one response with planted words, and with neutral ones."""
        canary = canary_of(example, self._texts(example)) if self.canary else None
        if canary is None:
            return []
        tasks = []
        for text, planted in ((canary.planted, True), (canary.control, False)):
            judgements = self._judgements(canary.variant(example, planted=planted))
            tasks.append(next(task for task in judgements if text in task.payload.responses))
        return tasks

    def _note_canary(self, example: Example, answers: Sequence[Answer | str]) -> None:
        """Remember what the answers to `_canary_tasks` say; a failed one says nothing."""
        canary = canary_of(example, self._texts(example))
        if canary is None or any(isinstance(answer, str) for answer in answers):
            return
        planted, control = (
            score_of(answer.value, text, task.payload.responses, listwise=self.listwise)
            for answer, text, task in zip(
                answers, (canary.planted, canary.control), self._canary_tasks(example), strict=True
            )
            if not isinstance(answer, str)
        )
        self._observed.canaries.pairs.append((planted, control))

    def _written_first(self, example: Example) -> Task | None:
        """The task of writing the rubric that the row lacks."""
        return None if self.rubric_writer is None or example.rubric else self.rubric_writer.task(example.prompt)

    def _lacking(self, example: Example) -> str:
        """What a row lacks that the judge must be shown."""
        if self.rubric.reference and not example.references:
            return "no reference answer"
        if self.per_prompt and self.rubric_writer is None and not example.rubric:
            return f"no rubric in {self.rubric_column!r}"
        return ""

    async def answer(self, task: Task) -> Answer:
        """Ask for one judgement.

        Raises:
            Unanswered: refused, truncated, outside the scale, or nonsense.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        request: JudgeRequest = task.payload
        if task.given is not None:
            request = replace(request, rubric=str(task.given.value), messages=None)
        return self.read(await self.endpoint.chat(self.body(request)), request)

    def read(self, completion: Mapping[str, Any], request: JudgeRequest) -> Answer:
        """Turn a completion into an answer.

        Raises:
            Unanswered: refused, truncated, outside the scale, or nonsense.
        """
        judged = (
            *(message["content"] for message in request.prompt),
            *request.references,
            *request.responses,
            request.rubric,
        )
        try:
            verdicts = read_verdicts(read_completion(completion), self._form(request), judged)
        except Unanswered as trouble:
            trouble.spent = tokens_used(completion)  # paid for all the same
            raise
        return Answer(verdicts if self.listwise else verdicts[0], *tokens_used(completion))

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """The request for one judgement, without the model's name."""
        body: dict[str, Any] = {
            "messages": self._with_images(request),
            "temperature": self.temperature,
            "max_tokens": self._room(len(request.responses)),
            "response_format": response_format(self._form(request)),
        }
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 20}
        if self.reasoning_effort is not None:
            body["reasoning_effort"] = self.reasoning_effort
        if request.sample:
            body["seed"] = request.sample
        return body

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Average the samples and orders of each response."""
        if lacking := self._lacking(example):
            return [Score(None, lacking)] * len(example.responses)
        judged: dict[str, list[Mapping[str, Any] | str]] = {}
        remaining = iter(answers)
        for shown in self._shown(example):
            for answer in [next(remaining) for _ in range(self.samples)]:
                value: Any = answer if isinstance(answer, str) else answer.value
                for place, text in enumerate(shown):
                    verdict = value if isinstance(value, str) or not self.listwise else value[place]
                    judged.setdefault(text, []).append(verdict)
        if self.canary:
            self._note_canary(example, list(remaining))
        if self.logprobs and self.samples == 1:
            self._note_noise(judged)
        return [
            _reduce(judged[response]) if response is not None and has_text(response) else Score(None, _EMPTY)
            for response in example.responses
        ]

    def _note_noise(self, judged: Mapping[str, Sequence[Mapping[str, Any] | str]]) -> None:
        """Count the scores whose log-probabilities were not to be had or read, and say so once."""
        for verdict in (verdict for verdicts in judged.values() for verdict in verdicts):
            if isinstance(verdict, str):
                continue
            self._observed.scored += 1
            if reason := verdict.get("no_noise"):
                if not self._observed.without_noise:
                    log.warning(
                        "judge %s: %s; such a score is the number as written, and its noise stays null",
                        self.model,
                        reason,
                    )
                self._observed.without_noise[str(reason)] += 1

    def provenance(self) -> dict[str, Any]:
        """How far planted words moved the judge, and why scores have no noise although it was asked for."""
        record: dict[str, Any] = {}
        if without_noise := self._observed.without_noise:
            record["noise_unknown"] = {"of": self._observed.scored, **dict(without_noise.most_common())}
        if canary := self._observed.canaries.summary():
            record["canary"] = canary
        return record

    def check(self) -> None:
        """See `hf_datamap.engine.task.Answerer.check`."""
        super().check()
        if self.rubric_writer is not None:
            self.rubric_writer.check()

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await super().close()
        if self.rubric_writer is not None:
            await self.rubric_writer.close()

    def estimate(self, task: Task) -> tuple[int, int]:
        """Roughly how many tokens a task sends and receives (see `tokens_of`; ours)."""
        request: JudgeRequest = task.payload
        written = len(request.responses) * (8 * len(self.rubric.fields) + (60 if self.rationales else 0))
        images = len(images_of(request.prompt)) * IMAGE_TOKENS if self.vision else 0
        return tokens_of(self._messages(request)) + images, min(self._room(len(request.responses)), written)

    def _room(self, responses: int) -> int:
        """Tokens that the answer to one request may take: a cap, so twice what is usual."""
        if not self._grows:
            return self.max_tokens
        numbers = 16 * len(self.rubric.fields) * responses
        reasons = 160 * responses if self.rationales else 0
        return self.max_tokens + max(0, numbers - _NUMBERS_ONLY // 2) + max(0, reasons - _WITH_WORDS // 2)

    def _with_images(self, request: JudgeRequest) -> list[Any]:
        """The messages with the images of the prompt before the material, for a model that sees."""
        messages: list[Any] = self._messages(request)
        images = images_of(request.prompt) if self.vision else ()
        if not images:
            return messages
        system, user = messages
        text = {"type": "text", "text": f"These images belong to the conversation.\n\n{user['content']}"}
        return [system, {"role": "user", "content": [*image_parts(images, urls=self.image_urls), text]}]

    def _messages(self, request: JudgeRequest) -> list[Message]:
        if request.messages is None:
            form, secret = self._form(request), fence_secret()
            request.messages = ask(
                form,
                request.prompt,
                request.responses,
                references=request.references,
                own_rubric=request.rubric,
                secret=secret,
            )
        return request.messages

    def _form(self, request: JudgeRequest) -> JudgeForm:
        count = len(request.responses) if self.listwise else 0
        return JudgeForm(self.rubric, count, self.rationales, *self.scale)

    @staticmethod
    def _texts(example: Example) -> list[str]:
        return [response for response in example.responses if response is not None and has_text(response)]

    def _shown(self, example: Example) -> list[tuple[str, ...]]:
        """The responses of each request: one by one, or all, in every order; the same text once."""
        texts = self._texts(example)
        if not self.listwise:
            return [(text,) for text in texts]
        if not texts:
            return []
        distinct = list(dict.fromkeys(texts))
        orders = self.orders if len(distinct) > 1 else 1
        return [hash_order(example.prompt, distinct, self.first_order + number) for number in range(orders)]


def default_max_tokens(model: str, *, reasoning_effort: str | None = None, rationales: bool = False) -> int:
    """Tokens that a judge may write when nothing else is said: more with reasons, and for reasoning models."""
    if reasoning_effort is not None or _REASONING.search(str(model)):
        return _WITH_THOUGHTS
    return _WITH_WORDS if rationales else _NUMBERS_ONLY


def checked_counts(least: int = 1, /, **counts: object) -> None:
    """Check that options are whole numbers of at least ``least``.

    Raises:
        ScorerError: one is not.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ScorerError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _checked_scale(scale: tuple[int, int]) -> tuple[int, int]:
    """Return a scale of at least two whole numbers.

    Raises:
        ScorerError: it is something else.
    """
    try:
        low, high = (int(end) for end in scale)
    except (TypeError, ValueError):
        raise ScorerError(f"scale must be two whole numbers such as (1, 10), not {scale!r}") from None
    if not 0 <= low < high <= 100:
        raise ScorerError(f"scale must go from a lower to a higher number between 0 and 100, not {low} to {high}")
    return low, high


def hash_order(prompt: Sequence[Message], texts: Sequence[str], order: int) -> tuple[str, ...]:
    """Texts in an order that depends on nothing but their content; each odd order is the one before it reversed."""
    salt = hashlib.blake2b(f"{order // 2}".encode(), digest_size=16)
    for message in prompt:
        salt.update(f"{message['role']}\0{message['content']}\0".encode("utf-8", "replace"))
    key = salt.digest()
    shown = sorted(texts, key=lambda text: hashlib.blake2b(text.encode("utf-8", "replace"), key=key).digest())
    return tuple(reversed(shown) if order % 2 else shown)


def _reduce(judged: Sequence[Mapping[str, Any] | str]) -> Score:
    """The mean of the judgements of one response; the noise is the variance of that mean."""
    verdicts = [verdict for verdict in judged if isinstance(verdict, Mapping)]
    if not verdicts:
        return Score(None, next((error for error in judged if isinstance(error, str)), "no judgement"))
    values = [float(verdict["score"]) for verdict in verdicts]
    mean = math.fsum(values) / len(values)
    typical = min(verdicts, key=lambda verdict: abs(float(verdict["score"]) - mean))
    if len(values) > 1:
        noise: float | None = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    else:
        noise = None if verdicts[0].get("noise") is None else float(verdicts[0]["noise"])
    return Score(mean, noise=noise, rationale=typical.get("rationale"))

"""`PairwiseJudge`: a language model says which of two responses is better; strengths come out of a tournament."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hf_datamap.data.example import Example, Message
from hf_datamap.engine.endpoint import Endpoint, EndpointAnswerer
from hf_datamap.engine.reply import read_completion
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.engine.token_counts import tokens_used
from hf_datamap.errors import Unanswered
from hf_datamap.scorers.base import Scorer, has_text
from hf_datamap.scorers.bradley_terry import bradley_terry, components
from hf_datamap.scorers.fence import fence_secret
from hf_datamap.scorers.judge import checked_counts, default_max_tokens, hash_order
from hf_datamap.scorers.judge_prompt import PAIRWISE, ask_to_compare, tokens_of
from hf_datamap.scorers.judge_reply import read_winner
from hf_datamap.scorers.rubrics import Rubric, rubric_of

_STEP: Final = 2.0**-18  # log-odds
_WRITTEN: Final = 8  # tokens of a usual answer
_FORMAT: Final[Mapping[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "comparison",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"better": {"type": "string", "enum": ["1", "2", "tie"]}},
            "required": ["better"],
            "additionalProperties": False,
        },
    },
}


@dataclass(slots=True)
class PairRequest:
    """What one request compares: the payload of a task.

    Attributes:
        prompt: the conversation.
        pair: the two responses, in the order in which they are shown.
        references: reference answers that are shown.
        sample: which of several comparisons of the same.
        messages: the request's messages, written by the first who needs them.
    """

    prompt: tuple[Message, ...]
    pair: tuple[str, str]
    references: tuple[str, ...]
    sample: int
    messages: list[Message] | None = field(default=None, compare=False)


@dataclass(slots=True)
class PairRecord:
    """What a pairwise judge has seen of itself.

    Attributes:
        decided: comparisons that had a winner.
        first: those that the response shown first won.
        ties: comparisons without a winner.
        pairs: pairs that were compared in both orders.
        agreeing: those of them with the same verdict both times.
    """

    decided: int = 0
    first: int = 0
    ties: int = 0
    pairs: int = 0
    agreeing: int = 0


class PairwiseJudge(EndpointAnswerer, Scorer):
    """Scores the responses to a prompt by comparing them with each other, two at a time, each pair in both orders.

    Scores are Bradley-Terry strengths in log-odds (see `hf_datamap.scorers.bradley_terry`), the noise is the square of
    their standard error. They say how responses to one prompt differ; their mean over a prompt's responses is zero, so
    by themselves they tell nothing of how good the responses are as a whole: for a map with both axes put the judge on
    a `Panel` beside one that scores responses by themselves.

    Judges prefer what they see first (or last): each pair is shown in both orders, and the provenance says how often
    the first one won.

    Args:
        model: model name, as the endpoint spells it.
        base_url: endpoint, for example ``http://localhost:8000/v1``; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        comparisons: pairs that are compared per prompt; all of them by default. Fewer are taken so that everyone meets
            about as many others as everyone else, and never fewer than connect all responses.
        samples: how often each pair is compared in each order; above 1 at temperature 1 by default.
        rubric: what is better: name of a rubric, a file, a `Rubric` of your own, or its text.
        temperature: sampling temperature; 0 for one sample, 1 for several by default.
        reasoning_effort: passed to reasoning models that know it (``low``, ``medium``, ``high``).
        max_tokens: tokens that the model may write, its thoughts included; 256 by default, 8,192 for reasoning models.
        text_only: whether prompts with images are judged by their text alone; else such data is refused.
        max_in_flight: greatest number of concurrent requests of this process.
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
        comparisons: int | None = None,
        samples: int = 1,
        rubric: str | Rubric = "helpfulness",
        temperature: float | None = None,
        reasoning_effort: str | None = None,
        max_tokens: int | None = None,
        text_only: bool = False,
        max_in_flight: int = 64,
        timeout: float = 300.0,
        max_retries: int = 6,
    ) -> None:
        if max_tokens is None:
            max_tokens = default_max_tokens(model, reasoning_effort=reasoning_effort)
        checked_counts(
            max_in_flight=max_in_flight,
            samples=samples,
            max_tokens=max_tokens,
            comparisons=1 if comparisons is None else comparisons,
        )
        checked_counts(0, max_retries=max_retries)
        self.endpoint = Endpoint(model, base_url=base_url, api_key=api_key, timeout=timeout)
        self.comparisons, self.samples, self.rubric = comparisons, samples, rubric_of(rubric)
        self.temperature = (0.0 if samples == 1 else 1.0) if temperature is None else float(temperature)
        self.reasoning_effort, self.max_tokens = reasoning_effort, max_tokens
        self.max_in_flight, self.max_retries = max_in_flight, max_retries
        self.text_only = text_only
        self._record = PairRecord()

    def __getstate__(self) -> dict[str, Any]:
        # What was observed on the way is no part of the judge: its pickle is its fingerprint.
        return {name: value for name, value in self.__dict__.items() if name != "_record"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._record = PairRecord()

    @property
    def model(self) -> str:
        """The judge's model name."""
        return self.endpoint.model

    @property
    def identity(self) -> dict[str, JSON]:
        """What a comparison depends on; without run-time knobs (concurrency, timeouts, how many comparisons)."""
        identity: dict[str, JSON] = {
            "kind": "pairwise",
            **self.endpoint.identity,
            "prompt": PAIRWISE,
            "rubric": self.rubric.name,
            "rubric_digest": self.rubric.digest,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return identity | ({} if self.reasoning_effort is None else {"reasoning_effort": self.reasoning_effort})

    def tasks(self, example: Example) -> list[Task]:
        """One task per pair, order and sample; the same text is compared once."""
        if self.rubric.reference and not example.references:
            return []
        references = tuple(example.references) if self.rubric.reference else ()
        prompt = [[message["role"], message["content"]] for message in example.prompt]
        tasks = []
        for pair, sample in self._games(example):
            content: list[JSON] = [prompt, list(pair), sample, *([list(references)] if references else [])]
            tasks.append(Task(content, PairRequest(example.prompt, pair, references, sample)))
        return tasks

    async def answer(self, task: Task) -> Answer:
        """Ask for one comparison; the value is ``"1"``, ``"2"`` or ``"tie"``.

        Raises:
            Unanswered: refused, truncated, or no verdict.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        request: PairRequest = task.payload
        completion = await self.endpoint.chat(self.body(request))
        judged = (*(message["content"] for message in request.prompt), *request.references, *request.pair)
        try:
            winner = read_winner(read_completion(completion), judged)
        except Unanswered as trouble:
            trouble.spent = tokens_used(completion)  # paid for all the same
            raise
        return Answer(winner, *tokens_used(completion))

    def body(self, request: PairRequest) -> dict[str, Any]:
        """The request for one comparison, without the model's name."""
        body: dict[str, Any] = {
            "messages": self._messages(request),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "response_format": _FORMAT,
        }
        if self.reasoning_effort is not None:
            body["reasoning_effort"] = self.reasoning_effort
        if request.sample:
            body["seed"] = request.sample
        return body

    def estimate(self, task: Task) -> tuple[int, int]:
        """Roughly how many tokens a task sends and receives (see `tokens_of`)."""
        return tokens_of(self._messages(task.payload)), min(self.max_tokens, _WRITTEN)

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """Turn who beat whom into strengths, with their variances as noise."""
        if self.rubric.reference and not example.references:
            return [Score(None, "no reference answer")] * len(example.responses)
        texts = hash_order(example.prompt, _distinct(example), 0)
        places = {text: place for place, text in enumerate(texts)}
        wins = np.zeros((len(texts), len(texts)))
        verdicts: dict[tuple[int, int], list[str]] = {}
        reason = ""
        for (pair, _), answer in zip(self._games(example), answers, strict=True):
            first, second = (places[text] for text in pair)
            if isinstance(answer, str):
                reason = reason or answer
                continue
            winner = str(answer.value)
            share = {"1": 1.0, "2": 0.0}.get(winner, 0.5)
            wins[first, second] += share
            wins[second, first] += 1.0 - share
            verdicts.setdefault((first, second), []).append(winner)
        self._note(verdicts)
        scores = _scores(wins, reason)
        return [
            scores[places[response]] if response is not None and has_text(response) else Score(None, "empty response")
            for response in example.responses
        ]

    def provenance(self) -> dict[str, Any]:
        """How often the response that was shown first won, and how often both orders agree."""
        record = self._record
        if not record.decided and not record.ties:
            return {}
        return {
            "pairwise": {
                "comparisons": record.decided + record.ties,
                "ties": record.ties,
                "first_wins": round(record.first / record.decided, 4) if record.decided else None,
                "both_orders_agree": round(record.agreeing / record.pairs, 4) if record.pairs else None,
            }
        }

    def _note(self, verdicts: Mapping[tuple[int, int], Sequence[str]]) -> None:
        """Count how positions and verdicts go together."""
        record = self._record
        for (first, second), winners in verdicts.items():
            record.first += winners.count("1")
            record.decided += len(winners) - winners.count("tie")
            record.ties += winners.count("tie")
            turned = verdicts.get((second, first))
            if first < second and turned:
                record.pairs += 1
                record.agreeing += winners[0] == {"1": "2", "2": "1"}.get(turned[0], "tie")

    def _messages(self, request: PairRequest) -> list[Message]:
        if request.messages is None:
            request.messages = ask_to_compare(
                self.rubric, request.prompt, request.pair, references=request.references, secret=fence_secret()
            )
        return request.messages

    def _games(self, example: Example) -> list[tuple[tuple[str, str], int]]:
        """Every pair in both orders, with the number of each sample."""
        texts = list(hash_order(example.prompt, _distinct(example), 0))
        return [
            (pair, sample)
            for one, other in _pairs(texts, self.comparisons)
            for pair in ((one, other), (other, one))
            for sample in range(self.samples)
        ]


def _distinct(example: Example) -> list[str]:
    return list(dict.fromkeys(text for text in example.responses if text is not None and has_text(text)))


def _pairs(texts: Sequence[str], comparisons: int | None) -> list[tuple[str, str]]:
    """The pairs that are compared: all, or those of neighbours on a ring, then of the next but one, and so on."""
    count = len(texts)
    if comparisons is None or comparisons >= count * (count - 1) // 2:
        return list(itertools.combinations(texts, 2))
    ring = (
        tuple(sorted((place, (place + distance) % count)))
        for distance in range(1, count // 2 + 1)
        for place in range(count)
    )
    chosen = list(itertools.islice(dict.fromkeys(ring), max(comparisons, count - 1)))
    return [(texts[one], texts[other]) for one, other in chosen]


def _scores(wins: np.ndarray, reason: str) -> list[Score]:
    """Strengths of those who are connected by comparisons; the others have no score."""
    games = wins + wins.T
    groups = components(games)
    sizes = np.bincount(groups, minlength=len(groups)) if len(groups) else np.zeros(0, int)
    largest = int(sizes.argmax()) if len(sizes) else 0
    if len(wins) < 2 or sizes[largest] < 2:
        missing = Score(None, reason or "there is nothing to compare it with")
        return [missing] * len(wins)
    members = np.flatnonzero(groups == largest)
    strengths, variances = bradley_terry(wins[np.ix_(members, members)])
    # In steps that 32-bit floats hold exactly, so that their sum is exactly zero: a map shall see that all means tie.
    strengths = np.round(strengths / _STEP) * _STEP
    strengths[0] -= strengths.sum()
    scores = [Score(None, reason or "no comparison connects it with the others")] * len(wins)
    for place, strength, variance in zip(members, strengths, variances, strict=True):
        scores[place] = Score(float(strength), noise=float(variance))
    return scores

"""Prompts written by a model: new base prompts from seed prompts, and final wordings that keep every constraint."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hf_datamap.data.example import Constraint, Message
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.task import Ask
from hf_datamap.errors import GenerateError, Interrupted, Unanswered
from hf_datamap.generate.base_prompts import BasePrompt
from hf_datamap.generate.draft import Draft
from hf_datamap.generate.rejection import ask_about_all
from hf_datamap.generate.sampler import Sample, Sampler
from hf_datamap.generate.seed_prompts import SeedPrompt, strip_constraints
from hf_datamap.generate.templates import missing_constraints, word_constraint

_EXAMPLES_SHOWN: Final = 4  # seed prompts that a new request is modelled on
_REQUESTS_PER_BASE: Final = 1.5  # some replies are dropped as unusable or as duplicates
_MAX_TOKENS: Final = 512

#: Both prompts are ours: the paper's wording is not in the public record.
_NEW_REQUEST: Final = (
    "Here are some requests that people send to an assistant:\n\n{examples}\n\nWrite one new request of the same kind "
    "on a different subject. It must say what to write or answer, and nothing about length, format, letters, or "
    "words to use or avoid. Reply with the request only."
)
_FINAL_WORDING: Final = (
    "Write a request to an assistant that asks for this:\n\n{base}\n\nand demands all of the following:\n\n{rules}\n\n"
    "Word it naturally, as one person would. Keep every number, keyword, quoted phrase and comparison exactly as it "
    "is, leave nothing out and add no demand of your own. Reply with the request only."
)


@dataclass(repr=False)
class Writer:
    """A model that writes prompts.

    Args:
        sampler: the model.
        tries: how often a wording that loses a constraint is asked for again.
        budget: what may be spent in all.
        progress: whether to show a bar on stderr.
    """

    sampler: Sampler
    tries: int = 3
    budget: Budget | None = None
    progress: bool | None = None
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise GenerateError(f"tries must be at least 1, not {self.tries}")

    def __repr__(self) -> str:
        return f"Writer({self.sampler.endpoint.model!r}, tries={self.tries})"

    def base_prompts(self, seeds: Sequence[SeedPrompt], count: int, rng: random.Random) -> Iterator[BasePrompt]:
        """Yield new base prompts, each modelled on some seed prompts.

        Replies that state constraints are stripped of them; replies without a request are dropped.

        Args:
            seeds: the seed prompts.
            count: how many base prompts are needed. Half as many again are asked for.
            rng: decides which seed prompts each request shows.
        """
        requests = int(count * _REQUESTS_PER_BASE) + 1
        examples = [rng.sample(seeds, min(_EXAMPLES_SHOWN, len(seeds))) for _ in range(requests)]
        texts = [""] * len(examples)

        async def write(place: int, shown: Sequence[SeedPrompt], ask: Ask) -> None:
            listed = "\n".join(f"- {seed.text}" for seed in shown)
            texts[place] = await self._reply(_NEW_REQUEST.format(examples=listed), place, ask)

        ask_about_all(self.sampler, examples, write, budget=self.budget, usage=self.usage, progress=self.progress)
        for text, shown in zip(texts, examples, strict=True):
            request = strip_constraints(_without_wrapping(text))
            if request:
                yield BasePrompt(request, "+".join(seed.id for seed in shown))

    def final_wordings(self, drafts: Sequence[Draft], rng: random.Random) -> tuple[list[str], list[str]]:
        """Word each draft.

        Args:
            drafts: the prompts as drawn.
            rng: decides how the constraints are worded to the model.

        Returns:
            The wordings, and who wrote each: the name of the model, or ``template`` where every wording of the model
            lost a constraint.
        """
        requests = [
            _FINAL_WORDING.format(base=draft.base.text, rules=_as_rules(draft.constraints, rng)) for draft in drafts
        ]
        texts = [draft.prompt for draft in drafts]
        used_texts = set(texts)

        async def write(place: int, request: str, ask: Ask) -> None:
            for number in range(self.tries):
                text = _without_wrapping(await self._reply(request, number, ask))
                if text and text not in used_texts and not missing_constraints(text, drafts[place].constraints):
                    used_texts.add(text)
                    texts[place] = text
                    return

        ask_about_all(self.sampler, requests, write, budget=self.budget, usage=self.usage, progress=self.progress)
        model = self.sampler.endpoint.model
        return texts, ["template" if text == draft.prompt else model for text, draft in zip(texts, drafts, strict=True)]

    async def _reply(self, request: str, number: int, ask: Ask) -> str:
        """Return the model's text, empty when there is none or it was truncated."""
        messages: list[Message] = [{"role": "user", "content": request}]
        try:
            sample = Sample.from_answer(await ask(self.sampler.answer_task(messages, number, _MAX_TOKENS)))
        except (Unanswered, Interrupted):
            return ""
        return sample.text.strip() if sample.finish == "stop" else ""


def _as_rules(constraints: Sequence[Constraint], rng: random.Random) -> str:
    return "\n".join(f"- {word_constraint(constraint, rng)}" for constraint in constraints)


def _without_wrapping(text: str) -> str:
    """Return a request without the quotation marks or the label that models like to put around it."""
    text = text.strip()
    for label in ("Request:", "New request:", "Here is the request:", "-"):
        text = text.removeprefix(label).strip()
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        text = text[1:-1].strip()
    return text

"""Prompts written by a model: new base prompts from seeds, and the final wording, checked to keep every constraint."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hf_datamap.data.example import Constraint, Message
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.task import Ask
from hf_datamap.errors import GenerateError, Interrupted, Unanswered
from hf_datamap.generate.base_prompts import Base
from hf_datamap.generate.rejection import converse
from hf_datamap.generate.sampler import Sample, Sampler
from hf_datamap.generate.seed_prompts import Seed, strip_constraints
from hf_datamap.generate.templates import lost, say

if TYPE_CHECKING:
    from hf_datamap.generate.prompts import Draft

_SHOWN: Final = 4  # seeds that a new request is modelled on
_SPARE: Final = 1.5  # requests asked for per base prompt that is wanted
_TOKENS: Final = 512

#: Ours: the paper's wording is not in the record.
_NEW: Final = (
    "Here are some requests that people send to an assistant:\n\n{examples}\n\nWrite one new request of the same kind "
    "on a different subject. It must say what to write or answer, and nothing about length, format, letters, or "
    "words to use or avoid. Reply with the request only."
)
_FINAL: Final = (
    "Write a request to an assistant that asks for this:\n\n{base}\n\nand demands all of the following:\n\n{rules}\n\n"
    "Word it naturally, as one person would. Keep every number, keyword, quoted phrase and comparison exactly as it "
    "is, leave nothing out and add no demand of your own. Reply with the request only."
)


@dataclass
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

    def bases(self, seeds: Sequence[Seed], wanted: int, chance: random.Random) -> Iterator[Base]:
        """Yield new base prompts, each modelled on some seeds; what carries constraints or is no request is dropped."""
        shown = [chance.sample(seeds, min(_SHOWN, len(seeds))) for _ in range(int(wanted * _SPARE) + 1)]
        texts = [""] * len(shown)

        async def talk(place: int, examples: Sequence[Seed], ask: Ask) -> None:
            listed = "\n".join(f"- {seed.text}" for seed in examples)
            texts[place] = await self._ask(_NEW.format(examples=listed), place, ask)

        converse(self.sampler, shown, talk, budget=self.budget, usage=self.usage, progress=self.progress)
        for text, examples in zip(texts, shown, strict=True):
            stripped = strip_constraints(_unquoted(text))
            if stripped:
                yield Base(stripped, "+".join(seed.id for seed in examples))

    def final(self, drafts: Sequence[Draft], chance: random.Random) -> tuple[list[str], list[str]]:
        """Return the wording of each draft and who wrote it: the model, or the template where it lost a constraint."""
        asked = [_FINAL.format(base=draft.base.text, rules=_rules(draft.constraints, chance)) for draft in drafts]
        texts = [draft.prompt for draft in drafts]
        taken = set(texts)

        async def talk(place: int, request: str, ask: Ask) -> None:
            for number in range(self.tries):
                text = _unquoted(await self._ask(request, number, ask))
                if text and text not in taken and not lost(text, drafts[place].constraints):
                    taken.add(text)
                    texts[place] = text
                    return

        converse(self.sampler, asked, talk, budget=self.budget, usage=self.usage, progress=self.progress)
        model = self.sampler.endpoint.model
        return texts, ["template" if text == draft.prompt else model for text, draft in zip(texts, drafts, strict=True)]

    async def _ask(self, request: str, number: int, ask: Ask) -> str:
        messages: list[Message] = [{"role": "user", "content": request}]
        try:
            sample = Sample.of(await ask(self.sampler.whole(messages, number, _TOKENS)))
        except (Unanswered, Interrupted):
            return ""
        return sample.text.strip() if sample.finish == "stop" else ""


def _rules(constraints: Sequence[Constraint], chance: random.Random) -> str:
    return "\n".join(f"- {say(constraint, chance)}" for constraint in constraints)


def _unquoted(text: str) -> str:
    """A request without the quotation marks or the label that models like to put around it."""
    text = text.strip()
    for label in ("Request:", "New request:", "Here is the request:", "-"):
        text = text.removeprefix(label).strip()
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        text = text[1:-1].strip()
    return text

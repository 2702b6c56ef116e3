"""`ReferenceScorer`: how alike a response and a reference answer are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from hf_datamap.data import Example, Layout, Message, parse_paths
from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.reply import read_completion
from hf_datamap.engine.task import JSON, Answer, Answerer, Score, Task
from hf_datamap.engine.token_counts import tokens_used
from hf_datamap.errors import ScorerError, Unanswered
from hf_datamap.scorers.base import Scorer, describe, has_text
from hf_datamap.scorers.embedders import DEFAULT_EMBEDDER, RougeL, SentenceEmbedder, Similarity
from hf_datamap.scorers.fence import clean
from hf_datamap.scorers.judge_prompt import tokens_of

#: Ours, after what the paper says of theirs: accurate, relevant, positive, engaging, educational, helpful information.
_SYSTEM: Final = (
    "You are a helpful assistant. Give people accurate, relevant and up-to-date information in a positive, engaging "
    "and educational way, and help them as well as you can."
)


class ReferenceScorer(Scorer):
    """Scores each response by its similarity to a reference answer (Alignment Data Map, the reference-based score).

    With several references a response gets its best similarity. References come from the row; where it has none and a
    writer is given, one is written per unique prompt and kept in the score store.

    Args:
        column: path of the reference answers (text, or list of texts); where the layout knows them by default.
        similarity: Hub id or path of a ``sentence-transformers`` model, ``rouge-l``, or a `SentenceEmbedder`,
            `ServedEmbedder` or `RougeL`. How long texts are read is told, and chosen, there.
        writer: who writes missing references: a `ReferenceWriter`, or a model name for one.

    Raises:
        ScorerError: an option is malformed.
    """

    def __init__(
        self,
        column: str | None = None,
        *,
        similarity: str | Similarity = DEFAULT_EMBEDDER,
        writer: str | ReferenceWriter | None = None,
    ) -> None:
        if column is not None and not column.strip():
            raise ScorerError("reference: the column's name is empty")
        parse_paths(column)
        self.column = column
        if isinstance(similarity, str):
            similarity = RougeL() if similarity.lower() in ("rouge-l", "rougel") else SentenceEmbedder(similarity)
        self.similarity = similarity
        self.writer = ReferenceWriter(writer) if isinstance(writer, str) else writer
        self.max_in_flight = similarity.max_in_flight

    @property
    def identity(self) -> dict[str, JSON]:
        """The similarity and the writer; the reference itself belongs to each task, whatever its column is called."""
        identity: dict[str, JSON] = {"kind": "reference", "similarity": self.similarity.identity}
        return identity | ({"writer": self.writer.identity} if self.writer else {})

    def read_with(self, layout: Layout) -> Layout:
        """Return the layout that reads the references from the column asked for."""
        if self.column is None:
            return layout
        return layout.but(references=self.column)

    def tasks(self, example: Example) -> list[Task]:
        """One task per response with text; written references are bought first, once per prompt."""
        after = None
        about: JSON = list(example.references)
        if not example.references:
            if self.writer is None:
                return []
            after = self.writer.task(example.prompt)
            about = after.content
        references = example.references
        return [
            Task([about, response], (references, response), after=after)
            for response in example.responses
            if has_text(response)
        ]

    async def answer(self, task: Task) -> Answer:
        """Compare one response with its references.

        Raises:
            Unanswered: there is nothing to compare with, or a text cannot be embedded.
            Overloaded: the endpoint asks for patience.
            ScorerError: the similarity cannot be computed at all.
        """
        references, response = task.payload
        if task.given is not None:
            references = (str(task.given.value),)
        found = [await self.similarity.compare(reference, response) for reference in references]
        return Answer(max(value for value, _ in found), sum(sent for _, sent in found))

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """One similarity per response."""
        if not example.references and self.writer is None:
            where = f" in {self.column!r}" if self.column else ""
            return [Score(None, f"no reference answer{where}")] * len(example.responses)
        rest = iter(answers)
        return [
            _score(next(rest)) if has_text(response) else Score(None, "empty response")
            for response in example.responses
        ]

    async def close(self) -> None:
        """Close connections of the running loop."""
        await self.similarity.close()
        if self.writer is not None:
            await self.writer.close()


def _score(answer: Answer | str) -> Score:
    return Score(None, answer) if isinstance(answer, str) else Score(float(answer.value))  # type: ignore[arg-type] # by answer()


class ReferenceWriter(Answerer):
    """Writes one reference answer per prompt, as the authors did (gpt-4o-2024-11-20, 1,024 tokens).

    Its answers are kept in the score store like scores: a prompt is paid for once, whatever the data set or similarity.

    Args:
        model: model name, as the endpoint spells it.
        base_url: for example ``http://localhost:8000/v1``; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        max_tokens: tokens that it may write; a reference that ends there is used as it is.
        temperature: sampling temperature; the endpoint's own by default.
        system: what it is told, before the prompt's own system message.
        max_in_flight: greatest number of concurrent requests.
        timeout: seconds until a request counts as lost.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_tokens: int = 1024,
        temperature: float | None = None,
        system: str = _SYSTEM,
        max_in_flight: int = 64,
        timeout: float = 300.0,
    ) -> None:
        if max_tokens < 1 or max_in_flight < 1:
            raise ScorerError(f"max_tokens and max_in_flight must be at least 1, not {max_tokens} and {max_in_flight}")
        self.endpoint = Endpoint(model, base_url=base_url, api_key=api_key, timeout=timeout)
        self.max_tokens, self.temperature, self.system = max_tokens, temperature, system
        self.max_in_flight = max_in_flight

    def __repr__(self) -> str:
        return describe(type(self).__name__, self.identity)

    @property
    def identity(self) -> dict[str, JSON]:
        """What its answers depend on."""
        return {
            "kind": "reference-writer",
            **self.endpoint.identity,
            "system_digest": hashlib.blake2b(self.system.encode(), digest_size=8).hexdigest(),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }

    def task(self, prompt: tuple[Message, ...]) -> Task:
        """The task of answering a prompt."""
        return Task([[message["role"], message["content"]] for message in prompt], prompt, scorer=self)

    def estimate(self, task: Task) -> tuple[int, int]:
        """Roughly how many tokens a task sends and receives (see `tokens_of`; a reference is long)."""
        return tokens_of([Message(role="system", content=self.system), *task.payload]), min(self.max_tokens, 400)

    async def answer(self, task: Task) -> Answer:
        """Write one reference.

        Raises:
            Unanswered: refused or empty.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        own = [clean(message["content"]) for message in task.payload if message["role"] == "system"]
        turns = [
            {"role": message["role"], "content": clean(message["content"])}
            for message in task.payload
            if message["role"] != "system"
        ]
        body = {
            "messages": [{"role": "system", "content": "\n\n".join([self.system, *own])}, *turns],
            "max_tokens": self.max_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        completion = await self.endpoint.chat(body)
        reply = read_completion(completion)
        if reply.problem:
            trouble = Unanswered(f"no reference was written: {reply.problem}")
            trouble.spent = tokens_used(completion)  # paid for all the same
            raise trouble
        return Answer(reply.text, *tokens_used(completion))

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self.endpoint.close()

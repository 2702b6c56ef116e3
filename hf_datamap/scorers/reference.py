"""`ReferenceScorer`: how alike a response and a reference answer are."""

from __future__ import annotations

from collections.abc import Sequence

from hf_datamap.data import Example, Layout, parse_paths
from hf_datamap.engine.task import JSON, Answer, Score, Task
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.base import Scorer, has_text, scores_of_texts
from hf_datamap.scorers.embedders import DEFAULT_EMBEDDER, RougeL, SentenceEmbedder, Similarity
from hf_datamap.scorers.writers import ReferenceWriter


class ReferenceScorer(Scorer):
    """Scores each response by its similarity to a reference answer (Alignment Data Map, the reference-based score).

    With several references a response gets its best similarity. References come from the row; where it has none and a
    writer is given, one is written per unique prompt and kept in the score store.

    Args:
        column: path of the reference answers (text, or list of texts); where the layout knows them by default.
        similarity: Hub id or path of a ``sentence-transformers`` model, ``rouge-l``, or a `SentenceEmbedder`,
            `ServedEmbedder` or `RougeL`. How long texts are read is told, and chosen, there.
        writer: who writes missing references: a `ReferenceWriter`, or a model name for one.
        text_only: whether prompts with images are read by their text alone; else such data is refused.

    Raises:
        ScorerError: an option is malformed.
    """

    def __init__(
        self,
        column: str | None = None,
        *,
        similarity: str | Similarity = DEFAULT_EMBEDDER,
        writer: str | ReferenceWriter | None = None,
        text_only: bool = False,
    ) -> None:
        self.text_only = text_only
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
        compared = [await self.similarity.compare(reference, response) for reference in references]
        return Answer(max(value for value, _ in compared), sum(tokens for _, tokens in compared))

    def combine(self, example: Example, answers: Sequence[Answer | str]) -> list[Score]:
        """One similarity per response."""
        if not example.references and self.writer is None:
            where = f" in {self.column!r}" if self.column else ""
            return [Score(None, f"no reference answer{where}")] * len(example.responses)
        return scores_of_texts(example, answers)

    def check(self) -> None:
        """See `hf_datamap.engine.task.Answerer.check`."""
        self.similarity.check()
        if self.writer is not None:
            self.writer.check()

    async def close(self) -> None:
        """Close connections of the running loop."""
        await self.similarity.close()
        if self.writer is not None:
            await self.writer.close()

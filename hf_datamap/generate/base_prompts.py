"""Base prompts: requests without constraints, made by recombining seed prompts, without near-duplicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import gcd
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import JSON, Answer, Answerer, Ask, Task
from hf_datamap.errors import GenerateError
from hf_datamap.generate.seed_prompts import SeedPrompt
from hf_datamap.generate.vocabulary import AUDIENCES, TONES

if TYPE_CHECKING:
    import numpy as np

_WORD: Final = re.compile(r"\w+")
_ASKS_A_QUESTION: Final = re.compile(r"(?:can|could|would) you\b", re.IGNORECASE)
# MinHash: 128 permutations in 16 bands of 8 find pairs of a Jaccard similarity of .75 with a chance of .81 or more.
_PERMUTATIONS: Final = 128
_BANDS: Final = 16


@runtime_checkable
class Embedder(Protocol):
    """Embeds one text at a time, for example `hf_datamap.ServedEmbedder` or `hf_datamap.SentenceEmbedder`."""

    max_in_flight: int

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What the vectors depend on."""
        ...

    async def embed(self, text: str) -> tuple[np.ndarray, int]:
        """Return the vector of a text, and the tokens it took."""
        ...


#: What embeds texts: a function from texts to rows, an embedder, or the folder of a model2vec model.
Embed: TypeAlias = "Callable[[Sequence[str]], np.ndarray] | Embedder | str"


@dataclass(frozen=True, slots=True)
class BasePrompt:
    """A base prompt.

    Attributes:
        text: the request.
        seeds: the id of the seed prompt that it is, or the ids of those that it was made of, joined by ``+``.
    """

    text: str
    seeds: str


def recombine(seeds: Sequence[SeedPrompt], rng: np.random.Generator) -> Iterator[BasePrompt]:
    """Yield base prompts: every seed prompt as it is, then forms and topics of different seeds put together.

    A form ("Write a funny poem") is joined with another seed's topic ("the history of Yemeni coffee"), an audience, a
    tone, both or neither. Each combination comes once.

    Args:
        seeds: the seed prompts.
        rng: the random numbers that decide the order.
    """
    unchanged = [BasePrompt(seed.text, seed.id) for seed in seeds]
    yield from (unchanged[index] for index in rng.permutation(len(unchanged)))
    forms = list({seed.form: seed.id for seed in seeds if seed.form}.items())
    topics = list({seed.topic: seed.id for seed in seeds if seed.topic}.items())
    manners = _manners()
    for number in _shuffled_range(len(forms) * len(topics) * len(manners), rng):
        form_and_topic, manner = divmod(number, len(manners))
        form, topic = divmod(form_and_topic, len(topics))
        form_text, form_id = forms[form]
        topic_text, topic_id = topics[topic]
        end = "?" if _ASKS_A_QUESTION.match(form_text) else "."
        text = f"{form_text} about {topic_text}{end}{manners[manner]}"
        yield BasePrompt(text, form_id if form_id == topic_id else f"{form_id}+{topic_id}")


def _manners() -> list[str]:
    """Sentences that say for whom and in what tone to write; one of them is empty."""
    for_whom = [f" Write it for {audience}." for audience in AUDIENCES]
    how = [f" Keep the tone {tone}." for tone in TONES]
    both = [f" It is meant for {audience}; the tone should be {tone}." for audience in AUDIENCES for tone in TONES]
    return ["", *for_whom, *how, *both]


def _shuffled_range(total: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield every number below ``total`` once, in an order that looks random, without a table of them.

    A step that has no divisor in common with ``total`` visits every number before it returns to the first.
    """
    if not total:
        return
    start, step = int(rng.integers(total)), int(rng.integers(total)) | 1
    while gcd(step, total) != 1:
        step += 2
    for turn in range(total):
        yield (start + turn * step) % total


def drop_near_duplicates(
    bases: Iterable[BasePrompt], n: int, *, similarity: float = 0.75, embed: Embed | None = None, closeness: float = 0.9
) -> list[BasePrompt]:
    """Return the first ``n`` base prompts that are not near-duplicates of an earlier one.

    Words are compared by default: MinHash over words and word pairs (the library ``rensa``), which needs no model. With
    ``embed`` the prompts that are left are compared by meaning too (the library ``semhash``). The thresholds are ours;
    the paper gives none.

    Args:
        bases: candidates, in order of preference.
        n: how many to return; fewer are returned when the candidates run out.
        similarity: Jaccard similarity of words and word pairs from which two prompts count as duplicates.
        embed: embeds texts: a function (a sentence encoder's ``encode``), an embedder (for an endpoint
            `hf_datamap.ServedEmbedder`), or the folder of a model2vec model.
        closeness: cosine similarity of vectors from which two prompts count as duplicates.

    Raises:
        GenerateError: a threshold is outside 0 to 1, or ``semhash`` is not installed.
    """
    for name, value in (("similarity", similarity), ("closeness", closeness)):
        if not 0 < value <= 1:
            raise GenerateError(f"{name} is a share above 0 and at most 1, not {value!r}")
    kept = list(islice(_without_similar_words(bases, similarity), n))
    return _without_similar_meaning(kept, embed, closeness) if embed else kept


def _without_similar_words(bases: Iterable[BasePrompt], similarity: float) -> Iterator[BasePrompt]:
    from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped] # compiled, without stubs

    index = RMinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    kept_hashes: list[RMinHash] = []
    for base in bases:
        words = _WORD.findall(base.text.casefold())
        min_hash = RMinHash(num_perm=_PERMUTATIONS, seed=1)
        min_hash.update([*words, *map(" ".join, pairwise(words))])
        if all(min_hash.jaccard(kept_hashes[other]) < similarity for other in index.query(min_hash)):
            index.insert(len(kept_hashes), min_hash)
            kept_hashes.append(min_hash)
            yield base


def _without_similar_meaning(bases: list[BasePrompt], embed: Embed, closeness: float) -> list[BasePrompt]:
    try:
        from semhash import SemHash
    except ImportError:
        raise GenerateError(
            "comparing prompts by meaning needs semhash: pip install 'hf_datamap[generate]'; leave out embed= "
            "(--embed) to compare them by words"
        ) from None

    class Encoder:
        def encode(self, inputs: Sequence[str], **_: object) -> np.ndarray:
            return embed_texts(embed, list(inputs))

    records = [{"text": base.text, "place": str(place)} for place, base in enumerate(bases)]
    # The exact backend: the approximate one is not deterministic across threads.
    index = SemHash.from_records(records, columns=["text"], model=Encoder(), ann_backend="basic")
    result = index.self_deduplicate(threshold=closeness)
    return [bases[int(record["place"])] for record in result.selected]


def embed_texts(embed: Embed, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors of texts, shape (texts, dimensions).

    Raises:
        GenerateError: the model cannot be loaded.
    """
    import numpy as np

    if isinstance(embed, str):
        from model2vec import StaticModel

        try:
            return StaticModel.from_pretrained(embed).encode(list(texts))
        except (OSError, ValueError) as error:
            raise GenerateError(f"{embed!r} is no model2vec model that can be loaded: {error}") from error
    if not isinstance(embed, Embedder):
        return np.asarray(embed(texts), np.float32)
    vectors: list[Any] = [None] * len(texts)

    async def embed_one(place: int, text: str, ask: Ask) -> None:
        vectors[place] = (await ask(Task(text, text))).value

    engine().converse(_EmbeddingJob(embed), texts, embed_one)
    return np.array(vectors, np.float32)


class _EmbeddingJob(Answerer):
    """An embedder in the form that the engine asks: vectors are stored, and lost requests are repeated."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.max_in_flight = embedder, embedder.max_in_flight

    @property
    def identity(self) -> dict[str, JSON]:
        return {"kind": "embedding", **self.embedder.identity}

    async def answer(self, task: Task) -> Answer:
        vector, tokens = await self.embedder.embed(task.payload)
        return Answer(vector.tolist(), tokens)

    async def close(self) -> None:
        if hasattr(self.embedder, "close"):
            await self.embedder.close()

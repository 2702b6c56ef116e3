"""Base prompts: new requests made of seeds, without constraints, no two of them alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import JSON, Answer, Answerer, Ask, Task
from hf_datamap.errors import GenerateError
from hf_datamap.generate.seed_prompts import Seed

if TYPE_CHECKING:
    import numpy as np

#: Whom a request may be for, and in what tone: what recombining adds to the seeds' own words.
AUDIENCES: Final = (
    "beginners", "busy parents", "children", "college students", "curious neighbors", "farmers", "first-time visitors",
    "grandparents", "hobbyists", "journalists", "lawyers", "local shop owners", "museum guests", "night shift nurses",
    "office workers", "people new to the subject", "retired engineers", "school teachers", "skeptical readers",
    "small business owners", "sports fans", "teenagers", "travelers", "volunteers",
)  # fmt: skip
TONES: Final = (
    "calm", "cheerful", "conversational", "dramatic", "dry", "encouraging", "formal", "friendly", "humorous",
    "matter-of-fact", "nostalgic", "passionate", "playful", "poetic", "serious", "simple", "skeptical", "thoughtful",
)  # fmt: skip
_WORD: Final = re.compile(r"\w+")
_ASKS: Final = re.compile(r"(?:can|could|would) you\b", re.IGNORECASE)
_HASHES: Final = 128
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


#: Gives texts their vectors: a function from texts to rows, an embedder, or the folder of a model2vec model.
Embed: TypeAlias = "Callable[[Sequence[str]], np.ndarray] | Embedder | str"


@dataclass(frozen=True, slots=True)
class Base:
    """A base prompt.

    Attributes:
        text: the request.
        seeds: the id of the seed it is, or of the seeds that it was made of, joined by ``+``.
    """

    text: str
    seeds: str


def recombine(seeds: Sequence[Seed], rng: np.random.Generator) -> Iterator[Base]:
    """Yield base prompts: every seed as it is, then forms and topics of different seeds put together.

    A form ("Write a funny poem") is joined with another seed's topic ("the history of Yemeni coffee"), an audience, a
    tone, or neither; each combination comes once.

    Raises:
        GenerateError: the seeds hold no form or no topic.
    """
    whole = [Base(seed.text, seed.id) for seed in seeds]
    yield from (whole[place] for place in rng.permutation(len(whole)))
    forms = {seed.form: seed.id for seed in seeds if seed.form}
    topics = {seed.topic: seed.id for seed in seeds if seed.topic}
    manners = _manners()
    total = len(forms) * len(topics) * len(manners)
    for number in _shuffled(total, rng):
        rest, manner = divmod(number, len(manners))
        form, topic = divmod(rest, len(topics))
        form_text, form_id = list(forms.items())[form]
        topic_text, topic_id = list(topics.items())[topic]
        text = f"{form_text} about {topic_text}{'?' if _ASKS.match(form_text) else '.'}{manners[manner]}"
        yield Base(text, form_id if form_id == topic_id else f"{form_id}+{topic_id}")


def _manners() -> list[str]:
    for_whom = [f" Write it for {audience}." for audience in AUDIENCES]
    how = [f" Keep the tone {tone}." for tone in TONES]
    both = [f" It is meant for {audience}; the tone should be {tone}." for audience in AUDIENCES for tone in TONES]
    return ["", *for_whom, *how, *both]


def _shuffled(total: int, rng: np.random.Generator) -> Iterator[int]:
    """Every number below ``total`` once, in an order that looks random, without a table of them."""
    if not total:
        return
    start, step = int(rng.integers(total)), int(rng.integers(total)) | 1
    while gcd(step, total) != 1:
        step += 2
    for turn in range(total):
        yield (start + turn * step) % total


def unlike(
    bases: Iterable[Base], n: int, *, similarity: float = 0.75, embed: Embed | None = None, closeness: float = 0.9
) -> list[Base]:
    """Return the first ``n`` base prompts that are not near-duplicates of an earlier one.

    Lexical by default: MinHash over words and word pairs (the library ``rensa``), which needs no model. With ``embed``
    those left are compared by meaning too (the library ``semhash``). The thresholds are ours; the paper gives none.

    Args:
        bases: candidates, in order of preference.
        n: how many are wanted; fewer are returned when the candidates run out.
        similarity: Jaccard similarity of words and word pairs from which two count as alike.
        embed: gives texts vectors: a function (a sentence encoder's ``encode``), an embedder (for an endpoint
            `hf_datamap.ServedEmbedder`), or the folder of a model2vec model.
        closeness: cosine similarity of vectors from which two count as alike.

    Raises:
        GenerateError: a threshold is outside 0 to 1, or ``semhash`` is not installed.
    """
    for name, value in (("similarity", similarity), ("closeness", closeness)):
        if not 0 < value <= 1:
            raise GenerateError(f"{name} is a share above 0 and at most 1, not {value!r}")
    kept: list[Base] = []
    for base in _lexically_unlike(bases, similarity):
        kept.append(base)
        if len(kept) == n:
            break
    return _semantically_unlike(kept, embed, closeness) if embed else kept


def _lexically_unlike(bases: Iterable[Base], similarity: float) -> Iterator[Base]:
    from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped] # compiled, without stubs

    seen = RMinHashLSH(threshold=similarity, num_perm=_HASHES, num_bands=_BANDS)
    hashes: list[RMinHash] = []
    for base in bases:
        words = _WORD.findall(base.text.casefold())
        mark = RMinHash(num_perm=_HASHES, seed=1)
        mark.update([*words, *map(" ".join, pairwise(words))])
        if all(mark.jaccard(hashes[other]) < similarity for other in seen.query(mark)):
            seen.insert(len(hashes), mark)
            hashes.append(mark)
            yield base


def _semantically_unlike(bases: list[Base], embed: Embed, closeness: float) -> list[Base]:
    try:
        from semhash import SemHash
    except ImportError:
        raise GenerateError(
            "comparing prompts by meaning needs semhash: pip install 'hf_datamap[generate]'; leave out embed= "
            "(--embed) to compare them by words"
        ) from None

    class Encoder:
        def encode(self, inputs: Sequence[str], **_: object) -> np.ndarray:
            return vectors(embed, list(inputs))

    records = [{"text": base.text, "place": str(place)} for place, base in enumerate(bases)]
    # The exact backend: the approximate one is not deterministic across threads.
    index = SemHash.from_records(records, columns=["text"], model=Encoder(), ann_backend="basic")
    result = index.self_deduplicate(threshold=closeness)
    return [bases[int(record["place"])] for record in result.selected]


def vectors(embed: Embed, texts: Sequence[str]) -> np.ndarray:
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
    found: list[Any] = [None] * len(texts)

    async def talk(place: int, text: str, ask: Ask) -> None:
        found[place] = (await ask(Task(text, text))).value

    engine().converse(_Asked(embed), texts, talk)
    return np.array(found, np.float32)


class _Asked(Answerer):
    """An embedder as the engine asks it: vectors are stored, lost requests repeated."""

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

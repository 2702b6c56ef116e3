"""How alike two texts are: sentence embeddings (here or served), ROUGE-L."""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_datamap.engine.batcher import WINDOW, Batcher
from hf_datamap.engine.endpoint import Endpoint
from hf_datamap.engine.task import JSON
from hf_datamap.errors import ScorerError, Unanswered
from hf_datamap.scorers.base import describe
from hf_datamap.scorers.porter import stem as stem_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

#: The authors' embedder (Alignment Data Map, their ``scores/embedding.py``).
DEFAULT_EMBEDDER: Final = "sentence-transformers/all-mpnet-base-v2"
_REMEMBERED: Final = 4096  # embeddings of references kept in memory: each is compared with several responses


class Similarity(ABC):
    """Compares a response with a reference; 1 for the same text.

    Attributes:
        max_in_flight: greatest number of comparisons at the same time.
    """

    max_in_flight: int

    def __repr__(self) -> str:
        return describe(type(self).__name__, self.identity)

    @property
    @abstractmethod
    def identity(self) -> dict[str, JSON]:
        """What the similarity depends on."""

    @abstractmethod
    async def compare(self, reference: str, response: str) -> tuple[float, int]:
        """Return the similarity and how many tokens an endpoint counted for it."""

    def check(self) -> None:  # noqa: B027 - most need nothing
        """See `hf_datamap.engine.task.Answerer.check`."""

    async def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close the connections of the running loop."""


class RougeL(Similarity):
    """ROUGE-L, F1 over words: the longest common subsequence against both lengths (Lin 2004, section 2.2).

    Words are runs of letters and digits of any script, in lower case; scripts without spaces are compared character by
    character. English words are compared by their stems, as the map's authors do: on English this is what the library
    ``rouge-score`` gives with its stemmer. Needs ``rapidfuzz``.

    Args:
        stem: whether to compare stems; without, ``rouge-score`` without its stemmer.
    """

    max_in_flight = 8

    def __init__(self, *, stem: bool = True) -> None:
        self.stem = stem

    @property
    def identity(self) -> dict[str, JSON]:
        """The measure and its tokens."""
        return {"measure": "rouge-l-f1", "tokens": "unicode-1", "stems": "porter-nltk-1" if self.stem else None}

    async def compare(self, reference: str, response: str) -> tuple[float, int]:
        """Return the F1, 0 to 1."""
        return rouge_l(reference, response, stem=self.stem), 0


# Thai, Lao, Burmese, Khmer, Hiragana, Katakana, Han: written without spaces.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")


def rouge_l(reference: str, response: str, *, stem: bool = True) -> float:
    """Return the ROUGE-L F1 of two texts, 0 to 1; see `RougeL`.

    Raises:
        ScorerError: ``rapidfuzz`` is not installed.
    """
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError:
        raise ScorerError("ROUGE-L needs rapidfuzz: pip install 'hf_datamap[reference]'") from None
    a, b = _WORDS.findall(reference.lower()), _WORDS.findall(response.lower())
    if stem:
        # Words of up to three letters are left as they are, as in rouge-score.
        a, b = ([stem_of(word) if len(word) > 3 and word.isascii() else word for word in words] for words in (a, b))
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a and b else 0.0


class TextEmbedder(Similarity):
    """Cosine of embeddings; those of references are remembered, for the other responses to the same prompt."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._known: OrderedDict[str, asyncio.Future[tuple[np.ndarray, int]]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @abstractmethod
    async def embed(self, text: str) -> tuple[np.ndarray, int]:
        """Return the embedding, of length 1, and how many tokens an endpoint counted."""

    async def compare(self, reference: str, response: str) -> tuple[float, int]:
        """Return the cosine, -1 to 1."""
        reference_vector, reference_tokens = await self._reference(reference)
        vector, tokens = await self.embed(response)
        return float(np.clip(reference_vector @ vector, -1.0, 1.0)), tokens + reference_tokens

    async def _reference(self, text: str) -> tuple[np.ndarray, int]:
        """The embedding of a reference; its tokens are counted once."""
        loop = asyncio.get_running_loop()
        earlier = self._known.get(text)
        if earlier is not None and earlier.get_loop() is loop:
            return (await asyncio.shield(earlier))[0], 0
        future = self._known[text] = asyncio.ensure_future(self.embed(text))
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        try:
            return await asyncio.shield(future)
        except BaseException:
            self._known.pop(text, None)  # let the next one try
            raise


class SentenceEmbedder(TextEmbedder):
    """A ``sentence-transformers`` model on this machine.

    Models read a limited number of tokens (``max_seq_length``, 384 for the default one) and leave out the rest. This
    matters: in an independent reproduction of the map a tenth of all rows changed region with the handling of long
    texts. So it is a choice:

    * ``cut`` - what the model does, and the authors did: only the beginning counts.
    * ``chunks`` - a long text is cut into pieces that fit; their embeddings are averaged, weighted by tokens (ours).
    * ``refuse`` - a text that does not fit gets no score.

    Args:
        model: Hub id or local path.
        long_texts: ``cut``, ``chunks`` or ``refuse``.
        device: for example ``cpu`` or ``cuda:1``; the best there is by default.
        batch_size: texts embedded at a time.
        revision: branch, tag or commit of a Hub model.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ScorerError: an option is out of range.
    """

    def __init__(
        self,
        model: str = DEFAULT_EMBEDDER,
        *,
        long_texts: str = "cut",
        device: str | None = None,
        batch_size: int = 32,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        if long_texts not in ("cut", "chunks", "refuse"):
            raise ScorerError(f"long_texts must be 'cut', 'chunks' or 'refuse', not {long_texts!r}")
        if batch_size < 1:
            raise ScorerError(f"batch_size must be at least 1, not {batch_size}")
        self.model, self.revision, self.long_texts = str(model), revision, long_texts
        self.device, self.trust_remote_code = device, trust_remote_code
        self.batch_size, self.max_in_flight = batch_size, WINDOW * batch_size

    def _begin(self) -> None:
        super()._begin()
        self._loaded: SentenceTransformer | None = None
        self._batcher: Batcher[str] | None = None
        self._cut = 0

    @property
    def identity(self) -> dict[str, JSON]:
        """Model, revision, and what happens to long texts."""
        return {"measure": "cosine", "model": self.model, "revision": self.revision, "long_texts": self.long_texts}

    async def embed(self, text: str) -> tuple[np.ndarray, int]:
        """Return the embedding, of length 1.

        Raises:
            Unanswered: the text is too long, and is not to be cut.
            ScorerError: the extra is missing, or the model cannot be loaded.
        """
        if self._batcher is None:
            self._batcher = Batcher(self._embed, self.batch_size)
        vector = await self._batcher.submit(text, len(text))
        if vector is None:
            raise Unanswered("too long for the embedder (long_texts='refuse')")
        return vector, 0

    def _embed(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """Embed texts of similar length; None for one that does not fit and is not to be cut."""
        model = self._model()
        pieces = [self._pieces(model, text) for text in texts]
        flat = [piece for parts in pieces for piece, _ in parts]
        vectors = iter(model.encode(flat, batch_size=self.batch_size, show_progress_bar=False) if flat else ())
        return [_unit([(next(vectors), weight) for _, weight in parts]) if parts else None for parts in pieces]

    def _pieces(self, model: SentenceTransformer, text: str) -> list[tuple[str, int]]:
        """The parts of a text that are embedded, with their weights; none when it is refused."""
        limit = model.max_seq_length
        if not limit or len(text.encode("utf-8", "replace")) + 2 <= limit:  # no token is shorter than a byte
            return [(text, 1)]
        encoded = model.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        places, room = encoded["offset_mapping"], limit - model.tokenizer.num_special_tokens_to_add()
        if len(places) <= room:
            return [(text, 1)]
        if self.long_texts == "refuse":
            return []
        if self.long_texts == "cut":
            if not self._cut:
                log.warning("texts of more than %d tokens are cut for %s (long_texts='cut')", limit, self.model)
            self._cut += 1
            return [(text, 1)]
        parts = [places[start : start + room] for start in range(0, len(places), room)]
        return [(text[part[0][0] : part[-1][1]], len(part)) for part in parts]

    def _model(self) -> SentenceTransformer:
        if self._loaded is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError:
                raise ScorerError(
                    "embeddings need sentence-transformers: pip install 'hf_datamap[reference]' "
                    "(or ServedEmbedder, for an endpoint with /v1/embeddings)"
                ) from None
            try:
                self._loaded = SentenceTransformer(
                    self.model, device=self.device, revision=self.revision, trust_remote_code=self.trust_remote_code
                )
            except Exception as error:
                raise ScorerError(f"cannot load the embedder {self.model}: {_words(error)}") from error
        return self._loaded


class ServedEmbedder(TextEmbedder):
    """An embedding model behind an OpenAI-compatible ``/v1/embeddings``.

    What happens to long texts is the server's choice: OpenAI refuses them (the response gets no score), others cut
    them. ``cut_at`` cuts before sending.

    Args:
        model: model name, as the endpoint spells it.
        base_url: for example ``http://localhost:8000/v1``; ``OPENAI_BASE_URL`` or OpenAI's own by default.
        api_key: ``OPENAI_API_KEY`` by default; never stored.
        cut_at: characters after which texts are cut; None leaves them whole.
        max_in_flight: greatest number of concurrent requests.
        timeout: seconds until a request counts as lost.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        cut_at: int | None = None,
        max_in_flight: int = 64,
        timeout: float = 300.0,
    ) -> None:
        super().__init__()
        if cut_at is not None and cut_at < 1:
            raise ScorerError(f"cut_at must be a positive number of characters, not {cut_at}")
        self.endpoint = Endpoint(model, base_url=base_url, api_key=api_key, timeout=timeout)
        self.cut_at, self.max_in_flight = cut_at, max_in_flight

    @property
    def identity(self) -> dict[str, JSON]:
        """Model, endpoint, and where texts are cut."""
        return {"measure": "cosine", **self.endpoint.identity, "cut_at": self.cut_at}

    async def embed(self, text: str) -> tuple[np.ndarray, int]:
        """Ask for one embedding; return it, of length 1, and the tokens that it took.

        Raises:
            Unanswered: refused, or the reply holds no embedding.
            Overloaded: try again later.
            EndpointError: the endpoint will answer nothing.
        """
        sendable = text[: self.cut_at].encode("utf-8", "replace").decode()
        body = {"model": self.endpoint.model, "input": [sendable], "encoding_format": "float"}
        reply = await self.endpoint.post("/embeddings", body)
        try:
            vector = np.asarray(reply["data"][0]["embedding"], dtype=np.float64)
            sent = int(reply.get("usage", {}).get("prompt_tokens") or 0)
        except (KeyError, IndexError, TypeError, ValueError):
            raise Unanswered("the reply holds no embedding") from None
        unit = _unit([(vector, 1)]) if vector.ndim == 1 and vector.size else None
        if unit is None or not np.isfinite(unit).all():
            raise Unanswered("the reply holds no embedding")
        return unit, sent

    def check(self) -> None:
        """See `hf_datamap.engine.task.Answerer.check`."""
        self.endpoint.check()

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self.endpoint.close()


def _unit(parts: list[tuple[np.ndarray, int]]) -> np.ndarray:
    """The weighted mean of unit vectors, scaled to length 1."""
    total = np.zeros(len(parts[0][0]))
    for vector, weight in parts:
        vector = np.asarray(vector, dtype=np.float64)  # noqa: PLW2901 - the same vector, more exactly
        total += weight * vector / max(float(np.linalg.norm(vector)), 1e-12)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

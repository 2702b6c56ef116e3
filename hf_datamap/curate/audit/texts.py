"""One pass over the texts: facts of every prompt and response as arrays, so that the checks need no text again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from hf_datamap.curate.audit import tokens as tk
from hf_datamap.curate.audit.language import ASKS, breaks_off, languages, refuses
from hf_datamap.data import Example
from hf_datamap.data.view import Material

SKETCH: Final = 32
BUCKETS: Final = 1 << 20
_SHINGLE: Final = 3


@dataclass(frozen=True)
class Texts:
    """Facts of all texts. Responses stand one after the other, row by row; ``row`` and ``place`` say whose they are.

    Attributes:
        readable: bool per row: whether the layout could read it.
        problems: reasons of the first unreadable rows, by row.
        prompt_hash: uint64 per row: of the prompt, case and white space folded; 0 where unreadable.
        prompt_words: words per prompt.
        prompt_sketch: MinHash sketches of the prompts, (rows, SKETCH).
        row: row of each response.
        place: its index in the row.
        exact: hash of its text, ends stripped.
        folded: hash of its text, case and white space folded.
        sketch: its MinHash sketch, (responses, SKETCH).
        words: its words.
        chars: its characters.
        empty: it has none.
        truncated: it breaks off.
        repetitive: it repeats itself.
        refused: it is a refusal.
        foreign: it is in another language than the prompt, which asks for none, and than a sibling.
        bags: distinct words of prompts and responses, for the search of swapped responses.
    """

    readable: np.ndarray
    problems: dict[int, str]
    prompt_hash: np.ndarray
    prompt_words: np.ndarray
    prompt_sketch: np.ndarray
    row: np.ndarray
    place: np.ndarray
    exact: np.ndarray
    folded: np.ndarray
    sketch: np.ndarray
    words: np.ndarray
    chars: np.ndarray
    empty: np.ndarray
    truncated: np.ndarray
    repetitive: np.ndarray
    refused: np.ndarray
    foreign: np.ndarray
    bags: Bags

    def matrix(self, values: np.ndarray, width: int) -> np.ndarray:
        """One value per response as a matrix (rows, width), float64, NaN where there is no response."""
        out = np.full((len(self.readable), width), np.nan)
        inside = self.place < width
        out[self.row[inside], self.place[inside]] = values[inside]
        return out

    def rows(self, flags: np.ndarray) -> np.ndarray:
        """The rows with a flagged response."""
        return np.unique(self.row[flags])


@dataclass(frozen=True)
class Bags:
    """Distinct words of each text, as numbers below `BUCKETS`.

    Attributes:
        prompts: the words of all prompts, one after the other, uint32.
        prompt_starts: where each row's begin.
        responses: the words of all responses.
        response_starts: where each response's begin.
    """

    prompts: np.ndarray
    prompt_starts: np.ndarray
    responses: np.ndarray
    response_starts: np.ndarray


def read(material: Material) -> Texts | None:
    """Read all texts once, in batches; None when the layout is not known."""
    if material.layout is None:
        return None
    parts: list[dict[str, np.ndarray]] = []
    problems: dict[int, str] = {}
    for first, batch in material.batches():
        for place, example in enumerate(batch):
            if not isinstance(example, Example) and len(problems) < 10:
                problems[first + place] = str(example)
        parts.append(_facts(first, batch))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    bags = Bags(
        joined.pop("prompt_bag"),
        np.concatenate([[0], joined.pop("prompt_bag_size").cumsum()]),
        joined.pop("bag"),
        np.concatenate([[0], joined.pop("bag_size").cumsum()]),
    )
    return Texts(problems=problems, bags=bags, **joined)


def _facts(first: int, batch: Sequence[Example | Exception]) -> dict[str, np.ndarray]:
    readable = [isinstance(example, Example) for example in batch]
    prompts = [_prompt(example) if isinstance(example, Example) else "" for example in batch]
    responses, row, place = [], [], []
    for k, example in enumerate(batch):
        if isinstance(example, Example):
            for j, text in enumerate(example.responses):
                responses.append(text or "")
                row.append(k)
                place.append(j)
    asked, given = tk.words(prompts), tk.words(responses)
    row_of = np.array(row, np.int64)
    prompt_bag, prompt_bag_size = _bag(asked)
    bag, bag_size = _bag(given)
    wordy = given.counts >= 40
    return {
        "readable": np.array(readable, bool),
        "prompt_hash": np.where(readable, _hashes([_fold(text) for text in prompts]), np.uint64(0)),
        "prompt_words": asked.counts,
        "prompt_sketch": tk.sketches(*tk.shingles(asked, _SHINGLE), SKETCH),
        "prompt_bag": prompt_bag,
        "prompt_bag_size": prompt_bag_size,
        "row": row_of + first,
        "place": np.array(place, np.int64),
        "exact": _hashes([text.strip() for text in responses]),
        "folded": _hashes([_fold(text) for text in responses]),
        "sketch": tk.sketches(*tk.shingles(given, _SHINGLE), SKETCH),
        "words": given.counts,
        "chars": np.array([len(text) for text in responses], np.int64),
        "empty": np.array([not text.strip() for text in responses], bool),
        "truncated": np.array([breaks_off(text) for text in responses], bool),
        "repetitive": _repeats(given, wordy & (bag_size < 0.25 * given.counts)),
        "refused": np.array([refuses(text) for text in responses], bool),
        "foreign": _foreign(asked, given, row_of, prompts),
        "bag": bag,
        "bag_size": bag_size,
    }


def _prompt(example: Example) -> str:
    return "\n".join(message["content"] for message in example.prompt)


def _fold(text: str) -> str:
    return " ".join(text.lower().split())


def _hashes(texts: Sequence[str]) -> np.ndarray:
    return np.array([xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts], np.uint64)


def _bag(found: tk.Words) -> tuple[np.ndarray, np.ndarray]:
    """Distinct buckets of each text, and how many each has."""
    keys = (found.owners.astype(np.uint64) << np.uint64(20)) | (found.hashes >> np.uint64(44))
    keys = np.unique(keys)
    owners = (keys >> np.uint64(20)).astype(np.int64)
    return (keys & np.uint64(BUCKETS - 1)).astype(np.uint32), np.bincount(owners, minlength=len(found.counts))


def _repeats(found: tk.Words, candidates: np.ndarray) -> np.ndarray:
    """Whether more than six in ten of a text's four-word sequences are repeats; looked at for the candidates only."""
    flags = np.zeros(len(found.counts), bool)
    for text in np.flatnonzero(candidates):
        begin, end = found.starts[text], found.starts[text + 1]
        mine = tk.Words(found.hashes[begin:end], np.array([0, end - begin]), found.scripts[:1])
        sequences, _ = tk.shingles(mine, 4)
        flags[text] = len(np.unique(sequences)) < 0.4 * len(sequences)
    return flags


def _foreign(asked: tk.Words, given: tk.Words, row: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Responses in another language than their prompt, where a sibling keeps to it and the prompt asks for none."""
    prompt, response = languages(asked), languages(given)
    other = (response > 0) & (prompt[row] > 0) & (response != prompt[row])
    kept = np.zeros(len(prompts), bool)
    kept[row[(response > 0) & (response == prompt[row])]] = True
    other &= kept[row]
    for k in np.flatnonzero(other):
        other[k] = ASKS.search(prompts[row[k]].lower()) is None
    return np.asarray(other)

"""One pass over the texts: facts of every prompt and response as arrays, so that no check needs the texts again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from hf_datamap.curate.texts import minhash
from hf_datamap.curate.texts.languages import NAMES_A_LANGUAGE, likely_languages
from hf_datamap.curate.texts.style import HEADING, LIST_ITEM, breaks_off, refuses
from hf_datamap.curate.texts.words import Words, shingles, words
from hf_datamap.data.example import Example
from hf_datamap.data.view import DatasetView
from hf_datamap.engine.reply import split_thoughts
from hf_datamap.errors import RowError
from hf_datamap.scorers.judge_directed import find_judge_directed

#: Words are told apart by the first 20 bits of their hash where sets of words are compared.
BUCKETS: Final = 1 << 20
_SHINGLE: Final = 3
_REASONS: Final = 10
_DETECTED: Final = 600  # characters shown to the language detector


@dataclass(frozen=True)
class WordSets:
    """The distinct words of many texts, as numbers below `BUCKETS`.

    Attributes:
        buckets: uint32, the words of all texts, one text after the other.
        starts: where each text's begin, shape (texts + 1,).
    """

    buckets: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class PromptFacts:
    """Facts of the prompts, arrays of shape (rows,) unless said otherwise.

    Attributes:
        readable: whether the layout could read the row.
        folded: uint64 hash, case and white space folded; 0 where unreadable.
        words: number of words.
        sketch: MinHash sketches, shape (rows, `minhash.SIZE`).
        word_sets: distinct words.
    """

    readable: np.ndarray
    folded: np.ndarray
    words: np.ndarray
    sketch: np.ndarray
    word_sets: WordSets


@dataclass(frozen=True)
class ResponseFacts:
    """Facts of the responses, which stand one after the other, row by row; arrays of shape (responses,).

    Attributes:
        row: the row of each.
        place: its index in the row.
        exact: uint64 hash of the text, ends stripped.
        folded: the same, case and white space folded.
        sketch: MinHash sketches, shape (responses, `minhash.SIZE`).
        words: number of words.
        style: numbers that say how it looks: ``length`` (characters), ``lists`` (list items), ``headings``.
        flags: by name of a check (empty, truncated, repetitive, refused, judge_directed,
            thoughts, wrong_language), whether it holds.
        word_sets: distinct words.
    """

    row: np.ndarray
    place: np.ndarray
    exact: np.ndarray
    folded: np.ndarray
    sketch: np.ndarray
    words: np.ndarray
    style: dict[str, np.ndarray]
    flags: dict[str, np.ndarray]
    word_sets: WordSets


@dataclass(frozen=True)
class TextFacts:
    """Facts of all texts of a dataset.

    Attributes:
        prompts: of the prompts, one per row.
        responses: of the responses.
        unreadable: reasons of the first rows that the layout could not read, by row.
    """

    prompts: PromptFacts
    responses: ResponseFacts
    unreadable: dict[int, str]

    @property
    def rows(self) -> int:
        """Rows of the dataset, readable or not."""
        return len(self.prompts.readable)

    @property
    def words_per_row(self) -> np.ndarray:
        """Words of prompt and responses together, shape (rows,)."""
        responses = self.responses
        return np.asarray(self.prompts.words + np.bincount(responses.row, weights=responses.words, minlength=self.rows))

    def matrix(self, values: np.ndarray, width: int) -> np.ndarray:
        """One value per response as a matrix (rows, width), float64, NaN where there is no response."""
        out = np.full((self.rows, width), np.nan)
        inside = self.responses.place < width
        out[self.responses.row[inside], self.responses.place[inside]] = values[inside]
        return out

    def rows_with(self, flags: np.ndarray) -> np.ndarray:
        """The rows with a flagged response, ascending."""
        return np.unique(self.responses.row[flags])


def read_texts(view: DatasetView) -> TextFacts | None:
    """Read all texts once, in batches; None when the layout is not known."""
    if view.layout is None:
        return None
    parts: list[dict[str, np.ndarray]] = []
    unreadable: dict[int, str] = {}
    for first, batch in view.batches():
        for place, example in enumerate(batch):
            if not isinstance(example, Example) and len(unreadable) < _REASONS:
                unreadable[first + place] = str(example)
        parts.append(_batch_facts(first, batch))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    sides = {
        side: WordSets(joined.pop(f"{side} buckets"), np.concatenate([[0], joined.pop(f"{side} sizes").cumsum()]))
        for side in ("prompt", "response")
    }
    style, flags = (
        {name.removeprefix(kind): joined.pop(name) for name in list(joined) if name.startswith(kind)}
        for kind in ("style ", "flag ")
    )
    prompts = {name.removeprefix("prompt "): joined.pop(name) for name in list(joined) if name.startswith("prompt ")}
    return TextFacts(
        PromptFacts(**prompts, word_sets=sides["prompt"]),
        ResponseFacts(**joined, style=style, flags=flags, word_sets=sides["response"]),
        unreadable,
    )


def _batch_facts(first: int, batch: Sequence[Example | RowError]) -> dict[str, np.ndarray]:
    """The facts of some rows, flat, so that batches can be joined array by array."""
    readable = np.array([isinstance(example, Example) for example in batch], bool)
    prompts = [prompt_text(example) if isinstance(example, Example) else "" for example in batch]
    responses, row, place = [], [], []
    for k, example in enumerate(batch):
        if isinstance(example, Example):
            for j, text in enumerate(example.responses):
                responses.append(text or "")
                row.append(k)
                place.append(j)
    prompt_words, response_words = words(prompts), words(responses)
    row_of = np.array(row, np.int64)
    prompt_buckets, prompt_sizes = _word_sets(prompt_words)
    buckets, sizes = _word_sets(response_words)
    long = response_words.counts >= 40
    return {
        "prompt readable": readable,
        "prompt folded": np.where(readable, text_hashes([fold(text) for text in prompts]), np.uint64(0)),
        "prompt words": prompt_words.counts,
        "prompt sketch": minhash.sketches(*shingles(prompt_words, _SHINGLE)),
        "prompt buckets": prompt_buckets,
        "prompt sizes": prompt_sizes,
        "row": row_of + first,
        "place": np.array(place, np.int64),
        "exact": text_hashes([text.strip() for text in responses]),
        "folded": text_hashes([fold(text) for text in responses]),
        "sketch": minhash.sketches(*shingles(response_words, _SHINGLE)),
        "words": response_words.counts,
        "style length": np.array([len(text) for text in responses], np.int64),
        "style lists": np.array([len(LIST_ITEM.findall(text)) for text in responses], np.int64),
        "style headings": np.array([len(HEADING.findall(text)) for text in responses], np.int64),
        "flag empty": np.array([not text.strip() for text in responses], bool),
        "flag truncated": np.array([breaks_off(text) for text in responses], bool),
        "flag repetitive": _repetitive(response_words, long & (sizes < 0.25 * response_words.counts)),
        "flag refused": np.array([refuses(text) for text in responses], bool),
        "flag judge_directed": np.array([any(find_judge_directed(text)) for text in responses], bool),
        "flag thoughts": np.array([bool(split_thoughts(text)[0]) for text in responses], bool),
        "flag wrong_language": _wrong_language(prompt_words, response_words, row_of, prompts, responses),
        "response buckets": buckets,
        "response sizes": sizes,
    }


def prompt_text(example: Example) -> str:
    """All messages of a prompt, one per line."""
    return "\n".join(message["content"] for message in example.prompt)


def fold(text: str) -> str:
    """A text in lower case, white space as single spaces."""
    return " ".join(text.lower().split())


def text_hashes(texts: Sequence[str]) -> np.ndarray:
    """xxh3 of each text, uint64."""
    return np.array([xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts], np.uint64)


def _word_sets(texts: Words) -> tuple[np.ndarray, np.ndarray]:
    """Distinct buckets of each text, one text after the other, and how many each has."""
    keys = (texts.owners.astype(np.uint64) << np.uint64(20)) | (texts.hashes >> np.uint64(44))
    keys = np.unique(keys)
    owners = (keys >> np.uint64(20)).astype(np.int64)
    return (keys & np.uint64(BUCKETS - 1)).astype(np.uint32), np.bincount(owners, minlength=len(texts.counts))


def _repetitive(texts: Words, candidates: np.ndarray) -> np.ndarray:
    """Whether more than six in ten of a text's four-word sequences are repeats; looked at for the candidates only."""
    flags = np.zeros(len(texts.counts), bool)
    for text in np.flatnonzero(candidates):
        begin, end = texts.starts[text], texts.starts[text + 1]
        alone = Words(texts.hashes[begin:end], np.array([0, end - begin]), texts.scripts[:1])
        sequences, _ = shingles(alone, 4)
        flags[text] = len(np.unique(sequences)) < 0.4 * len(sequences)
    return flags


def _wrong_language(
    prompt_words: Words, response_words: Words, row: np.ndarray, prompts: Sequence[str], responses: Sequence[str]
) -> np.ndarray:
    """Responses in another language than their prompt, where a sibling keeps to it and the prompt asks for none.

    Function words and scripts find the candidates; py3langid must agree that the languages differ.
    """
    from hf_datamap.scorers.constraints.language import detect_language

    prompt, response = likely_languages(prompt_words), likely_languages(response_words)
    differs = (response > 0) & (prompt[row] > 0) & (response != prompt[row])
    kept = np.zeros(len(prompts), bool)
    kept[row[(response > 0) & (response == prompt[row])]] = True
    differs &= kept[row]
    for k in np.flatnonzero(differs).tolist():
        prompt_of = prompts[int(row[k])]
        differs[k] = NAMES_A_LANGUAGE.search(prompt_of.lower()) is None and detect_language(
            prompt_of[:_DETECTED]
        ) != detect_language(responses[k][:_DETECTED])
    return np.asarray(differs)

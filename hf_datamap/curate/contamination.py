"""Prompts of evaluation sets as hashes: told from a training set's prompts without keeping a text.

Two sets ship with the package, as hashes only: ``ifeval`` (541 English prompts, Apache-2.0) and ``mt_bench`` (the first
turns of its 80 questions, Apache-2.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np

from hf_datamap.curate.texts.facts import fold, text_hashes
from hf_datamap.curate.texts.minhash import near_duplicates, sketches
from hf_datamap.curate.texts.words import shingles, words
from hf_datamap.errors import DataMapError

if TYPE_CHECKING:
    from datasets import Dataset

#: An evaluation set: the name of one that ships, a file of prompts or of hashes, a `Dataset`, or prompts.
Evaluation: TypeAlias = "str | Path | Dataset | Sequence[str]"

SHIPPED: Final = ("ifeval", "mt_bench")
#: Words in a row that two prompts do not share by chance (the length that GPT-3's authors used).
NGRAM: Final = 13
_SHINGLE: Final = 3
_COLUMNS: Final = ("prompt", "instruction", "question", "turns", "input", "query", "text")


@dataclass(frozen=True, repr=False)
class PromptHashes:
    """The prompts of an evaluation set.

    Attributes:
        name: of the set.
        exact: uint64 hash of each prompt, case and white space folded.
        ngrams: uint64 hashes of all sequences of `NGRAM` words, ascending, each once.
        shingles: uint64 hashes of each prompt's three-word sequences, one prompt after the other.
        starts: where each prompt's shingles begin, shape (prompts + 1,).
    """

    name: str
    exact: np.ndarray
    ngrams: np.ndarray
    shingles: np.ndarray
    starts: np.ndarray

    def __repr__(self) -> str:
        return f"PromptHashes({self.name}, {len(self.exact):,} prompts)"

    @classmethod
    def of(cls, name: str, prompts: Iterable[str]) -> Self:
        """Hash prompts."""
        texts = list(prompts)
        texts_words = words(texts)
        values, starts = shingles(texts_words, _SHINGLE)
        return cls(
            name,
            text_hashes([fold(text) for text in texts]),
            np.unique(shingles(texts_words, NGRAM)[0]),
            values,
            starts,
        )

    def save(self, path: str | Path) -> None:
        """Write the hashes to a ``.npz`` file, which `read_evaluation` takes."""
        np.savez_compressed(
            path, exact=self.exact, ngrams=self.ngrams, shingles=self.shingles, starts=self.starts.astype(np.int64)
        )

    @classmethod
    def load(cls, path: Path, name: str) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(name, *(arrays[part] for part in ("exact", "ngrams", "shingles", "starts")))

    def matches(self, prompts: Sequence[str], least_similarity: float) -> np.ndarray:
        """Which prompts stand in the set: equally, with `NGRAM` words in a row, or nearly (MinHash).

        Args:
            prompts: texts.
            least_similarity: estimated Jaccard similarity of three-word sequences from which two are nearly equal.
        """
        prompt_words = words(prompts)
        hits = np.isin(text_hashes([fold(text) for text in prompts]), self.exact)
        grams, starts = shingles(prompt_words, NGRAM)
        owners = np.repeat(np.arange(len(prompts)), np.diff(starts))
        hits[owners[np.isin(grams, self.ngrams)]] = True
        values, starts = shingles(prompt_words, _SHINGLE)
        both = np.concatenate([sketches(self.shingles, self.starts), sketches(values, starts)])
        usable = np.concatenate([np.diff(self.starts), np.diff(starts)]) >= NGRAM - _SHINGLE
        near = near_duplicates(both, usable, least_similarity)[len(self.exact) :]
        return np.asarray(hits | ((near >= 0) & (near < len(self.exact))))


def read_evaluation(evaluation: Evaluation) -> PromptHashes:
    """Hashes of an evaluation set's prompts.

    Args:
        evaluation: a name in `SHIPPED`; a file of hashes (.npz), of texts (.txt, one a line) or of rows (.jsonl, .json,
            with a column like prompt, instruction, question or turns); a `Dataset` with such a column; or prompts.

    Raises:
        DataMapError: there is no such set or file, or it has no prompts.
    """
    if isinstance(evaluation, str) and evaluation in SHIPPED:
        with _shipped(evaluation) as path:
            return PromptHashes.load(path, evaluation)
    if isinstance(evaluation, str | Path):
        path = Path(evaluation)
        if not path.is_file():
            raise DataMapError(f"no evaluation set {str(evaluation)!r}: give a file, or one of {', '.join(SHIPPED)}")
        try:
            if path.suffix == ".npz":
                return PromptHashes.load(path, path.stem)
            prompts = _prompts_of(path)
        except (OSError, ValueError, KeyError) as error:
            raise DataMapError(f"cannot read prompts from {path}: {error}") from None
        return _hashed(path.name, prompts)
    rows: Any = evaluation  # a Dataset is told by its columns, so that datasets need not be imported
    if hasattr(rows, "column_names"):
        column = next((name for name in _COLUMNS if name in rows.column_names), None)
        if column is None:
            raise DataMapError(
                f"the evaluation set has no column {', '.join(_COLUMNS)}; it has {', '.join(rows.column_names)}"
            )
        return _hashed("evaluation set", [_text(value) for value in rows[column]])
    return _hashed("evaluation set", list(evaluation))


def _shipped(name: str) -> Any:  # noqa: ANN401 - a context manager of a path
    from importlib.resources import as_file

    return as_file(files("hf_datamap.curate") / "evaluations" / f"{name}.npz")


def _hashed(name: str, prompts: list[str]) -> PromptHashes:
    if not any(prompts):
        raise DataMapError(f"{name} holds no prompts")
    return PromptHashes.of(name, prompts)


def _prompts_of(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix not in {".json", ".jsonl"}:
        return [line for line in text.splitlines() if line.strip()]
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
    return [
        row if isinstance(row, str) else _text(next(row[name] for name in _COLUMNS if row.get(name))) for row in rows
    ]


def _text(value: object) -> str:
    """A prompt, or the first of several turns."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return str(first.get("content", "")) if isinstance(first, dict) else str(first)

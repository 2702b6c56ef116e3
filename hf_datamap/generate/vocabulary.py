"""The word lists that prompts and reference responses are made of, read from ``word_lists/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hf_datamap.scorers.constraints.words import load_word_lists

_FOLDER: Final = Path(__file__).parent / "word_lists"


def _load(name: str) -> Mapping[str, Any]:
    words: Mapping[str, Any] = load_word_lists(_FOLDER / f"{name}.yaml")
    return words


#: Names of the languages that prompts may ask for, by code.
LANGUAGE_NAMES: Final[Mapping[str, str]] = _load("languages")
#: Plain sentences without their full stop, by language code.
FILLER_SENTENCES: Final[Mapping[str, Sequence[str]]] = _load("filler_sentences")
#: Words for the keyword constraints.
KEYWORDS: Final[Sequence[str]] = _load("keywords")["keywords"]
#: Last sentences for ``startend:end_checker``.
END_PHRASES: Final[Sequence[str]] = _load("keywords")["end_phrases"]
#: A common word for each letter that a prompt may ask for a number of.
LETTER_WORDS: Final[Mapping[str, str]] = _load("keywords")["letter_words"]
#: Whom a request may be for, and in what tone.
AUDIENCES: Final[Sequence[str]] = _load("manners")["audiences"]
TONES: Final[Sequence[str]] = _load("manners")["tones"]
#: Several wordings of each kind of constraint, and the expressions that a prompt must match that states it.
WORDINGS: Final[Mapping[str, Sequence[str]]] = _load("templates")["wordings"]
CUES: Final[Mapping[str, Sequence[str]]] = _load("templates")["cues"]

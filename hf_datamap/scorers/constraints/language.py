"""Which language a text is in, by py3langid: its model ships in its wheel (no download, no randomness).

IFEval used ``langdetect``, which is random unless seeded, thirty times slower and no longer maintained.

The detector is a naive Bayes classifier over byte sequences. Of one word, of a list of names, or of two related
languages in a few lines it is often unsure, and the most likely language is then little more likely than the next. A
text is therefore said to be in the language that was asked for unless the detector clearly prefers another one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_datamap.errors import RowError
from hf_datamap.scorers.constraints.words import load_word_lists

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Enough characters to be sure, few enough to be quick.
_MAX_CHARACTERS: Final = 4000
#: How much less likely than the most likely language the one asked for may be: in nats, and as a share of the log
#: likelihood, since naive Bayes counts every repeat of a word as new evidence. Ours, set on the disagreements with the
#: published verdicts of IFEval and M-IFEval.
_MARGIN: Final = 4.0
_RELATIVE_MARGIN: Final = 0.008
_MARKUP: Final = re.compile(r"[_*#`<>{}\[\]|\\]+")


def detector() -> dict[str, str]:
    """Return the name and version of the detector, for a scorer's identity."""
    return {"name": "py3langid", "version": version("py3langid")}


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of the most likely language of ``text``, None without a letter."""
    prose = _as_prose(text)
    if not any(map(str.isalpha, prose)):
        return None
    language: str = _identifier().classify(prose)[0]
    return language


def is_in_language(text: str, code: str) -> bool:
    """Return whether ``text`` can be in a language; true of text without a letter.

    Only the languages that IFEval knows are compared, and the one asked for: the others are so rare in answers of
    models that most texts said to be in one of them (Latin, Luxembourgish, Breton) are names, code or JSON.

    Args:
        text: any text; its first 4,000 characters are looked at.
        code: the language, as `known_language_code` returns it.
    """
    prose = _as_prose(text)
    if not any(map(str.isalpha, prose)):
        return True
    common = _common_languages()
    scores: dict[str, float] = {
        language: score for language, score in _identifier().rank(prose) if language in common or language == code
    }
    best = max(scores.values())
    return scores[code] >= best - max(_MARGIN, _RELATIVE_MARGIN * abs(best))


def known_language_code(language: str) -> str:
    """Return the code by which the detector knows ``language`` (``zh-cn`` is ``zh``).

    Raises:
        RowError: it does not know it.
    """
    code = language.strip().lower().partition("-")[0]
    known = _word_lists()["detected_languages"]
    if code not in known:
        raise RowError(f"language {language!r} is unknown; known are {', '.join(known)}")
    return code


def _as_prose(text: str) -> str:
    """Return the beginning of a text as the detector knows text: without markup, JSON syntax and capitals."""
    head = text[:_MAX_CHARACTERS]
    if text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):  # it may only look like JSON
            head = "\n".join(_json_strings(json.loads(text)))[:_MAX_CHARACTERS] or head
    head = _MARKUP.sub(" ", head)
    return head.title() if head.isupper() else head


def _json_strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _json_strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _json_strings(item)


def _word_lists() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = load_word_lists(Path(__file__).parent / "word_lists" / "languages.yaml")
    return lists


@lru_cache(maxsize=1)
def _common_languages() -> frozenset[str]:
    return frozenset(_word_lists()["common_languages"])


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """Load the model, half a second of work; only when a constraint asks for a language."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2])
    return identifier

"""Seed prompts: requests of real users or of benchmarks, without the constraints that they came with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_datamap.errors import GenerateError

if TYPE_CHECKING:
    from datasets import Dataset

BUNDLED_FILE: Final = Path(__file__).parents[1] / "data" / "demo_sample" / "ifeval_sample.parquet"

_MARKS: Final = r"asterisks?|aster[ai]sk|markdown|bold|italic\w*|highlight\w*|bullet\w*|brackets?|placeholders?"
#: Words that say how an answer must look rather than what it is about. A sentence with one of them is dropped.
_CONSTRAINT_CUES: Final = re.compile(
    rf"""\b(?:{_MARKS}|commas?|punctuations?|quotations?|quotes?|quoted|json|xml|html|code|wrap\w*|divider|separat\w+
    |keywords?|the\ words?|words?|sentences?|paragraphs?|stanzas?|sections?|lines?|letters?\ \w\b|the\ letter|letters
    |capital\w*|lower\s?-?case|upper\s?-?case|all\s(?:caps|lower|upper)|caps|title|postscript|p\.\s?p?\.?\s?s
    |languages?|repeat|repleat|word\ for\ word|without\ (?:any\ )?change|request|exact(?:ly)?|phrase|ending|end\ with
    |end\ (?:it|your)|finish|entire|response|reply|answer|output|at\ least|at\ most|less\ than|more\ than|fewer|mention
    |include|includes|including|exclude|avoid|refrain|do\ not|don'?t|don’t|must|should|rhyme|versions?|two|three|four
    |five|six|seven|eight|nine|ten|twice|times|begin|start|parts?|points?|list|example|format|template|tweets?
    |use|using|following|below|above|text|continue|rewrite|summar\w+|tldr|paraphrase|critique|edit|improve)\b
    |\d+\s?\+?[-\s]?(?:word|sentence|paragraph|line|bullet|section)|<<|\*|\[|\{{|\#|https?:""",
    re.IGNORECASE | re.VERBOSE,
)
_LANGUAGE_CUES: Final = re.compile(
    r"\b(?:in|only|use|using) (?:the )?(?:entirely )?(?:[A-Z]\w+ (?:language|only)|Arabic|Bengali|Bulgarian"
    r"|Chinese|English|Finnish|French|German|Gujarati|Hindi|Italian|Japanese|Kannada|Korean|Marathi|Nepali|Persian|Polish|Portuguese"
    r"|Punjabi|Russian|Spanish|Swahili|Tamil|Telugu|Thai|Urdu|Vietnamese)\b"
)
_MAX_CHARACTERS: Final = 5000  # a longer prompt is not looked at
_SENTENCE_BREAK: Final = re.compile(r"(?<=[.?!])[\"”']?\s+|\n+")
#: A constraint at the end of a request: "Write a poem about rain, with at least ...".
_TRAILING_CLAUSE: Final = re.compile(
    r"[,;:]?\s+(?:and\s+)?(?:(?:with(?:out)?|using|in|that|which|making|make|wrap|put|highlight|give|your|all"
    r"|while|but|so)\b)",
    re.IGNORECASE,
)
_PLEASE: Final = re.compile(r"^(?:hi|hello|hey)\b[,!]?\s*|^please\s+|\s*,?\s*please(?=[.?!]|$)", re.IGNORECASE)
#: A text that was cut short: it ends in a word that something must follow.
_CUT_SHORT: Final = re.compile(
    r"\b(?:a|an|and|as|at|be|but|by|for|from|i|in|is|it|me|of|on|only|or|put|so|that|the|then|to|was|were|with|without)\W*$",
    re.IGNORECASE,
)
#: Forms whose length is fixed: a constraint on length or structure would contradict the request itself.
_FIXED_FORM: Final = re.compile(
    r"\b(?:limerick|haiku|riddle|joke|slogan|nickname|name|sentence|tagline|headline|question|itinerary|rubric|quiz)s?\b",
    re.IGNORECASE,
)
_REQUEST: Final = re.compile(
    r"^(?:write|compose|create|draft|give|tell|make|can you|could you|i need|generate)\b", re.IGNORECASE
)
_AFTER_SENTENCE: Final = re.compile(r"(?<=[.?!]) ")
_QUESTION: Final = re.compile(r"^(?:what|which|who|why|how(?! to)|is|are|do|does|did|can|could|would)\b", re.IGNORECASE)
#: The beginning of a sentence that asks for something.
_ASKS_FOR_SOMETHING: Final = re.compile(
    r"^(?:please )?(?:write|compose|create|draft|give|tell|make|generate|explain|describe|plan|name|invent|brainstorm"
    r"|list|suggest|design|hallucinate|introduce|advertise|report|how to|i (?:want|need) (?!to)|a .* is needed)\b",
    re.IGNORECASE,
)
_TOPIC_PATTERNS: Final = (
    re.compile(r"\babout (.+)$"),
    re.compile(r"^(how to .+)$", re.IGNORECASE),
    re.compile(r"^(?:Can you )?(?:tell me|explain)(?: to me)? ((?:why|how|what|the) .+)$", re.IGNORECASE),
    re.compile(r"^What(?: is|'s| are) (the .+)$"),
    re.compile(r"\b(?:essay|paper|article) on (.+)$"),
    re.compile(r"\b(?:advertisement|pitch|description|review|pitch deck) (?:for|of) ((?:a|an|the) .+)$"),
)
_VAGUE: Final = re.compile(r"^(?:it|this|that|them|these|those|him|her|us|me|yourself|what|i|we)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SeedPrompt:
    """A seed prompt without its constraints.

    Attributes:
        id: where it came from; unique.
        text: the request, one or more sentences.
    """

    id: str
    text: str

    @property
    def form(self) -> str:
        """What to write ("Write a funny poem for kids"); empty when the request is not of the form X about Y."""
        form, about, _ = self.text.partition(" about ")
        fits = about and _REQUEST.match(form) and not _FIXED_FORM.search(form) and 3 <= len(form.split()) <= 12
        return form if fits and not _AFTER_SENTENCE.search(form) else ""

    @property
    def topic(self) -> str:
        """What the request is about; empty when no pattern tells."""
        first = _AFTER_SENTENCE.split(self.text, maxsplit=1)[0].rstrip(" .?!")
        for pattern in _TOPIC_PATTERNS:
            if (match := pattern.search(first)) and not _VAGUE.match(match[1]):
                topic = match[1]
                topic = topic[0].lower() + topic[1:] if topic.startswith("How to ") else topic
                return topic if len(topic) > 3 else ""
        return ""


def bundled_seeds() -> list[SeedPrompt]:
    """Return the seed prompts that ship with the package: prompts of IFEval (Apache-2.0) without their constraints."""
    import pyarrow.parquet as pq

    table = pq.read_table(BUNDLED_FILE, columns=["key", "prompt"])
    return strip_prompts(zip(map(str, table["key"].to_pylist()), table["prompt"].to_pylist(), strict=True))


def read_seeds(ds: Dataset) -> list[SeedPrompt]:
    """Read seed prompts from any dataset with prompts.

    Raises:
        LayoutError: the columns fit no layout and there is none named ``prompt`` or ``instruction``.
        GenerateError: no row is left once its constraints are stripped.
    """
    from hf_datamap.data.detect import detect_layout

    names = [name for name in ("prompt", "instruction", "question") if name in (ds.column_names or [])]
    if names and isinstance(ds[0][names[0]], str):
        texts: Iterable[str] = ds[names[0]]
    else:
        layout = detect_layout(ds)
        texts = (layout.read(row).prompt[-1]["content"] for row in ds)
    seeds = strip_prompts((str(place), text) for place, text in enumerate(texts))
    if not seeds:
        raise GenerateError("no seed is left: every prompt of the dataset consists of constraints on its answer")
    return seeds


def strip_prompts(prompts: Iterable[tuple[str, str]]) -> list[SeedPrompt]:
    """Strip prompts given as (id, text) of their constraints; drop those without a request left, and repeats."""
    seeds: dict[str, SeedPrompt] = {}
    for seed_id, prompt in prompts:
        text = strip_constraints(prompt)
        if text:
            seeds.setdefault(text.casefold(), SeedPrompt(seed_id, text))
    return list(seeds.values())


def strip_constraints(prompt: str) -> str:
    """Return what a prompt asks for, without the constraints on how the answer must look; empty when nothing is left.

    A sentence with a cue (a number of words, a letter, a format, a language) is cut off before the clause of the cue if
    a whole request stands before it, and dropped otherwise. The rules are ours; the paper does not say how it strips.
    """
    kept: list[str] = []
    if len(prompt) > _MAX_CHARACTERS:
        return ""
    for sentence in _SENTENCE_BREAK.split(prompt.strip()):
        cleaned = _without_constraints(sentence.strip())
        if cleaned and (not kept or len(cleaned.split()) > 2):
            kept.append(cleaned)
        elif not kept:
            return ""  # the first sentence mixes the request with its constraints
    text = _PLEASE.sub("", " ".join(kept)).strip()
    if len(text.split()) < 4 or len(text) > 300 or not text.isascii() or text.count('"') % 2 or _CUT_SHORT.search(text):
        return ""
    if not any(
        _ASKS_FOR_SOMETHING.match(sentence) or sentence.endswith("?") for sentence in _AFTER_SENTENCE.split(text)
    ):
        return ""  # the request was in a part that was cut
    return text[0].upper() + text[1:]


def _without_constraints(sentence: str) -> str:
    """Return a sentence without its constraints; empty when no request is left."""
    while cue := (_CONSTRAINT_CUES.search(sentence) or _LANGUAGE_CUES.search(sentence)):
        clause_starts = [match.start() for match in _TRAILING_CLAUSE.finditer(sentence) if match.start() <= cue.start()]
        # What stands before the cue must be a request of its own, not its first two words.
        if not clause_starts or len(sentence[: clause_starts[-1]].split()) < 5:
            return ""
        sentence = sentence[: clause_starts[-1]].rstrip(" ,;:-") + "."
    if not sentence or _CUT_SHORT.search(sentence):
        return ""
    if _QUESTION.match(sentence):
        return sentence.rstrip(" ,;:.") + ("" if sentence.endswith(("?", "!")) else "?")
    return sentence if sentence[-1:] in ".?!" else sentence.rstrip(" ,;:") + "."

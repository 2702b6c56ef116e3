"""Arguments of constraints, drawn so that one sensible answer can meet all constraints of a prompt.

The ranges follow IFEval's generator (``instructions.py``: up to 20 sentences, 5 paragraphs, 100 to 500 words, ...).
They are narrower where two constraints of one prompt would leave each other too little room; those rules are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.vocabulary import END_PHRASES, FILLER_SENTENCES, KEYWORDS, LANGUAGE_NAMES
from hf_datamap.scorers.constraints.kinds import AT_LEAST, LESS_THAN

#: Letters that a text can easily avoid, and letters of which a text can easily have many.
_RARE_LETTERS: Final = "jqxzvkw"
_COUNTED_LETTERS: Final = "bcfghjkmpqvwxyz"

DrawFunction = Callable[[random.Random, "PromptContext"], dict[str, Any]]
_DRAW_FUNCTIONS: dict[str, DrawFunction] = {}


class PromptContext:
    """What is known of a prompt while the arguments of its constraints are drawn.

    Args:
        kinds: the ids of all its constraints.
        base: the text of its base prompt.
    """

    def __init__(self, kinds: Sequence[str], base: str) -> None:
        self.kinds = frozenset(kinds)
        self.base = base
        self.arguments: dict[str, dict[str, Any]] = {}
        self.used_words: set[str] = set()

    def value(self, kind: str, name: str, default: int = 0) -> int:
        """Return a number that was drawn earlier, or ``default`` if the prompt has no such constraint."""
        return int(self.arguments.get(kind, {}).get(name, default))

    @property
    def required_lines(self) -> int:
        """How many lines the structure of the answer asks for. Each of them is likely to be a sentence."""
        return (
            self.value("detectable_format:number_bullet_lists", "num_bullets")
            + self.value("detectable_format:multiple_sections", "num_sections")
            + self.value("length_constraints:number_paragraphs", "num_paragraphs")
            + self.value("length_constraints:nth_paragraph_first_word", "num_paragraphs")
            + 2 * ("detectable_content:postscript" in self.kinds)
            + ("startend:end_checker" in self.kinds)
            + ("detectable_format:title" in self.kinds)
        )

    def draw_keywords(self, rng: random.Random, count: int) -> list[str]:
        """Draw words that no other constraint of this prompt uses and that its base prompt does not contain."""
        base = self.base.lower()
        free = [word for word in KEYWORDS if word not in self.used_words and word not in base]
        keywords = rng.sample(free, count)
        self.used_words.update(keywords)
        return keywords


def draw_arguments(kinds: Sequence[str], base: str, rng: random.Random) -> tuple[Constraint, ...]:
    """Draw the arguments of constraints.

    Args:
        kinds: ids of constraints without conflicts.
        base: the text of the base prompt.
        rng: the random numbers.

    Returns:
        The constraints in the order of ``kinds``.
    """
    context = PromptContext(kinds, base)
    # In the order of the functions below: arguments that limit others are drawn first.
    for kind, draw in _DRAW_FUNCTIONS.items():
        if kind in context.kinds:
            context.arguments[kind] = draw(rng, context)
    return tuple(Constraint(kind, context.arguments.get(kind, {})) for kind in kinds)


def _arguments_of(kind: str) -> Callable[[DrawFunction], DrawFunction]:
    """Register the decorated function as the one that draws the arguments of ``kind``."""

    def register(draw: DrawFunction) -> DrawFunction:
        _DRAW_FUNCTIONS[kind] = draw
        return draw

    return register


@_arguments_of("language:response_language")
def _response_language(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"language": rng.choice([code for code in LANGUAGE_NAMES if code != "en"])}


@_arguments_of("keywords:existence")
def _existence(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    return {"keywords": context.draw_keywords(rng, rng.randint(1, 3))}


@_arguments_of("keywords:forbidden_words")
def _forbidden_words(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    return {"forbidden_words": context.draw_keywords(rng, rng.randint(2, 4))}


@_arguments_of("keywords:frequency")
def _keyword_frequency(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    (keyword,) = context.draw_keywords(rng, 1)
    return {"keyword": keyword, "frequency": rng.randint(2, 4), "relation": rng.choice((LESS_THAN, AT_LEAST))}


@_arguments_of("detectable_format:number_bullet_lists")
def _bullets(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"num_bullets": rng.randint(2, 6)}


@_arguments_of("detectable_format:number_highlighted_sections")
def _highlights(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"num_highlights": rng.randint(1, 4)}


@_arguments_of("detectable_format:multiple_sections")
def _sections(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    # The check looks for the marker in its own case, which IFEval's conflict table does not take into account.
    markers = ["Section", "SECTION", "Part", "Chapter"]
    if "change_case:english_lowercase" in context.kinds:
        markers = ["section", "part", "chapter"]
    elif "change_case:english_capital" in context.kinds:
        markers = ["SECTION", "PART", "CHAPTER"]
    return {"section_spliter": rng.choice(markers), "num_sections": rng.randint(2, 5)}


@_arguments_of("detectable_content:number_placeholders")
def _placeholders(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"num_placeholders": rng.randint(1, 4)}


@_arguments_of("detectable_content:postscript")
def _postscript(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"postscript_marker": rng.choice(("P.S.", "P.P.S"))}


@_arguments_of("startend:end_checker")
def _end_phrase(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"end_phrase": rng.choice(END_PHRASES)}


@_arguments_of("combination:repeat_prompt")
def _repeated_prompt(_: random.Random, context: PromptContext) -> dict[str, Any]:
    return {"prompt_to_repeat": context.base}


@_arguments_of("length_constraints:number_paragraphs")
def _paragraphs(rng: random.Random, _: PromptContext) -> dict[str, Any]:
    return {"num_paragraphs": rng.randint(2, 5)}


@_arguments_of("length_constraints:nth_paragraph_first_word")
def _first_word_of_a_paragraph(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    count = rng.randint(2, 5)
    language = context.arguments.get("language:response_language", {}).get("language", "en")
    first_words = sorted({sentence.split()[0].lower() for sentence in FILLER_SENTENCES[language]})
    return {"num_paragraphs": count, "nth_paragraph": rng.randint(1, count), "first_word": rng.choice(first_words)}


@_arguments_of("change_case:capital_word_frequency")
def _capital_words(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {"capital_frequency": rng.randint(2, 12), "capital_relation": AT_LEAST}
    # Section markers in capitals count too.
    markers = context.value("detectable_format:multiple_sections", "num_sections")
    return {"capital_frequency": markers + rng.randint(3, 12), "capital_relation": LESS_THAN}


@_arguments_of("keywords:letter_frequency")
def _letter_frequency(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {"letter": rng.choice(_COUNTED_LETTERS), "let_frequency": rng.randint(3, 10), "let_relation": AT_LEAST}
    required_text = " ".join([*context.used_words, *map(str, context.arguments.values()), context.base]).lower()
    # A limit below what the other constraints need of a letter could not be met.
    letters = [letter for letter in _RARE_LETTERS if required_text.count(letter) < 4] or ["q"]
    return {"letter": rng.choice(letters), "let_frequency": rng.randint(5, 10), "let_relation": LESS_THAN}


@_arguments_of("length_constraints:number_sentences")
def _sentences(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {"num_sentences": rng.randint(3, 20), "relation": AT_LEAST}
    return {"num_sentences": context.required_lines + rng.randint(4, 12), "relation": LESS_THAN}


@_arguments_of("length_constraints:number_words")
def _words(rng: random.Random, context: PromptContext) -> dict[str, Any]:
    sentences = context.arguments.get("length_constraints:number_sentences", {})
    if rng.random() < 0.5:
        sentence_limit = sentences["num_sentences"] if sentences.get("relation") == LESS_THAN else 100
        most = min(400, 25 * (sentence_limit - 1))  # 25 words make a long sentence
        return {"num_words": _round_to_ten(rng.randint(min(100, most), most)), "relation": AT_LEAST}
    required_sentences = sentences["num_sentences"] if sentences.get("relation") == AT_LEAST else 0
    capitals = context.value("change_case:capital_word_frequency", "capital_frequency")
    least = max(100, 60 + 12 * max(required_sentences, context.required_lines) + 3 * capitals)
    return {"num_words": _round_to_ten(rng.randint(least, least + 250)), "relation": LESS_THAN}


def _round_to_ten(words: int) -> int:
    return 10 * round(words / 10)


def as_columns(constraints: Sequence[Constraint]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Return the ids and the keyword arguments of constraints, in IFEval's layout."""
    return [constraint.id for constraint in constraints], [dict(constraint.kwargs) for constraint in constraints]

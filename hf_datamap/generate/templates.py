"""Constraints in words: templates that word a prompt, and the check that a prompt still states its constraints."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.vocabulary import CUES, LANGUAGE_NAMES, WORDINGS
from hf_datamap.scorers.constraints.kinds import LESS_THAN

_NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_ORDINALS: Final = ("", "first", "second", "third", "fourth", "fifth")
_LESS: Final = ("less than {n}", "fewer than {n}", "at most {below}", "no more than {below}")
_MORE: Final = ("at least {n}", "{n} or more", "no fewer than {n}", "a minimum of {n}")


def write_prompt(base: str, constraints: Sequence[Constraint], rng: random.Random) -> str:
    """Return the base prompt with its constraints in words. Wording, order and arrangement are drawn from ``rng``."""
    others = [constraint for constraint in constraints if constraint.id != "combination:repeat_prompt"]
    # The demand to repeat the request quotes the request and therefore comes last.
    repeat_prompt = [constraint for constraint in constraints if constraint.id == "combination:repeat_prompt"]
    rng.shuffle(others)
    rules = [word_constraint(constraint, rng) for constraint in (*others, *repeat_prompt)]
    arrangement = rng.randrange(4)
    if arrangement == 0:
        lead = rng.choice(
            ("Follow these rules:", "Requirements:", "Keep to the following:", "Please make sure of this:")
        )
        return "\n".join([f"{base}\n\n{lead}", *(f"- {rule}" for rule in rules)])
    if arrangement == 1:
        lead = rng.choice(("Rules:", "I want the following:", "Your answer must obey these rules:"))
        return "\n".join([f"{base}\n\n{lead}", *(f"{number}. {rule}" for number, rule in enumerate(rules, 1))])
    return f"{base}{rng.choice((' ', chr(10)))}{' '.join(rules)}"


def word_constraint(constraint: Constraint, rng: random.Random) -> str:
    """Return one constraint as a sentence, in one of its wordings."""
    values = dict(constraint.kwargs)
    number = next((value for value in values.values() if isinstance(value, int)), 0)
    wording = rng.choice(WORDINGS[constraint.id])
    # Every field is filled, used or not: each takes its random numbers in this order.
    return wording.format_map(
        {
            "n": _in_digits_or_words(values.get("num_paragraphs", number), rng),
            "nth": _ORDINALS[min(values.get("nth_paragraph", 0), 5)],
            "compare": _comparison(number, values, rng),
            "words": _quoted_list(values.get("keywords") or values.get("forbidden_words") or (), rng),
            "word": f'"{values.get("keyword") or values.get("first_word")}"',
            "letter": f'"{values.get("letter")}"',
            "language": LANGUAGE_NAMES.get(str(values.get("language")), str(values.get("language"))),
            "marker": values.get("postscript_marker"),
            "splitter": values.get("section_spliter"),
            "phrase": values.get("end_phrase"),
            "request": values.get("prompt_to_repeat"),
            "placeholders": "placeholder" if number == 1 else "placeholders",
            "parts": "part" if number == 1 else "parts",
        }
    )


def _relation_of(values: Mapping[str, Any]) -> str | None:
    return next((value for name, value in values.items() if name.endswith("relation")), None)


def _comparison(number: int, values: Mapping[str, Any], rng: random.Random) -> str:
    relation = _relation_of(values)
    if relation == LESS_THAN and number < 2:
        return "less than 1"
    return rng.choice(_LESS if relation == LESS_THAN else _MORE).format(n=number, below=number - 1)


def _in_digits_or_words(number: int, rng: random.Random) -> str:
    return _NUMBERS[number] if number <= 10 and rng.random() < 0.5 else str(number)


def _quoted_list(words: Sequence[str], rng: random.Random) -> str:
    """Return words in quotation marks, joined by commas and a last "and"."""
    mark = rng.choice(('"', "'"))
    quoted = [f"{mark}{word}{mark}" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else ""


def missing_constraints(prompt: str, constraints: Sequence[Constraint]) -> list[str]:
    """Return the ids of constraints that ``prompt`` no longer states: their cue, a value or the comparison is missing.

    The check goes by words. It may refuse a wording that a reader would accept, but none that drops a value passes.
    """
    flat = " ".join(prompt.split())
    return [constraint.id for constraint in constraints if not _states(flat, constraint)]


def _states(prompt: str, constraint: Constraint) -> bool:
    if not all(re.search(cue, prompt, re.IGNORECASE) for cue in CUES.get(constraint.id, ())):
        return False
    relation = _relation_of(constraint.kwargs)
    return all(_states_value(prompt, name, value, relation) for name, value in constraint.kwargs.items())


def _states_value(prompt: str, name: str, value: Any, relation: str | None) -> bool:  # noqa: ANN401 - an argument
    if name.endswith("relation"):
        return True  # looked for together with its number
    if isinstance(value, list):
        return all(_states_value(prompt, name, item, relation) for item in value)
    if isinstance(value, int) and name != "nth_paragraph":
        return _states_number(prompt, value, relation)
    if name in ("nth_paragraph", "letter"):
        word = rf"{_ORDINALS[min(value, 5)]}|{value}(?:st|nd|rd|th)" if name == "nth_paragraph" else re.escape(value)
        return bool(re.search(rf"(?<!\w)(?:{word})(?!\w)", prompt, re.IGNORECASE))
    text = LANGUAGE_NAMES.get(value, value) if name == "language" else " ".join(str(value).split())
    return text.lower() in prompt.lower()


def _states_number(prompt: str, value: int, relation: str | None) -> bool:
    exact, below = _number_pattern(value), _number_pattern(value - 1) if value else "zero"
    if relation is None:
        pattern = rf"(?<!\w){exact}"
    elif relation == LESS_THAN:
        pattern = (
            rf"(?:less|fewer|lower) than {exact}|(?:under|below) {exact}"
            rf"|(?:at most|no more than|not more than|up to|a maximum of|not exceed(?:ing)?) {below}"
        )
    else:
        pattern = (
            rf"(?:at least|no fewer than|no less than|a minimum of|minimum) {exact}|{exact}(?: \w+)? (?:or|and) more"
            rf"|(?<!no )(?<!not )(?:more|over) than {below}|\bover {below}"
        )
    return bool(re.search(rf"(?:{pattern})(?!\w)", prompt, re.IGNORECASE))


def _number_pattern(number: int) -> str:
    """An expression for a number in digits, with thousands separators or not, or as a word."""
    in_words = rf"|{_NUMBERS[number]}" if number < len(_NUMBERS) else ""
    return rf"(?:{number:,}|{number}{in_words})"

"""Constraints in words: templates for writing a prompt, and the check that a prompt still says what it must."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.filler_sentences import LANGUAGES
from hf_datamap.scorers.constraints.kinds import LESS_THAN

_NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_ORDINALS: Final = ("", "first", "second", "third", "fourth", "fifth")

#: Several wordings of each kind. ``{n}`` is a number in digits or words, ``{compare}`` a comparison with it.
_WORDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "keywords:existence": (
        "Include the keywords {words}.",
        "Make sure to use the words {words}.",
        "The words {words} must appear in your answer.",
        "Mention each of these words: {words}.",
    ),
    "keywords:frequency": (
        "Use the word {word} {compare} times.", "The word {word} should appear {compare} times.",
        "Make sure that {word} occurs {compare} times in your answer.", "Mention the word {word} {compare} times.",
    ),
    "keywords:forbidden_words": (
        "Do not use the words {words}.", "Avoid the following words: {words}.", "The words {words} must not appear.",
        "Write it without the words {words}.", "Do not include the keywords {words} in your response.",
    ),
    "keywords:letter_frequency": (
        "The letter {letter} should appear {compare} times.", "Use the letter {letter} {compare} times.",
        "Make sure the letter {letter} occurs {compare} times in the whole response.",
    ),
    "language:response_language": (
        "Answer entirely in {language}; no other language is allowed.", "Your whole response must be in {language}.",
        "Write in the {language} language only.", "Respond in {language} and use no other language.",
    ),
    "length_constraints:number_sentences": (
        "Your response should contain {compare} sentences.", "Write {compare} sentences.",
        "Keep the answer to {compare} sentences in total.", "Use {compare} sentences in all.",
    ),
    "length_constraints:number_paragraphs": (
        "Write exactly {n} paragraphs and separate them with the markdown divider ***.",
        "There should be {n} paragraphs, with the divider *** between them.",
        "Split the text into {n} paragraphs with *** between them.",
    ),
    "length_constraints:number_words": (
        "Answer with {compare} words.", "The response should have {compare} words.", "Use {compare} words.",
        "Your entire answer must have {compare} words.",
    ),
    "length_constraints:nth_paragraph_first_word": (
        "Write {n} paragraphs, separated by blank lines only; the {nth} one must start with the word {word}.",
        "Write {n} paragraphs with two line breaks between them and start the {nth} paragraph with the word {word}.",
        "Use exactly {n} paragraphs with an empty line between each two. The {nth} paragraph has to begin with {word}.",
    ),
    "detectable_content:number_placeholders": (
        "Include at least {n} {placeholders} in square brackets, such as [address].",
        "Use at least {n} {placeholders} represented by square brackets, for example [name].",
        "The response must contain {n} or more {placeholders} in square brackets, like [date].",
    ),
    "detectable_content:postscript": (
        "Add a postscript that starts with {marker} at the end.", 'Close with a postscript, starting with "{marker}".',
        'At the end, add a postscript; it must begin with "{marker}" exactly.',
    ),
    "detectable_format:number_bullet_lists": (
        "Include exactly {n} bullet points, each on a line that starts with * or - as in: * This is a point.",
        "Your answer must contain exactly {n} markdown bullet points, like this: * This is point 1",
        "Use {n} bullet points in markdown, no more and no fewer. Each line begins with *.",
    ),
    "detectable_format:number_highlighted_sections": (
        "Highlight at least {n} {parts} of the text with markdown, i.e. *highlighted part*.",
        "Put at least {n} {parts} of your answer in italics with asterisks, like *this part*.",
        "At least {n} {parts} should be highlighted in markdown: *highlighted text*.",
    ),
    "detectable_format:multiple_sections": (
        "Divide the response into at least {n} sections and mark the start of each with {splitter} X: {splitter} 1.",
        "The text must have {n} or more sections, each headed by {splitter} X ({splitter} 1, {splitter} 2, ...).",
        "Write at least {n} sections. Head every section with {splitter} X, for example {splitter} 1.",
    ),
    "detectable_format:title": (
        "Give it a title wrapped in double angular brackets, such as <<a fitting title>>.",
        "Include a title in double angular brackets, i.e. <<title>>.",
        "The answer must contain a title, wrapped in double angular brackets like <<this>>.",
    ),
    "combination:two_responses": (
        "Give two different responses, separated by ****** (six asterisks).",
        "Provide exactly two different answers and put six asterisks (******) between them.",
        "I want two different versions, with only ****** (six asterisks) between the two responses.",
    ),
    "combination:repeat_prompt": (
        'First repeat this request word for word, without any change, then answer it: "{request}"',
        'Before you answer, repeat the following request exactly as it is: "{request}" Say nothing before it.',
        'Begin by repeating the request "{request}" without changing a word, then give your answer.',
    ),
    "startend:end_checker": (
        'Finish your response with this exact phrase: "{phrase}" No other words may follow.',
        'The phrase "{phrase}" must be the very last words.',
        'End with the exact phrase "{phrase}" and add nothing after it.',
    ),
    "startend:quotation": (
        "Wrap your entire response in double quotation marks.", "Put double quotation marks around the whole answer.",
        "Enclose the complete response in double quotes.",
    ),
    "change_case:capital_word_frequency": (
        "Words in all capital letters should appear {compare} times.", "Use words in all caps {compare} times.",
        "Have {compare} words written in all capital letters.",
    ),
    "change_case:english_capital": (
        "Write in English and in all capital letters.",
        "Your entire response should be in English, in capital letters only.",
        "Use only uppercase letters, and answer in English.",
    ),
    "change_case:english_lowercase": (
        "Write in English and in all lowercase letters.",
        "The whole answer must be in English and lowercase; no capital letters.",
        "Use only lowercase letters, and answer in English.",
    ),
    "punctuation:no_comma": (
        "Do not use any commas.", "Avoid commas altogether.", "Write without a single comma.", "No commas are allowed.",
    ),
}  # fmt: skip

_LESS: Final = ("less than {n}", "fewer than {n}", "at most {below}", "no more than {below}")
_MORE: Final = ("at least {n}", "{n} or more", "no fewer than {n}", "a minimum of {n}")


def write_prompt(base: str, constraints: Sequence[Constraint], chance: random.Random) -> str:
    """Return the base prompt with its constraints in words; wording, order and arrangement vary."""
    rest = [constraint for constraint in constraints if constraint.id != "combination:repeat_prompt"]
    repeat = [constraint for constraint in constraints if constraint.id == "combination:repeat_prompt"]
    chance.shuffle(rest)
    parts = [say(constraint, chance) for constraint in (*rest, *repeat)]
    style = chance.randrange(4)
    if style == 0:
        rules = "\n".join(f"- {part}" for part in parts)
        lead = chance.choice(
            ("Follow these rules:", "Requirements:", "Keep to the following:", "Please make sure of this:")
        )
        return f"{base}\n\n{lead}\n{rules}"
    if style == 1:
        rules = "\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1))
        lead = chance.choice(("Rules:", "I want the following:", "Your answer must obey these rules:"))
        return f"{base}\n\n{lead}\n{rules}"
    return f"{base}{chance.choice((' ', chr(10)))}{' '.join(parts)}"


def say(constraint: Constraint, chance: random.Random) -> str:
    """Return one constraint as a sentence."""
    values = dict(constraint.kwargs)
    number = next((value for value in values.values() if isinstance(value, int)), 0)
    wording = chance.choice(_WORDINGS[constraint.id])
    return wording.format_map(
        {
            "n": _spoken(values.get("num_paragraphs", number), chance),
            "nth": _ORDINALS[min(values.get("nth_paragraph", 0), 5)],
            "compare": _comparison(number, values, chance),
            "words": _listed(values.get("keywords") or values.get("forbidden_words") or (), chance),
            "word": f'"{values.get("keyword") or values.get("first_word")}"',
            "letter": f'"{values.get("letter")}"',
            "language": LANGUAGES.get(str(values.get("language")), str(values.get("language"))),
            "marker": values.get("postscript_marker"),
            "splitter": values.get("section_spliter"),
            "phrase": values.get("end_phrase"),
            "request": values.get("prompt_to_repeat"),
            "placeholders": "placeholder" if number == 1 else "placeholders",
            "parts": "part" if number == 1 else "parts",
        }
    )


def _comparison(number: int, values: Mapping[str, Any], chance: random.Random) -> str:
    relation = next((value for name, value in values.items() if name.endswith("relation")), None)
    if relation == LESS_THAN and number < 2:
        return "less than 1"
    return chance.choice(_LESS if relation == LESS_THAN else _MORE).format(n=number, below=number - 1)


def _spoken(number: int, chance: random.Random) -> str:
    return _NUMBERS[number] if number <= 10 and chance.random() < 0.5 else str(number)


def _listed(words: Sequence[str], chance: random.Random) -> str:
    mark = chance.choice(('"', "'"))
    quoted = [f"{mark}{word}{mark}" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else ""


Says = Callable[[str, Mapping[str, Any]], bool]


def lost(prompt: str, constraints: Sequence[Constraint]) -> list[str]:
    """Return the ids of constraints that ``prompt`` no longer states: their cue, a value or the comparison is missing.

    By words, so a rewording may be refused that a reader would accept; one that drops a value is not let pass.
    """
    flat = " ".join(prompt.split())
    return [constraint.id for constraint in constraints if not _states(flat, constraint)]


#: What must be found in a prompt that states a constraint of each kind, besides its values.
_CUES: Final[Mapping[str, tuple[str, ...]]] = {
    "keywords:existence": (r"word|includ|mention|use|contain|feature|appear",),
    "keywords:frequency": (r"time|once|twice|occur|appear",),
    "keywords:forbidden_words": (r"not|n't|avoid|without|exclud|refrain|never|forbidden",),
    "keywords:letter_frequency": ("letter",),
    "length_constraints:number_sentences": ("sentence",),
    "length_constraints:number_paragraphs": (r"paragraph|part|section", r"\*\*\*"),
    "length_constraints:number_words": ("word",),
    "length_constraints:nth_paragraph_first_word": ("paragraph", r"start|begin|open|first word"),
    "detectable_content:number_placeholders": ("placeholder", r"bracket|\["),
    "detectable_format:number_bullet_lists": ("bullet",),
    "detectable_format:number_highlighted_sections": (r"highlight|italic|emphasi|\*[^*\s]",),
    "detectable_format:multiple_sections": (r"section|part|chapter",),
    "detectable_format:title": ("title", r"angular|angle|<<"),
    "combination:two_responses": (r"\btwo\b|\b2\b", r"\*{6}|(?:six|6) aster"),
    "combination:repeat_prompt": ("repeat",),
    "startend:end_checker": (r"end|finish|last|conclu|clos",),
    "startend:quotation": ("quot",),
    "change_case:capital_word_frequency": (r"capital|\bcaps\b|upper",),
    "change_case:english_capital": ("english", r"capital|\bcaps\b|upper"),
    "change_case:english_lowercase": ("english", r"lower|no capital|small letters"),
    "punctuation:no_comma": (
        r"(?:\bno|not|n't|avoid|without|never|refrain)\b[^.!?]{0,60}comma"
        r"|comma[^.!?]{0,60}(?:not|free|forbidden|avoid|allowed)",
    ),
}


def _states(prompt: str, constraint: Constraint) -> bool:
    if not all(re.search(cue, prompt, re.IGNORECASE) for cue in _CUES.get(constraint.id, ())):
        return False
    relation = next((value for name, value in constraint.kwargs.items() if name.endswith("relation")), None)
    return all(_holds(prompt, name, value, relation) for name, value in constraint.kwargs.items())


def _holds(prompt: str, name: str, value: Any, relation: str | None) -> bool:  # noqa: ANN401 - a keyword argument
    if name.endswith("relation"):
        return True
    if isinstance(value, list):
        return all(_holds(prompt, name, item, relation) for item in value)
    if isinstance(value, int) and name != "nth_paragraph":
        return _number_holds(prompt, value, relation)
    if name in ("nth_paragraph", "letter"):
        ordinal = rf"{_ORDINALS[min(value, 5)]}|{value}(?:st|nd|rd|th)" if name == "nth_paragraph" else re.escape(value)
        return bool(re.search(rf"(?<!\w)(?:{ordinal})(?!\w)", prompt, re.IGNORECASE))
    text = LANGUAGES.get(value, value) if name == "language" else " ".join(str(value).split())
    return text.lower() in prompt.lower()


def _number_holds(prompt: str, value: int, relation: str | None) -> bool:
    def spelled(number: int) -> str:
        return rf"(?:{number:,}|{number}|{_NUMBERS[number]})" if number < len(_NUMBERS) else rf"(?:{number:,}|{number})"

    exact, below = spelled(value), spelled(value - 1) if value else "zero"
    if relation is None:
        return bool(re.search(rf"(?<!\w){exact}(?!\w)", prompt, re.IGNORECASE))
    if relation == LESS_THAN:
        pattern = (
            rf"(?:less|fewer|lower) than {exact}|(?:under|below) {exact}"
            rf"|(?:at most|no more than|not more than|up to|a maximum of|not exceed(?:ing)?) {below}"
        )
    else:
        above = spelled(value - 1) if value else "zero"
        pattern = (
            rf"(?:at least|no fewer than|no less than|a minimum of|minimum) {exact}|{exact}(?: \w+)? (?:or|and) more"
            rf"|(?<!no )(?<!not )(?:more|over) than {above}|\bover {above}"
        )
    return bool(re.search(rf"(?:{pattern})(?!\w)", prompt, re.IGNORECASE))

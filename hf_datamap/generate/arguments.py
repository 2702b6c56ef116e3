"""Arguments of constraints, drawn so that all constraints of a prompt can be met by one sensible answer.

Ranges follow IFEval's generator (``instructions.py``: up to 20 sentences, 5 paragraphs, 100 to 500 words, ...) and are
narrowed where two constraints of one prompt would squeeze each other; those rules are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.filler_sentences import LANGUAGES, PROSE
from hf_datamap.scorers.constraints.kinds import AT_LEAST, LESS_THAN

#: Words for the keyword constraints; none occurs in the fillers that witnesses are made of.
KEYWORDS: Final = tuple(
    """
    adventure agreement ancient apology arrival atmosphere balcony bargain basket bicycle blanket bravery bridge brother
    budget butter calendar candle canyon captain castle celebration ceremony champion charity chemistry chimney chorus
    circus citizen climate coffee comedy compass complaint concert copper courage cousin customer danger debate decade
    delivery desert dessert detective diamond discovery disaster doctor dolphin dragon economy elephant emerald emotion
    energy engine equality evidence experiment factory failure famine farmer fashion festival fiction flavor forest
    fortune freedom furniture galaxy gallery geography ginger glacier grammar gravity guitar happiness harbor harvest
    heritage highway history holiday honesty horizon hospital humor hunger identity illness imagination industry injury
    innovation insect instrument island jacket jealous journey jungle justice kitchen knowledge ladder lantern laughter
    leadership legend lemonade lesson library literature luggage machine magazine magnet market medicine memory merchant
    microscope mineral miracle mirror momentum monument mosquito mountain mystery needle neighbor nephew novel nutrition
    obstacle ocean opinion opportunity orchestra ornament oxygen package painter parade passenger passport patience
    pepper philosophy photograph pioneer planet poetry poverty prairie privacy prophet puzzle pyramid quarrel recipe
    referee refuge religion remedy republic rescue research reward rhythm robot romance sandwich satellite scandal
    scholar scissors shelter shoulder silence silver skeleton soldier spider statue strategy sugar sunrise surgeon
    surprise sympathy symphony target temple tension theater therapy thunder tourist tradition tragedy treasure triumph
    tunnel turtle umbrella universe vaccine vampire velvet victory village violin volcano voyage wallet warrior wealth
    weather wedding whisper wilderness window winter wisdom witness wizard wonder
    """.split()  # noqa: SIM905 - a list of quoted words would hide the words
)
END_PHRASES: Final = (
    "Any other questions?", "Is there anything else I can help with?", "That is all you need!", "So what is next?",
    "I hope this helps.", "Let me know what you think.", "And that is the whole story.", "Thank you for reading.",
    "The rest is up to you.", "This is where it ends.", "Now it is your turn.", "More on that another day.",
)  # fmt: skip
#: Letters that a text can do without, and those it can have many of without trying for nothing.
_RARE: Final = "jqxzvkw"
_COUNTED: Final = "bcfghjkmpqvwxyz"

Draw = Callable[[random.Random, "Setting"], dict[str, Any]]
_DRAWS: dict[str, Draw] = {}


class Setting:
    """What is known of a prompt while the arguments of its constraints are drawn.

    Args:
        kinds: the ids of all its constraints.
        base: its base prompt.
    """

    def __init__(self, kinds: Sequence[str], base: str) -> None:
        self.kinds = frozenset(kinds)
        self.base = base
        self.drawn: dict[str, dict[str, Any]] = {}
        self.words_used: set[str] = set()

    def value(self, kind: str, name: str, default: int = 0) -> int:
        """A number drawn earlier, ``default`` when the prompt has no such constraint."""
        return int(self.drawn.get(kind, {}).get(name, default))

    @property
    def lines(self) -> int:
        """How many lines the structure asks for: each is likely to be a sentence."""
        return (
            self.value("detectable_format:number_bullet_lists", "num_bullets")
            + self.value("detectable_format:multiple_sections", "num_sections")
            + self.value("length_constraints:number_paragraphs", "num_paragraphs")
            + self.value("length_constraints:nth_paragraph_first_word", "num_paragraphs")
            + 2 * ("detectable_content:postscript" in self.kinds)
            + ("startend:end_checker" in self.kinds)
            + ("detectable_format:title" in self.kinds)
        )

    def keywords(self, chance: random.Random, count: int) -> list[str]:
        """Words that no other constraint of this prompt uses and its base prompt does not hold."""
        base = self.base.lower()
        free = [word for word in KEYWORDS if word not in self.words_used and word not in base]
        chosen = chance.sample(free, count)
        self.words_used.update(chosen)
        return chosen


def draw_arguments(kinds: Sequence[str], base: str, chance: random.Random) -> tuple[Constraint, ...]:
    """Draw the arguments of the constraints ``kinds`` (ids without conflicts) for the base prompt ``base``."""
    setting = Setting(kinds, base)
    for kind, draw in _DRAWS.items():  # in the order below: what bounds others comes first
        if kind in setting.kinds:
            setting.drawn[kind] = draw(chance, setting)
    return tuple(Constraint(kind, setting.drawn.get(kind, {})) for kind in kinds)


def _draws(kind: str) -> Callable[[Draw], Draw]:
    def register(draw: Draw) -> Draw:
        _DRAWS[kind] = draw
        return draw

    return register


@_draws("language:response_language")
def _language(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"language": chance.choice([code for code in LANGUAGES if code != "en"])}


@_draws("keywords:existence")
def _existence(chance: random.Random, setting: Setting) -> dict[str, Any]:
    return {"keywords": setting.keywords(chance, chance.randint(1, 3))}


@_draws("keywords:forbidden_words")
def _forbidden(chance: random.Random, setting: Setting) -> dict[str, Any]:
    return {"forbidden_words": setting.keywords(chance, chance.randint(2, 4))}


@_draws("keywords:frequency")
def _frequency(chance: random.Random, setting: Setting) -> dict[str, Any]:
    (keyword,) = setting.keywords(chance, 1)
    return {"keyword": keyword, "frequency": chance.randint(2, 4), "relation": chance.choice((LESS_THAN, AT_LEAST))}


@_draws("detectable_format:number_bullet_lists")
def _bullets(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"num_bullets": chance.randint(2, 6)}


@_draws("detectable_format:number_highlighted_sections")
def _highlights(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"num_highlights": chance.randint(1, 4)}


@_draws("detectable_format:multiple_sections")
def _sections(chance: random.Random, setting: Setting) -> dict[str, Any]:
    # The check looks for the marker in its own case, which IFEval's conflict table does not know.
    markers = ["Section", "SECTION", "Part", "Chapter"]
    if "change_case:english_lowercase" in setting.kinds:
        markers = ["section", "part", "chapter"]
    elif "change_case:english_capital" in setting.kinds:
        markers = ["SECTION", "PART", "CHAPTER"]
    return {"section_spliter": chance.choice(markers), "num_sections": chance.randint(2, 5)}


@_draws("detectable_content:number_placeholders")
def _placeholders(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"num_placeholders": chance.randint(1, 4)}


@_draws("detectable_content:postscript")
def _postscript(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"postscript_marker": chance.choice(("P.S.", "P.P.S"))}


@_draws("startend:end_checker")
def _end(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"end_phrase": chance.choice(END_PHRASES)}


@_draws("combination:repeat_prompt")
def _repeat(_: random.Random, setting: Setting) -> dict[str, Any]:
    return {"prompt_to_repeat": setting.base}


@_draws("length_constraints:number_paragraphs")
def _paragraphs(chance: random.Random, _: Setting) -> dict[str, Any]:
    return {"num_paragraphs": chance.randint(2, 5)}


@_draws("length_constraints:nth_paragraph_first_word")
def _nth(chance: random.Random, setting: Setting) -> dict[str, Any]:
    count = chance.randint(2, 5)
    language = setting.drawn.get("language:response_language", {}).get("language", "en")
    openers = sorted({clause.split()[0].lower() for clause in PROSE[language]})
    return {"num_paragraphs": count, "nth_paragraph": chance.randint(1, count), "first_word": chance.choice(openers)}


@_draws("change_case:capital_word_frequency")
def _capitals(chance: random.Random, setting: Setting) -> dict[str, Any]:
    if chance.random() < 0.5:
        return {"capital_frequency": chance.randint(2, 12), "capital_relation": AT_LEAST}
    # Markers in capitals count too.
    taken = setting.value("detectable_format:multiple_sections", "num_sections")
    return {"capital_frequency": taken + chance.randint(3, 12), "capital_relation": LESS_THAN}


@_draws("keywords:letter_frequency")
def _letters(chance: random.Random, setting: Setting) -> dict[str, Any]:
    if chance.random() < 0.5:
        return {"letter": chance.choice(_COUNTED), "let_frequency": chance.randint(3, 10), "let_relation": AT_LEAST}
    wanted = " ".join([*setting.words_used, *map(str, setting.drawn.values()), setting.base]).lower()
    # Fewer of a letter than other constraints need could not be met.
    letters = [letter for letter in _RARE if wanted.count(letter) < 4] or ["q"]
    return {"letter": chance.choice(letters), "let_frequency": chance.randint(5, 10), "let_relation": LESS_THAN}


@_draws("length_constraints:number_sentences")
def _sentences(chance: random.Random, setting: Setting) -> dict[str, Any]:
    if chance.random() < 0.5:
        return {"num_sentences": chance.randint(3, 20), "relation": AT_LEAST}
    return {"num_sentences": setting.lines + chance.randint(4, 12), "relation": LESS_THAN}


@_draws("length_constraints:number_words")
def _words(chance: random.Random, setting: Setting) -> dict[str, Any]:
    sentences = setting.drawn.get("length_constraints:number_sentences", {})
    few = sentences.get("num_sentences", 100) if sentences.get("relation") == LESS_THAN else 100
    many = sentences.get("num_sentences", 0) if sentences.get("relation") == AT_LEAST else 0
    if chance.random() < 0.5:
        most = min(400, 25 * (few - 1))  # 25 words make a long sentence
        return {"num_words": _rounded(chance.randint(min(100, most), most)), "relation": AT_LEAST}
    least = (
        60
        + 12 * max(many, setting.lines)
        + 3 * setting.value("change_case:capital_word_frequency", "capital_frequency")
    )
    return {"num_words": _rounded(chance.randint(max(100, least), max(100, least) + 250)), "relation": LESS_THAN}


def _rounded(words: int) -> int:
    return 10 * round(words / 10)


def as_columns(constraints: Sequence[Constraint]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Ids and keyword arguments in IFEval's layout."""
    return [constraint.id for constraint in constraints], [dict(constraint.kwargs) for constraint in constraints]

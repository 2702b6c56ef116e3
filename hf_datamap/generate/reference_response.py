"""A response that is built to meet all constraints of a prompt: proof that they can be met together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.vocabulary import FILLER_SENTENCES, LETTER_WORDS
from hf_datamap.scorers.constraints.checker import Checker
from hf_datamap.scorers.constraints.kinds import AT_LEAST, LESS_THAN

#: How many filler sentences are tried. More of them help the language detector; fewer keep limits on words.
_FILLER_COUNTS: Final = (3, 6, 12, 0, 24)


def find_reference_response(constraints: Sequence[Constraint]) -> str | None:
    """Return a response that meets every constraint by the real checks, or None if the construction does not find one.

    Raises:
        RowError: a constraint is unknown or its arguments are wrong.
    """
    checker = Checker(constraints)
    arguments = {constraint.id: constraint.kwargs for constraint in constraints}
    for count in _FILLER_COUNTS:
        text = _ResponseBuilder(arguments, count).build()
        if all(checker.strict(text)):
            return text
    return None


class _ResponseBuilder:
    """One attempt at a reference response: filler prose, a line for each required element, and the frame around them.

    Args:
        arguments: the keyword arguments of each constraint, by id.
        filler_count: how many filler sentences to add.
    """

    def __init__(self, arguments: Mapping[str, Mapping[str, Any]], filler_count: int) -> None:
        self.arguments, self.filler_count = arguments, filler_count
        language = arguments.get("language:response_language", {}).get("language", "en")
        letters = arguments.get("keywords:letter_frequency", {})
        avoided = letters["letter"] if letters.get("let_relation") == LESS_THAN else ""
        usable = [text for text in FILLER_SENTENCES[language] if not avoided or avoided not in text.lower()]
        self.filler_sentences = usable or list(FILLER_SENTENCES[language])
        self.next_filler = 0
        sentences = arguments.get("length_constraints:number_sentences", {})
        # Without full stops a text counts as one sentence, however long it is.
        self.full_stop = "" if sentences.get("relation") == LESS_THAN else "."
        self.least_sentences = sentences["num_sentences"] if sentences.get("relation") == AT_LEAST else 0
        words = arguments.get("length_constraints:number_words", {})
        self.least_words = words["num_words"] if words.get("relation") == AT_LEAST else 0

    def build(self) -> str:
        body = "\n".join([*self.required_lines(), *self.filler()])
        text = self.in_frame(body)
        if "change_case:english_lowercase" in self.arguments:
            return text.lower()
        return text.upper() if "change_case:english_capital" in self.arguments else text

    def clause(self) -> str:
        """Return the next filler sentence without its full stop."""
        self.next_filler += 1
        return self.filler_sentences[(self.next_filler - 1) % len(self.filler_sentences)]

    def sentence(self) -> str:
        return self.clause() + self.full_stop

    def required_lines(self) -> list[str]:
        """Return the lines that single constraints ask for, after one sentence of prose."""
        arguments = self.arguments
        lines = [self.sentence()]
        if "detectable_format:title" in arguments:
            lines.append(f"<<{self.clause()}>>")
        for section in range(arguments.get("detectable_format:multiple_sections", {}).get("num_sections", 0)):
            marker = arguments["detectable_format:multiple_sections"]["section_spliter"]
            lines.append(f"{marker} {section + 1}\n{self.sentence()}")
        bullets = arguments.get("detectable_format:number_bullet_lists", {}).get("num_bullets", 0)
        lines += [f"- {self.sentence()}" for _ in range(bullets)]
        # A highlight at the start of a line would count as a bullet.
        highlights = arguments.get("detectable_format:number_highlighted_sections", {}).get("num_highlights", 0)
        lines += [f"{self.clause()} *{self.clause()}*{self.full_stop}" for _ in range(highlights)]
        if required_words := self.required_words():
            lines.append(f"{self.clause()} {' '.join(required_words)}{self.full_stop}")
        return lines

    def required_words(self) -> list[str]:
        """Return the words and marks that must occur anywhere."""
        arguments = self.arguments
        words = list(arguments.get("keywords:existence", {}).get("keywords", ()))
        frequency = arguments.get("keywords:frequency", {})
        if frequency.get("relation") == AT_LEAST:
            words += [frequency["keyword"]] * frequency["frequency"]
        letters = arguments.get("keywords:letter_frequency", {})
        if letters.get("let_relation") == AT_LEAST:
            words += [LETTER_WORDS.get(letters["letter"], letters["letter"])] * letters["let_frequency"]
        capitals = arguments.get("change_case:capital_word_frequency", {})
        if capitals.get("capital_relation") == AT_LEAST:
            upper = [word.upper() for sentence in self.filler_sentences for word in sentence.split()]
            words += (upper * (capitals["capital_frequency"] // len(upper) + 1))[: capitals["capital_frequency"]]
        placeholders = arguments.get("detectable_content:number_placeholders", {}).get("num_placeholders", 0)
        return words + ["[...]"] * placeholders

    def filler(self) -> list[str]:
        """Return one line of filler sentences, as many as the least numbers of sentences and words ask for."""
        sentences = [self.sentence() for _ in range(max(self.filler_count, self.least_sentences))]
        words = sum(len(sentence.split()) for sentence in sentences)
        while words < self.least_words:
            sentences.append(self.sentence())
            words += len(sentences[-1].split())
        return [" ".join(sentences)] if sentences else []

    def in_frame(self, body: str) -> str:
        """Return the body in paragraphs or halves, with what must stand at its start and at its end."""
        arguments = self.arguments
        parts, separator = [body], "\n\n"
        if "length_constraints:number_paragraphs" in arguments:
            separator = "\n***\n"
            count = arguments["length_constraints:number_paragraphs"]["num_paragraphs"]
            parts += [self.sentence() for _ in range(count - 1)]
        elif paragraphs := arguments.get("length_constraints:nth_paragraph_first_word"):
            parts += [self.sentence() for _ in range(paragraphs["num_paragraphs"] - 1)]
            place = paragraphs["nth_paragraph"] - 1
            parts[place] = f"{paragraphs['first_word'].capitalize()} {parts[place]}"
        elif "combination:two_responses" in arguments:
            separator = "\n******\n"
            parts.append(self.sentence())
        if postscript := arguments.get("detectable_content:postscript"):
            parts[-1] += f"\n{postscript['postscript_marker']} {self.sentence()}"
        if end := arguments.get("startend:end_checker"):
            parts[-1] += f"\n{end['end_phrase']}"
        text = separator.join(parts)
        if repeat := arguments.get("combination:repeat_prompt"):
            text = f"{repeat['prompt_to_repeat']}\n{text}"
        return f'"{text}"' if "startend:quotation" in arguments else text

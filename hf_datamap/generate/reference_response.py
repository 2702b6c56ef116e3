"""A response built to meet all constraints of a prompt: proof that they can be met together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hf_datamap.data.example import Constraint
from hf_datamap.generate.filler_sentences import LETTER_WORDS, PROSE
from hf_datamap.scorers.constraints import Checker
from hf_datamap.scorers.constraints.kinds import AT_LEAST, LESS_THAN

#: How much filler is tried: more of it helps the language detector, less keeps limits on words.
_AMOUNTS: Final = (3, 6, 12, 0, 24)


def find_witness(constraints: Sequence[Constraint]) -> str | None:
    """Return a response that meets every constraint by the real checks, or None if the construction does not find one.

    Raises:
        RowError: a constraint is unknown or its arguments are wrong.
    """
    checker = Checker(constraints)
    given = {constraint.id: constraint.kwargs for constraint in constraints}
    for amount in _AMOUNTS:
        text = _Builder(given, amount).text()
        if all(checker.strict(text)):
            return text
    return None


class _Builder:
    """One try at a witness: prose, the required elements as lines of it, the frame around it."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]], amount: int) -> None:
        self.given, self.amount = given, amount
        language = given.get("language:response_language", {}).get("language", "en")
        letters = given.get("keywords:letter_frequency", {})
        avoided = letters["letter"] if letters.get("let_relation") == LESS_THAN else ""
        prose = [clause for clause in PROSE[language] if not avoided or avoided not in clause.lower()]
        self.prose = prose or list(PROSE[language])
        self.turn = 0
        sentences = given.get("length_constraints:number_sentences", {})
        # Without full stops a text is one sentence, however long.
        self.stop = "" if sentences.get("relation") == LESS_THAN else "."
        self.sentences = sentences["num_sentences"] if sentences.get("relation") == AT_LEAST else 0
        words = given.get("length_constraints:number_words", {})
        self.words = words["num_words"] if words.get("relation") == AT_LEAST else 0

    def clause(self) -> str:
        self.turn += 1
        return self.prose[(self.turn - 1) % len(self.prose)]

    def sentence(self) -> str:
        return self.clause() + self.stop

    def text(self) -> str:
        body = "\n".join([*self.elements(), *self.filler()])
        text = self.framed(body)
        if "change_case:english_lowercase" in self.given:
            return text.lower()
        return text.upper() if "change_case:english_capital" in self.given else text

    def elements(self) -> list[str]:
        """The lines that single constraints ask for."""
        lines = [self.sentence()]
        given = self.given
        if "detectable_format:title" in given:
            lines.append(f"<<{self.clause()}>>")
        for section in range(given.get("detectable_format:multiple_sections", {}).get("num_sections", 0)):
            marker = given["detectable_format:multiple_sections"]["section_spliter"]
            lines.append(f"{marker} {section + 1}\n{self.sentence()}")
        bullets = given.get("detectable_format:number_bullet_lists", {}).get("num_bullets", 0)
        lines += [f"- {self.sentence()}" for _ in range(bullets)]
        # A highlight at the start of a line would count as a bullet.
        highlights = given.get("detectable_format:number_highlighted_sections", {}).get("num_highlights", 0)
        lines += [f"{self.clause()} *{self.clause()}*{self.stop}" for _ in range(highlights)]
        if inserted := self.insertions():
            lines.append(f"{self.clause()} {' '.join(inserted)}{self.stop}")
        return lines

    def insertions(self) -> list[str]:
        """Words and marks that must occur, wherever."""
        given = self.given
        words = list(given.get("keywords:existence", {}).get("keywords", ()))
        frequency = given.get("keywords:frequency", {})
        if frequency.get("relation") == AT_LEAST:
            words += [frequency["keyword"]] * frequency["frequency"]
        letters = given.get("keywords:letter_frequency", {})
        if letters.get("let_relation") == AT_LEAST:
            words += [LETTER_WORDS.get(letters["letter"], letters["letter"])] * letters["let_frequency"]
        capitals = given.get("change_case:capital_word_frequency", {})
        if capitals.get("capital_relation") == AT_LEAST:
            shouted = [word.upper() for clause in self.prose for word in clause.split()]
            words += (shouted * (capitals["capital_frequency"] // len(shouted) + 1))[: capitals["capital_frequency"]]
        placeholders = given.get("detectable_content:number_placeholders", {}).get("num_placeholders", 0)
        return words + ["[...]"] * placeholders

    def filler(self) -> list[str]:
        lines = [self.sentence() for _ in range(max(self.amount, self.sentences))]
        count = sum(len(line.split()) for line in lines)
        while count < self.words:
            lines.append(self.sentence())
            count += len(lines[-1].split())
        return [" ".join(lines)] if lines else []

    def framed(self, body: str) -> str:
        """The body in paragraphs or halves, with what must stand at its start and end."""
        given = self.given
        parts, joint = [body], "\n\n"
        if "length_constraints:number_paragraphs" in given:
            joint = "\n***\n"
            parts += [
                self.sentence() for _ in range(given["length_constraints:number_paragraphs"]["num_paragraphs"] - 1)
            ]
        elif nth := given.get("length_constraints:nth_paragraph_first_word"):
            parts += [self.sentence() for _ in range(nth["num_paragraphs"] - 1)]
            place = nth["nth_paragraph"] - 1
            parts[place] = f"{nth['first_word'].capitalize()} {parts[place]}"
        elif "combination:two_responses" in given:
            joint = "\n******\n"
            parts.append(self.sentence())
        if postscript := given.get("detectable_content:postscript"):
            parts[-1] += f"\n{postscript['postscript_marker']} {self.sentence()}"
        if end := given.get("startend:end_checker"):
            parts[-1] += f"\n{end['end_phrase']}"
        text = joint.join(parts)
        if repeat := given.get("combination:repeat_prompt"):
            text = f"{repeat['prompt_to_repeat']}\n{text}"
        return f'"{text}"' if "startend:quotation" in given else text

"""IFBench's kinds that belong to one request each, and check its answer (``custom:``)."""

from __future__ import annotations

import csv
import io
import re
import string as characters
import unicodedata
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Final

from hf_datamap.scorers.constraints.ifbench.registry import TEST_KINDS
from hf_datamap.scorers.constraints.ifbench.vocabulary import CAPITALS_BY_LATITUDE
from hf_datamap.scorers.constraints.kinds import Check
from hf_datamap.scorers.constraints.text import ResponseView

_NUMBER: Final = re.compile(r"\d+")
_QUESTION: Final = re.compile(r"\n*Question \d+[.|):;]?\s*")
_OPTION: Final = re.compile(r"[A-Ea-e][.|)]\s*\w")
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_SPECIAL_FIELD: Final = re.compile(r'".*[^\d\w\s].*"', re.DOTALL)
_STRIPPED: Final = characters.punctuation + " "


@TEST_KINDS.add("custom:multiples")
def _multiples_of_seven() -> Check:
    return lambda view: _NUMBER.findall(view.text) == ["14", "21", "28", "35", "42", "49"]


@TEST_KINDS.add("custom:mcq_count_length")
def _four_longer_questions() -> Check:
    def check(view: ResponseView) -> bool:
        if not view.text.startswith("Question"):
            return False
        questions = [part.strip() for part in _QUESTION.split(view.text) if part.strip()]
        lengths = [_question_length(question) for question in questions]
        return len(questions) == 4 and all(lengths) and all(one < two for one, two in pairwise(lengths))

    return check


def _question_length(question: str) -> int:
    """Return the number of characters of a question with five options, 0 if it has another number of options."""
    lines = [line.strip() for line in question.split("\n")]
    options = [place for place, line in enumerate(lines) if _OPTION.match(line)]
    return len(" ".join(lines[: options[0]]).strip()) if len(options) == 5 else 0


@TEST_KINDS.add("custom:reverse_newline")
def _countries_in_reverse() -> Check:
    def check(view: ResponseView) -> bool:
        lines = [line.strip(_STRIPPED) for line in view.lines if line.strip(_STRIPPED)]
        start = next((place for place, line in enumerate(lines) if "Zimbabwe" in line), None)
        if start is None or len(lines) - start < 52:
            return False
        names = [_ascii(line) for line in lines[start:]]
        return names == sorted(names, reverse=True)

    return check


@TEST_KINDS.add("custom:word_reverse")
def _words_in_reverse() -> Check:
    def check(view: ResponseView) -> bool:
        words = view.lower.translate(str.maketrans("", "", characters.punctuation)).split()
        return "bald eagle" in " ".join(reversed(words))

    return check


@TEST_KINDS.add("custom:character_reverse")
def _characters_in_reverse() -> Check:
    return lambda view: "elgae dlab" in view.lower


@TEST_KINDS.add("custom:sentence_alphabet")
def _alphabet_of_sentences() -> Check:
    def check(view: ResponseView) -> bool:
        return [sentence[0].lower() for sentence in view.sentence_list] == list(characters.ascii_lowercase)

    return check


@TEST_KINDS.add("custom:european_capitals_sort")
def _capitals_by_latitude() -> Check:
    def check(view: ResponseView) -> bool:
        return [name.strip() for name in _ascii(view.text).split(",") if name.strip()] == list(CAPITALS_BY_LATITUDE)

    return check


@TEST_KINDS.add("custom:csv_city")
def _csv_of_cities() -> Check:
    return lambda view: _is_city_table([row for row in _csv_rows(view.stripped) if row])


@TEST_KINDS.as_published("custom:csv_city")
def _published_csv_of_cities() -> Check:
    # A blank line after the data counts as a row.
    return lambda view: _is_city_table(_csv_rows(view.text))


def _is_city_table(rows: list[list[str]]) -> bool:
    header = ["ID", "Country", "City", "Year", "Count"]
    return len(rows) == 8 and rows[0] == header and all(len(row) == 5 for row in rows)


@TEST_KINDS.add("custom:csv_special_character")
def _csv_with_special_character() -> Check:
    header = _header(("ProductID", "Category", "Brand", "Price", "Stock"), r",[ \t]*")

    def check(view: ResponseView) -> bool:
        rows = _csv_rows(view.stripped, keep_quotes=True)
        if not header.fullmatch(view.stripped.split("\n")[0].strip()) or len(rows) != 15:
            return False
        fields = [field for row in rows[1:] for field in row]
        return all(len(row) == 5 for row in rows) and any(map(_SPECIAL_FIELD.match, fields))

    return check


@TEST_KINDS.add("custom:csv_quotes")
def _csv_in_quotes() -> Check:
    header = _header(("StudentID", "Subject", "Grade", "Semester", "Score"), r"\t *")

    def is_quoted(field: str) -> bool:
        return len(field) > 1 and field[0] == field[-1] == '"'

    def check(view: ResponseView) -> bool:
        rows = _csv_rows(view.stripped, delimiter="\t", keep_quotes=True)
        if not header.fullmatch(view.stripped.split("\n")[0].strip()) or len(rows) != 4:
            return False
        return all(len(row) == 5 and all(is_quoted(field.strip()) for field in row) for row in rows)

    return check


def _header(names: Sequence[str], delimiter: str) -> re.Pattern[str]:
    """Return the expression of a header whose names may stand in quotation marks."""
    return re.compile(delimiter.join(f'(?:{name}|"{name}")' for name in names))


@TEST_KINDS.add("custom:date_format_list")
def _dates_of_napoleon() -> Check:
    def check(view: ResponseView) -> bool:
        return all(1769 <= year <= 1821 and _is_day(year, month, day) for year, month, day in _dates(view))

    return check


@TEST_KINDS.as_published("custom:date_format_list")
def _published_dates_of_napoleon() -> Check:
    def check(view: ResponseView) -> bool:
        # The month 00, the day 00 and the 29th of every February are dates.
        longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
        return all(
            1769 <= year <= 1821 and month <= 12 and day <= longest.get(month, 31 if month else 99)
            for year, month, day in _dates(view)
        )

    return check


def _dates(view: ResponseView) -> list[tuple[int, int, int]]:
    """Return year, month and day of each part between commas; zeros for what is no date."""
    matches = [_DATE.fullmatch(part.strip()) for part in view.stripped.split(",")]
    return [(int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0) for match in matches]


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _csv_rows(text: str, delimiter: str = ",", *, keep_quotes: bool = False) -> list[list[str]]:
    """Return the rows of CSV data, none if it is not well-formed.

    With ``keep_quotes`` fields keep the quotation marks around them.
    """
    if keep_quotes:
        text = text.replace('"', '"""')
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _ascii(text: str) -> str:
    """Return a text without accents and other characters outside ASCII."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")

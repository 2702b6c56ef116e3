"""Series of columns: names that differ in a number or a letter alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hf_datamap.data import names


@dataclass(frozen=True)
class Series:
    """Columns whose names differ in a number or letter alone.

    Attributes:
        columns: in order.
        marks: what their names differ in.
        before, after: the words on both sides of it.
    """

    columns: tuple[str, ...]
    marks: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


_ORDINALS = {"one": "1", "two": "2", "three": "3", "first": "1", "second": "2", "third": "3", "left": "1", "right": "2"}


def series_of(columns: Iterable[str]) -> list[Series]:
    """Return all series of names: ``answer_a`` to ``answer_d``, ``response1`` and ``response2``, ``y_01`` to ``y_12``.

    A series begins with 0 or 1 (or the letter a) and has no gaps.
    """
    members: dict[tuple[tuple[str, ...], tuple[str, ...], str], dict[int, tuple[str, str]]] = {}
    for column in columns:
        column_words = names.words(column)
        for at, word in enumerate(column_words):
            mark = _ORDINALS.get(word, word)
            letter = len(mark) == 1 and "a" <= mark <= "z"
            if not (mark.isdecimal() or letter):
                continue
            kind = "word" if word in _ORDINALS else "digit" if mark.isdecimal() else "letter"
            order = int(mark) if mark.isdecimal() else ord(mark) - ord("a") + 1
            members.setdefault((column_words[:at], column_words[at + 1 :], kind), {}).setdefault(order, (column, word))
    series: list[Series] = []
    for (before, after, _), by_order in members.items():
        orders = sorted(by_order)
        if len(orders) >= 2 and orders[0] in (0, 1) and orders == list(range(orders[0], orders[0] + len(orders))):
            columns_in_order, marks = zip(*(by_order[order] for order in orders), strict=True)
            series.append(Series(columns_in_order, marks, before, after))
    return series

"""Label rules: how what ships with a row becomes one annotation per response, higher is better, always.

=============  ======================================================================================================
``scores``     one number per response, higher is better
``ranks``      one number per response, lower is better (1 = best)
``order``      no column: the responses of the first path are preferred over all others (chosen, rejected)
``choice``     one value that names the best of the responses, or a tie; several columns are votes, averaged
``strength``   one signed number: negative = the first of two is better, positive = the second, 0 = tie
``between``    one number from 1 (the first is better) to 2 (the second); 0 and 1.5 = tie
``one_hot``    one flag per response, then (optional) one for a tie and one for both bad
``pairwise``   a list over all pairs (1,2) (1,3) ... (N-1,N): 0 equal, 1 the first, 2 the second; share of wins
=============  ======================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, TypeAlias

from hf_datamap.data.paths import decoded
from hf_datamap.data.values import mean, number, seen
from hf_datamap.errors import RowError

Annotations: TypeAlias = "list[float | None] | None"
Winner: TypeAlias = "int | str"

#: In `Layout.choices`: equal, and equally bad.
TIE: Final = "tie"
BOTH_BAD: Final = "both_bad"

_TIES = {
    "tie",
    "both",
    "equal",
    "draw",
    "same",
    "a=b",
    "neutral",
    "both_good",
    "bothgood",
    "tie_bothgood",
    "tie_both_good",
}
_BAD = {"both_bad", "bothbad", "tie_bothbad", "tie_both_bad", "neither"}
_NAMED = {"left": 0, "right": 1, "first": 0, "second": 1, "a>b": 0, "a>>b": 0, "b>a": 1, "b>>a": 1, "a<b": 1, "a<<b": 1}
_LETTER = re.compile(r"(?:(?:model|response|answer|assistant|output|completion|option)_?)?([a-h])")


def choice_key(value: Any) -> str:
    """Return how a label value is written in `Layout.choices`: lower case, whole numbers without a point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().lower()


def _winner(value: Any, choices: Mapping[str, Winner], count: int) -> Winner:
    key = choice_key(value)
    found = choices.get(key)
    if found is None:
        word = re.sub(r"[^a-z0-9<>=]+", "_", key).strip("_")
        letter = _LETTER.fullmatch(word)
        found = TIE if word in _TIES else BOTH_BAD if word in _BAD else _NAMED.get(word)
        found = ord(letter[1]) - ord("a") if letter else found
    if found is None or (isinstance(found, int) and not 0 <= found < count):
        known = ", ".join([*choices, "a, b, model_a, tie, both_bad, ..."])
        raise RowError(f"the label names none of the responses (known: {known})", seen(value))
    return found


def _shares(winner: Winner, count: int) -> list[float]:
    if isinstance(winner, int):
        return [1.0 if position == winner else 0.0 for position in range(count)]
    return [0.0 if winner == BOTH_BAD else 0.5] * count


def _numbers(cells: Sequence[Any], count: int) -> list[float | None] | None:
    values = cells
    if len(cells) == 1:
        inner = decoded(cells[0])
        if inner is None:
            return None
        values = inner if isinstance(inner, (list, tuple)) else [inner]
    if len(values) != count:
        raise RowError("the labels do not pair up with the responses", f"{len(values)} labels, {count} responses")
    # The common case, floats straight from Arrow, is kept short; NaN is the only float that differs from itself.
    return [v if type(v) is float and v - v == 0.0 else number(v) for v in values]


def _scores(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    values = _numbers(cells, count)
    return values if values is not None and any(value is not None for value in values) else None


def _ranks(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    values = _scores(cells, count, choices)
    return None if values is None else [None if value is None else -value for value in values]


def _choice(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    votes = [_shares(_winner(cell, choices, count), count) for cell in cells if cell is not None]
    return [mean(list(column)) for column in zip(*votes, strict=True)] if votes else None


def _two(count: int) -> None:
    if count != 2:
        raise RowError("this label compares two responses", f"{count} responses")


def _strength(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    value = number(cells[0])
    _two(count)
    return None if value is None else [max(-value, 0.0), max(value, 0.0)]


def _between(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    value = number(cells[0])
    _two(count)
    if value is None:
        return None
    if value != 0 and not 1 <= value <= 2:
        raise RowError("the preference is not between 1 and 2", seen(cells[0]))
    return [2.0 - value, value - 1.0] if value else [0.5, 0.5]


def _one_hot(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    flags = [number(cell) for cell in cells]
    if len(flags) < count:
        raise RowError("fewer flags than responses", f"{len(flags)} flags, {count} responses")
    hot = [position for position, flag in enumerate(flags) if flag]
    if len(hot) > 1:
        raise RowError("more than one flag of the one-hot label is set", seen(list(cells)))
    if not hot:
        return None
    return list(_shares(hot[0] if hot[0] < count else TIE if hot[0] == count else BOTH_BAD, count))


def _pairwise(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    verdicts = decoded(cells[0])
    if verdicts is None:
        return None
    pairs = list(combinations(range(count), 2))
    if not isinstance(verdicts, (list, tuple)) or len(verdicts) != len(pairs):
        raise RowError(f"the label is not a list of {len(pairs)} verdicts, one per pair", seen(verdicts))
    wins: list[list[float | None]] = [[] for _ in range(count)]
    for (first, second), verdict in zip(pairs, map(number, verdicts), strict=True):
        if verdict is None:
            continue
        if verdict not in {0.0, 1.0, 2.0}:
            raise RowError("a verdict on a pair is none of 0, 1, 2", seen(verdict))
        wins[first].append({0.0: 0.5, 1.0: 1.0, 2.0: 0.0}[verdict])
        wins[second].append({0.0: 0.5, 1.0: 0.0, 2.0: 1.0}[verdict])
    return [mean(won) for won in wins] if any(wins) else None


Rule: TypeAlias = Callable[[Sequence[Any], int, Mapping[str, Winner]], Annotations]

#: Rules that read columns; ``order`` reads none.
RULES: Final[Mapping[str, Rule]] = {
    "scores": _scores,
    "ranks": _ranks,
    "choice": _choice,
    "strength": _strength,
    "between": _between,
    "one_hot": _one_hot,
    "pairwise": _pairwise,
}

_WORDS: Final = {
    "scores": "higher is better",
    "ranks": "lower is better (1 = best); annotations are its negative",
    "order": "the responses of the first column are preferred (1.0 against 0.0)",
    "strength": "negative = the first response is better, positive = the second, 0 = tie",
    "between": "1 = the first response is better, 2 = the second, 0 or 1.5 = tie",
    "one_hot": "the response whose flag is set is best; tie = equal, both bad = equal",
    "pairwise": "verdict per pair: 0 equal, 1 the first, 2 the second; annotations are shares of wins",
}


def polarity(rule: str, paths: Sequence[str], choices: Mapping[str, Winner]) -> str:
    """Return in words which label value means better."""
    if not paths and rule != "order":
        return "no annotations"
    if rule == "choice":
        named = {TIE: "tie", BOTH_BAD: "both bad"}
        told = "; ".join(
            f"{key} = " + (f"response {where + 1} is best" if isinstance(where, int) else named.get(where, where))
            for key, where in choices.items()
        )
        words = told or "the value names the best response (a, model_a, ...); tie = equal, both_bad = equal"
        words += "; the mean of the votes" if len(paths) > 1 else ""
    else:
        words = _WORDS[rule]
    return f"{', '.join(paths)}: {words}" if paths else words

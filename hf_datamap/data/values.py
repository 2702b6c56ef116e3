"""Numbers, grades and constraints as datasets really hold them, and how a value is shown in an error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from hf_datamap.data.decode import decoded
from hf_datamap.data.example import Constraint
from hf_datamap.errors import RowError

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?:/\s*\d+\s*)?")


def seen(value: Any, limit: int = 80) -> str:
    """Return a value as it may stand in an error: one line, no control characters, shortened."""
    shown = (
        ascii(value)
        if isinstance(value, (bytes, bytearray))
        else repr(value[:limit] if isinstance(value, str) else value)
    )
    shown = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in shown[: limit * 2])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _fail(reason: str, value: Any = None) -> NoReturn:
    raise RowError(reason, "" if value is None else seen(value))


def whole(text: str) -> str | None:
    """Return a text whose surrogate pairs are joined, or None when a lone surrogate makes it unreadable."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            return None
    return text


def number(value: Any) -> float | None:
    """Return a finite number, also from strings such as ``"4"`` or ``"7/10"``; None for anything else ("N/A", NaN)."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        return float(match[1]) if match and math.isfinite(float(match[1])) else None
    if isinstance(value, (list, tuple)):
        return mean([number(item) for item in value])
    if value is None or isinstance(value, (Mapping, bytes)):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


#: Grades in words, on one scale from worst to best.
GRADES: Final = {
    "terrible": 1.0, "awful": 1.0, "very bad": 1.0, "very poor": 1.0, "unacceptable": 1.0,
    "bad": 2.0, "poor": 2.0, "low": 2.0, "wrong": 2.0, "incorrect": 2.0, "fail": 2.0, "failed": 2.0, "false": 2.0,
    "no": 2.0, "unsafe": 2.0, "harmful": 2.0, "unhelpful": 2.0, "rejected": 2.0,
    "fair": 3.0, "average": 3.0, "ok": 3.0, "okay": 3.0, "neutral": 3.0, "acceptable": 3.0, "medium": 3.0,
    "mediocre": 3.0, "moderate": 3.0, "partial": 3.0, "partially correct": 3.0,
    "good": 4.0, "high": 4.0, "right": 4.0, "correct": 4.0, "pass": 4.0, "passed": 4.0, "true": 4.0, "yes": 4.0,
    "safe": 4.0, "harmless": 4.0, "helpful": 4.0, "accepted": 4.0, "chosen": 4.0,
    "very good": 5.0, "great": 5.0, "excellent": 5.0, "very high": 5.0, "perfect": 5.0,
}  # fmt: skip


def grade(value: Any) -> float | None:
    """Return a number as `number` does, or that of a grade in words (``good``, ``poor``); None for anything else."""
    score = number(value)
    if score is None and isinstance(value, str):
        return GRADES.get(value.strip().lower().replace("_", " "))
    return score


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those values that are numbers, None when none is."""
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None


def parse_constraints(ids: Any, kwargs: Any) -> tuple[Constraint, ...]:
    """Return the verifiable constraints of a row; null arguments (which Arrow structs are full of) are dropped.

    Args:
        ids: a list of instruction ids, or its JSON. A list of such lists gives the constraints of each turn.
        kwargs: one struct of arguments per id (or its JSON), or the JSON of the whole list; null for none.

    Raises:
        RowError: ids and arguments do not pair up, or are of the wrong shape.
    """
    ids, kwargs = decoded(ids), decoded(kwargs)
    if ids is None:
        return ()
    if isinstance(ids, (list, tuple)) and ids and all(isinstance(turn, (list, tuple)) for turn in ids):
        return _constraints_per_turn(ids, kwargs)
    if not isinstance(ids, (list, tuple)) or not all(isinstance(name, str) and name for name in ids):
        _fail("instruction ids are not a list of strings", ids)
    arguments = [{}] * len(ids) if kwargs is None else kwargs
    if not isinstance(arguments, (list, tuple)) or len(arguments) != len(ids):
        _fail(f"{len(ids)} instruction ids, but kwargs are not a list of that length", kwargs)
    constraints = []
    for name, cell in zip(ids, arguments, strict=True):
        options = decoded(cell)
        if options is not None and not isinstance(options, Mapping):
            _fail(f"kwargs of {seen(name)} are not a mapping", options)
        kept = {str(key): value for key, value in (options or {}).items() if value is not None}
        constraints.append(Constraint(id=name, kwargs=kept))
    return tuple(constraints)


def _constraints_per_turn(ids: Sequence[Any], kwargs: Any) -> tuple[Constraint, ...]:
    arguments = [None] * len(ids) if kwargs is None else kwargs
    if not isinstance(arguments, (list, tuple)) or len(arguments) != len(ids):
        _fail(f"instruction ids of {len(ids)} turns, but kwargs are not a list of that length", kwargs)
    return tuple(
        replace(constraint, turn=turn)
        for turn, (ids_of_turn, kwargs_of_turn) in enumerate(zip(ids, arguments, strict=True), 1)
        for constraint in parse_constraints(ids_of_turn, kwargs_of_turn)
    )

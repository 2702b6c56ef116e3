"""Label rules: how what ships with a row becomes one annotation per response, higher is better, always.

===================  ==================================================================================================
``scores``           one number per response, higher is better
``ranks``            one number per response, lower is better (1 = best)
``order``            no column: the responses of the first path are preferred over all others (chosen, rejected)
``scores_or_order``  ``scores``, and ``order`` in rows where a score is missing
``choice``           one value that names the best of the responses, or a tie; of several values, the mean
``votes``            a list of ``choice`` values, and a list of their status: discarded and drafted ones do not count
``names``            one value, then one per response: the best is the one whose value (the model's name) is the same
``text``             one value that repeats the best response word for word
``strength``         one signed number: negative = the first of two is better, positive = the second, 0 = tie
``between``          one number from 1 (the first is better) to 2 (the second); 0 and 1.5 = tie
``one_hot``          one flag per response, then (optional) one for a tie and one for both bad
``rankings``         per annotator a list of ``{rank, value}``, the value naming a response as ``choice`` does (Argilla)
``keyed``            keys of the responses, then keys and numbers of the scores: paired by key, higher is better
``pairwise``         a list over all pairs (1,2) (1,3) ... (N-1,N): 0 equal, 1 the first, 2 the second; share of wins
===================  ==================================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Final, TypeAlias

from hf_datamap.data.decode import decoded, records
from hf_datamap.data.values import grade, mean, number, seen
from hf_datamap.errors import RowError

Annotations: TypeAlias = "list[float | None] | None"
Winner: TypeAlias = "int | str"

#: In `Layout.choices`: equal, and equally bad.
TIE: Final = "tie"
BOTH_BAD: Final = "both_bad"

_TIES = {
    "tie", "both", "equal", "draw", "same", "a=b", "a~b", "a~=b", "neutral", "similar", "both_good", "bothgood",
    "tie_bothgood", "tie_both_good", "about_the_same", "the_same", "no_preference", "equally_good", "no_difference",
    "both_are_good", "tied", "toss_up", "a_tie", "they_are_equal", "indifferent",
}  # fmt: skip
_BAD = {
    "both_bad", "bothbad", "tie_bothbad", "tie_both_bad", "neither", "equally_bad", "both_are_bad", "none",
}  # fmt: skip
_NAMED = {"left": 0, "right": 1, "first": 0, "second": 1, "1st": 0, "2nd": 1, "a<b": 1, "a<<b": 1}
_THING = (
    "model|response|answer|assistant|output|completion|option|candidate|summary|prediction|reply|text|system|chatbot"
)
_LETTER = re.compile(rf"(?:(?:{_THING})_?)?([a-z])")
_MARK = re.compile(rf"(?:the_)?(?:{_THING})_?(\d+)")
_BETTER = re.compile(
    rf"(?:i_prefer_|prefer_)?((?:the_)?(?:(?:{_THING})_?)?(?:[a-h]|\d+|left|right|first|second))"
    r"(?:_(?:is|was))?(?:_(?:much|slightly|significantly|clearly|a_bit|far|way))?"
    r"_?(?:better|wins|won|preferred|best|the_best|more_helpful)?(?:_than_.{1,20})?"
)
_GREATER = re.compile(r"([a-h]|\d)(>+|<+)([a-h]|\d)")
#: Verdicts under these words do not count.
_NOT_SUBMITTED = {"discarded", "draft", "pending", "rejected_by_reviewer"}


def choice_key(value: Any) -> str:
    """Return how a label value is written in `Layout.choices`: lower case, whole numbers without a point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().lower()


def _winner(value: Any, choices: Mapping[str, Winner], count: int) -> Winner:
    key = choice_key(value)
    winner = choices.get(key)
    if winner is None and isinstance(value, str):
        winner = _from_words(key, choices, count)
    if winner is None or (isinstance(winner, int) and not 0 <= winner < count):
        known = ", ".join([*choices, "a, b, model_a, tie, both_bad, ..."])
        raise RowError(f"the label names none of the responses (known: {known})", seen(value))
    return winner


@lru_cache(maxsize=4096)
def _word(key: str) -> str:
    """Return a label in a plain form: ``[[A]]`` and ``Response A`` become ``a`` and ``response_a``."""
    return re.sub(r"[^a-z0-9<>=~]+", "_", key).strip("_")


def _from_words(key: str, choices: Mapping[str, Winner], count: int) -> Winner | None:  # noqa: PLR0911
    word = _word(key)
    if word in choices:
        return choices[word]
    if word in _TIES:
        return TIE
    if word in _BAD:
        return BOTH_BAD
    if word in _NAMED:
        return _NAMED[word]
    if order := _GREATER.fullmatch(word.replace("_", "")):
        return _from_words(order[1] if order[2][0] == ">" else order[3], choices, count)
    if key.startswith("[[c]]") and count == 2:
        return TIE  # the third option of judges that answer [[A]], [[B]] or [[C]]
    if letter := _LETTER.fullmatch(word):
        return ord(letter[1]) - ord("a")
    if mark := _MARK.fullmatch(word):
        return choices.get(f"model_{mark[1]}")
    better = _BETTER.fullmatch(word)
    return _from_words(better[1].removeprefix("the_"), choices, count) if better and better[1] != word else None


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
        values = list(inner) if isinstance(inner, (list, tuple)) else [inner]
    if len(values) != count:
        raise RowError("the labels do not pair up with the responses", f"{len(values)} labels, {count} responses")
    # The common case, floats straight from Arrow, is kept short; NaN is the only float that differs from itself.
    return [v if type(v) is float and v - v == 0.0 else grade(v) for v in values]


def _scores(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    values = _numbers(cells, count)
    return values if values is not None and any(value is not None for value in values) else None


def _ranks(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    values = _scores(cells, count, choices)
    return None if values is None else [None if value is None else -value for value in values]


def _scores_or_order(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    values = _numbers(cells, count)
    if values is None or None in values:
        # The order of the columns is a label of its own: a missing score does not take it away.
        return [1.0, *[0.0] * (count - 1)]
    return values


def _votes_of(cells: Sequence[Any]) -> list[Any]:
    votes: list[Any] = []
    for value in cells:
        cell = decoded(value) if isinstance(value, str) and value.startswith("[") else value
        if isinstance(cell, str) and cell.startswith("["):
            votes.append(cell)  # [[A]], as judges write it
        elif isinstance(cell, (list, tuple)):
            votes.extend(_votes_of(cell))
        elif cell is not None and cell != "" and not (isinstance(cell, float) and math.isnan(cell)):
            votes.append(cell)
    return votes


def _choice(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    shares = [_shares(_winner(vote, choices, count), count) for vote in _votes_of(cells)]
    return [mean(list(column)) for column in zip(*shares, strict=True)] if shares else None


def _votes(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    votes, status = (decoded(cell) for cell in cells)
    if not isinstance(votes, (list, tuple)):
        return _choice([votes], count, choices)
    if isinstance(status, (list, tuple)) and len(status) == len(votes):
        votes = [vote for vote, word in zip(votes, status, strict=True) if word not in _NOT_SUBMITTED]
    return _choice(list(votes), count, choices)


def _same(first: Any, second: Any) -> bool:
    return first is not None and second is not None and str(first).strip() == str(second).strip()


def _names(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    value, *names = cells
    if value is None:
        return None
    if len(names) == 1 and isinstance(names[0], (list, tuple)):
        names = list(names[0])
    matching = [place for place, name in enumerate(names[:count]) if _same(name, value)]
    if len(matching) == 1:
        return list(_shares(matching[0], count))
    if len(matching) > 1 and len(matching) == count:
        return list(_shares(TIE, count))  # both responses are of the winner: the label does not tell them apart
    return list(_shares(_winner(value, choices, count), count))


def _text(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    value, *texts = cells
    if value is None:
        return None
    matching = [place for place, text in enumerate(texts) if _same(text, value)]
    if not matching:
        raise RowError("the label repeats none of the responses", seen(value))
    return [1.0 if place in matching else 0.0 for place in range(count)]


def _rankings(cells: Sequence[Any], count: int, choices: Mapping[str, Winner]) -> Annotations:
    annotators = records(decoded(cells[0]))
    if annotators is None or annotators == []:
        return None
    if isinstance(annotators, Mapping):
        annotators = [annotators]
    if not isinstance(annotators, (list, tuple)):
        raise RowError("the rankings are no list", seen(annotators))
    ranks: list[list[float | None]] = [[] for _ in range(count)]
    for annotator in annotators:
        if isinstance(annotator, Mapping) and annotator.get("status") in _NOT_SUBMITTED:
            continue
        ranking = annotator.get("value") if isinstance(annotator, Mapping) and "rank" not in annotator else annotator
        entries = records(decoded(ranking))
        for entry in [entries] if isinstance(entries, Mapping) else entries or ():
            if not isinstance(entry, Mapping) or (rank := number(entry.get("rank"))) is None:
                raise RowError("a ranking is not made of rank and value", seen(entry))
            place = _winner(entry.get("value"), choices, count)
            if isinstance(place, int):
                ranks[place].append(-rank)
    return [mean(each) for each in ranks] if any(ranks) else None


def _keyed(cells: Sequence[Any], count: int, _: Mapping[str, Winner]) -> Annotations:
    keys, score_keys, values = (decoded(cell) for cell in cells)
    if not all(isinstance(cell, (list, tuple)) for cell in (keys, score_keys, values)):
        return None
    if len(keys) != count or len(score_keys) != len(values) or len(set(map(str, score_keys))) != len(score_keys):
        raise RowError("the keyed scores do not pair up with the responses", seen(score_keys))
    scores = {str(key): grade(value) for key, value in zip(score_keys, values, strict=True)}
    values_by_response = [scores.get(str(key)) for key in keys]
    return values_by_response if any(value is not None for value in values_by_response) else None


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
    "scores_or_order": _scores_or_order,
    "votes": _votes,
    "names": _names,
    "text": _text,
    "rankings": _rankings,
    "keyed": _keyed,
}

#: Rules that take the response texts too, after the label.
NEEDS_TEXTS: Final = frozenset({"text"})

_WORDS: Final = {
    "scores": "higher is better",
    "scores_or_order": "higher is better; where a score is missing, the first response is preferred",
    "names": "the response whose model the value names is best",
    "text": "the response that the value repeats is best",
    "rankings": "lower rank is better; the mean over annotators of its negative",
    "keyed": "higher is better, paired by key",
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
    if rule in {"choice", "votes"}:
        named = {TIE: "tie", BOTH_BAD: "both bad"}
        meanings = "; ".join(
            f"{key} = " + (f"response {where + 1} is best" if isinstance(where, int) else named.get(where, where))
            for key, where in choices.items()
        )
        words = meanings or "the value names the best response (a, model_a, ...); tie = equal, both_bad = equal"
        words += "; the mean of the votes" if len(paths) > 1 else ""
    else:
        words = _WORDS[rule]
    return f"{', '.join(paths)}: {words}" if paths else words

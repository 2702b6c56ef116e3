"""A score from the log-probabilities of its tokens: the expectation over the scale, and its variance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hf_datamap.engine.reply import ChatReply

_LEAST_MASS: Final = 0.5  # of a score token's distribution that must lie on the scale for it to be believed
_NEGLIGIBLE: Final = 0.01  # share of the mass that may stay unclear
_BEFORE: Final = re.compile(r"(?:score|rating)\W{0,6}\Z", re.IGNORECASE)
_REMEMBERED: Final = 40  # characters before a number that may name it

ABSENT: Final = "the endpoint gave no log-probabilities"
NOT_FOUND: Final = "the score was not to be found among the tokens"
UNREADABLE: Final = "the log-probabilities of the score's token could not be read"
OFF_SCALE: Final = "most alternatives to the score's token are no scores"
UNLIKELY: Final = "the written score is not among the alternatives that are listed for it"
SPLIT: Final = "the tokenizer splits scores into digits, so that a first digit may begin another score"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is believed of a score.

    Attributes:
        mean: the expectation, or the score as it was written.
        variance: the variance of the distribution; None when it cannot be read.
        reason: why not; empty when all is well, and for scores that are no whole number.
    """

    mean: float
    variance: float | None = None
    reason: str = ""


def expectation(written: float, reply: ChatReply, low: int, high: int) -> Expectation:
    """Return the expectation over the scale (as in G-Eval, Liu et al. 2023, section 2.3) and its variance.

    Args:
        written: the score that the judge wrote.
        reply: the judge's reply, with its tokens and their ``top_logprobs``.
        low: the lowest score.
        high: the highest score.
    """
    if not reply.tokens:
        return Expectation(written, reason=ABSENT)
    if written != int(written):
        return Expectation(written)  # no distribution over whole numbers has it
    tokens = _answer_tokens(reply)
    place = _place_of(str(int(written)), tokens)
    if place is None:
        return Expectation(written, reason=NOT_FOUND)
    weights, reason = _weights(int(written), tokens, place, {str(number): number for number in range(low, high + 1)})
    if reason:
        return Expectation(written, reason=reason)
    mass = math.fsum(weights.values())
    mean = math.fsum(value * weight for value, weight in weights.items()) / mass
    return Expectation(mean, math.fsum(weight * (value - mean) ** 2 for value, weight in weights.items()) / mass)


def _weights(
    written: int, tokens: Sequence[Mapping[str, Any]], place: int, scale: Mapping[str, int]
) -> tuple[dict[int, float], str]:
    """The probability of each score at a place among the tokens; or why they are not to be believed."""
    alternatives = _alternatives(tokens[place])
    if not alternatives:
        return {}, UNREADABLE
    if str(tokens[place].get("token", "")).strip() not in alternatives:
        # Listed before a grammar was applied, or for another token: they do not speak of what was written.
        return {}, UNLIKELY
    weights = {scale[name]: weight for name, weight in alternatives.items() if name in scale}
    unclear = _resolve_digits(weights, tokens, place, scale)
    mass = math.fsum(weights.values())
    if mass < _LEAST_MASS:
        return {}, OFF_SCALE
    if unclear > _NEGLIGIBLE * mass:
        return {}, SPLIT
    return weights, "" if written in weights else UNLIKELY


def _resolve_digits(
    weights: dict[int, float], tokens: Sequence[Mapping[str, Any]], place: int, scale: Mapping[str, int]
) -> float:
    """Share out the weight of tokens that may only begin a score, where the path of tokens tells how.

    Where digits are single tokens, "1" may begin "10". What follows "1" is known if the judge wrote it: then its
    weight goes to 1 and 10 as the next token's distribution says. Only a vocabulary that has longer scores among the
    alternatives makes "1" certain by itself.

    Returns:
        The weight that stays unclear.
    """
    if any(number in weights for name, number in scale.items() if len(name) > 1):
        return 0.0
    unclear = 0.0
    for begin in {name[:1] for name in scale if len(name) > 1}:
        number = scale.get(begin)
        weight = weights.get(number, 0.0) if number is not None else 0.0
        if not weight:
            continue
        continued = {name: longer for name, longer in scale.items() if len(name) > 1 and name.startswith(begin)}
        if str(tokens[place].get("token", "")).strip() != begin or place + 1 >= len(tokens):
            unclear += weight
            continue
        following = _alternatives(tokens[place + 1])
        if not following or any(len(name) > 2 for name in continued):  # a third digit would need another step
            unclear += weight
            continue
        total = math.fsum(following.values())
        shares = {longer: following.get(name[1:], 0.0) / total for name, longer in continued.items()}
        # Alternatives with other digits ("19") lead off the scale: their share belongs to no score.
        digits = math.fsum(value for name, value in following.items() if name[:1].isdigit()) / total
        weights[number] = weight * max(0.0, 1.0 - digits)  # type: ignore[index] # it has a weight
        for longer, share in shares.items():
            weights[longer] = weights.get(longer, 0.0) + weight * share
        unclear += weight * max(0.0, 1.0 - min(1.0, total))
    return unclear


def _alternatives(token: Mapping[str, Any]) -> dict[str, float]:
    """Probabilities of what might have stood in a token's place, by its text without white space."""
    weights: dict[str, float] = {}
    listed = token.get("top_logprobs")
    for alternative in listed if isinstance(listed, list) else ():
        if not isinstance(alternative, Mapping):
            continue
        logprob = alternative.get("logprob")
        if isinstance(logprob, int | float) and not isinstance(logprob, bool) and logprob < 0.1:  # false for NaN
            name = str(alternative.get("token", "")).strip()
            weights[name] = weights.get(name, 0.0) + math.exp(min(0.0, max(-700.0, logprob)))
    return weights


def _answer_tokens(reply: ChatReply) -> Sequence[Mapping[str, Any]]:
    """The tokens of the answer: the list begins with the thoughts where the content did."""
    tokens = reply.tokens
    if not reply.thoughts or not reply.text:
        return tokens
    start = "".join(str(token.get("token", "")) for token in tokens).rfind(reply.text)
    if start <= 0:
        return tokens
    length = 0
    for index, token in enumerate(tokens):
        length += len(str(token.get("token", "")))
        if length > start:
            return tokens[index:]
    return tokens


def _place_of(number: str, tokens: Sequence[Mapping[str, Any]]) -> int | None:
    """Index of the first token of the score. By text, not by position: token lists may hold more than the text."""
    places, named = [], []
    before = ""
    for index, run_end in _runs(number, tokens):
        before = "".join(str(token.get("token", "")) for token in tokens[max(0, index - _REMEMBERED) : index])
        after = str(tokens[run_end].get("token", "")) if run_end < len(tokens) else ""
        if before[-1:].isdigit() or after[:1].isdigit():
            continue  # part of a longer number
        places.append(index)
        named += [index] if _BEFORE.search(before[-_REMEMBERED:]) else []
    if len(named) == 1:  # the number may stand in a rationale too
        return named[0]
    return places[0] if len(places) == 1 else None


def _runs(number: str, tokens: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Where tokens together are a number: index of the first one, and of what follows the last one."""
    for index, token in enumerate(tokens):
        text = str(token.get("token", "")).strip()
        if not text or not number.startswith(text):
            continue
        end = index + 1
        while text != number and end < len(tokens) and number.startswith(text + str(tokens[end].get("token", ""))):
            text += str(tokens[end].get("token", ""))
            end += 1
        if text == number:
            yield index, end

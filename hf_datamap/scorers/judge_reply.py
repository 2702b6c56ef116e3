"""Reading what a judge wrote: never a number where there is doubt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from hf_datamap.errors import Unanswered
from hf_datamap.scorers.judge_prompt import HIGH, LOW
from hf_datamap.scorers.rubrics import Rubric

_LEAST_MASS: Final = 0.5  # of a score token's distribution that must lie on the scale for it to be believed


def tokens_used(reply: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens sent and received, as the endpoint counts them; 0 where it does not say."""
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    sent, received = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return tuple(value if isinstance(value, int) and value > 0 else 0 for value in (sent, received))  # type: ignore[return-value] # two of them


def content(reply: Mapping[str, Any], *, cut_off_is_fine: bool = False) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """Return the text of a completion and its tokens' log-probabilities.

    Args:
        reply: a chat completion.
        cut_off_is_fine: whether a text that ends at the token limit is of use.

    Raises:
        Unanswered: there is no text, or it is cut off.
    """
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unanswered("the reply has no choices")
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    if refusal := message.get("refusal"):
        raise Unanswered(f"refused: {' '.join(str(refusal).split())[:200]}")
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise Unanswered("refused: stopped by the endpoint's content filter")
    if reason == "length" and not cut_off_is_fine:
        raise Unanswered("truncated: the judge ran out of tokens before it was done; raise max_tokens")
    text = message.get("content")
    if isinstance(text, list):
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    if not isinstance(text, str) or not text.strip():
        raise Unanswered("the reply is empty")
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return text, [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []


def _no_bool(value: Any) -> Any:  # noqa: ANN401 - a value of a reply
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


@lru_cache(maxsize=256)
def reply_model(rubric: Rubric, count: int, rationale: bool) -> type[BaseModel]:
    """Return the structured output of a judgement: one response (``count`` 0), or an entry for each of ``count``."""
    number = Annotated[int, Field(ge=LOW, le=HIGH), BeforeValidator(_no_bool)]
    fields: dict[str, Any] = {"rationale": (str, ...)} if rationale else {}
    fields |= dict.fromkeys(rubric.fields, (number, ...))
    strict = ConfigDict(extra="forbid")
    one: type[BaseModel] = create_model("judgement", __config__=strict, **fields)
    if not count:
        return one
    entry: Any = one if rubric.criteria or rationale else number
    entries: dict[str, Any] = {f"response_{i}": (entry, Field(alias=str(i))) for i in range(1, count + 1)}
    several: type[BaseModel] = create_model("judgements", __config__=strict, **entries)
    return several


@lru_cache(maxsize=256)
def response_format(rubric: Rubric, count: int, rationale: bool) -> dict[str, Any]:
    """Return the ``response_format`` of a request, in OpenAI's shape."""
    model = reply_model(rubric, count, rationale)
    schema = _without_titles(model.model_json_schema())
    return {"type": "json_schema", "json_schema": {"name": model.__name__, "strict": True, "schema": schema}}


def _without_titles(schema: Any) -> Any:  # noqa: ANN401 - a JSON schema
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}


def verdicts(
    text: str, tokens: Sequence[Mapping[str, Any]], rubric: Rubric, count: int, rationale: bool
) -> list[dict[str, Any]]:
    """Read a judgement of one response (``count`` 0) or of ``count``, in the order in which they were shown.

    Returns:
        For each response its ``score``, the ``noise`` where log-probabilities give it, and what was asked for beside.

    Raises:
        Unanswered: a number is missing, outside the scale, or not to be made out.
    """
    if not count and not rubric.criteria:
        value, noise = judgement(text, tokens)
        why = (json_object(text) or {}).get("rationale") if rationale else None
        return [{"score": value, "noise": noise} | ({"rationale": str(why)} if why is not None else {})]
    found = json_object(text)
    if found is None:
        raise Unanswered(f"nonsense: no JSON object in {' '.join(text.split())[:120]!r}")
    try:
        reply = reply_model(rubric, count, rationale).model_validate(found)
    except ValidationError as error:
        raise Unanswered(_fault(error)) from None
    entries = [getattr(reply, f"response_{i}") for i in range(1, count + 1)] if count else [reply]
    return [_verdict(entry, rubric) for entry in entries]


def _verdict(entry: Any, rubric: Rubric) -> dict[str, Any]:  # noqa: ANN401 - a number, or a model of `reply_model`
    if isinstance(entry, int):
        return {"score": float(entry), "noise": None}
    numbers = {name: float(getattr(entry, name)) for name in rubric.fields}
    verdict: dict[str, Any] = {"score": rubric.score(numbers), "noise": None}
    if rubric.criteria:
        verdict["criteria"] = numbers
    if (why := getattr(entry, "rationale", None)) is not None:
        verdict["rationale"] = why
    return verdict


def _fault(error: ValidationError) -> str:
    """What is wrong with a reply: the first fault that pydantic found."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    seen = f" (saw {str(fault.get('input'))[:60]!r})" if fault["type"] != "missing" else ""
    if fault["type"] in ("greater_than_equal", "less_than_equal"):
        return f"outside the scale: {where} is {fault.get('input')}, the scale is {LOW} to {HIGH}"
    return f"nonsense: {where or 'the reply'}: {fault['msg']}{seen}"


def judgement(text: str, tokens: Sequence[Mapping[str, Any]] = ()) -> tuple[float, float | None]:
    """Read a judgement: the score, and its variance when the log-probabilities can be trusted.

    Args:
        text: what the judge wrote.
        tokens: the tokens of the reply with their ``top_logprobs``, OpenAI's shape.

    Raises:
        Unanswered: no single score on the scale can be read.
    """
    written = read_score(text)
    if not LOW <= written <= HIGH:
        raise Unanswered(f"outside the scale: the judge gave {written:g}, the scale is {LOW} to {HIGH}")
    return _expectation(written, tokens) or (written, None)


_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_FLAT = re.compile(r"\{[^{}]*\}")
_NUMBER = r"[-+]?\d{1,6}(?:\.\d{1,6})?"
_ALONE = re.compile(rf"\A\**({_NUMBER})\**(?:\s*/\s*{HIGH})?\.?\Z")
_MARKS = r"[\s\"'*_`,.!#>(){}\[\]]{0,20}"  # bounded: a hostile reply must not make the search slow
_NAMED = re.compile(
    rf"^{_MARKS}(?:final |overall )?(?:score|rating)[\"'*_`]{{0,4}}\s{{0,4}}(?:[:=]|is\b|-\s|–|—)?[\s\"'*_`]{{0,6}}"
    rf"({_NUMBER})\**(?:\s?(?:/|out of)\s?{HIGH})?{_MARKS}$",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE = re.compile(r"(?:score|rating)\W{0,6}\Z", re.IGNORECASE)
_ON_SCALE: Final = {str(number): number for number in range(LOW, HIGH + 1)}


def _said(text: str) -> str:
    """What stands after a reasoning model's thoughts; nothing when they do not end."""
    said = text.rpartition("</think>")[2].strip()
    return "" if said.startswith("<think>") else said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)  # made once: `json.loads` with options makes one for every call


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON
    """JSON; None when it is none, or when an object says the same thing twice."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _candidates(body: str) -> list[str]:
    """Where in a reply its JSON may stand if it is not all of it: in fences, flat objects, the outermost braces."""
    outermost = [body[body.find("{") : body.rfind("}") + 1]] if "{" in body else []
    return [part.strip() for part in (*_FENCE.findall(body), *_FLAT.findall(body), *outermost)]


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a reply, None when there is none."""
    body = _said(text)
    if isinstance(value := _parse(body), dict):  # most replies: not searched any further
        return value
    for candidate in reversed(_candidates(body)):  # nested objects: the widest first
        if isinstance(value := _parse(candidate), dict):
            return value
    return None


def read_score(text: str) -> float:
    """Read the one score in a judge's words: JSON, a number by itself, or a line such as ``Score: 7``.

    Raises:
        Unanswered: there is none, or there are several different ones.
    """
    body = _said(text)
    if (score := _json_score(body)) is not None:
        return score
    values = {score for part in _candidates(body) if (score := _json_score(part)) is not None}
    values |= {float(value) for value in (*_ALONE.findall(body), *_NAMED.findall(body))}
    if len(values) != 1:
        what = "no score" if not values else f"{len(values)} different scores"
        raise Unanswered(f"nonsense: {what} in {' '.join(body.split())[:120]!r}")
    return values.pop()


def _json_score(text: str) -> float | None:
    value = _parse(text)
    value = value.get("score") if isinstance(value, dict) else None
    if isinstance(value, str) and _ALONE.match(value.strip()):
        value = float(_ALONE.findall(value.strip())[0])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e6 else None


def _expectation(written: float, tokens: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Mean and variance of the score token's distribution; None when it cannot be read without doubt."""
    place = _score_token(written, tokens)
    if place is None:
        return None
    weights: dict[int, float] = {}
    alternatives = tokens[place].get("top_logprobs")
    for alternative in alternatives if isinstance(alternatives, list) else ():
        if not isinstance(alternative, Mapping):
            continue
        number, logprob = _ON_SCALE.get(str(alternative.get("token", "")).strip()), alternative.get("logprob")
        if number and isinstance(logprob, int | float) and logprob < 0.1:
            weights[number] = weights.get(number, 0.0) + math.exp(min(0.0, max(-700.0, logprob)))
    mass = math.fsum(weights.values())
    # Where digits are single tokens, "1" may begin "10": only a vocabulary that has "10" makes "1" certain.
    doubtful = HIGH not in weights and weights.get(1, 0.0) > 0.01 * mass
    if mass < _LEAST_MASS or doubtful:
        return None
    mean = math.fsum(value * weight for value, weight in weights.items()) / mass
    return mean, math.fsum(weight * (value - mean) ** 2 for value, weight in weights.items()) / mass


def _score_token(written: float, tokens: Sequence[Mapping[str, Any]]) -> int | None:
    """Index of the token that is the whole score. By text, not by position: token lists may hold more than the text."""
    wanted, before = f"{written:g}", ""
    places, named = [], []
    for index, token in enumerate(tokens):
        text = str(token.get("token", ""))
        if text.strip() == wanted:
            places.append(index)
            named += [index] if _BEFORE.search(before) else []
        before = (before + text)[-40:]
    if len(named) == 1:  # the number may stand in a rationale too
        return named[0]
    return places[0] if len(places) == 1 else None

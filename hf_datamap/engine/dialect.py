"""What an endpoint understands of a chat request: optional parameters that it refuses are found out and left out.

Servers refuse ``response_format``, ``logprobs``, ``temperature`` and others in a hundred wordings. A refusal that names
a parameter costs one more request. For a refusal in unknown words the first request is asked again without any optional
parameter; if that is answered, the parameters are left out one by one until the one at fault is known.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hf_datamap.engine.refusals import Refusal, normalised
from hf_datamap.engine.task import JSON

log = logging.getLogger(__name__)

SYSTEM: Final = "system"  # not a parameter: the system message goes into the user's turn
_MAX_PROBES: Final = 3  # refusals in unknown words that are looked into before an endpoint has accepted a parameter


@dataclass(frozen=True, slots=True)
class Feature:
    """Something optional about a request.

    Attributes:
        name: the parameter.
        words: how a refusal names it.
        also: parameters that make no sense without it.
    """

    name: str
    words: re.Pattern[str]
    also: tuple[str, ...] = ()


def _feature(name: str, words: str, *also: str) -> Feature:
    return Feature(name, re.compile(rf"(?i){words}"), also)


#: Most suspect first: where a refusal names several, the one is left out that can be spared most.
FEATURES: Final = (
    _feature("top_logprobs", r"top_?logprobs|responselogprobs.*number"),
    _feature("logprobs", r"log[ _-]?prob", "top_logprobs"),
    _feature(
        "response_format",
        r"(?:response|output|text)[_. ]?(?:format|schema)|json[_ ]?(?:schema|mode|object)|structured[_ -]?output"
        r"|guided[_ -]?(?:json|decoding)|grammar|additionalProperties|\bschema\b|\b(?:minimum|maximum)\b.*support"
        r"|constrained[_ ]decoding|response_?mime_?type",
    ),
    _feature("top_p", r"\btop[_ -]?p\b|nucleus"),
    _feature("seed", r"\b(?:random_)?seed\b"),
    _feature(
        "n",
        r"[`'\"]n[`'\"]|\bn (?:must|is|>|=|parameter)|candidate_?count|num_return|multiple (?:choices|completions)",
    ),
    _feature("stop", r"\bstop(?:_?sequences)?\b"),
    _feature("reasoning_effort", r"reasoning[_. ]?effort|thinking[_ ]?(?:level|budget)"),
    _feature("temperature", r"\btemperature\b|sampling param"),
    _feature(
        SYSTEM,
        r"system[_ -]?(?:role|message|prompt|instruction|turn)|\brole\b.{0,80}\bsystem\b|\bsystem\b.{0,30}\brole"
        r"|developer (?:role|message|instruction)|roles? must alternate|only user(?:,| and) (?:assistant|model)",
    ),
    _feature("max_tokens", r"max[_ ]?(?:completion|output|new)?[_ ]?tokens"),
)
_BY_NAME: Final = {feature.name: feature for feature in FEATURES}
#: Values that say what an endpoint does anyway: they are not sent.
_NEUTRAL: Final[Mapping[str, float]] = {"top_p": 1.0, "n": 1, "presence_penalty": 0, "frequency_penalty": 0}
_LIMIT: Final = re.compile(
    r"(?i)too (?:large|big|high)|at most|maximum|max allowed|less than|greater than|exceed|between|<=|≤"
)
_NUMBER: Final = re.compile(r"(?<![\w.-])(?:\d{1,3}(?:,\d{3})+|\d{1,9})")
_POSITIVE: Final = re.compile(r"(?i)positive|greater than (?:0|zero)|above (?:0|zero)|> ?0")
_JUST_ABOVE_ZERO: Final = 0.01  # a temperature for servers that take none of 0
_UNSPECIFIC_404: Final = re.compile(r"(?i)parameter|argument|field|feature|support")


@dataclass(frozen=True, slots=True)
class Change:
    """How a feature is sent instead: under another name, with another value, or not at all (no name)."""

    name: str = ""
    value: Any = None


DROPPED: Final = Change()


class Dialect:
    """What is known of one endpoint and model. Equal endpoints of a process share it while one of them is in use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changes: dict[str, Change] = {}
        self._accepted: set[str] = set()
        self._useless_probes: set[str] = set()
        self._failing_since: float | None = None
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Dialect({self._name}, changed: {', '.join(self._changes) or 'nothing'})"

    @property
    def lock(self) -> asyncio.Lock:
        """Held while a refusal is looked into, so that requests refused alike wait for the result."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    @property
    def changes(self) -> Mapping[str, Change]:
        """What is known to be sent otherwise, by feature."""
        return dict(self._changes)

    def summary(self) -> dict[str, JSON]:
        """What is sent otherwise than asked for, as JSON: null for what is left out."""
        told: dict[str, JSON] = {}
        for name, change in sorted(self._changes.items()):
            if name == SYSTEM:
                told[name] = "in the user's turn"
            else:
                told[name] = None if not change.name else change.value if change.value is not None else change.name
        return told

    def features_of(self, body: Mapping[str, Any]) -> list[str]:
        """Return the optional features that a request has as it is sent now, most suspect first."""
        return [feature.name for feature in FEATURES if self._has(body, feature.name)]

    def _has(self, body: Mapping[str, Any], name: str) -> bool:
        if self._changes.get(name) == DROPPED:
            return False
        if name == SYSTEM:
            messages = body.get("messages")
            return isinstance(messages, list) and any(message.get("role") == "system" for message in messages)
        if name == "max_tokens":
            return name in body or "max_completion_tokens" in body
        return name in body and _NEUTRAL.get(name) != body[name]

    def spoken(self, body: Mapping[str, Any], more: Mapping[str, Change] | None = None) -> dict[str, Any]:
        """Return a request as it is sent.

        Args:
            body: the request as it is wanted, without the model.
            more: further changes, for this request only.
        """
        changes = {**self._changes, **(more or {})}
        sent = {name: value for name, value in body.items() if name not in _NEUTRAL or _NEUTRAL[name] != value}
        for feature in FEATURES:
            change = changes.get(feature.name)
            if change is None:
                continue
            if feature.name == SYSTEM:
                sent["messages"] = without_system(sent.get("messages", ()))
                continue
            value = _pop(sent, feature.name)
            if change == DROPPED:
                for name in feature.also:
                    sent.pop(name, None)
            elif value is not None:
                sent[change.name] = _changed(value, change.value)
        return sent

    def accepted(self, body: Mapping[str, Any], more: Mapping[str, Change] | None = None) -> None:
        """Note that a request was answered."""
        if len(self._accepted) < len(FEATURES):
            self._accepted.update(name for name in self.features_of(body) if name not in (more or {}))

    def is_proven(self, name: str) -> bool:
        """Whether the endpoint has answered a request that had the feature."""
        return name in self._accepted

    def named(self, refusal: Refusal, body: Mapping[str, Any]) -> tuple[str, Change] | None:
        """Return the feature that a refusal names, and what to send instead; None when it names none."""
        if not _about_parameters(refusal):
            return None
        param = "max_tokens" if refusal.param == "max_completion_tokens" else refusal.param
        features = [_BY_NAME[name] for name in self.features_of(body)]
        suspects = [feature for feature in features if feature.name == param]
        suspects += [feature for feature in features if feature.words.search(refusal.words)]
        if not suspects:
            return None
        suspect = suspects[0].name
        # "Requested sample logprobs of 20, which is greater than max allowed: 5": fewer will do.
        if suspect == "logprobs" and "top_logprobs" in body:
            change = self._instead("top_logprobs", body, refusal.words)
            if change.value is not None:
                return "top_logprobs", change
        return suspect, self._instead(suspect, body, refusal.words)

    def worth_a_probe(self, refusal: Refusal, body: Mapping[str, Any], sent_at: float) -> list[str]:
        """Return the features that may be behind a refusal in unknown words; none when it is not worth to look.

        Args:
            refusal: what the endpoint said.
            body: the request, as it was wanted.
            sent_at: when it was sent, on the clock of `time.monotonic`.
        """
        if refusal.status >= 500:
            self._failing_since = self._failing_since or time.monotonic()
            if sent_at < self._failing_since:
                return []
        unspecific = refusal.status in (400, 405, 406, 409, 415, 422, 500, 501, 502) or (
            refusal.status == 404 and _UNSPECIFIC_404.search(refusal.words)
        )
        if not unspecific or refusal.too_long or refusal.moderated or len(self._useless_probes) >= _MAX_PROBES:
            return []
        if _kind(refusal) in self._useless_probes:
            return []
        return [name for name in self.features_of(body) if name not in self._accepted]

    def useless(self, refusal: Refusal) -> None:
        """Note that a refusal has nothing to do with optional features."""
        self._useless_probes.add(_kind(refusal))

    def learn(self, changes: Mapping[str, Change]) -> None:
        """Send features otherwise from now on, and say so once."""
        for name, change in changes.items():
            if self._changes.get(name) == change:
                continue
            self._changes[name] = change
            if name == SYSTEM:
                log.warning("%s takes no system message: its words go into the user's turn", self._name)
            elif not change.name:
                log.warning("%s does not take %r: going on without it", self._name, name)
            else:
                instead = change.name if change.value is None else f"{change.name} = {change.value}"
                log.warning("%s does not take %r as asked: going on with %s", self._name, name, instead)

    def _instead(self, name: str, body: Mapping[str, Any], words: str) -> Change:
        """What to send instead of a feature that was refused in these words."""
        sent = self.spoken(body)
        if name == "temperature" and sent.get(name) == 0 and _POSITIVE.search(words):
            return Change(name, _JUST_ABOVE_ZERO)
        if name in ("top_logprobs", "max_tokens"):
            key = name if name in sent else "max_completion_tokens"
            if (limit := _limit_in(words, sent.get(key))) is not None:
                return Change(key, limit)
            other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}.get(key)
            if other and other not in body and (name not in self._changes or self._changes[name].value is not None):
                return Change(other)
        return DROPPED


def without_system(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages whose system messages stand at the head of the next user message."""
    merged: list[dict[str, Any]] = []
    instructions: list[str] = []
    for message in messages:
        if message.get("role") == "system":
            instructions.append(str(message.get("content")))
        elif message.get("role") == "user" and instructions and isinstance(message.get("content"), str):
            merged.append({**message, "content": "\n\n".join([*instructions, message["content"]])})
            instructions = []
        else:
            merged.append(dict(message))
    if instructions:
        merged.append({"role": "user", "content": "\n\n".join(instructions)})
    return merged


def narrowed(features: Sequence[str]) -> list[dict[str, Change]]:
    """Return what to try once it is known that one of several features is refused: each left out by itself."""
    tries = [{name: DROPPED} for name in features if name != "max_tokens"]
    if "max_tokens" in features:
        tries += [{"max_tokens": Change("max_completion_tokens")}, {"max_tokens": DROPPED}]
    return tries


def _about_parameters(refusal: Refusal) -> bool:
    """Whether a refusal may be one of a parameter: not of the key, the account, the pace or the length of the text."""
    if refusal.too_long or refusal.status in (401, 402, 408, 425, 429, 503, 529) or refusal.status < 400:
        return False
    return "insufficient_quota" not in refusal.codes


def _kind(refusal: Refusal) -> str:
    return f"{refusal.status} {normalised(refusal.words)}"


def _limit_in(words: str, value: object) -> int | None:
    """The greatest number below ``value`` that a refusal names, if it speaks of a limit."""
    if not isinstance(value, int) or not _LIMIT.search(words):
        return None
    numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(words)]
    below = [number for number in numbers if 1 < number < value]
    return max(below) if below else None


def _pop(sent: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - a parameter's value
    value = sent.pop(name, None)
    if name == "max_tokens" and value is None:
        value = sent.pop("max_completion_tokens", None)
    return value


def _changed(value: Any, instead: Any) -> Any:  # noqa: ANN401 - a parameter's value
    """The value to send: the other one where it is a limit that this one exceeds."""
    if instead is None:
        return value
    if isinstance(value, int) and isinstance(instead, int):
        return min(value, instead)
    return max(value, instead) if isinstance(value, int | float) else instead


_DIALECTS: weakref.WeakValueDictionary[tuple[str, str], Dialect] = weakref.WeakValueDictionary()


def dialect_of(base_url: str, model: str) -> Dialect:
    """Return what is known of an endpoint and model."""
    dialect = _DIALECTS.get((base_url, model))
    if dialect is None:
        dialect = _DIALECTS[base_url, model] = Dialect(base_url)
    return dialect

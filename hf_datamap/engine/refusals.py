"""What an endpoint means when it does not answer: its words, its status, and what follows from them."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hf_datamap.engine.transport import Reply
from hf_datamap.errors import EndpointError, Overloaded, Unanswered

_QUOTED: Final = 300  # characters of an endpoint's own words that are repeated in an error
_TOO_LONG: Final = re.compile(
    r"(?i)context.?(?:length|window|size)|maximum context|too many (?:input )?tokens|(?:prompt|input) is too long"
    r"|exceeds? the (?:model'?s )?(?:maximum )?(?:token|input) (?:limit|length)|max(?:imum)?.input.tokens"
)
_MODERATION: Final = re.compile(r"(?i)moderat|flagged|content.?(?:filter|policy)|safety system|responsible ?ai")
_BUSY: Final = (408, 409, 425, 429)
#: What OpenAI, Anthropic, OpenRouter and others write as `code` or `type` of an error, and the status that it means.
_STATUS_OF: Final[Mapping[str, int]] = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "insufficient_quota": 402,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "request_timeout": 408,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "internal_error": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "api_error": 500,
    "bad_gateway": 502,
    "service_unavailable": 503,
    "unavailable": 503,
    "overloaded": 529,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that is no answer.

    Attributes:
        status: HTTP status; of an error inside a 200 the status that it names, 400 when it names none.
        words: the endpoint's own, shortened.
        codes: the error's machine-readable ``code`` and ``type``.
        param: the parameter that the error names, empty when it names none.
        retry_after: seconds that the endpoint asks us to wait, None when it does not say.
        location: where a redirect leads.
        inside: whether it came inside a reply with status 200.
    """

    status: int
    words: str
    codes: tuple[str, ...] = ()
    param: str = ""
    retry_after: float | None = None
    location: str = ""
    inside: bool = False

    @property
    def too_long(self) -> bool:
        """Whether the text of this request is too long for the model; such words often name ``max_tokens`` too."""
        return "context_length_exceeded" in self.codes or bool(_TOO_LONG.search(self.words))

    @property
    def moderated(self) -> bool:
        """Whether this text was refused for what it says."""
        return bool(_MODERATION.search(self.words)) or "content_filter" in self.codes

    def error(self, base_url: str, model: str) -> Exception:
        """Return what to raise."""
        where = f"{base_url} answered {self.status}"
        status = 402 if "insufficient_quota" in self.codes else self.status
        fatal = {
            401: "the API key is missing or wrong. Check OPENAI_API_KEY or api_key=.",
            402: "the account has no quota left.",
            403: f"this key may not use model {model!r}.",
            404: f"no model {model!r} there, or the URL does not end in /v1. Check the model name and base_url= "
            "(--base-url).",
        }
        if status == 403 and self.moderated:
            return Unanswered(f"refused: {self.words}")
        if hint := fatal.get(status):
            return EndpointError(f"{where}: {hint} ({self.words})")
        if status in _BUSY or status >= 500:
            busy = status in (429, 503, 529)
            return Overloaded(f"HTTP {status}: {self.words}", self.retry_after, congestion=busy)
        if status in (301, 302, 303, 307, 308):
            return EndpointError(f"{where}: it redirects to {self.location}; use that as base_url=")
        # The same words for every request: nothing will ever work. A long or improper text is its row's matter.
        alike = not self.too_long and not self.moderated
        said = "the endpoint answered with an error" if self.inside else f"HTTP {status}"
        return Unanswered(f"{said}: {self.words}", refused_as=normalised(self.words) if alike else "")


def normalised(words: str) -> str:
    """Return an error's words without what differs from request to request: numbers, identifiers."""
    return re.sub(r"[\w-]*\d[\w-]*", "#", words)


def refusal_in(reply: Reply, decoded: object) -> Refusal | None:
    """Return the refusal that a reply is, None when it is an answer.

    Args:
        reply: what came back.
        decoded: its body as JSON; None when it is no JSON.
    """
    if reply.status == 200:
        error = _error_inside(decoded)
        if error is None:
            return None
        status = _status_inside(error)
    else:
        error, status = _error_object(decoded), reply.status
    codes = tuple(str(error[name]).lower() for name in ("code", "type", "status") if error.get(name) is not None)
    return Refusal(
        status,
        _message(error) or excerpt(reply),
        codes,
        str(error.get("param") or "").split(".")[0],
        _retry_after(reply.headers),
        str(reply.headers.get("location", "?")),
        inside=reply.status == 200,
    )


def excerpt(reply: Reply) -> str:
    """Return the beginning of a body, as one line."""
    return " ".join(reply.body[: 4 * _QUOTED].decode("utf-8", "replace").split())[:_QUOTED] or "an empty body"


def _error_inside(decoded: object) -> dict[str, Any] | None:
    """The error that a gateway put into a reply with status 200; in its one choice, too (OpenRouter)."""
    if not isinstance(decoded, dict):
        return None
    choices = decoded.get("choices")
    if isinstance(choices, list) and choices:
        choice = choices[0]
        error = choice.get("error") if isinstance(choice, dict) else None
        return error if isinstance(error, dict) and error else None
    if decoded.get("data") or decoded.get("embeddings"):
        return None
    named = decoded.get("error") or decoded.get("errors") or decoded.get("object") == "error"
    bare = "choices" not in decoded and isinstance(decoded.get("detail", decoded.get("message")), str)
    return _error_object(decoded) if named or bare else None


def _status_inside(error: Mapping[str, Any]) -> int:
    for name in ("code", "status", "status_code", "type"):
        value = error.get(name)
        if isinstance(value, str):
            value = int(value) if value.isdecimal() and len(value) == 3 else _STATUS_OF.get(value.lower())
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return 400


def _error_object(decoded: object) -> dict[str, Any]:
    """The error object of a reply in OpenAI's shape, or something like it."""
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error") or decoded.get("errors") or decoded
    if isinstance(error, list):
        error = error[0] if error else {}
    if isinstance(error, dict):
        # vLLM and others put the status beside the error.
        return {**{name: decoded[name] for name in ("code", "status") if name in decoded}, **error}
    return {"message": str(error)}


def _message(error: Mapping[str, Any]) -> str:
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):  # OpenRouter: the provider's own words
        message = f"{message}: {metadata['raw']}"
    if isinstance(message, dict):  # Mistral's: the details stand one deeper
        message = message.get("detail") or message.get("message") or json.dumps(message)
    if isinstance(message, list):  # FastAPI's; what it repeats of the request is left out
        message = [{name: part.get(name) for name in ("loc", "msg")} for part in message if isinstance(part, dict)]
    return " ".join(str(message).split())[:_QUOTED]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks us to wait (``Retry-After``: seconds or a date; ``retry-after-ms``)."""
    if milliseconds := headers.get("retry-after-ms"):
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else None
    except (ValueError, OverflowError):
        return None

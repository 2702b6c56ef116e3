"""The Hub's refusals in words that say what to do, and which of them pass with time."""

from __future__ import annotations

import json
import re
from typing import Final

from hf_datamap.engine.secrets import mask, remember
from hf_datamap.errors import DataMapError, HubError

#: What the clients below huggingface_hub raise when there is no answer, by name: which of them it uses depends on its
#: version (requests before 1.0, then httpx, then httpx2), and none is ours to import.
_LINE_BROKE: Final = frozenset(
    {"httpx.TransportError", "httpx2.TransportError", "requests.ConnectionError", "requests.Timeout"}
)
_PASSING: Final = frozenset({408, 409, 412, 429, 500, 502, 503, 504})


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of a Hub error, None when there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    response = getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
    return response.status_code if response is not None else None


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: the Hub is busy, somebody else committed, or the line broke."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    status = status_of(error)
    if status is not None:
        return status in _PASSING
    # hf_xet raises builtins.ConnectionError; a proxy's HTML page in place of JSON raises JSONDecodeError
    # (a download that gets no answer raises LocalEntryNotFoundError)
    broken = (ConnectionError, TimeoutError, json.JSONDecodeError, LocalEntryNotFoundError)
    kinds = {f"{base.__module__.split('.')[0]}.{base.__name__}" for base in type(error).__mro__}
    return isinstance(error, broken) or not kinds.isdisjoint(_LINE_BROKE)


def retry_after(error: BaseException) -> float | None:
    """Return the seconds the Hub asked to wait (``Retry-After``), None when it did not."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    return float(value) if value and value.isdigit() else None


def explain(error: Exception, doing: str, repo_id: str) -> DataMapError:
    """Return an error that says what was refused and what to do about it; holds no token.

    Args:
        error: what the client raised.
        doing: what was being done, for example ``push to``.
        repo_id: where.
    """
    if isinstance(error, DataMapError):
        return error
    if status_of(error) == 401 and not _token():
        return not_logged_in(doing, repo_id)
    return HubError(f"cannot {doing} {repo_id}: {_way_out(error)}")


def _way_out(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    message = hub_message(error)
    causes: list[tuple[bool, str]] = [
        (isinstance(error, GatedRepoError), "it is gated; ask for access on its page first"),
        (isinstance(error, RevisionNotFoundError), f"it has no such revision ({message})"),
        (
            isinstance(error, RepositoryNotFoundError),
            "there is no such repository, or it is private and the token in use may not see it; check the name, or log "
            "in with `hf auth login`",
        ),
        (status_of(error) == 401, "the Hub does not accept the token; renew it with `hf auth login`"),
        (
            status_of(error) == 403,
            f"no write access ({message}). For somebody else's repository open a pull request with create_pr=True "
            "(--create-pr); for your own, use a token with write access (`hf auth login`)",
        ),
        (status_of(error) == 402, f"the Hub asks for a paid plan ({message})"),
        (is_transient(error), f"{message}. Nothing half-made is visible there; run the same again to finish"),
        (True, f"{message}. Nothing half-made is visible there"),
    ]
    return next(text for applies, text in causes if applies)


def not_logged_in(doing: str, repo_id: str) -> HubError:
    """Return the error for a missing token."""
    return HubError(f"cannot {doing} {repo_id}: not logged in; run `hf auth login`, or set HF_TOKEN")


def check_token(token: str | bool | None) -> None:
    """Refuse a token that no header can carry: the client would put it into its own error.

    Raises:
        HubError: it holds a line break or another character that no token has.
    """
    from huggingface_hub import get_token

    text = token if isinstance(token, str) else get_token() if token is not False else None
    if text and not re.fullmatch("[!-~]+", text):
        raise HubError(
            "the token holds a space, a line break or another character that no token has: give it as it was made, or "
            "run `hf auth login`"
        )
    if text:
        remember(text)


def _token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def hub_message(error: Exception) -> str:
    """Return what the Hub or the client said, in one line without secrets."""
    from hf_datamap.publish.card.escape import find_secret

    text = mask(str(getattr(error, "server_message", None) or error)) or type(error).__name__
    line = " ".join(text.split())[:300].rstrip(".")
    return type(error).__name__ if find_secret(line) else line

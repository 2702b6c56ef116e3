"""Names of datasets, and the Hub's refusals in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from mapspace.errors import NoAccessError, SpaceError

T = TypeVar("T")
_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}", re.ASCII)


def check_id(dataset: str) -> str:
    """Return a dataset id, cleaned of blanks.

    Raises:
        SpaceError: the text is not of the form ``owner/name``; paths and addresses never are.
    """
    name = dataset.strip()
    if not _ID.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".")):
        raise SpaceError(f"{name!r:.100} is not a dataset id: write owner/name, as on the Hub")
    return name


def hub_call(name: str, call: Callable[[], T]) -> T:
    """Call the Hub; its errors become sentences for the visitor.

    Raises:
        SpaceError: says what the Hub answered and what to do.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return call()
    except GatedRepoError:
        raise NoAccessError(
            f"{name} is gated: accept its terms on its Hub page, then sign in here with that account"
        ) from None
    except (RepositoryNotFoundError, FileNotFoundError):
        raise NoAccessError(f"no dataset {name} on the Hub, or it is private: check the id, or sign in") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise SpaceError(f"the Hub answered {status} for {name}; try again in a while") from None
    except Exception as error:
        if not (isinstance(error, OSError) or _from_client(error)):
            raise
        raise SpaceError(f"the Hub could not be reached for {name} ({type(error).__name__})") from None


def _from_client(error: Exception) -> bool:
    """Whether the client below huggingface_hub raised it: httpx or httpx2, by its version."""
    return any(
        base.__name__ == "HTTPError" and base.__module__.split(".")[0] in ("httpx", "httpx2")
        for base in type(error).__mro__
    )

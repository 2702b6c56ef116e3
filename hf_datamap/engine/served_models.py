"""Which models an OpenAI-compatible endpoint lists."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final

from hf_datamap.engine import config

_PATIENCE: Final = 5.0  # seconds


def ask_models(base_url: str) -> tuple[int, Any]:
    """Ask ``/models`` with the key of the environment.

    The standard library does: this is one request of a person who waits, and needs no client's package.

    Returns:
        The HTTP status, and the decoded reply where it is 200.

    Raises:
        OSError: there is no answer.
        ValueError: the address is no URL, or the reply is no JSON.
    """
    headers = {"accept": "application/json"}
    if key := config.api_key():
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{base_url.rstrip('/')}/models", headers=headers)  # noqa: S310 - checked below
    if request.type not in ("http", "https"):
        raise ValueError(f"{base_url} is no http(s) URL")
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310 - http or https
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {type(error).__name__}") from error


def listed(reply: Any) -> list[str]:  # noqa: ANN401 - somebody else's JSON
    """The names in a reply; none when it lists none."""
    models = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(models, list):
        return []
    return [str(model["id"]) for model in models if isinstance(model, dict) and "id" in model]

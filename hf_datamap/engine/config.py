"""The package's version and every environment variable that it reads, in one place."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

#: The one place where the version is written; part of every fingerprint.
__version__ = "0.2.0"


def cache_dir() -> Path:
    """Return the folder of the score store: ``HF_DATAMAP_CACHE``, else ``datamap`` under the Hugging Face home."""
    if explicit := os.environ.get("HF_DATAMAP_CACHE"):
        return Path(explicit).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "datamap"


def base_url() -> str | None:
    """Return the endpoint named in the environment (``OPENAI_BASE_URL``), or None."""
    return os.environ.get("OPENAI_BASE_URL") or None


def api_key() -> str | None:
    """Return the endpoint key in the environment (``OPENAI_API_KEY``), or None. Never log or store it."""
    return os.environ.get("OPENAI_API_KEY") or None


def hub_request_timeout() -> float:
    """Return the seconds that the Hub may be silent in one request (``HF_DATAMAP_HUB_TIMEOUT``, 120 by default)."""
    try:
        return max(0.1, float(os.environ.get("HF_DATAMAP_HUB_TIMEOUT") or 120))
    except ValueError:
        return 120.0


def judge_model() -> str | None:
    """Return the judge model for ``auto`` (``HF_DATAMAP_JUDGE``), or None."""
    return os.environ.get("HF_DATAMAP_JUDGE") or None


# Keys given in code (api_key=) live here, never in an object's pickled state: a scorer's pickle is its fingerprint and
# may be written to disk. Worker processes find them here (fork) or in their inherited environment (spawn).
_KEYS: dict[str, str] = {}
_SHARED = "_HF_DATAMAP_KEY_"


@functools.cache  # asked for every request
def _slot(base_url: str, model: str) -> str:
    return hashlib.blake2b(f"{base_url}\n{model}".encode(), digest_size=8).hexdigest()


def remember_key(base_url: str, model: str, key: str) -> None:
    """Remember the key of an endpoint for this process and those it starts."""
    _KEYS[_slot(base_url, model)] = key


def find_key(base_url: str, model: str) -> str | None:
    """Return the key given for an endpoint, if any."""
    slot = _slot(base_url, model)
    return _KEYS.get(slot) or os.environ.get(_SHARED + slot)


def keys() -> list[str]:
    """Return every key that this process was given, to be masked where it appears."""
    return [*_KEYS.values(), *(value for name, value in os.environ.items() if name.startswith(_SHARED))]


def share_keys() -> None:
    """Let processes that are started from here on find the keys."""
    for slot, key in _KEYS.items():
        os.environ[_SHARED + slot] = key


def secrets_for_workers() -> dict[str, str]:
    """Return what a worker on another machine needs to send requests in our name; to be held in memory only."""
    secrets = {_SHARED + slot: key for slot, key in _KEYS.items()}
    variables = ("OPENAI_API_KEY", "HF_TOKEN", "HF_ENDPOINT")
    secrets |= {name: value for name in variables if (value := os.environ.get(name))}
    if "HF_TOKEN" not in secrets:
        from huggingface_hub import get_token

        if token := get_token():
            secrets["HF_TOKEN"] = token
    return secrets


def adopt_secrets(secrets: Mapping[str, str]) -> None:
    """Take over what `secrets_for_workers` gave in another process; what is set in this one stays."""
    for name, value in secrets.items():
        os.environ.setdefault(name, value)

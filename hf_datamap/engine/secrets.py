"""One gate for words that are printed or written: known secrets in them are masked, in whatever form they appear."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, quote_plus, unquote

from hf_datamap.engine import config
from hf_datamap.errors import DataMapError

MASK: Final = "***"
_LEAST_WORD: Final = 8
_SHORTEST: Final = 4  # characters; masking a shorter secret wherever it stands would mask half of all texts
_VARIABLES: Final = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AZURE_OPENAI_API_KEY")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

# What is a secret by its looks, whether we know it or not.
_USERINFO = re.compile(r"(?<=//)[^/?#\s\"'<>]*@")  # user:password@ of a URL; a password may hold @ itself
_SCORERS = (
    "(?!(?:reward|reference|judge|local|pairwise)[:@])"  # the same without a scheme; reward:MODEL@URL names no user
)
_BARE_USERINFO = re.compile(
    rf"(?<![\w/:@]){_SCORERS}[^\s/@:\"'<>(]*:[^\s/@\"'<>]*@(?=[\w\[])"
)  # the same, without a scheme
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w~+/.=-]{8,}")
# Tokens of known forms. Names of programs and variables (HF_HUB_OFFLINE) have neither digits nor 20 letters in a row.
_PREFIXED = re.compile(
    r"(?i)\b(sk|hf|key|gsk|xai|pplx|AIza)[-_](?!datamap)(?:(?=[\w*.-]*\d)[\w*.-]{6,}|[\w*.-]*[A-Za-z0-9]{20,})"
)
_NAMED = re.compile(
    r"(?i)\b(api[-_]?key|access[-_]?token|auth[-_]?token|password|passwd|secret)([\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"'&,;]{4,}"
)


def mask(text: str) -> str:
    """Return the text with every known secret, and everything that looks like one, replaced by ``***``."""
    for form in _forms(known_secrets()):
        if form in text:
            text = text.replace(form, MASK)
    if "@" in text:
        text = _BARE_USERINFO.sub(f"{MASK}@", _USERINFO.sub(f"{MASK}@", text))
    text = _BEARER.sub(rf"\1 {MASK}", _PREFIXED.sub(MASK, text))
    return _NAMED.sub(rf"\1\2{MASK}", text)


def secret_forms() -> tuple[bytes, ...]:
    """Return the forms of the known secrets that `mask_bytes` looks for.

    They are found out once per connection: reading the environment for every reply took a third of its CPU time.
    """
    # A short one may be a word of the model's answer.
    return tuple(encoded for form in _forms(known_secrets()) if len(encoded := form.encode()) >= 2 * _SHORTEST)


def mask_bytes(data: bytes, forms: Sequence[bytes]) -> bytes:
    """Return a reply's body without the known secrets: some servers repeat the key that they were given."""
    for form in forms:
        if form in data:
            data = data.replace(form, MASK.encode())
    return data


_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Mask a secret from here on that was given in code and that no other place tells of, such as a Hub token."""
    _remembered.add(secret)


def known_secrets() -> tuple[str, ...]:
    """Return the keys, tokens and proxy passwords of this process, longest first."""
    secrets = set(config.keys()) | _remembered
    secrets |= {value for name in _VARIABLES if (value := os.environ.get(name))}
    for name in _PROXIES:
        if "@" in (value := os.environ.get(name, "")):
            userinfo = value.rpartition("@")[0].rpartition("//")[2]
            password = userinfo.partition(":")[2] or userinfo
            secrets |= {userinfo, password, unquote(password), unquote(userinfo)}
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        secrets.add(line.partition(":")[2].strip())
    # A short secret of letters alone ("none", "wrong") is a word of many messages, and hides nothing worth hiding.
    kept = (one for one in secrets if len(one) >= _SHORTEST and not (len(one) < _LEAST_WORD and one.isalpha()))
    return tuple(sorted(kept, key=lambda one: (-len(one), one)))


@functools.lru_cache(maxsize=8)
def _forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Every way to write the secrets: as they are, percent-encoded, in base64 (also within something longer)."""
    forms: set[str] = set()
    for secret in secrets:
        raw = secret.encode("utf-8", "surrogateescape")
        percent = {quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
        forms |= {secret, *percent, *(re.sub(r"%..", lambda code: code[0].lower(), form) for form in percent)}
        for shift in range(3):
            # Base64 spells three bytes in four letters: a secret within a longer text has three spellings. The
            # letters at either end also depend on what stands around it, so they are left out.
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                inner = encode(b"\0" * shift + raw).decode().rstrip("=")
                core = inner[(0, 2, 3)[shift] :]
                core = core[: len(core) - (1 if (len(raw) + shift) % 3 else 0)]
                if len(core) >= 6:
                    forms.add(core)
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


@contextlib.contextmanager
def masked_errors() -> Iterator[None]:
    """Mask the words of every error of ours that passes."""
    try:
        yield
    except DataMapError as error:
        error.args = tuple(mask(part) if isinstance(part, str) else part for part in error.args)
        # What it was raised from may hold the same words, and a traceback shows both.
        raise error from None

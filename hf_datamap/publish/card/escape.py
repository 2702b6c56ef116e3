"""Text from rows, scorers and other people's metadata, made harmless inside a card."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from hf_datamap.errors import CardError

_PLAIN: Final = frozenset(" ,.%/-+=()")
_INSIDE: Final = re.compile(r"(?<=[^\W_])&#95;(?=[^\W_])")  # between letters _ is never emphasis
_WWW: Final = re.compile(r"(?i)(www)\.")
_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)*")
_SECRET: Final = re.compile(
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|(?<=://)[^/@\s]+:[^/@\s]+@|(?i:bearer\s+\S{16,})"
)


class Safe(str):
    """Text that is Markdown already: made by this package, not by data."""

    __slots__ = ()


def markdown(text: object, limit: int = 120) -> Safe:
    """Return text that shows as itself in Markdown (a table cell included) and can never be structure.

    Control, direction and zero-width characters go, white space collapses, the rest of the punctuation becomes
    character references, which Markdown never reads as syntax (CommonMark 0.31, section 2.5).

    Args:
        text: anything; shown as ``str(text)``.
        limit: longest result in characters before references are written.
    """
    clean = plain(str(text), limit)
    escaped = "".join(char if char.isalnum() or char in _PLAIN else f"&#{ord(char)};" for char in clean)
    return Safe(_INSIDE.sub("_", _WWW.sub(r"\1&#46;", escaped)))


def plain(text: str, limit: int) -> str:
    """Return one line of visible characters, at most ``limit`` of them."""
    # surrogates, private use and unassigned characters (C*) cannot be relied on either
    visible = "".join(char if not unicodedata.category(char).startswith("C") else " " for char in text[: 4 * limit])
    line = " ".join(visible.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def name(text: str) -> Safe:
    """Return a repository, config or split name for code and addresses.

    Raises:
        CardError: it holds anything but letters, digits, ``. _ - /``.
    """
    if not _NAME.fullmatch(text):
        raise CardError(
            f"{text!r} cannot stand in a card: names of repos, configs and splits hold letters, digits, . _ -"
        )
    return Safe(text)


def find_secret(text: str) -> str | None:
    """Return the beginning of what looks like a token or a password in ``text``, or None."""
    match = _SECRET.search(text)
    return match.group()[:6] + "…" if match else None

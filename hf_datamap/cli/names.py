"""The name that somebody who mistyped one most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that is most like ``name``, None when none is like it."""
    by_folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.55)
    return by_folded[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `` Did you mean X?``, empty when nothing is like the name."""
    meant = nearest(name, names)
    return f" Did you mean {meant}?" if meant else ""

"""Maps on the Hub: datasets that carry the ``datamap`` tag."""

from __future__ import annotations

import threading
import time
from typing import Final

from mapspace.hub_errors import hub_call
from mapspace.texts import plain

HEADERS: Final = ("Dataset", "Changed", "Downloads", "Likes")
_SHOWN: Final = 100
_SECONDS: Final = 120
_kept: dict[str, tuple[float, list[list[str]]]] = {}
_lock = threading.Lock()


def maps() -> list[list[str]]:
    """Return public datasets with the ``datamap`` tag, most downloaded first, as lines of text."""
    from huggingface_hub import HfApi

    with _lock:  # one listing for all visitors
        if "maps" in _kept and time.monotonic() - _kept["maps"][0] < _SECONDS:
            return _kept["maps"][1]
        listed = hub_call("the gallery", lambda: list(HfApi(token=False).list_datasets(filter="datamap", limit=_SHOWN)))
        lines = [
            [
                plain(item.id, 200),
                f"{item.last_modified:%Y-%m-%d}" if item.last_modified else "",
                f"{item.downloads or 0:,}",
                f"{item.likes or 0:,}",
            ]
            for item in sorted(listed, key=lambda item: -(item.downloads or 0))
        ]
        _kept["maps"] = (time.monotonic(), lines)
        return lines

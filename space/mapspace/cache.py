"""Maps that are open, shared by the visitors who may see them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from hf_datamap.errors import DataMapError
from mapspace.errors import NoAccessError
from mapspace.hub_errors import check_id
from mapspace.hubmaps import open_hub
from mapspace.sources import OpenMap, open_folder


class MapCache:
    """Maps that are open, kept for a while so that visitors of one map share it.

    Args:
        size: how many maps stay in memory.
        seconds: after how long the Hub is asked again whether this visitor may still see the map, and which revision.
    """

    def __init__(self, size: int = 6, seconds: float = 300) -> None:
        self._size, self._seconds = size, seconds
        self._maps: OrderedDict[tuple[str, ...], tuple[float, OpenMap]] = OrderedDict()
        self._opening: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def folder(self, folder: str) -> OpenMap:
        """Open a folder, or return it from memory."""
        return self._get(("folder", folder), lambda: open_folder(folder))

    def hub(self, dataset: str, config: str | None, token: str | None) -> OpenMap:
        """Open a dataset of the Hub, or return it from memory.

        What anyone may see is opened without a token and shared; a token is used, and what it opens kept apart, only
        for the rest.
        """
        name = check_id(dataset)
        try:
            return self._get(("hub", name, config or "", ""), lambda: open_hub(name, config=config))
        except NoAccessError:
            if not token:
                raise
        whose = hashlib.sha256(token.encode()).hexdigest()
        return self._get(("hub", name, config or "", whose), lambda: open_hub(name, config=config, token=token))

    def _get(self, key: tuple[str, ...], opener: Callable[[], OpenMap]) -> OpenMap:
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:  # visitors who ask for the same map wait for one opening; others are not held up
            with self._lock:
                kept = self._maps.get(key)
            if kept and time.monotonic() - kept[0] < self._seconds:
                return kept[1]
            try:
                opened = opener()
            except DataMapError:
                with self._lock:  # anybody can ask for names that do not exist: nothing of them is kept
                    self._opening.pop(key, None)
                raise
            with self._lock:
                self._maps[key] = (time.monotonic(), opened)
                self._maps.move_to_end(key)
                while len(self._maps) > self._size:
                    old, _ = self._maps.popitem(last=False)
                    self._opening.pop(old, None)
            return opened

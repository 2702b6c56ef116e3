"""One visitor's view of one map: filters, lasso, selection; and how much a visitor may ask for."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np

from hf_datamap.data import columns
from hf_datamap.datamap.datamap import DataMap
from mapspace import languages, points
from mapspace.errors import SpaceError
from mapspace.points import BrowserFiles, Channel
from mapspace.sources import OpenMap

MAX_SESSIONS: Final = 200  # a visitor who has left is remembered until so many others have come
MAX_CORNERS: Final = 400
_MAX_QUERY: Final = 200
_ALL: Final = 20  # how many times one visitor's rate all visitors together have
_KEPT: Final = 16  # files of a session; the browser fetches them at once


@dataclass(frozen=True)
class Filters:
    """What a visitor wants to see; everything that is given must hold.

    Attributes:
        hidden: classes not shown, by colouring.
        mean: least and greatest mean, None for no limit.
        variance: least and greatest variance, None for no limit.
        suspects: only suspects.
        sources: only these; empty for all.
        split: only this one; empty for all.
        only: why only the rows in `Session.only` are shown (a search, a finding, a comparison); empty for all.
        polygon: corners of the lasso in quantised steps; empty for none.
        spread: whether the lasso was drawn on the map with ties spread.
    """

    hidden: Mapping[str, frozenset[int]] = field(default_factory=dict)
    mean: tuple[float | None, float | None] = (None, None)
    variance: tuple[float | None, float | None] = (None, None)
    suspects: bool = False
    sources: tuple[str, ...] = ()
    split: str = ""
    only: str = ""
    polygon: tuple[tuple[float, float], ...] = ()
    spread: bool = False

    def regions(self) -> tuple[str, ...]:
        """Return the regions that are shown."""
        hidden = self.hidden.get("region", frozenset())
        return tuple(name for code, name in enumerate(columns.REGIONS) if code not in hidden)


class Session:
    """What one visitor looks at.

    Args:
        open_map: the map.
        files: where binary files go.
        owner: the Gradio session that it belongs to.
    """

    def __init__(self, open_map: OpenMap, files: BrowserFiles, owner: str | None = None) -> None:
        self.map = open_map
        self.owner = owner
        self.handle = secrets.token_urlsafe(24)
        self.filters = Filters()
        self.only: np.ndarray | None = None
        self.cut: Channel | None = None
        self.cut_map: DataMap | None = None
        self.other: OtherMap | None = None
        self.changed: np.ndarray | None = None
        self.report: Any = None
        self.verdicts: dict[int, str] = {}
        self.used = time.monotonic()
        self.files = files
        self._names: list[str] = []
        self._turn = 0
        self.changing = threading.RLock()
        self._packed: np.ndarray | None = None
        self._lock = threading.Lock()

    def channel(self, name: str) -> Channel:
        """Return a colouring of the map or the live cut."""
        if name == "cut":
            if self.cut is None:
                raise SpaceError("no cut has been tried yet")
            return self.cut
        if name == "language":
            return points.by_name(name, languages.of(self.map))
        return points.channel(self.map.index, name)

    def publish(self, *parts: np.ndarray | bytes) -> str:
        """Write a file for the browser and return its name; only the latest few are kept."""
        name = self.files.put(*parts)
        with self._lock:
            self._names.append(name)
            old, self._names = self._names[:-_KEPT], self._names[-_KEPT:]
        self.files.drop(old)
        return name

    def close(self) -> None:
        """Delete this visitor's files."""
        with self._lock:
            names, self._names = self._names, []
        self.files.drop(names)

    def newest(self, turn: int) -> bool:
        """Whether no later change of the filters has come from the browser before this one."""
        with self._lock:
            newest = turn >= self._turn
            self._turn = max(turn, self._turn)
            return newest

    def filter(self, filters: Filters) -> np.ndarray:
        """Set the filters and return which rows are shown; the lasso selects among those."""
        self.filters = filters
        shown = self._shown()
        mask = shown
        if filters.polygon:
            positions = self.map.positions.spread if filters.spread else self.map.positions
            mask = shown & positions.inside(np.array(filters.polygon))
        with self._lock:
            self._packed = None if mask.all() else np.packbits(mask)
        return shown

    def selected(self) -> np.ndarray:
        """Return which rows pass the filters (bool)."""
        with self._lock:
            packed = self._packed
        if packed is None:
            return np.ones(len(self.map.index), bool)
        return np.unpackbits(packed, count=len(self.map.index)).view(bool)

    def judge(self, i: int, verdict: str | None) -> None:
        """Keep a visitor's verdict on the annotation of a row; None takes it back."""
        with self._lock:
            self.verdicts.pop(i, None)
            if verdict is not None and len(self.verdicts) < 100_000:
                self.verdicts[i] = verdict

    def step(self, i: int, by: int) -> int | None:
        """Return the next (``by`` 1) or previous (-1) selected row, None at the end."""
        places = np.flatnonzero(self.selected())
        if by > 0:
            at = int(np.searchsorted(places, i, side="right"))
            return int(places[at]) if at < len(places) else None
        at = int(np.searchsorted(places, i, side="left")) - 1
        return int(places[at]) if at >= 0 else None

    def rank(self, i: int) -> tuple[int | None, int]:
        """Return the place of a row in the selection, from 1 (None if it is not in it), and the size of it."""
        mask = self.selected()
        return (int(mask[: i + 1].sum()) if mask[i] else None), int(mask.sum())

    def _shown(self) -> np.ndarray:
        index, filters = self.map.index, self.filters
        mask = np.ones(len(index), bool)
        for name, hidden in filters.hidden.items():
            if hidden:
                mask &= ~np.isin(self.channel(name).codes, np.fromiter(hidden, np.uint8))
        for values, (low, high) in ((index.mean, filters.mean), (index.variance, filters.variance)):
            if low is not None:
                mask &= values >= np.float32(low)
            if high is not None:
                mask &= values <= np.float32(high)
        if filters.suspects:
            mask &= index.suspect
        if filters.sources:
            codes = [index.source.names.index(name) for name in filters.sources if name in index.source.names]
            mask &= np.isin(index.source.codes, codes)
        if filters.split:
            mask &= index.split.codes == self._split_code(filters.split)
        if filters.only and self.only is not None:
            only = np.zeros(len(index), bool)
            only[self.only] = True
            mask &= only
        return mask

    def _split_code(self, split: str) -> int:
        names = self.map.index.split.names
        return names.index(split) if split in names else -2

    def search(self, query: str, *, limit: int = 10_000, seconds: float = 20) -> tuple[np.ndarray, str]:
        """Find rows by text, among those that the other filters show.

        Returns:
            Their places, and what to say about rows that were not looked at.

        Raises:
            SpaceError: the text is too long, or the rows cannot be read.
        """
        if len(query) > _MAX_QUERY:
            raise SpaceError(f"search for at most {_MAX_QUERY} characters, not {len(query):,}")
        index = self.map.index
        self.filters = replace(self.filters, only="")
        among = self._shown()
        hits: list[int] = []
        rows_searched, rows_to_search, until = 0, 0, time.monotonic() + seconds
        for code, split in enumerate(index.split.names):
            places = np.flatnonzero(among & (index.split.codes == code))
            places = places[np.argsort(index.row[places], kind="stable")]
            find = partial(self.map.texts(split).search, query, index.row[places])
            left = max(0.0, until - time.monotonic())
            searched = self.map.guard(partial(find, limit=limit - len(hits), seconds=left))
            hits.extend(places[np.searchsorted(index.row[places], searched.positions)].tolist())
            rows_searched, rows_to_search = (
                rows_searched + searched.rows_searched,
                rows_to_search + searched.rows_to_search,
            )
        note = (
            f"The first {rows_searched:,} of {rows_to_search:,} rows were searched; narrow the other filters."
            if rows_searched < rows_to_search
            else ""
        )
        return np.array(hits, np.int64), note


@dataclass(frozen=True)
class OtherMap:
    """Another map of the same rows, to compare with.

    Attributes:
        map: the other map.
        places: shape (rows,), the place of each row in the other map's index, -1 where it has none.
    """

    map: OpenMap
    places: np.ndarray


def polygon(value: Any) -> tuple[tuple[float, float], ...]:  # noqa: ANN401 - from the browser
    """Return the corners a browser sent, checked.

    Raises:
        SpaceError: not a list of 3 to 400 pairs of finite numbers.
    """
    if not value:
        return ()
    good = isinstance(value, list) and 3 <= len(value) <= MAX_CORNERS
    if good and all(isinstance(p, list | tuple) and len(p) == 2 and all(map(_finite, p)) for p in value):
        return tuple((float(x), float(y)) for x, y in value)
    raise SpaceError(f"a lasso has 3 to {MAX_CORNERS} corners")


def _finite(value: Any) -> bool:  # noqa: ANN401 - from the browser
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e7


class Sessions:
    """The visitors' sessions by handle; the least recently used one goes when there are too many."""

    def __init__(self, files: BrowserFiles, size: int = MAX_SESSIONS) -> None:
        self.files = files
        self._size = size
        self._all: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, open_map: OpenMap, owner: str | None = None) -> Session:
        """Begin a session on a map, for a Gradio session."""
        session = Session(open_map, self.files, owner)
        with self._lock:
            self._all[session.handle] = session
            evicted = [self._all.popitem(last=False)[1] for _ in range(len(self._all) - self._size)]
        for old in evicted:
            old.close()
        return session

    def get(self, handle: Any, owner: str | None = None) -> Session:  # noqa: ANN401 - from the browser
        """Return a session.

        Raises:
            SpaceError: there is none, it has been forgotten, or it is another visitor's.
        """
        with self._lock:
            session = self._all.get(handle) if isinstance(handle, str) else None
            if session is None or session.owner != owner:
                raise SpaceError("this view has ended: open the map again")
            self._all.move_to_end(handle)
        session.used = time.monotonic()
        return session

    def end(self, handle: str | None) -> None:
        """Forget a session."""
        with self._lock:
            session = self._all.pop(handle, None) if handle else None
        if session:
            session.close()


class Limits:
    """How often a visitor may ask, as buckets that refill.

    Args:
        rates: per kind of request, how many at once and how many a minute.
    """

    def __init__(self, rates: Mapping[str, tuple[int, float]]) -> None:
        self._rates = rates
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, kind: str, visitor: str) -> None:
        """Count one request, of this visitor and of all: addresses can be made up, so all together have a limit too.

        Raises:
            SpaceError: too many; says how long to wait.
        """
        burst, per_minute = self._rates[kind]
        self._take((kind, visitor), burst, per_minute)
        self._take((kind, ""), burst * _ALL, per_minute * _ALL)

    def _take(self, key: tuple[str, str], burst: int, per_minute: float) -> None:
        now = time.monotonic()
        with self._lock:
            left, then = self._buckets.pop(key, (float(burst), now))
            left = min(float(burst), left + (now - then) * per_minute / 60)
            self._buckets[key] = (left - 1 if left >= 1 else left, now)
            while len(self._buckets) > 10_000:
                self._buckets.popitem(last=False)
        if left < 1:
            raise SpaceError(f"too many requests; wait {math.ceil((1 - left) * 60 / per_minute)} s and try again")

"""What the browser draws: positions at 16 bits an axis, one byte of colour a point, in small binary files."""

from __future__ import annotations

import itertools
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from hf_datamap.data import columns
from mapspace.errors import SpaceError
from mapspace.index import MapIndex, NamedColumn
from mapspace.texts import plain

GOLDEN: Final = 2.399963229728653
STEPS: Final = 65_534  # the greatest position; 65,535 marks a point that has none
_NOWHERE: Final = 65_535
_BINS: Final = 7
_SHOWN_NAMES: Final = 7
CHANNELS: Final = ("region", "margin", "agreement", "suspect", "source", "language", "length")


@dataclass(frozen=True)
class Extent:
    """The rectangle the positions span.

    Attributes:
        x: least and greatest variance.
        y: least and greatest mean.
    """

    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class Channel:
    """A colouring of the points.

    Attributes:
        name: one of `CHANNELS`, or a live cut.
        codes: class of each point, uint8.
        labels: name of each class.
        kind: "region", "named", "flag", "sequential" or "diverging"; decides the palette.
        counts: points per class.
        zero: of a diverging colouring, how many classes lie below zero.
    """

    name: str
    codes: np.ndarray
    labels: tuple[str, ...]
    kind: str
    counts: tuple[int, ...]
    zero: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what the legend needs."""
        return {"name": self.name, "labels": self.labels, "kind": self.kind, "counts": self.counts, "zero": self.zero}


@dataclass(frozen=True)
class Positions:
    """Quantised positions; lasso and nearest point are decided on these, in the browser and here alike.

    Attributes:
        x: variance, uint16 of shape (rows,).
        y: mean, uint16 of shape (rows,).
        drawn: which rows have a place on the map.
        extent: the rectangle.
        tied: share of the drawn points that have company at their very position.
        reach: how far ties may be spread along x and y, in steps.
    """

    x: np.ndarray
    y: np.ndarray
    drawn: np.ndarray
    extent: Extent
    tied: float
    reach: tuple[float, float]

    @classmethod
    def of(cls, index: MapIndex) -> Positions:
        """Quantise the variance (x) and mean (y) of an index."""
        drawn = np.isfinite(index.mean) & np.isfinite(index.variance)
        x, span_x = _quantise(index.variance, drawn, from_zero=True)
        y, span_y = _quantise(index.mean, drawn, from_zero=False)
        sites, counts = np.unique(_site(x[drawn], y[drawn]), return_counts=True)
        tied = float(counts[counts > 1].sum()) / max(1, int(counts.sum()))
        reach = (_reach(sites >> 16), _reach(sites & 0xFFFF))
        return cls(x, y, drawn, Extent(span_x, span_y), tied, reach)

    @cached_property
    def spread(self) -> Positions:
        """The positions with ties laid out around theirs in a sunflower, in row order; the script does the same.

        Point k of a site with n points lies at ``reach * sqrt(k / most)`` in direction ``k`` golden angles, ``most``
        being the size of the greatest site: areas are comparable.
        """
        places = np.flatnonzero(self.drawn)
        _, inverse, counts = np.unique(_site(self.x[places], self.y[places]), return_inverse=True, return_counts=True)
        order = np.argsort(inverse, kind="stable")
        rank = np.empty(len(places), np.int64)
        rank[order] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        far, turn = np.sqrt(rank / max(1, counts.max(initial=1))), rank * GOLDEN
        x, y = self.x.copy(), self.y.copy()
        x[places] = _moved(self.x[places], self.reach[0] * far * np.cos(turn))
        y[places] = _moved(self.y[places], self.reach[1] * far * np.sin(turn))
        return replace(self, x=x, y=y)

    def inside(self, polygon: np.ndarray) -> np.ndarray:
        """Return which points lie in a polygon (even-odd rule).

        Args:
            polygon: shape (corners, 2), variance and mean in quantised steps.
        """
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        near = self.drawn & (self.x >= low[0]) & (self.x <= high[0]) & (self.y >= low[1]) & (self.y <= high[1])
        places = np.flatnonzero(near)
        x, y = self.x[places].astype(np.float64), self.y[places].astype(np.float64)
        odd = np.zeros(len(places), bool)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            crosses = (y0 > y) != (y1 > y)
            odd[crosses] ^= x[crosses] < (x1 - x0) * (y[crosses] - y0) / (y1 - y0) + x0
        mask = np.zeros(len(self.x), bool)
        mask[places[odd]] = True
        return mask


def _site(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x.astype(np.uint32) << 16 | y)


def _moved(steps: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.floor(steps + by + 0.5), 0, STEPS).astype(np.uint16))


def _reach(steps: np.ndarray) -> float:
    """A little less than half the usual distance of neighbouring values, within 0.5 % and 2 % of the axis."""
    gaps = np.diff(np.unique(steps))
    return float(np.clip(0.45 * np.median(gaps), 0.005 * STEPS, 0.02 * STEPS)) if len(gaps) else 0.02 * STEPS


def _quantise(values: np.ndarray, drawn: np.ndarray, *, from_zero: bool) -> tuple[np.ndarray, tuple[float, float]]:
    valid_values = values[drawn].astype(np.float64)
    low, high = (float(valid_values.min()), float(valid_values.max())) if len(valid_values) else (0.0, 1.0)
    low = min(0.0, low) if from_zero else low
    if high <= low:
        low, high = low - 0.5 * (not from_zero), high + 0.5
    steps = np.full(len(values), _NOWHERE, np.uint16)
    steps[drawn] = np.rint((valid_values - low) / (high - low) * STEPS).astype(np.uint16)
    return steps, (low, high)


def channel(index: MapIndex, name: str) -> Channel:
    """Return a colouring by name.

    Raises:
        SpaceError: no such colouring, or the map has no values for it.
    """
    if name == "region":
        return regions(index.region)
    if name == "suspect":
        return _channel(name, index.suspect.astype(np.uint8), ("not suspect", "suspect"), "flag")
    if name in ("source", "language"):
        return by_name(name, getattr(index, name))
    if name in ("margin", "agreement", "length"):
        return _by_size(name, getattr(index, name), diverging=name == "margin")
    raise SpaceError(f"no colouring {name!r:.40}; there are {', '.join(CHANNELS)}")


def available(index: MapIndex) -> list[str]:
    """Return the colourings the index has values for."""
    has = {
        "region": True,
        "suspect": bool(index.suspect.any()),
        "source": bool(index.source.names),
        "language": bool(index.language.names),
        **{name: bool(np.isfinite(getattr(index, name)).any()) for name in ("margin", "agreement", "length")},
    }
    return [name for name in CHANNELS if has[name]]


def regions(codes: np.ndarray, name: str = "region") -> Channel:
    """Return the colouring by region codes."""
    return _channel(name, codes.astype(np.uint8), tuple(name.replace("_", " ") for name in columns.REGIONS), "region")


def _channel(name: str, codes: np.ndarray, labels: tuple[str, ...], kind: str, zero: int = 0) -> Channel:
    counts = tuple(int(count) for count in np.bincount(codes, minlength=len(labels)))
    return Channel(name, codes, labels, kind, counts, zero)


def by_name(name: str, named: NamedColumn) -> Channel:
    """Return the colouring by a column of names: the most frequent ones, the rest together."""
    if not named.names:
        raise SpaceError(f"this map has no {name}")
    shown = min(len(named.names), _SHOWN_NAMES)
    codes = np.where(named.codes < 0, shown + 1, np.minimum(named.codes, shown)).astype(np.uint8)
    rest = f"{len(named.names) - shown} others"
    labels = (*(plain(text, 60) for text in named.names[:shown]), rest, "missing")
    return _channel(name, codes, labels, "named")


def _by_size(name: str, values: np.ndarray, *, diverging: bool) -> Channel:
    """Classes of about equal size; with ``diverging`` zero is always a border."""
    valid = np.isfinite(values)
    if not valid.any():
        raise SpaceError(f"this map has no {name}")
    valid_values = values[valid].astype(np.float64)
    quantiles = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(valid_values, quantiles))
    if diverging and valid_values.min() < 0 <= valid_values.max():
        edges = np.unique(
            [*_inner(valid_values[valid_values < 0], 3), 0.0, *_inner(valid_values[valid_values >= 0], 4)]
        )
    codes = np.full(len(values), len(edges) + 1, np.uint8)
    codes[valid] = np.searchsorted(edges, valid_values, side="right")
    bounds = [f"{edge:.3g}" for edge in edges]
    labels = [f"< {bounds[0]}", *(f"{a} – {b}" for a, b in itertools.pairwise(bounds)), f"≥ {bounds[-1]}"]
    kind = "diverging" if diverging else "sequential"
    return _channel(name, codes, (*labels, "missing"), kind, int((edges <= 0).sum()))


def _inner(values: np.ndarray, parts: int) -> list[float]:
    return list(np.quantile(values, np.linspace(0, 1, parts + 1)[1:-1])) if len(values) else []


class BrowserFiles:
    """Binary files for the browser, under names that cannot be guessed, in one folder of this process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="datamap-space-"))
        self._shared: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def put(self, *parts: np.ndarray | bytes) -> str:
        """Write a file and return its name."""
        name = f"{secrets.token_urlsafe(24)}.bin"
        with (self.folder / name).open("wb") as file:
            for part in parts:
                file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
        return name

    def shared(self, owner: object, parts: Callable[[], Sequence[np.ndarray | bytes]]) -> str:
        """Return the file that all visitors of ``owner`` share; it goes when ``owner`` does."""
        with self._lock:
            if (name := self._shared.get(owner)) is None:
                name = self._shared[owner] = self.put(*parts())
                weakref.finalize(owner, self.drop, [name])
            return name

    def drop(self, names: list[str]) -> None:
        """Delete files."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def pack(positions: Positions, colour: Channel) -> list[np.ndarray | bytes]:
    """Return the parts of a points file: uint32 count, uint16 x, uint16 y, uint8 class (little endian)."""
    count = np.array([len(positions.x)], "<u4")
    return [count, positions.x.astype("<u2", copy=False), positions.y.astype("<u2", copy=False), colour.codes]

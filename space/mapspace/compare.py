"""Two maps of the same rows (two judges, two releases): which rows change region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_datamap.data import columns
from mapspace.errors import SpaceError
from mapspace.sessions import OtherMap, Session
from mapspace.sources import OpenMap
from mapspace.statistics import number
from mapspace.texts import plain

_LISTED = 300
CHANGED_HEADERS = (
    "Split",
    "Row",
    "Region here",
    "Region there",
    "Mean here",
    "Mean there",
    "Variance here",
    "Variance there",
)


@dataclass(frozen=True)
class Comparison:
    """What differs.

    Attributes:
        shared: how many rows both maps have.
        changed: places of rows in another region there, greatest change of mean first.
        table: regions here (rows) by regions there (columns), counts, int64 of shape (4, 4).
    """

    shared: int
    changed: np.ndarray
    table: np.ndarray


def against(session: Session, other: OpenMap) -> Comparison:
    """Match the rows of two maps by split and position, and find those that change region.

    Raises:
        SpaceError: the maps share no row.
    """
    index, other_index = session.map.index, other.index
    places = np.full(len(index), -1, np.int64)
    for code, split in enumerate(index.split.names):
        if split not in other_index.split.names:
            continue
        theirs = np.flatnonzero(other_index.split.codes == other_index.split.names.index(split))
        theirs = theirs[np.argsort(other_index.row[theirs], kind="stable")]
        ours = np.flatnonzero(index.split.codes == code)
        at = np.minimum(np.searchsorted(other_index.row[theirs], index.row[ours]), len(theirs) - 1)
        same = other_index.row[theirs[at]] == index.row[ours]
        places[ours[same]] = theirs[at[same]]
    shared_rows = np.flatnonzero(places >= 0)
    if not len(shared_rows):
        raise SpaceError(f"{other.title} has no split and row in common with {session.map.title}")
    session.other = OtherMap(other, places)
    own_region = index.region[shared_rows].astype(np.int64)
    other_region = other_index.region[places[shared_rows]].astype(np.int64)
    size = len(columns.REGIONS)
    pairs = np.bincount(own_region * size + other_region, minlength=size * size)
    changed = shared_rows[own_region != other_region]
    change = np.nan_to_num(np.abs(index.mean[changed] - other_index.mean[places[changed]]), nan=np.inf)
    order = np.argsort(-change, kind="stable")
    return Comparison(
        len(shared_rows),
        changed[order],
        pairs.reshape(size, size),
    )


def headers() -> list[str]:
    """Return the headers of the table of counts."""
    return ["Here \\ there", *(name.replace("_", " ") for name in columns.REGIONS), "Rows"]


def counts(comparison: Comparison) -> list[list[str]]:
    """Return the table of counts as text."""
    names = [name.replace("_", " ") for name in columns.REGIONS]
    return [
        [name, *(f"{int(n):,}" for n in line), f"{int(line.sum()):,}"]
        for name, line in zip(names, comparison.table, strict=True)
        if line.sum()
    ]


def listed(session: Session, comparison: Comparison) -> list[list[str]]:
    """Return the rows that change most, as text."""
    if session.other is None:
        return []
    index, other_index, lines = session.map.index, session.other.map.index, []
    for i in comparison.changed[:_LISTED]:
        j = session.other.places[i]
        split, row = index.place(i)
        regions = (columns.REGIONS[region].replace("_", " ") for region in (index.region[i], other_index.region[j]))
        means, variances = (index.mean[i], other_index.mean[j]), (index.variance[i], other_index.variance[j])
        lines.append([plain(split, 60), str(row), *regions, *map(number, means), *map(number, variances)])
    return lines

"""Two releases of a data set held against each other: rows, regions, scores, labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hf_datamap.curate.audit import statistics as st
from hf_datamap.curate.audit.report import Ledger
from hf_datamap.curate.audit.texts import Texts
from hf_datamap.curate.audit.tokens import mix, segment
from hf_datamap.data import columns
from hf_datamap.data.view import Material
from hf_datamap.errors import MapError

_CERTAIN: Final = 0.001


@dataclass(frozen=True)
class Drift:
    """How a distribution moved between two releases.

    Attributes:
        what: which quantity.
        old: its mean in the old release.
        new: its mean in the new one.
        distance: Kolmogorov-Smirnov statistic; for shares, the difference.
        p: of that under no change.
    """

    what: str
    old: float
    new: float
    distance: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """What changed since an older release. Rows are told by their prompt (and its count, where it repeats).

    Attributes:
        old_rows: rows of the old release.
        new_rows: rows of the new one.
        added: rows of the new release whose prompt is new.
        removed: rows of the old release whose prompt is gone.
        changed: common rows with other responses or annotations.
        unchanged: common rows; the score store answers for them, nothing is paid again.
        regions: 4x4 counts over common rows, old region by row, new region by column, in the order of
            `hf_datamap.data.columns.REGIONS`; None unless both are scored.
        moved: share of common rows that changed region, NaN without regions.
        relabelled: common rows whose preferred response changed.
        drifts: scores, variances and annotations.
    """

    old_rows: int
    new_rows: int
    added: int
    removed: int
    changed: int
    unchanged: int
    regions: tuple[tuple[int, ...], ...] | None
    moved: float
    relabelled: int
    drifts: tuple[Drift, ...]


def compare(new: Material, new_texts: Texts | None, old: Material, old_texts: Texts | None) -> Comparison:
    """Hold two releases against each other.

    Raises:
        MapError: the texts of a release could not be read, so that rows cannot be matched.
    """
    for name, material, texts in (("the data set", new, new_texts), ("the older release", old, old_texts)):
        if texts is None:
            raise MapError(f"{name} cannot be compared, its rows cannot be read: {material.layout_error}")
    assert new_texts is not None  # noqa: S101 - for the type checker
    assert old_texts is not None  # noqa: S101
    mine, theirs = _keys(new_texts), _keys(old_texts)
    _, here, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    same = _content(new, new_texts)[here] == _content(old, old_texts)[there]
    regions = _regions(new, here, old, there)
    moved = math.nan
    if regions is not None and regions.sum():
        moved = float(1 - np.trace(regions) / regions.sum())
    return Comparison(
        old_rows=old.rows,
        new_rows=new.rows,
        added=new.rows - len(here),
        removed=old.rows - len(there),
        changed=int((~same).sum()),
        unchanged=int(same.sum()),
        regions=None if regions is None else tuple(tuple(map(int, row)) for row in regions),
        moved=moved,
        relabelled=_relabelled(_preferred(new, new_texts, here), _preferred(old, old_texts, there)),
        drifts=tuple(_drifts(new, old)),
    )


def report(found: Comparison, ledger: Ledger) -> None:
    """Write a comparison into the findings."""
    common = found.changed + found.unchanged
    ledger.measures["removed"] = found.removed / found.old_rows
    ledger.measures["changed"] = found.changed / common if common else 0.0
    if math.isfinite(found.moved):
        ledger.measures["region_drift"] = found.moved
    ledger.measures["label_drift"] = found.relabelled / common if common else 0.0
    for drift in found.drifts:
        if drift.what == "mean score":
            ledger.measures["score_drift"] = drift.distance
        if drift.p < _CERTAIN and drift.distance > 0.05:
            ledger.add(
                "drift",
                "warning",
                f"The {drift.what} moved from {drift.old:.4g} to {drift.new:.4g} "
                f"(distance {drift.distance:.2f}, p {drift.p:.2g})",
                drift.distance,
                detail="Over all rows of both releases. Another scorer, another mix of rows, or another annotation.",
            )
    ledger.add(
        "releases",
        "note",
        f"Since the older release {found.added:,} rows were added, {found.removed:,} removed, {found.changed:,} "
        f"changed; {found.unchanged:,} are unchanged and cost nothing to score again",
        found.changed / common if common else 0.0,
    )


def _keys(texts: Texts) -> np.ndarray:
    """One number per row: of its prompt, and of how many earlier rows have the same."""
    order = np.argsort(texts.prompt_hash, kind="stable")
    ordered = texts.prompt_hash[order]
    new = np.ones(len(order), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    keys = np.empty(len(order), np.uint64)
    keys[order] = mix(ordered ^ mix(nth.astype(np.uint64)))
    return keys


def _content(material: Material, texts: Texts) -> np.ndarray:
    """One number per row: of its responses in their order, and of their annotations."""
    starts = np.searchsorted(texts.row, np.arange(material.rows + 1))
    with np.errstate(over="ignore"):
        value = segment(
            np.add, mix(texts.exact + texts.place.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)), starts
        )
    labels = material.annotations
    if labels is not None:
        whole = np.nan_to_num(labels, nan=-1e300).astype(np.float64)
        for column in whole.T:
            value = mix(value ^ column.copy().view(np.uint64))
    return value


def _regions(new: Material, here: np.ndarray, old: Material, there: np.ndarray) -> np.ndarray | None:
    if new.region is None or old.region is None:
        return None
    size = len(columns.REGIONS)
    return np.bincount(old.region[there] * size + new.region[here], minlength=size * size).reshape(size, size)


def _relabelled(now: np.ndarray | None, then: np.ndarray | None) -> int:
    """Common rows whose preferred text changed, told by the text, so that a mere reordering is no change."""
    if now is None or then is None:
        return 0
    return int(((now != 0) & (then != 0) & (now != then)).sum())


def _preferred(material: Material, texts: Texts, rows: np.ndarray) -> np.ndarray | None:
    """Hash of the response that each of these rows prefers, 0 where none is preferred."""
    labels = material.annotations
    if labels is None:
        return None
    wide = texts.place < labels.shape[1]
    value = np.full(len(texts.row), -np.inf)
    value[wide] = np.nan_to_num(labels[texts.row[wide], texts.place[wide]], nan=-np.inf)
    order = np.lexsort((texts.place, -value, texts.row))
    row, first = np.unique(texts.row[order], return_index=True)
    best = order[first]
    runner = order[np.minimum(first + 1, len(order) - 1)]
    tied = (texts.row[runner] == texts.row[best]) & (runner != best) & (value[runner] == value[best])
    found = np.zeros(material.rows, np.uint64)
    found[row] = np.where(tied | ~np.isfinite(value[best]), np.uint64(0), texts.exact[best])
    return np.asarray(found[rows])


def _drifts(new: Material, old: Material) -> list[Drift]:
    pairs: Mapping[str, tuple[np.ndarray | None, np.ndarray | None]] = {
        "mean score": (_moment(new, 0), _moment(old, 0)),
        "variance of scores": (_moment(new, 1), _moment(old, 1)),
        "annotation": (new.annotations, old.annotations),
        "annotated difference of best and worst": (_spread(new), _spread(old)),
    }
    found = []
    for what, (now, then) in pairs.items():
        if now is None or then is None:
            continue
        after, before = now[np.isfinite(now)], then[np.isfinite(then)]
        if after.size and before.size:
            distance, p = st.kolmogorov_smirnov(before, after)
            found.append(Drift(what, float(before.mean()), float(after.mean()), distance, p))
    return found


def _moment(material: Material, which: int) -> np.ndarray | None:
    return None if material.scores is None else columns.moments(material.scores)[which]


def _spread(material: Material) -> np.ndarray | None:
    labels = material.annotations
    if labels is None:
        return None
    valid = np.isfinite(labels)
    low, high = np.where(valid, labels, np.inf).min(axis=1), np.where(valid, labels, -np.inf).max(axis=1)
    return np.asarray(np.where(valid.any(axis=1), high - low, np.nan))

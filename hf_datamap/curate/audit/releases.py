"""Two releases of a dataset held against each other: rows, regions, scores, labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext, row_range
from hf_datamap.curate.regions import cut_regions, region_codes
from hf_datamap.curate.texts.facts import TextFacts, read_texts
from hf_datamap.curate.texts.words import mix, reduce_by_text
from hf_datamap.data import columns
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import MapError

_CERTAIN: Final = 0.001
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Drift:
    """How a distribution moved between two releases.

    Attributes:
        what: which quantity.
        old: its mean in the old release.
        new: its mean in the new one.
        distance: two-sample Kolmogorov-Smirnov statistic.
        p: of that under no change.
    """

    what: str
    old: float
    new: float
    distance: float
    p: float


@dataclass(frozen=True)
class ReleaseComparison:
    """What changed since an older release. Rows are matched by prompt, and by content where a prompt repeats.

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


class _Release:
    """One of two releases: hashes of its prompts and contents, and its regions free of the order of rows."""

    def __init__(self, view: DatasetView, texts: TextFacts | None, name: str) -> None:
        if texts is None:
            raise MapError(f"{name} cannot be compared, its rows cannot be read: {view.layout_error}")
        self.view, self.texts = view, texts
        self.content = _content(view, texts)
        self.region = _order_free_regions(view, mix(texts.prompts.folded) ^ self.content)


def compare(context: AuditContext, old: DatasetView) -> ReleaseComparison:
    """Hold an older release against the audited one; write findings that name rows, and the measures of drift.

    Raises:
        MapError: the texts of a release could not be read, so that rows cannot be matched.
    """
    texts = context.texts if context.texts is not None else read_texts(context.view)
    new = _Release(context.view, texts, "the dataset")
    before = _Release(old, read_texts(old), "the older release")
    in_new, in_old = _match(new, before)
    changed = in_new[new.content[in_new] != before.content[in_old]]
    relabelled = in_new[_relabelled(new, in_new, before, in_old)]
    regions, moved = None, math.nan
    moved_rows = np.empty(0, np.int64)
    if new.region is not None and before.region is not None:
        size = len(columns.REGIONS)
        pairs = before.region[in_old] * size + new.region[in_new]
        regions = np.bincount(pairs, minlength=size * size).reshape(size, size)
        moved_rows = in_new[before.region[in_old] != new.region[in_new]]
        moved = len(moved_rows) / len(in_new) if len(in_new) else math.nan
    comparison = ReleaseComparison(
        old_rows=old.rows,
        new_rows=new.view.rows,
        added=new.view.rows - len(in_new),
        removed=old.rows - len(in_old),
        changed=len(changed),
        unchanged=len(in_new) - len(changed),
        regions=None if regions is None else tuple(tuple(map(int, row)) for row in regions),
        moved=moved,
        relabelled=len(relabelled),
        drifts=tuple(_drifts(new.view, old)),
    )
    _row_findings(context, changed, relabelled, moved_rows, len(in_new))
    _distribution_findings(context, comparison)
    return comparison


def _row_findings(
    context: AuditContext, changed: np.ndarray, relabelled: np.ndarray, moved: np.ndarray, common: int
) -> None:
    for check, rows, what in (
        ("changed", changed, "that both releases have changed their responses or annotations"),
        ("label_drift", relabelled, "that both releases have prefer another response"),
        ("region_drift", moved, "that both releases have changed their region"),
    ):
        ordered = np.sort(rows)
        evidence = context.example_rows(ordered)
        context.log.rows_finding(check, ordered, common, what, warning=math.inf, evidence=evidence)


def _distribution_findings(context: AuditContext, comparison: ReleaseComparison) -> None:
    log, common = context.log, comparison.changed + comparison.unchanged
    log.measures["removed"] = comparison.removed / comparison.old_rows
    if comparison.regions is None:
        del log.measures["region_drift"]
        log.left_out["region_drift"] = "both releases must be scored"
    for drift in comparison.drifts:
        if drift.what == "mean score":
            log.measures["score_drift"] = drift.distance
        if drift.p < _CERTAIN and drift.distance > 0.05:
            log.finding(
                "drift",
                "warning",
                f"The {drift.what} moved from {drift.old:.4g} to {drift.new:.4g} "
                f"(distance {drift.distance:.2f}, p {drift.p:.2g})",
                drift.distance,
                detail="Over all rows of both releases. Another scorer, another mix of rows, or another annotation.",
            )
    log.finding(
        "releases",
        "note",
        f"Since the older release {comparison.added:,} rows were added, {comparison.removed:,} removed, "
        f"{comparison.changed:,} changed; {comparison.unchanged:,} are unchanged and cost nothing to score again",
        comparison.changed / common if common else 0.0,
    )


def _match(new: _Release, old: _Release) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both releases that belong together: equal prompt and content first, then equal prompt in row order."""
    keys = [mix(mix(release.texts.prompts.folded) ^ release.content) for release in (new, old)]
    # Rows that are equal in all respects go together by region, so that no pair of twins seems to have moved.
    numbered = [
        _with_occurrence(key, np.zeros(len(key)) if release.region is None else release.region)
        for key, release in zip(keys, (new, old), strict=True)
    ]
    _, in_new, in_old = np.intersect1d(numbered[0], numbered[1], assume_unique=True, return_indices=True)
    rest = [np.setdiff1d(np.arange(release.view.rows), matched) for release, matched in ((new, in_new), (old, in_old))]
    by_prompt = [
        _with_occurrence(mix(release.texts.prompts.folded[rows]), rows)
        for release, rows in zip((new, old), rest, strict=True)
    ]
    _, more_new, more_old = np.intersect1d(by_prompt[0], by_prompt[1], assume_unique=True, return_indices=True)
    return np.concatenate([in_new, rest[0][more_new]]), np.concatenate([in_old, rest[1][more_old]])


def _with_occurrence(keys: np.ndarray, order_by: np.ndarray) -> np.ndarray:
    """Keys made distinct: each with its number among equal ones, counted in the order of ``order_by``."""
    order = np.lexsort((order_by, keys))
    ordered = keys[order]
    new = np.ones(len(order), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    occurrence = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    numbered = np.empty(len(order), np.uint64)
    numbered[order] = mix(ordered ^ mix(occurrence.astype(np.uint64)))
    return numbered


def _content(view: DatasetView, texts: TextFacts) -> np.ndarray:
    """One hash per row: of its responses in their order, and of their annotations."""
    responses = texts.responses
    starts = np.searchsorted(responses.row, np.arange(view.rows + 1))
    with np.errstate(over="ignore"):
        placed = mix(responses.exact + responses.place.astype(np.uint64) * _GOLDEN)
        value = reduce_by_text(np.add, placed, starts)
    if view.annotations is not None:
        whole = np.nan_to_num(view.annotations, nan=-1e300).astype(np.float64)
        for column in whole.T:
            value = mix(value ^ column.copy().view(np.uint64))
    return value


def _order_free_regions(view: DatasetView, content: np.ndarray) -> np.ndarray | None:
    """Regions whose ties are broken by content, not by row number: shuffling a dataset moves no row.

    That holds where the stored regions are the dataset's own cut; regions by another map's thresholds have no ties to
    break and are taken as they are.
    """
    region = region_codes(view)
    if region is None or view.scores is None:
        return region
    mean, variance = columns.moments(view.scores)
    if not np.array_equal(region, cut_regions(mean, variance)):
        return region
    # Cutting sorts stably by value, so that the order of equal values is the order in which rows are given.
    order = np.argsort(content, kind="stable")
    free = np.empty_like(region)
    free[order] = cut_regions(mean[order], variance[order])
    return free


def _relabelled(new: _Release, in_new: np.ndarray, old: _Release, in_old: np.ndarray) -> np.ndarray:
    """Whether a common row prefers another text, by its annotations or by which of its columns is the chosen one.

    Told by the text, so that a mere reordering of responses is no change.
    """
    changed = np.zeros(len(in_new), bool)
    for now, then in ((new.view.annotations, old.view.annotations), (new.view.order, old.view.order)):
        if now is not None and then is not None:
            after, before = _preferred(new.texts, now)[in_new], _preferred(old.texts, then)[in_old]
            changed |= (after != 0) & (before != 0) & (after != before)
    return changed


def _preferred(texts: TextFacts, labels: np.ndarray) -> np.ndarray:
    """Hash of the response that each row prefers, 0 where none is preferred."""
    responses = texts.responses
    wide = responses.place < labels.shape[1]
    value = np.full(len(responses.row), -np.inf)
    value[wide] = np.nan_to_num(labels[responses.row[wide], responses.place[wide]], nan=-np.inf)
    order = np.lexsort((responses.place, -value, responses.row))
    row, first = np.unique(responses.row[order], return_index=True)
    best = order[first]
    runner_up = order[np.minimum(first + 1, len(order) - 1)]
    tied = (responses.row[runner_up] == row) & (runner_up != best) & (value[runner_up] == value[best])
    preferred = np.zeros(texts.rows, np.uint64)
    preferred[row] = np.where(tied | ~np.isfinite(value[best]), np.uint64(0), responses.exact[best])
    return preferred


def _drifts(new: DatasetView, old: DatasetView) -> list[Drift]:
    from scipy.stats import ks_2samp

    quantities: Mapping[str, tuple[np.ndarray | None, np.ndarray | None]] = {
        "mean score": (_moment(new, 0), _moment(old, 0)),
        "variance of scores": (_moment(new, 1), _moment(old, 1)),
        "annotation": (new.annotations, old.annotations),
        "annotated difference of best and worst": (_spread(new), _spread(old)),
    }
    drifts = []
    for what, (now, then) in quantities.items():
        if now is None or then is None:
            continue
        after, before = now[np.isfinite(now)], then[np.isfinite(then)]
        if after.size and before.size:
            test = ks_2samp(before, after, method="asymp")
            drifts.append(
                Drift(what, float(before.mean()), float(after.mean()), float(test.statistic), float(test.pvalue))
            )
    return drifts


def _moment(view: DatasetView, which: int) -> np.ndarray | None:
    return None if view.scores is None else columns.moments(view.scores)[which]


def _spread(view: DatasetView) -> np.ndarray | None:
    if view.annotations is None:
        return None
    low, high = row_range(view.annotations)
    return np.asarray(np.where(np.isfinite(view.annotations).any(axis=1), high - low, np.nan))

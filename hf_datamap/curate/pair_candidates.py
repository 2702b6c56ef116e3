"""Which responses make a pair: by labels, contrast, quality and count, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np

from hf_datamap.data import columns
from hf_datamap.errors import PairError

Contrast: TypeAlias = 'Literal["high", "low", "mixed"] | tuple[int, int]'
Pairing: TypeAlias = Literal["all", "best_worst", "best_sweet"]


@dataclass(frozen=True)
class Candidates:
    """Pairs before their texts are read: arrays of shape (pairs,)."""

    row: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    chosen_score: np.ndarray
    rejected_score: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """Score of the chosen minus that of the rejected."""
        return np.asarray(self.chosen_score - self.rejected_score)

    def keep(self, index: np.ndarray) -> Candidates:
        """Some of the pairs."""
        return Candidates(
            self.row[index],
            self.chosen[index],
            self.rejected[index],
            self.chosen_score[index],
            self.rejected_score[index],
        )


def candidates(values: np.ndarray, truth: np.ndarray, pairing: str) -> Candidates:
    """All pairs of the wanted kind whose labels differ and that have both scores, by row."""
    known = np.isfinite(values) & np.isfinite(truth)
    if pairing == "all":
        parts = [_ordered(truth, known, i, j) for i, j in combinations(range(values.shape[1]), 2)]
        row, chosen, rejected = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (
            np.empty(0, np.int64),
        ) * 3  # fmt: skip
        order = np.argsort(row, kind="stable")
        row, chosen, rejected = row[order], chosen[order], rejected[order]
    elif pairing in {"best_worst", "best_sweet"}:
        best = np.where(known, truth, -np.inf).argmax(axis=1)
        target = np.where(known, truth, np.inf)
        if pairing == "best_sweet":
            mean, variance = columns.moments(np.where(known, truth, np.nan))
            sweet = (mean - 2 * np.sqrt(variance))[:, None]
            target = np.where(known, np.abs(truth - sweet), np.inf)
            target[np.arange(len(best)), best] = np.inf
        worst = target.argmin(axis=1)
        rows = np.arange(len(values))
        row = np.flatnonzero(known[rows, best] & known[rows, worst] & (truth[rows, best] > truth[rows, worst]))
        chosen, rejected = best[row], worst[row]
    else:
        raise PairError(f"no pairing {pairing!r}; there are: all, best_worst, best_sweet")
    return Candidates(row, chosen, rejected, values[row, chosen], values[row, rejected])


def _ordered(truth: np.ndarray, known: np.ndarray, i: int, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = np.flatnonzero(known[:, i] & known[:, j] & (truth[:, i] != truth[:, j]))
    first = truth[row, i] > truth[row, j]
    return row, np.where(first, i, j), np.where(first, j, i)


def of_quality(found: Candidates, quality: str | None) -> np.ndarray:
    """Which pairs have their chosen score in the upper or lower half of all; all of them without a wish."""
    if quality is None or not len(found.row):
        return np.ones(len(found.row), bool)
    if quality not in {"high", "low"}:
        raise PairError(f"quality must be 'high' or 'low', not {quality!r}")
    upper = found.chosen_score >= np.median(found.chosen_score)
    return np.asarray(upper if quality == "high" else ~upper)


def by_contrast(
    found: Candidates, contrast: Contrast, among: np.ndarray, counts: np.ndarray | None, rng: np.random.Generator
) -> Candidates:
    """The pairs of a contrast (see `to_pairs`) among some; all of them decide what is high and low."""
    if isinstance(contrast, tuple | list):
        if counts is None or len(contrast) != 2:
            raise PairError(f"contrast {contrast!r} needs constraint counts (c, r) and a dataset with constraints")
        met, failed = _met(found, counts)
        return found.keep(np.flatnonzero(among & (met == contrast[0]) & (failed == contrast[1])))
    if contrast not in {"high", "low", "mixed"}:
        raise PairError(f"contrast must be 'high', 'low', 'mixed' or (c, r), not {contrast!r}")
    high, low = (among & wanted for wanted in _contrasts(found, counts))
    if contrast != "mixed":
        return found.keep(np.flatnonzero(high if contrast == "high" else low))
    return found.keep(_half_and_half(found.row, high, low, rng))


def _met(found: Candidates, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = counts[found.row]
    return np.rint(found.chosen_score * k), np.rint(found.rejected_score * k)


def _contrasts(found: Candidates, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates have high and which low contrast."""
    shares = counts is not None and bool(np.all((found.chosen_score <= 1) & (found.rejected_score >= 0)))
    if counts is not None and shares:
        (met, failed), k = _met(found, counts), counts[found.row]
        return (met == k) & (failed <= k - 2), met - failed == 1
    positive = found.margin[found.margin > 0]
    if not positive.size:
        return np.zeros(len(found.row), bool), np.zeros(len(found.row), bool)
    low, high = np.quantile(positive, [1 / 3, 2 / 3])
    return found.margin >= high, (found.margin > 0) & (found.margin <= low)


def _half_and_half(row: np.ndarray, high: np.ndarray, low: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Candidates so that as many rows give pairs of high as of low contrast; each row gives one kind only."""
    with_high, with_low = np.unique(row[high]), np.unique(row[low])
    both = rng.permutation(np.intersect1d(with_high, with_low))
    only_high, only_low = np.setdiff1d(with_high, both), np.setdiff1d(with_low, both)
    to_high = int(np.clip((len(both) + len(only_low) - len(only_high)) // 2, 0, len(both)))
    mine = [np.concatenate([only_high, both[:to_high]]), np.concatenate([only_low, both[to_high:]])]
    size = min(map(len, mine))
    mine = [rng.permutation(rows)[:size] for rows in mine]
    return np.flatnonzero((high & np.isin(row, mine[0])) | (low & np.isin(row, mine[1])))


def capped(found: Candidates, limit: int, rng: np.random.Generator) -> Candidates:
    """At most so many pairs of each row, drawn."""
    if limit < 1:
        raise PairError(f"per_prompt must be at least 1, not {limit}")
    order = np.lexsort((rng.random(len(found.row)), found.row))
    return found.keep(np.sort(order[nth(found.row[order]) < limit]))


def nth(ordered: np.ndarray) -> np.ndarray:
    """For sorted values, how many equal ones stand before each."""
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    return np.arange(len(ordered)) - np.repeat(starts, np.diff(np.append(starts, len(ordered))))

"""Which responses make a pair: by labels, contrast, quality and count, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal, TypeAlias

import numpy as np

from hf_datamap.data import columns
from hf_datamap.errors import PairError

Contrast: TypeAlias = 'Literal["high", "low", "mixed"] | tuple[int, int]'
Pairing: TypeAlias = Literal["all", "best_worst", "best_sweet"]


#: Responses per row beyond which pairs are drawn, where only some are wanted.
WIDE: Final = 64
_DRAWN: Final = WIDE * (WIDE - 1) // 2
_FEW_LEVELS: Final = 16


@dataclass(frozen=True, repr=False)
class Candidates:
    """Pairs before their texts are read: arrays of shape (pairs,)."""

    row: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    chosen_score: np.ndarray
    rejected_score: np.ndarray

    def __repr__(self) -> str:
        return f"Candidates({len(self.row):,} pairs)"

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


def candidates(
    values: np.ndarray,
    truth: np.ndarray,
    pairing: str,
    *,
    drawn: int | None = None,
    rng: np.random.Generator | None = None,
) -> Candidates:
    """All pairs of the wanted kind whose labels differ and that have both scores, by row.

    Args:
        values: scores, shape (rows, responses), NaN where missing.
        truth: what orders the responses, the same shape.
        pairing: ``all``, ``best_worst`` or ``best_sweet``.
        drawn: with ``all`` and more than `WIDE` responses, at least so many pairs of each row are drawn in place of all
            N (N - 1) / 2; None makes all.
        rng: for that draw.
    """
    known = np.isfinite(values) & np.isfinite(truth)
    if pairing == "all":
        if drawn is not None and rng is not None and values.shape[1] > WIDE:
            row, chosen, rejected = _drawn(truth, known, max(drawn, _DRAWN), rng)
        else:
            row, chosen, rejected = _every(truth, known)
    elif pairing in {"best_worst", "best_sweet"}:
        row, chosen, rejected = _best_against(truth, known, sweet=pairing == "best_sweet")
    else:
        raise PairError(f"no pairing {pairing!r}; there are: all, best_worst, best_sweet")
    return Candidates(row, chosen, rejected, values[row, chosen], values[row, rejected])


def _every(truth: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, better and worse response of every pair whose labels differ, by row."""
    parts = [_ordered(truth, known, i, j) for i, j in combinations(range(truth.shape[1]), 2)]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    row, chosen, rejected = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(row, kind="stable")
    return row[order], chosen[order], rejected[order]


def _drawn(
    truth: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some pairs of each row, uniformly; where labels have few values, as many of each two values, so none is missed.

    The work per row grows with the number of responses (one sort), not with that of their pairs.
    """
    rows, better, worse = [], [], []
    for row in range(len(truth)):
        places = np.flatnonzero(known[row])
        labels = truth[row, places]
        levels = np.unique(labels)
        if len(levels) < 2:
            continue
        if len(levels) <= _FEW_LEVELS:
            share = -(-count // (len(levels) * (len(levels) - 1) // 2))
            of_level = [places[labels == level] for level in levels]
            pairs = [_product(of_level[b], of_level[a], share, rng) for a, b in combinations(range(len(levels)), 2)]
            one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
        else:
            one, two = _product(places, places, 2 * count, rng)
        first, second = truth[row, one], truth[row, two]
        one, two = np.where(first > second, one, two), np.where(first > second, two, one)
        apart = first != second
        keys = np.unique(one[apart] * truth.shape[1] + two[apart])
        keys = keys if len(keys) <= count else np.sort(rng.choice(keys, count, replace=False))
        rows.append(np.full(len(keys), row))
        better.append(keys // truth.shape[1])
        worse.append(keys % truth.shape[1])
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(rows), np.concatenate(better), np.concatenate(worse)


def _product(one: np.ndarray, two: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of the members of two sets: all of them where there are no more than ``count``, else so many, drawn."""
    total = len(one) * len(two)
    keys = np.arange(total) if total <= count else rng.integers(0, total, count)
    return one[keys // len(two)], two[keys % len(two)]


def _best_against(truth: np.ndarray, known: np.ndarray, *, sweet: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, best response, and the worst or the one nearest to mean minus two standard deviations."""
    best = np.where(known, truth, -np.inf).argmax(axis=1)
    target = np.where(known, truth, np.inf)
    if sweet:
        mean, variance = columns.moments(np.where(known, truth, np.nan))
        spot = (mean - 2 * np.sqrt(variance))[:, None]
        target = np.where(known, np.abs(truth - spot), np.inf)
        target[np.arange(len(best)), best] = np.inf
    other = target.argmin(axis=1)
    rows = np.arange(len(truth))
    row = np.flatnonzero(known[rows, best] & known[rows, other] & (truth[rows, best] > truth[rows, other]))
    return row, best[row], other[row]


def _ordered(truth: np.ndarray, known: np.ndarray, i: int, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = np.flatnonzero(known[:, i] & known[:, j] & (truth[:, i] != truth[:, j]))
    first = truth[row, i] > truth[row, j]
    return row, np.where(first, i, j), np.where(first, j, i)


def of_quality(pairs: Candidates, quality: str | None) -> np.ndarray:
    """Which pairs have their chosen score in the upper or lower half of all; all of them without a wish."""
    if quality is None or not len(pairs.row):
        return np.ones(len(pairs.row), bool)
    if quality not in {"high", "low"}:
        raise PairError(f"quality must be 'high' or 'low', not {quality!r}")
    upper = pairs.chosen_score >= np.median(pairs.chosen_score)
    return np.asarray(upper if quality == "high" else ~upper)


def by_contrast(
    pairs: Candidates, contrast: Contrast, among: np.ndarray, counts: np.ndarray | None, rng: np.random.Generator
) -> Candidates:
    """The pairs of a contrast (see `to_pairs`) among some; all of them decide what is high and low."""
    if isinstance(contrast, tuple | list):
        if counts is None or len(contrast) != 2:
            raise PairError(f"contrast {contrast!r} needs constraint counts (c, r) and a dataset with constraints")
        met, failed = _met(pairs, counts)
        return pairs.keep(np.flatnonzero(among & (met == contrast[0]) & (failed == contrast[1])))
    if contrast not in {"high", "low", "mixed"}:
        raise PairError(f"contrast must be 'high', 'low', 'mixed' or (c, r), not {contrast!r}")
    high, low = (among & kind for kind in _contrasts(pairs, counts))
    if contrast != "mixed":
        return pairs.keep(np.flatnonzero(high if contrast == "high" else low))
    return pairs.keep(_half_and_half(pairs.row, high, low, rng))


def _met(pairs: Candidates, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = counts[pairs.row]
    return np.rint(pairs.chosen_score * k), np.rint(pairs.rejected_score * k)


def _contrasts(pairs: Candidates, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates have high and which low contrast."""
    shares = counts is not None and bool(np.all((pairs.chosen_score <= 1) & (pairs.rejected_score >= 0)))
    if counts is not None and shares:
        (met, failed), k = _met(pairs, counts), counts[pairs.row]
        # With one constraint, one met against none is all the contrast there is, not a low one.
        return (met == k) & (failed <= k - 2), (met - failed == 1) & (k > 1)
    positive = pairs.margin[pairs.margin > 0]
    if not positive.size:
        return np.zeros(len(pairs.row), bool), np.zeros(len(pairs.row), bool)
    low, high = np.quantile(positive, [1 / 3, 2 / 3])
    return pairs.margin >= high, (pairs.margin > 0) & (pairs.margin <= low)


def _half_and_half(row: np.ndarray, high: np.ndarray, low: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Candidates so that as many rows give pairs of high as of low contrast; each row gives one kind only.

    Rows that have both kinds are halved by themselves, so that an arm cut down to them (`equal_arms`) stays half and
    half.
    """
    with_high, with_low = np.unique(row[high]), np.unique(row[low])
    both = rng.permutation(np.intersect1d(with_high, with_low))
    only_high, only_low = np.setdiff1d(with_high, both), np.setdiff1d(with_low, both)
    half, singles = len(both) // 2, min(len(only_high), len(only_low))
    if not half and not singles and len(both):  # one row with both kinds beside rows of one kind
        half = 1
        both = np.append(both, only_low[:1]) if len(only_low) else np.append(only_high[:1], both)
    to_high = np.concatenate([both[:half], rng.permutation(only_high)[:singles]])
    to_low = np.concatenate([both[half : 2 * half], rng.permutation(only_low)[:singles]])
    return np.flatnonzero((high & np.isin(row, to_high)) | (low & np.isin(row, to_low)))


def capped(pairs: Candidates, limit: int, rng: np.random.Generator) -> Candidates:
    """At most so many pairs of each row, drawn."""
    if limit < 1:
        raise PairError(f"per_prompt must be at least 1, not {limit}")
    order = np.lexsort((rng.random(len(pairs.row)), pairs.row))
    return pairs.keep(np.sort(order[nth(pairs.row[order]) < limit]))


def nth(ordered: np.ndarray) -> np.ndarray:
    """For sorted values, how many equal ones stand before each."""
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    return np.arange(len(ordered)) - np.repeat(starts, np.diff(np.append(starts, len(ordered))))

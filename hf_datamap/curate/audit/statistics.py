"""The numbers behind the findings, on plain arrays: no row is looked at one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

_BINS: Final = 200
# Priors, worth a handful of comparisons: they decide only where a data set is too small, or its margins are too much
# alike, to tell a wrong label from a wrong score; there the scores are believed. Everywhere else the data decide.
_PRIOR_ERROR: Final = (1.5, 6.0)
_PRIOR_LOG_SLOPE: Final = (math.log(4.0), 1.0)
_SLOPES: Final = np.exp(np.linspace(math.log(0.02), math.log(60.0), 80))
_ERRORS: Final = np.concatenate([np.linspace(0.0005, 0.05, 34), np.linspace(0.055, 0.995, 95)])


def kendall(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of scores and annotations in each row.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing.

    Returns:
        float64 of shape (rows,); NaN where either side is constant or fewer than two responses have both.
    """
    agreeing, by_score, by_label = (np.zeros(len(scores)) for _ in range(3))
    for i, j in combinations(range(scores.shape[1]), 2):
        ds, da = np.sign(scores[:, i] - scores[:, j]), np.sign(annotations[:, i] - annotations[:, j])
        both = np.isfinite(ds) & np.isfinite(da)
        ds, da = np.where(both, ds, 0.0), np.where(both, da, 0.0)
        agreeing += ds * da
        by_score += ds != 0
        by_label += da != 0
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = agreeing / np.sqrt(by_score * by_label)
    return np.where((by_score > 0) & (by_label > 0), tau, np.nan)


def pearson(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """Pearson correlation of scores and annotations in each row; NaN where either side is constant.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing.
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    s, a = centred(scores, both), centred(annotations, both)
    norm = np.sqrt((s * s).sum(axis=1) * (a * a).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 1e-12, (s * a).sum(axis=1) / norm, np.nan)


def centred(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Each row's valid values minus their mean, 0 elsewhere; shape (rows, responses)."""
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    mean = np.where(valid, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(valid, values - mean, 0.0)


def pooled_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two quantities within rows, pooled over rows; NaN when either never varies within a row.

    Centring by row leaves out what differs between prompts (long prompts get long and good answers).

    Args:
        a: shape (rows, responses), NaN where missing.
        b: the same shape.
    """
    both = np.isfinite(a) & np.isfinite(b)
    x, y = centred(a, both), centred(b, both)
    norm = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else math.nan


def comparison_gap(annotations: np.ndarray) -> float:
    """The least difference of two annotations that counts as a preference: half their spread (ours).

    Differences below half a standard deviation of all annotations are near ties, which a scorer need not follow.
    """
    valid = annotations[np.isfinite(annotations)]
    return 0.5 * float(valid.std()) if valid.size else 0.0


def score_scale(scores: np.ndarray) -> float:
    """The typical difference of two scores of a row: the median over the non-zero ones (of a regular sample)."""
    sample = scores[:: max(1, len(scores) // 50_000)]
    gaps = [np.abs(sample[:, i] - sample[:, j]) for i, j in combinations(range(min(sample.shape[1], 8)), 2)]
    found = np.concatenate(gaps) if gaps else np.empty(0)
    found = found[np.isfinite(found) & (found > 0)]
    return float(np.median(found)) if found.size else 0.0


def effective_margin(margin: np.ndarray, noise: np.ndarray | None, scale: float) -> np.ndarray:
    """A margin shrunk by the scorer's own noise: m / sqrt(1 + 2 noise / scale^2) (ours).

    Two scores with variance ``noise`` each differ with variance 2 noise; margins of a scorer that repeats itself
    badly weigh less, in units of the typical difference ``scale``.
    """
    if noise is None or scale <= 0:
        return margin
    return np.asarray(margin / np.sqrt(1.0 + 2.0 * np.nan_to_num(noise, nan=0.0) / scale**2))


def alignment(scores: np.ndarray, annotations: np.ndarray, gap: float) -> np.ndarray:
    """How far the scores of each row point along its annotations, in score units (ours).

    sqrt(2) times the centred scores projected on the centred annotations, scaled to length one. For two responses this
    is the margin: score of the one annotated better minus that of the other. For more it is what a margin would be if
    all responses had a say; negative where the scores contradict the annotations.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing, higher is better.
        gap: rows whose annotations differ by less have none (NaN).
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    s, a = centred(scores, both), centred(annotations, both)
    length = np.sqrt((a * a).sum(axis=1))
    high = np.where(both, annotations, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(both, annotations, np.inf).min(axis=1, initial=np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        projected = math.sqrt(2) * (s * a).sum(axis=1) / length
        return np.where((high > low) & (high - low >= gap), projected, np.nan)


def worst_pair(scores: np.ndarray, annotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two responses of each row on which scores and annotations contradict each other most.

    Returns:
        Index of the one annotated better, and of the one annotated worse.
    """
    most = np.full(len(scores), -np.inf)
    better, worse = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
    for i, j in combinations(range(scores.shape[1]), 2):
        by_label, by_score = annotations[:, i] - annotations[:, j], scores[:, i] - scores[:, j]
        against = np.where(by_label > 0, -by_score, by_score)
        stronger = (by_label != 0) & (against > most)
        most[stronger] = against[stronger]
        better[stronger] = np.where(by_label > 0, i, j)[stronger]
        worse[stronger] = np.where(by_label > 0, j, i)[stronger]
    return better, worse


@dataclass(frozen=True)
class Reliability:
    """How far labels and scores can be believed, estimated from nothing but their agreement (ours).

    The scores are taken to err at small margins only: they name the truly better response with probability
    s(slope * m) at margin m, s the logistic function (Bradley-Terry). A label is wrong with probability ``error``
    whatever the margin. So labels and scores agree with probability ``error + (1 - 2 error) s(slope * m)``: a
    psychometric curve with a lapse rate. What disagreement remains at large margins is laid at the labels' door; a
    scorer that errs in spite of large margins is mistaken for wrong labels, which no statistic can tell apart.

    Attributes:
        error: share of wrong labels, posterior mean.
        interval: its central 90 % credible interval.
        agreement: share of rows (ties left out) in which scores and labels agree.
        comparisons: how many rows were used.
        strengths: grid of contradiction strengths, ascending.
        probabilities: at each of them, the probability that the label is wrong, averaged over the posterior.
    """

    error: float
    interval: tuple[float, float]
    agreement: float
    comparisons: int
    strengths: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def fit(cls, signed: np.ndarray) -> Reliability | None:
        """Estimate from signed effective margins, one per row (`alignment`, `effective_margin`).

        Posterior over a grid, from margins in equally filled bins. None without a comparison that is no tie.
        """
        signed = signed[np.isfinite(signed) & (signed != 0)]
        if not signed.size:
            return None
        size = np.sort(np.abs(signed))
        edges = np.unique(size[np.linspace(0, size.size - 1, _BINS + 1).astype(int)])
        where = np.searchsorted(edges, np.abs(signed), "left")
        total = np.bincount(where, minlength=len(edges)).astype(float)
        agree = np.bincount(where, weights=signed > 0, minlength=len(edges))
        middle = np.bincount(where, weights=np.abs(signed), minlength=len(edges)) / np.maximum(total, 1)
        scale = float(np.median(size))
        posterior = _posterior(middle / scale, agree, total)
        by_error = posterior.sum(axis=0)
        low, high = np.interp((0.05, 0.95), by_error.cumsum(), _ERRORS)
        strengths = np.concatenate([[0.0], np.geomspace(scale / 50, max(float(size[-1]), scale) * 1.001, 200)])
        named = _logistic(_SLOPES[:, None] * strengths / scale)
        wrong_label = _ERRORS[None, :, None] * named[:, None, :]
        wrong_score = (1 - _ERRORS)[None, :, None] * (1 - named)[:, None, :]
        probability = (posterior[:, :, None] * wrong_label / (wrong_label + wrong_score)).sum(axis=(0, 1))
        return cls(
            error=float(by_error @ _ERRORS),
            interval=(float(low), float(high)),
            agreement=float((signed > 0).mean()),
            comparisons=int(signed.size),
            strengths=strengths,
            probabilities=probability,
        )

    def mislabelled(self, strength: np.ndarray) -> np.ndarray:
        """Probability that a label is wrong, given how strongly the scores contradict it.

        Args:
            strength: the negative of the effective margin. 0 is returned where that is positive.
        """
        against = np.isfinite(strength) & (strength > 0)
        return np.where(against, np.interp(np.nan_to_num(strength), self.strengths, self.probabilities), 0.0)


def _posterior(sizes: np.ndarray, agree: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Posterior weights of slope (rows) and error (columns), given agreement at margins of the given sizes."""
    log = np.empty((len(_SLOPES), len(_ERRORS)))
    errors = _ERRORS[:, None]
    prior = (_PRIOR_ERROR[0] - 1) * np.log(_ERRORS) + (_PRIOR_ERROR[1] - 1) * np.log1p(-_ERRORS)
    prior += np.log(np.gradient(_ERRORS))  # the grid is finer near 0
    for k, named in enumerate(_logistic(_SLOPES[:, None] * sizes)):
        p = np.clip(errors + (1 - 2 * errors) * named, 1e-12, 1 - 1e-12)
        log[k] = np.log(p) @ agree + np.log1p(-p) @ (total - agree) + prior
    log += -0.5 * ((np.log(_SLOPES) - _PRIOR_LOG_SLOPE[0]) / _PRIOR_LOG_SLOPE[1])[:, None] ** 2
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum())


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.minimum(x, 60.0))))


def wilson(hits: int, total: int, z: float = 3.0) -> tuple[float, float]:
    """Wilson's interval of a proportion, at z standard errors; (0, 1) without observations."""
    if not total:
        return 0.0, 1.0
    share, square = hits / total, z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def cramers_v(table: np.ndarray) -> tuple[float, float]:
    """Cramér's V of a contingency table of counts, corrected for bias (Bergsma 2013), and the p of its chi square.

    The p uses the Wilson-Hilferty approximation of the chi square distribution.
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(float)
    total = table.sum()
    if total < 2 or min(table.shape, default=0) < 2:
        return 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    chi2 = float(((table - expected) ** 2 / expected).sum())
    r, k = table.shape
    free = (r - 1) * (k - 1)
    phi = max(0.0, chi2 / total - free / (total - 1))
    r_, k_ = r - (r - 1) ** 2 / (total - 1), k - (k - 1) ** 2 / (total - 1)
    least = min(r_, k_) - 1
    return (math.sqrt(phi / least) if least > 0 else 0.0), chi2_p(chi2, free)


def chi2_p(chi2: float, free: int) -> float:
    """Upper tail of the chi square distribution (Wilson-Hilferty; exact for one degree of freedom)."""
    if chi2 <= 0:
        return 1.0
    if free == 1:
        return math.erfc(math.sqrt(chi2 / 2))
    spread = 2 / (9 * free)
    return 0.5 * math.erfc(((chi2 / free) ** (1 / 3) - 1 + spread) / math.sqrt(2 * spread))


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov statistic and its asymptotic p; (0, 1) when a sample is empty."""
    a, b = np.sort(a[np.isfinite(a)]), np.sort(b[np.isfinite(b)])
    if not a.size or not b.size:
        return 0.0, 1.0
    values = np.concatenate([a, b])
    gap = np.searchsorted(a, values, "right") / a.size - np.searchsorted(b, values, "right") / b.size
    d = float(np.abs(gap).max())
    root = math.sqrt(a.size * b.size / (a.size + b.size))
    x = (root + 0.12 + 0.11 / root) * d
    if x < 0.2:
        return d, 1.0
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return d, min(1.0, max(0.0, p))

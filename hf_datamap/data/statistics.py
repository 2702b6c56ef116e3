"""Statistics of score and annotation matrices: rank correlation, intervals, association; no row is looked at alone."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np


def kendall(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of scores and annotations in each row.

    ``scipy.stats.kendalltau`` gives the same numbers one row at a time: 220 microseconds a row of four responses,
    against 0.2 here.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing.

    Returns:
        float64 of shape (rows,); NaN where either side is constant or fewer than two responses have both.
    """
    concordance, score_pairs, annotation_pairs = (np.zeros(len(scores)) for _ in range(3))
    for i, j in combinations(range(scores.shape[1]), 2):
        by_score = np.sign(scores[:, i] - scores[:, j])
        by_annotation = np.sign(annotations[:, i] - annotations[:, j])
        both = np.isfinite(by_score) & np.isfinite(by_annotation)
        by_score, by_annotation = np.where(both, by_score, 0.0), np.where(both, by_annotation, 0.0)
        concordance += by_score * by_annotation
        score_pairs += by_score != 0
        annotation_pairs += by_annotation != 0
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = concordance / np.sqrt(score_pairs * annotation_pairs)
    return np.where((score_pairs > 0) & (annotation_pairs > 0), tau, np.nan)


def pearson(scores: np.ndarray, annotations: np.ndarray) -> np.ndarray:
    """Pearson correlation of scores and annotations in each row; NaN where either side is constant.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing.
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    s, a = _centred_at_scale_one(scores, both), _centred_at_scale_one(annotations, both)
    norm = np.sqrt((s * s).sum(axis=1) * (a * a).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, (s * a).sum(axis=1) / norm, np.nan)


def _centred_at_scale_one(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return `centred` divided by its largest size in each row, all zeros where the valid values are equal.

    A small scale (log-probabilities, 1e-8) is no reason for a correlation to be missing, and the mean of equal values
    can differ from them in the last digit.
    """
    low, high = np.where(valid, values, np.inf).min(axis=1), np.where(valid, values, -np.inf).max(axis=1)
    deviations = centred(values, valid)
    largest = np.abs(deviations).max(axis=1)
    scale = np.where((low < high) & (largest > 0), largest, np.inf)
    return deviations / scale[:, None]


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


def rank_shares(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 (the least value) to 1 (the greatest); equal values share the mean rank, NaN keeps none."""
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(values, nan_policy="omit"), dtype=np.float64)
    return (ranks - 1) / max(int(np.isfinite(values).sum()) - 1, 1)


def wilson_interval(share: float, total: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a proportion (1927); (0, 1) without observations.

    Written out because ``scipy.stats.binomtest`` takes whole counts only, and an effective number of independent
    observations is none.

    Args:
        share: the proportion observed, 0 to 1.
        total: number of independent observations, not necessarily whole.
        z: half width in standard errors (1.96 for 95 %).
    """
    if total <= 0:
        return 0.0, 1.0
    square = z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def corrected_share(
    judged: float, total: int, agreed: tuple[int, int], opposed: tuple[int, int]
) -> tuple[float, float, float]:
    """A share that a fallible judge gives, corrected by how it errs on rows whose truth is known; with a 95 % interval.

    theta = (p + q0 - 1) / (q0 + q1 - 1), with the judge's own share p, its rate q1 of saying yes where that is true and
    q0 of saying no where that is true (Rogan and Gladen 1978; for judges 2511.21140). The interval counts both the
    uncertainty of p and that of the calibration rows (delta method, rates smoothed by one row of each kind).

    Args:
        judged: share of rows for which the judge says yes.
        total: how many rows it judged.
        agreed: of the calibration rows where yes is true, those where it says yes, and all of them.
        opposed: of those where no is true, those where it says no, and all of them.

    Returns:
        Share, lower and upper end; NaN, 0 and 1 where the judge is no better than chance on the calibration rows.
    """
    q1, q0 = ((hits + 1) / (count + 2) for hits, count in (agreed, opposed))
    youden = q0 + q1 - 1
    if not total or not agreed[1] or not opposed[1] or youden <= 0:
        return math.nan, 0.0, 1.0
    share = min(1.0, max(0.0, (judged + q0 - 1) / youden))
    variance = judged * (1 - judged) / total
    variance += (1 - share) ** 2 * q0 * (1 - q0) / opposed[1] + share**2 * q1 * (1 - q1) / agreed[1]
    half = 1.96 * math.sqrt(variance) / youden
    return share, max(0.0, share - half), min(1.0, share + half)


def cramers_v(table: np.ndarray) -> tuple[float, float]:
    """Cramer's V of a contingency table of counts, corrected for bias (Bergsma 2013), and the p of its chi square."""
    from scipy.stats import chi2_contingency

    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(float)
    total = table.sum()
    if total < 2 or min(table.shape, default=0) < 2:
        return 0.0, 1.0
    chi2, p, free, _ = chi2_contingency(table, correction=False)
    r, k = table.shape
    phi = max(0.0, float(chi2) / total - free / (total - 1))
    r_, k_ = r - (r - 1) ** 2 / (total - 1), k - (k - 1) ** 2 / (total - 1)
    least = min(r_, k_) - 1
    return (math.sqrt(phi / least) if least > 0 else 0.0), float(p)

"""How strongly the scores of each row contradict its annotations, on plain arrays of shape (rows, responses)."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from hf_datamap.data.statistics import centred


def least_preference(annotations: np.ndarray) -> float:
    """The least difference of two annotations that counts as a preference: half their spread (ours).

    Differences below half a standard deviation of all annotations are near ties, which a scorer need not follow.
    """
    valid = annotations[np.isfinite(annotations)]
    return 0.5 * float(valid.std()) if valid.size else 0.0


def typical_difference(scores: np.ndarray) -> float:
    """The typical difference of two scores of a row: the median over the non-zero ones (of a regular sample)."""
    sample = scores[:: max(1, len(scores) // 50_000)]
    gaps = [np.abs(sample[:, i] - sample[:, j]) for i, j in combinations(range(min(sample.shape[1], 8)), 2)]
    differences = np.concatenate(gaps) if gaps else np.empty(0)
    differences = differences[np.isfinite(differences) & (differences > 0)]
    return float(np.median(differences)) if differences.size else 0.0


def effective_margin(margin: np.ndarray, noise: np.ndarray | None, scale: float) -> np.ndarray:
    """A margin shrunk by the scorer's own noise: m / sqrt(1 + 2 noise / scale^2) (ours).

    Two scores with variance ``noise`` each differ with variance 2 noise; margins of a scorer that repeats itself
    badly weigh less, in units of the typical difference ``scale``.

    Args:
        margin: shape (rows,), in score units.
        noise: shape (rows,), variance of one score due to the scorer, NaN where unknown; None where it always is.
        scale: `typical_difference` of the scores.
    """
    if noise is None or scale <= 0:
        return margin
    with np.errstate(over="ignore"):
        square = np.square(np.float64(scale))  # infinite for absurd scores, which then count as they are
        return np.asarray(margin / np.sqrt(1.0 + 2.0 * np.nan_to_num(noise, nan=0.0) / square))


def signed_margin(scores: np.ndarray, annotations: np.ndarray, least: float) -> np.ndarray:
    """How far the scores of each row point along its annotations, in score units (ours).

    sqrt(2) times the centred scores projected on the centred annotations, scaled to length one. For two responses this
    is the margin: score of the one annotated better minus that of the other. For more it is what a margin would be if
    all responses had a say; negative where the scores contradict the annotations.

    Args:
        scores: shape (rows, responses), NaN where missing.
        annotations: the same shape, NaN where missing, higher is better.
        least: rows whose annotations differ by less have none (NaN).
    """
    both = np.isfinite(scores) & np.isfinite(annotations)
    s, a = centred(scores, both), centred(annotations, both)
    length = np.sqrt((a * a).sum(axis=1))
    high = np.where(both, annotations, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(both, annotations, np.inf).min(axis=1, initial=np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        projected = math.sqrt(2) * (s * a).sum(axis=1) / length
        return np.where((high > low) & (high - low >= least), projected, np.nan)


def most_contradicted_pair(scores: np.ndarray, annotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two responses of each row on which scores and annotations contradict each other most.

    Returns:
        Index of the one annotated better, and of the one annotated worse.
    """
    most = np.full(len(scores), -np.inf)
    better, worse = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
    for i, j in combinations(range(scores.shape[1]), 2):
        by_annotation, by_score = annotations[:, i] - annotations[:, j], scores[:, i] - scores[:, j]
        against = np.where(by_annotation > 0, -by_score, by_score)
        stronger = (by_annotation != 0) & (against > most)
        most[stronger] = against[stronger]
        better[stronger] = np.where(by_annotation > 0, i, j)[stronger]
        worse[stronger] = np.where(by_annotation > 0, j, i)[stronger]
    return better, worse

"""The scorer's own noise, apart from real differences between responses.

The model, for each prompt (one-way random effects; Searle, Casella and McCulloch 1992, chapter 3; its use here is
ours): response i has a true score a_i, and the scorer gives it x_i = a_i + e_i with independent errors of variance s2.
With k repeats, x_i is their mean and s2 is the variance of that mean, estimated from their spread (that of one repeat,
divided by k); with log-probabilities it is the variance that the judge itself states. ``datamap_noise`` is s2, the
variance of the reported score, averaged over a prompt's N responses.

The population variance V of the N scores then overstates that of the true scores: E[V] = V_true + (N - 1)/N * s2. So

    corrected variance = max(0, V - (N - 1)/N * s2)

is, but for the cut at 0, an unbiased estimate of V_true.

Where the truth lies: with normal errors, N * V / s2 follows a noncentral chi square with N - 1 degrees of freedom and
noncentrality N * V_true / s2, and the mean is independent of it with variance s2 / N. Read as confidence distributions
(Schweder and Hjort 2016, chapter 3) they give the probability that the true variance lies below a boundary b,

    P(V_true <= b) = 1 - F(N * V / s2; N - 1, N * b / s2),

that the true mean lies above a boundary m, Phi((mean - m) / sqrt(s2 / N)), and, as their product, that the row truly
belongs to its region.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

#: Variance of a score under which the scorer has no noise.
NO_NOISE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class NoiseSplit:
    """Where the variance of a dataset's scores comes from, averaged over rows whose noise is known.

    Attributes:
        rows: rows with at least two scores and a known noise.
        observed: mean population variance of a row's scores.
        noise: what the scorer's own noise adds to it on average, (N - 1)/N * s2.
        real: the rest: differences between responses; negative values mean that there are none to be seen.
        share: noise by observed; 1 or more means that the variance tells of nothing but the scorer's own noise.
    """

    rows: int
    observed: float
    noise: float
    real: float
    share: float

    def summary(self) -> dict[str, float]:
        """The numbers, as JSON: nine digits, so that they do not depend on the order of addition."""
        # Where nothing varies there is no share, and JSON knows no infinity.
        return {name: float(f"{value:.9g}") for name, value in asdict(self).items() if math.isfinite(value)}

    def __str__(self) -> str:
        return (
            f"variance within rows {self.observed:.4g}: {100 * self.share:.0f} % of it the scorer's own noise "
            f"({self.rows:,} rows)"
        )


def added_by_noise(noise: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What noise adds to the expected population variance, (N - 1)/N * s2.

    Args:
        noise: shape (rows,), variance of a reported score due to the scorer, NaN where unknown.
        counts: shape (rows,), number of valid scores N.
    """
    return np.asarray(np.where(counts > 1, (counts - 1) / np.maximum(counts, 1), 0.0) * noise)


def corrected_variance(variance: np.ndarray, noise: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Population variance without the scorer's noise, at least 0; as it is where the noise is unknown.

    Args:
        variance: shape (rows,), population variance of the scores, NaN where there is none.
        noise: shape (rows,), variance of a reported score due to the scorer, NaN where unknown.
        counts: shape (rows,), number of valid scores.

    Returns:
        float32 of shape (rows,).
    """
    less = np.nan_to_num(added_by_noise(noise, counts), nan=0.0)
    return np.asarray(np.maximum(0.0, variance.astype(np.float64) - less), dtype=np.float32)


def split(variance: np.ndarray, noise: np.ndarray, counts: np.ndarray) -> NoiseSplit | None:
    """Split the mean variance of rows into noise and real differences; None without a row whose noise is known.

    Args:
        variance: shape (rows,), population variance of the scores.
        noise: shape (rows,), variance of a reported score due to the scorer, NaN where unknown.
        counts: shape (rows,), number of valid scores.
    """
    known = np.isfinite(variance) & np.isfinite(noise) & (counts > 1)
    if not known.any():
        return None
    observed = float(variance[known].mean(dtype=np.float64))
    added = float(added_by_noise(noise, counts)[known].mean(dtype=np.float64))
    share = added / observed if observed > 0 else math.inf
    return NoiseSplit(int(known.sum()), observed, added, observed - added, share)


def joined(parts: Iterable[NoiseSplit | None]) -> NoiseSplit | None:
    """The split of several sets of rows together."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    rows = sum(part.rows for part in known)
    observed = math.fsum(part.rows * part.observed for part in known) / rows
    noise = math.fsum(part.rows * part.noise for part in known) / rows
    return NoiseSplit(rows, observed, noise, observed - noise, noise / observed if observed > 0 else math.inf)


def components(repeats: np.ndarray) -> tuple[float, float]:
    """Variance between responses and within repeats, by the analysis of variance (one-way, balanced).

    Args:
        repeats: shape (responses, repeats), scores of one prompt's responses.

    Returns:
        Between: (MSB - MSW) / k, which may be negative. Within: MSW, the noise of one repeat; that of the mean of k
        repeats, what ``datamap_noise`` holds, is MSW / k.
    """
    k = repeats.shape[1]
    within = float(repeats.var(axis=1, ddof=1).mean())
    return float(repeats.mean(axis=1).var(ddof=1)) - within / k, within


def probability_below(
    variance: np.ndarray, noise: np.ndarray, counts: np.ndarray, boundary: np.ndarray | float
) -> np.ndarray:
    """Probability that the true population variance is at most ``boundary``; see the module.

    Args:
        variance: shape (rows,), observed population variance.
        noise: shape (rows,), variance of a reported score due to the scorer.
        counts: shape (rows,), number of valid scores N, at least 2.
        boundary: on the scale of true variance; one for all, or shape (rows,).

    Returns:
        float64 of shape (rows,); 0 or 1 where there is no noise.
    """
    from scipy.special import chndtr  # not on the path of those who do not ask for probabilities

    s2 = np.maximum(noise, NO_NOISE)
    boundary = np.maximum(boundary, 0.0)
    sure = (variance.astype(np.float32) <= np.asarray(boundary, np.float32)).astype(np.float64)
    free = np.maximum(counts - 1.0, 1.0)
    below = 1.0 - chndtr(counts * variance / s2, free, counts * boundary / s2)
    return np.asarray(np.where(noise > NO_NOISE, below, sure))


def probability_above(mean: np.ndarray, noise: np.ndarray, counts: np.ndarray, boundary: float) -> np.ndarray:
    """Probability that the true mean is above ``boundary``; 0 or 1 where there is no noise.

    Args:
        mean: shape (rows,), observed mean.
        noise: shape (rows,), variance of a reported score due to the scorer.
        counts: shape (rows,), number of valid scores N.
        boundary: in score units.
    """
    from scipy.special import ndtr

    gap = mean.astype(np.float64) - boundary
    spread = np.sqrt(np.maximum(noise, NO_NOISE) / np.maximum(counts, 1))
    return np.asarray(np.where(noise > NO_NOISE, ndtr(gap / spread), (gap > 0).astype(np.float64)))

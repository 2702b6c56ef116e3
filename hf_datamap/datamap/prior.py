"""Where the truth behind noisy scores lies, learnt from all rows together.

One row cannot tell how much of its variance is noise; many can. The distribution of true variance and true mean over
all rows is estimated on a grid by nonparametric maximum likelihood (Kiefer and Wolfowitz 1956; computed by EM, see
Koenker and Mizera 2014), from the likelihoods of `hf_datamap.datamap.reliability`: N * V / s2 is noncentral chi
square, the mean is normal. It serves as the prior of each row (empirical Bayes: Robbins 1956; Efron 2019). The
boundaries of the true map are quantiles of that distribution, so that region and probability speak of the same map.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.datamap.noise import float64s, observed_variance, score_counts
from hf_datamap.datamap.regions import FrozenModel
from hf_datamap.datamap.reliability import NO_NOISE, split

_VARIANCES: Final = 48  # points of the grid
_MEANS: Final = 48
_STEPS: Final = 150  # of EM
_STEPS_TO_COMPARE: Final = 30
_OWN: Final = (0.0, 0.5, 1.0)  # weights of a row's own noise that are tried
_LEAST: Final = 1e-300
_ROWS: Final = 20_000  # rows whose likelihoods are held at a time
_SAMPLE_ROWS: Final = 4_096  # rows that a prior is learnt from, up to twice as many
#: Share of noise in the variance above which the prior is used: below, the formulas of one row are as good or better.
_NOISY: Final = 0.2


class TruthPrior(FrozenModel):
    """The distribution of true variance and mean over the rows of a dataset, on a grid.

    Attributes:
        variances: points of the grid, true population variance within a row.
        means: points of the grid, true mean of a row.
        weights: probability of each pair, shape (variances, means).
        low_variance: how much of each variance's probability lies on the low side of the true map's boundary, 0 to 1.
        low_mean: how much of each mean's lies on the low side, among rows of low variance.
        noise: average variance of a reported score due to the scorer.
        own: weight of each row's own noise, 0 to 1, in the geometric mean with the average.
    """

    variances: tuple[float, ...]
    means: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    low_variance: tuple[float, ...]
    low_mean: tuple[float, ...]
    noise: float
    own: float

    def __repr__(self) -> str:
        return (
            f"TruthPrior(variances={len(self.variances)}, means={len(self.means)}, noise={self.noise}, own={self.own})"
        )

    def probabilities(
        self, variance: np.ndarray, mean: np.ndarray, noise: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """Return how likely each row is to belong to each region, given its scores.

        Args:
            variance: shape (rows,), observed population variance.
            mean: shape (rows,), observed mean.
            noise: shape (rows,), variance of a reported score due to the scorer.
            counts: shape (rows,), number of valid scores N, at least 2.

        Returns:
            Shape (3, rows): high mean and low variance, low mean and low variance, high variance.
        """
        noise = noise**self.own * self.noise ** (1 - self.own)
        weights, low = np.array(self.weights), np.array(self.low_variance)
        worse = np.array(self.low_mean)
        parts = []
        for start in range(0, len(variance), _ROWS):
            rows = slice(start, start + _ROWS)
            by_variance, _ = _variance_likelihood(variance[rows], noise[rows], counts[rows], np.array(self.variances))
            by_mean, _ = _mean_likelihood(mean[rows], noise[rows], counts[rows], np.array(self.means))
            weighted = by_variance @ weights  # shape (rows, means)
            weighted_low = (by_variance * low) @ weights
            total = (weighted * by_mean).sum(axis=1) + _LEAST
            low_share = (weighted_low * by_mean).sum(axis=1) / total
            low_low = (weighted_low * by_mean * worse).sum(axis=1) / total
            parts.append(np.stack([low_share - low_low, low_low, 1 - low_share]))
        return np.concatenate([np.empty((3, 0)), *parts], axis=1).clip(0.0, 1.0)


def fit_prior(
    variance: np.ndarray,
    mean: np.ndarray,
    noise: np.ndarray,
    counts: np.ndarray,
    *,
    low_variance: Fraction,
    low_mean: Fraction,
) -> TruthPrior:
    """Learn where the truth lies from a sample of rows.

    The noise of a row may be known (a judge states it with its log-probabilities) or itself be estimated from a few
    repeats; then the average over all rows is nearer to the truth than the row's own. Whichever of the two, or their
    geometric mean, makes the scores most likely is taken.

    Args:
        variance: shape (rows,), observed population variance.
        mean: shape (rows,), observed mean.
        noise: shape (rows,), variance of a reported score due to the scorer.
        counts: shape (rows,), number of valid scores N, at least 2.
        low_variance: fraction of rows on the low-variance side of the map.
        low_mean: fraction of those on the low-mean side.
    """
    variances, means = _grids(variance, mean)
    shared = float(noise.mean())

    def deconvolved(own: float, steps: int) -> tuple[float, np.ndarray]:
        taken = noise**own * shared ** (1 - own)
        by_variance = _variance_likelihood(variance, taken, counts, variances)
        by_mean = _mean_likelihood(mean, taken, counts, means)
        return _deconvolve(by_variance, by_mean, steps)

    candidates = _OWN if float(np.ptp(noise)) > NO_NOISE else _OWN[-1:]
    own = max(candidates, key=lambda own: deconvolved(own, _STEPS_TO_COMPARE)[0]) if len(candidates) > 1 else _OWN[-1]
    _, weights = deconvolved(own, _STEPS)
    low = _below(weights.sum(axis=1), float(low_variance))
    low_of_low = _below((low[:, None] * weights).sum(axis=0), float(low_mean))
    return TruthPrior(
        variances=_rounded(variances),
        means=_rounded(means),
        weights=tuple(_rounded(row) for row in weights),
        low_variance=_rounded(low),
        low_mean=_rounded(low_of_low),
        noise=_rounded(np.array([shared]))[0],
        own=own,
    )


def _deconvolve(by_variance: _Likelihood, by_mean: _Likelihood, steps: int) -> tuple[float, np.ndarray]:
    """The log-likelihood of all rows, and the weights of the grid that make it great, by EM."""
    (variance_density, variance_scale), (mean_density, mean_scale) = by_variance, by_mean
    cells = variance_density.shape[1], mean_density.shape[1]
    weights = np.full(cells, 1 / (cells[0] * cells[1]))
    for _ in range(steps):
        total = ((variance_density @ weights) * mean_density).sum(axis=1) + _LEAST
        weights *= (variance_density / total[:, None]).T @ mean_density / len(total)
        weights /= weights.sum()
    total = ((variance_density @ weights) * mean_density).sum(axis=1) + _LEAST
    return float((np.log(total) + variance_scale + mean_scale).sum()), weights


class NoiseSample:
    """Rows that a prior is learnt from: one in so many, by row number, whatever the parts that they come in."""

    def __init__(self) -> None:
        self._step = 1
        self._rows = np.empty(0, np.int64)
        self._values = np.empty((4, 0))  # observed variance, mean, noise, number of scores

    def add(self, table: pa.Table, first_row: int) -> None:
        """Take up rows of a scored dataset in Arrow that follow on the last ones."""
        # One in so many follows from the number of rows alone: so does the sample, whatever the parts.
        while first_row + table.num_rows > 2 * _SAMPLE_ROWS * self._step:
            self._step *= 2
        kept = self._rows % self._step == 0
        rows = np.arange(-first_row % self._step, table.num_rows, self._step)
        chosen = table.take(pa.array(rows))
        values = np.stack(
            [
                observed_variance(chosen),
                float64s(chosen, columns.MEAN),
                float64s(chosen, columns.NOISE),
                score_counts(chosen),
            ]
        )
        known = np.isfinite(values).all(axis=0) & (values[2] > NO_NOISE) & (values[3] > 1)
        self._rows = np.concatenate([self._rows[kept], first_row + rows[known]])
        self._values = np.concatenate([self._values[:, kept], values[:, known]], axis=1)

    def prior(self, low_variance: Fraction, low_mean: Fraction) -> TruthPrior | None:
        """Learn the prior; None where noise is too small a share of the variance to need one, or is not known."""
        variance, mean, noise, counts = self._values
        known = split(variance, noise, counts)
        if known is None or not known.share > _NOISY:
            return None
        return fit_prior(variance, mean, noise, counts, low_variance=low_variance, low_mean=low_mean)


def _grids(variance: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that the truth may have: from no variance to the greatest seen, and over all means."""
    most = max(float(variance.max()), 1e-9)
    # Even in the standard deviation: that is the scale on which noise blurs.
    variances = np.linspace(0.0, np.sqrt(1.1 * most), _VARIANCES) ** 2
    low, high = float(mean.min()), float(mean.max())
    return variances, np.linspace(low, high, _MEANS) if high > low else np.array([low])


#: Densities by row and point of the grid, divided by the greatest of the row, and the logarithm of that.
_Likelihood = tuple[np.ndarray, np.ndarray]


def _variance_likelihood(variance: np.ndarray, noise: np.ndarray, counts: np.ndarray, grid: np.ndarray) -> _Likelihood:
    """Density of the observed variance for each true one: shape (rows, grid)."""
    from scipy.special import ive

    x = (counts * variance / noise)[:, None] + 1e-12
    noncentral = (counts / noise)[:, None] * grid + 1e-9
    free = (counts - 1.0)[:, None]
    root, shift = np.sqrt(x), np.sqrt(noncentral)
    log = -0.5 * (root - shift) ** 2 + (free / 4 - 0.5) * np.log(x / noncentral)
    log += np.log(ive(free / 2 - 1, root * shift) + _LEAST)
    return _scaled(log, np.log(counts / noise))


def _mean_likelihood(mean: np.ndarray, noise: np.ndarray, counts: np.ndarray, grid: np.ndarray) -> _Likelihood:
    """Density of the observed mean for each true one: shape (rows, grid)."""
    spread = noise / counts
    return _scaled(-0.5 * (mean[:, None] - grid) ** 2 / spread[:, None], -0.5 * np.log(spread))


def _scaled(log: np.ndarray, of_row: np.ndarray) -> _Likelihood:
    most = log.max(axis=1)
    return np.exp(log - most[:, None]), most + of_row


def _below(masses: np.ndarray, share: float) -> np.ndarray:
    """How much of each mass, in order, lies in the first ``share`` of all."""
    below, before = share * masses.sum(), np.concatenate([[0.0], np.cumsum(masses)[:-1]])
    return np.asarray(np.clip((below - before) / np.maximum(masses, _LEAST), 0.0, 1.0))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """Eight digits: the last ones depend on the order of addition."""
    return tuple(float(f"{value:.8g}") for value in values)

"""How many labels are wrong, and which: estimated from how labels and scores agree at small and large margins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

_BINS: Final = 200
# Priors, worth a handful of comparisons: they decide only where a dataset is too small, or its margins are too much
# alike, to tell a wrong label from a wrong score; there the scores are believed. Everywhere else the data decide.
_PRIOR_ERROR: Final = (1.5, 6.0)
_PRIOR_LOG_SLOPE: Final = (math.log(4.0), 1.0)
_SLOPES: Final = np.exp(np.linspace(math.log(0.02), math.log(60.0), 80))
_ERRORS: Final = np.concatenate([np.linspace(0.0005, 0.05, 34), np.linspace(0.055, 0.995, 95)])


@dataclass(frozen=True)
class LabelErrorModel:
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
    def fit(cls, signed: np.ndarray) -> LabelErrorModel | None:
        """Estimate from signed effective margins, one per row (`signed_margin`, `effective_margin`).

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

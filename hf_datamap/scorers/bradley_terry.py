"""Strengths of contestants from who beat whom (Bradley and Terry 1952), with standard errors."""

from __future__ import annotations

from typing import Final

import numpy as np

#: Standard deviation of the strengths before any comparison, in log-odds: keeps one who always wins finite (ours).
PRIOR_SD: Final = 2.0
_STEPS, _CLOSE = 100, 1e-10


def bradley_terry(wins: np.ndarray, *, prior_sd: float = PRIOR_SD) -> tuple[np.ndarray, np.ndarray]:
    """Return strengths and their variances.

    The probability that i beats j is ``1 / (1 + exp(s_j - s_i))``. Strengths are the mode of the posterior with a
    normal prior of mean 0, found with Newton's method; variances are the diagonal of the inverse of minus its second
    derivative (Laplace's approximation). Strengths sum to zero.

    Args:
        wins: shape (n, n): how often i beat j; a tie counts one half for both.
        prior_sd: standard deviation of the prior, in log-odds.

    Returns:
        Strengths in log-odds and their variances, both of shape (n,).
    """
    games = wins + wins.T
    strengths = np.zeros(len(wins))
    precision = np.eye(len(wins)) / prior_sd**2
    for _ in range(_STEPS):
        expected = 1.0 / (1.0 + np.exp(np.subtract.outer(strengths, strengths).T))
        gradient = (wins - games * expected).sum(axis=1) - strengths / prior_sd**2
        weights = games * expected * (1.0 - expected)
        information = np.diag(weights.sum(axis=1)) - weights + precision
        step = np.linalg.solve(information, gradient)
        strengths = strengths + step
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    return strengths, np.diag(np.linalg.inv(information)).copy()


def components(games: np.ndarray) -> np.ndarray:
    """Return for each contestant the number of the group within which all were compared, directly or through others."""
    group = np.arange(len(games))
    for _ in range(len(games)):
        reached = np.where(games > 0, group[None, :], group[:, None]).min(axis=1, initial=len(games))
        merged = np.minimum(group, reached)
        if (merged == group).all():
            break
        group = merged
    return group

"""Several judges' word on each label: Dawid and Skene's model over the members of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

_LEVELS: Final = 6  # thirds of a member's contradictions, and thirds of its agreements
_ROUNDS: Final = 5  # further ones change the ranking of no scenario tried, and drift where judges err together
_PRIOR: Final = 4.0  # rows' worth of belief that a member errs less often the greater its margin


def combined_margin(margins: Sequence[np.ndarray], start: np.ndarray) -> np.ndarray:
    """One signed margin from those of several judges, each weighed by how well it tells wrong labels from right ones.

    Dawid and Skene (1979): whether a label is wrong is latent, every judge has its own rates of contradicting wrong
    and right labels, and both are found together by expectation maximisation. A judge's vote here is one of six
    levels, thirds of its contradictions and of its agreements by size, so that great margins count more and judges on
    different scales need no common one. The margin is the log odds of the votes that the label is right; judges that
    err together make such odds too great, so that they are read like any other margin (`LabelErrorModel`) and not as
    probabilities.

    Args:
        margins: signed margins of each judge, shape (rows,), NaN where it says nothing; negative where it contradicts.
        start: probability of a wrong label to begin from, shape (rows,), NaN where there is none.

    Returns:
        float64 of shape (rows,), NaN where no judge says anything.
    """
    votes = np.stack([_levels(margin) for margin in margins])
    voted = (votes >= 0).any(axis=0)
    wrong = np.where(np.isfinite(start), start, 0.1)[voted]
    votes = votes[:, voted]
    # The share of wrong labels is kept: left free, it drifts to whatever splits the votes best.
    prior = np.log(wrong.mean() / (1 - wrong.mean()))
    evidence = np.zeros(wrong.shape)
    for _ in range(_ROUNDS):
        evidence = sum((_log_ratio(vote, wrong) for vote in votes), np.zeros(wrong.shape))
        wrong = 1 / (1 + np.exp(-np.clip(prior + evidence, -30, 30)))
    combined = np.full(voted.shape, np.nan)
    combined[voted] = -evidence
    return combined


def _levels(margin: np.ndarray) -> np.ndarray:
    """Votes: 0 to 2 contradict the label, weakly to strongly; 3 to 5 agree; -1 says nothing."""
    levels = np.full(len(margin), -1)
    for side, first in ((margin < 0, 0), (margin > 0, 3)):
        size = np.abs(margin[side])
        if size.size:
            thirds = np.quantile(size, [1 / 3, 2 / 3])
            levels[side] = first + np.searchsorted(thirds, size, "left")
    return levels


def _log_ratio(vote: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Log P(vote | wrong label) / P(vote | right label) of each row; 0 where the judge says nothing."""
    known = vote >= 0
    # The prior counts lean the way that any useful judge leans: contradictions speak for a wrong label.
    lean = np.array([0.6, 0.7, 0.8, 0.4, 0.3, 0.2])
    of_wrong = np.bincount(vote[known], weights=wrong[known], minlength=_LEVELS) + _PRIOR * lean
    of_right = np.bincount(vote[known], weights=1 - wrong[known], minlength=_LEVELS) + _PRIOR * (1 - lean)
    ratio = np.log(of_wrong / of_wrong.sum()) - np.log(of_right / of_right.sum())
    return np.where(known, ratio[np.maximum(vote, 0)], 0.0)

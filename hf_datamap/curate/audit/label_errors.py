"""How many labels are wrong, and which: estimated from how labels and scores agree at small and large margins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

_BINS: Final = 200
# Priors, worth a handful of comparisons: they decide only where a dataset is too small, or its margins are too much
# alike, to tell a wrong label from a wrong score. The slope is that of a judge who is right in seven of eight cases at
# its typical margin; on 34 scenarios of planted errors (tests/benchmarks/bench_judgement.py) the stated probabilities
# are within .03 of the truth. A steeper prior (4) believed judges more than they deserve.
_PRIOR_ERROR: Final = (1.5, 6.0)
_PRIOR_LOG_SLOPE: Final = (math.log(2.0), 0.8)
_SLOPES: Final = np.exp(np.linspace(math.log(0.02), math.log(60.0), 80))
_ERRORS: Final = np.concatenate([np.linspace(0.0005, 0.05, 34), np.linspace(0.055, 0.995, 95)])


@dataclass(frozen=True, repr=False)
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
        strengths: grid of contradiction strengths, ascending; negative where scores and label agree.
        probabilities: at each of them, the probability that the label is wrong, averaged over the posterior.
        confident_strength: contradiction from which confident learning (Northcutt, Jiang and Chuang 2021) calls a
            label wrong: the other label is at least as probable as labels are on average.
    """

    error: float
    interval: tuple[float, float]
    agreement: float
    comparisons: int
    strengths: np.ndarray
    probabilities: np.ndarray
    confident_strength: float

    @classmethod
    def fit(
        cls, signed: np.ndarray, *, log_slope_prior: tuple[float, float] = _PRIOR_LOG_SLOPE
    ) -> LabelErrorModel | None:
        """Estimate from signed effective margins, one per row (`signed_margin`, `effective_margin`).

        Posterior over a grid, from margins in equally filled bins. None without a comparison that is no tie.

        Args:
            signed: shape (rows,), NaN where there is no comparison; negative where the scores contradict the label.
            log_slope_prior: mean and standard deviation of the logarithm of the slope, per typical margin.
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
        posterior = _posterior(middle / scale, agree, total, log_slope_prior)
        by_error = posterior.sum(axis=0)
        low, high = np.interp((0.05, 0.95), by_error.cumsum(), _ERRORS)
        half = np.concatenate([[0.0], np.geomspace(scale / 50, max(float(size[-1]), scale) * 1.001, 100)])
        strengths = np.concatenate([-half[:0:-1], half])
        return cls(
            error=float(by_error @ _ERRORS),
            interval=(float(low), float(high)),
            agreement=float((signed > 0).mean()),
            comparisons=int(signed.size),
            strengths=strengths,
            probabilities=_wrong_label(strengths / scale, posterior),
            confident_strength=_confident_strength(middle, agree, total, scale),
        )

    def __repr__(self) -> str:
        return f"LabelErrorModel(error {self.error:.3f}, agreement {self.agreement:.3f}, {self.comparisons:,} rows)"

    def wrong(self, strength: np.ndarray) -> np.ndarray:
        """Probability that a label is wrong, whether or not the scores contradict it; NaN where not compared.

        Args:
            strength: the negative of the effective margin, shape (rows,).
        """
        return np.where(
            np.isfinite(strength), np.interp(np.nan_to_num(strength), self.strengths, self.probabilities), np.nan
        )


def balanced_threshold(probability: np.ndarray) -> float:
    """The probability from which to call labels wrong so that the expected F1 score is greatest.

    With calibrated probabilities the best set is a first part of the rows in the order of their probability, and
    F1 of the first k is expected to be 2 (p_1 + ... + p_k) / (k + p_1 + ... + p_n) (Lipton, Elkan and Narayanaswamy
    2014; plug-in form).

    Args:
        probability: of a wrong label, shape (rows,).
    """
    ordered = np.sort(probability[np.isfinite(probability)])[::-1]
    if not ordered.size or ordered[0] <= 0:
        return 1.0
    expected = 2 * ordered.cumsum() / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return float(ordered[int(expected.argmax())])


def _posterior(
    sizes: np.ndarray, agree: np.ndarray, total: np.ndarray, log_slope_prior: tuple[float, float]
) -> np.ndarray:
    """Posterior weights of slope (rows) and error (columns), given agreement at margins of the given sizes."""
    log = np.empty((len(_SLOPES), len(_ERRORS)))
    errors = _ERRORS[:, None]
    prior = (_PRIOR_ERROR[0] - 1) * np.log(_ERRORS) + (_PRIOR_ERROR[1] - 1) * np.log1p(-_ERRORS)
    prior += np.log(np.gradient(_ERRORS))  # the grid is finer near 0
    for k, named in enumerate(_logistic(_SLOPES[:, None] * sizes)):
        p = np.clip(errors + (1 - 2 * errors) * named, 1e-12, 1 - 1e-12)
        log[k] = np.log(p) @ agree + np.log1p(-p) @ (total - agree) + prior
    log += -0.5 * ((np.log(_SLOPES) - log_slope_prior[0]) / log_slope_prior[1])[:, None] ** 2
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum())


def _wrong_label(strengths: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Probability of a wrong label at each strength of contradiction (in typical margins), over the posterior."""
    against = _logistic(_SLOPES[:, None] * strengths)  # probability that the scores are right, given the contradiction
    wrong_label = _ERRORS[None, :, None] * against[:, None, :]
    right_label = (1 - _ERRORS)[None, :, None] * (1 - against)[:, None, :]
    return np.asarray((posterior[:, :, None] * wrong_label / (wrong_label + right_label)).sum(axis=(0, 1)))


def _confident_strength(middle: np.ndarray, agree: np.ndarray, total: np.ndarray, scale: float) -> float:
    """Contradiction at which the other label is as probable as given labels are on average; infinite where never.

    Probabilities are those of a logistic regression of agreement on the margin, through 0.
    """
    from scipy.optimize import minimize_scalar

    x = middle / scale
    loss = lambda log_slope: float(  # noqa: E731 - one expression, used once
        np.logaddexp(0, -math.exp(log_slope) * x) @ agree + np.logaddexp(0, math.exp(log_slope) * x) @ (total - agree)
    )
    slope = math.exp(minimize_scalar(loss, bounds=(-6.0, 5.0), method="bounded").x)
    confidence = float((_logistic(slope * x) @ agree + _logistic(-slope * x) @ (total - agree)) / total.sum())
    return scale * math.log(confidence / (1 - confidence)) / slope if 0.5 < confidence < 1 else math.inf


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))))

"""Rules that say which rows of a mapped dataset to take first, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from hf_datamap.curate.regions import cut_regions
from hf_datamap.data import columns
from hf_datamap.data.statistics import centred, rank_shares
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import SelectionError

#: Order of rows: one float per row, greater is taken first, NaN is never taken.
Strategy: TypeAlias = "Callable[[Pool], np.ndarray]"


class Pool:
    """The rows a strategy chooses from, as arrays of shape (rows,) unless said otherwise.

    Args:
        view: the dataset.
        index: which of its rows; None for all.
        seed: of `random`.
    """

    def __init__(self, view: DatasetView, index: np.ndarray | None = None, seed: int = 0) -> None:
        self._view, self._seed = view, seed
        self._index = np.arange(view.rows) if index is None else index

    def __repr__(self) -> str:
        return f"Pool({len(self):,} of {self._view.rows:,} rows)"

    def __len__(self) -> int:
        return len(self._index)

    def part(self, index: np.ndarray) -> Pool:
        """The pool of some of these rows; regions are cut anew among them."""
        return Pool(self._view, self._index[index], self._seed)

    def content_hashes(self, index: np.ndarray) -> np.ndarray:
        """A number per row that depends on nothing but what ships with it: uint64, for some rows of the pool."""
        rows = self._index[index]
        order = np.argsort(rows, kind="stable")
        hashes = np.empty(len(rows), np.uint64)
        hashes[order] = self._view.content_hashes(rows[order])
        return hashes

    @cached_property
    def random(self) -> np.ndarray:
        """Uniform random numbers, the same for a row whatever pool it is in."""
        return np.asarray(np.random.default_rng(self._seed).random(self._view.rows)[self._index])

    @cached_property
    def scores(self) -> np.ndarray:
        """Alignment scores, shape (rows, responses), NaN where missing.

        Raises:
            SelectionError: the dataset has none.
        """
        if self._view.scores is None:
            raise SelectionError(
                f"no column {columns.SCORES}: score the dataset first, with dm.annotate(ds, scorer) or hf-datamap map"
            )
        return self._view.scores[self._index]

    @cached_property
    def annotations(self) -> np.ndarray | None:
        """Annotations, shape (rows, responses), NaN where missing; None when nothing ships with the data."""
        labels = self._view.preferences
        if labels is None:
            return None
        width = self.scores.shape[1]
        missing = max(0, width - labels.shape[1])
        return np.pad(labels, ((0, 0), (0, missing)), constant_values=np.nan)[self._index, :width]

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and population variance of the scores."""
        return columns.moments(self.scores)

    @cached_property
    def region(self) -> np.ndarray:
        """Index into `hf_datamap.data.columns.REGIONS`: the stored region, or for a part of the rows its own cut."""
        whole = len(self) == self._view.rows
        if whole and self._view.region is not None:
            return self._view.region
        return cut_regions(*self.moments)

    @cached_property
    def margin(self) -> np.ndarray:
        """Score of the preferred response minus that of the least preferred; best minus worst without annotations."""
        if self.annotations is not None:
            return columns.margin(self.scores, self.annotations).astype(float)
        return columns.margin(self.scores, self.scores).astype(float)

    @cached_property
    def rejected(self) -> np.ndarray:
        """Score of the response the annotations like least (the lowest score without annotations); ties averaged."""
        return self._of_rejected(self.scores)

    @cached_property
    def rejected_length(self) -> np.ndarray:
        """Characters of the response the annotations like least; NaN where the texts cannot be read."""
        lengths = np.full(self.scores.shape, np.nan)
        known = self._view.response_lengths[self._index]
        width = min(self.scores.shape[1], known.shape[1])
        lengths[:, :width] = known[:, :width]
        return self._of_rejected(lengths)

    def _of_rejected(self, values: np.ndarray) -> np.ndarray:
        """Mean of a quantity over the least preferred responses of each row, shape (rows,)."""
        labels = self.scores if self.annotations is None else self.annotations
        both = np.isfinite(self.scores) & np.isfinite(labels)
        worst = np.where(both, labels, np.inf).min(axis=1, keepdims=True)
        least = both & (labels == worst) & np.isfinite(values)
        total = np.where(least, values, 0.0).sum(axis=1)
        return np.where(least.any(axis=1), total / np.maximum(least.sum(axis=1), 1), np.nan)

    @cached_property
    def contradicted(self) -> np.ndarray:
        """Whether the scores contradict the annotation: the margin is negative."""
        return np.asarray(self.margin < 0)

    @cached_property
    def noise(self) -> np.ndarray:
        """Variance of one reported score due to the scorer, ``datamap_noise``.

        Raises:
            SelectionError: it is not known.
        """
        noise = self._view.floats(columns.NOISE)
        if noise is None or not np.isfinite(noise).any():
            raise SelectionError(
                f"no {columns.NOISE}: score with repeats (samples=3) or log-probabilities, which tell how sure the "
                "scorer is"
            )
        return noise[self._index]

    @cached_property
    def model_quality(self) -> np.ndarray:
        """Quality of the model that wrote each response, shape (rows, responses), NaN where it is not known.

        A model's quality is the mean of its responses' scores, each less the mean of its row (ours): models that
        answered hard prompts only are not thought worse for it.

        Raises:
            SelectionError: the dataset does not say which model wrote what.
        """
        models = self._view.models
        if models is None:
            raise SelectionError(
                "this strategy needs to know which model wrote each response: columns like chosen_model and "
                f"rejected_model, or completions[].model; there are: {', '.join(self._view.names)}"
            )
        width = min(self.scores.shape[1], models[0].shape[1])
        codes = np.full(self.scores.shape, -1)
        codes[:, :width] = models[0][self._index, :width]
        known = (codes >= 0) & np.isfinite(self.scores)
        lead = centred(self.scores, known)
        size = len(models[1])
        total = np.bincount(codes[known], weights=lead[known], minlength=size)
        quality = total / np.maximum(np.bincount(codes[known], minlength=size), 1)
        return np.where(known, quality[np.maximum(codes, 0)], np.nan)

    def column(self, *names: str) -> np.ndarray:
        """The first of these columns that is there, as floats; lists of numbers are averaged.

        Raises:
            SelectionError: none of them is there.
        """
        for name in names:
            values = self._view.floats(name)
            if values is None and (lists := self._view.padded(name)) is not None:
                values = columns.moments(lists)[0].astype(float)
            if values is not None:
                return values[self._index]
        raise SelectionError(
            f"this strategy needs a column {' or '.join(names)}; there are: {', '.join(self._view.names)}"
        )

    @cached_property
    def implicit_margin(self) -> np.ndarray:
        """Column ``implicit_margin``, or [log pi/ref](chosen) - [log pi/ref](rejected) from the four summed log-probs.

        The log-probabilities are ``policy_chosen_logps``, ``policy_rejected_logps``, ``ref_chosen_logps`` and
        ``ref_rejected_logps`` (the last two as TRL names them).
        """
        if self._view.floats("implicit_margin") is not None:
            return self.column("implicit_margin")
        try:
            policy = self.column("policy_chosen_logps") - self.column("policy_rejected_logps")
            reference = self.column("ref_chosen_logps") - self.column("ref_rejected_logps")
            return np.asarray(policy - reference)
        except SelectionError as error:
            raise SelectionError(
                f"{error}. Give implicit_margin, or policy_chosen_logps, policy_rejected_logps, ref_chosen_logps and "
                "ref_rejected_logps"
            ) from None


def high_mean_low_variance(pool: Pool) -> np.ndarray:
    """The region of high mean and low variance (Alignment Data Map, section 4); highest means first (ours)."""
    return np.asarray(np.where(pool.region == 0, pool.moments[0], np.nan))


def low_mean_low_variance(pool: Pool) -> np.ndarray:
    """The region of low mean and low variance (Alignment Data Map); lowest means first (ours)."""
    return np.where(pool.region == 1, -pool.moments[0], np.nan)


def high_variance(pool: Pool) -> np.ndarray:
    """The region of high variance, any mean (Alignment Data Map); highest variances first (ours)."""
    return np.where(pool.region == 2, pool.moments[1], np.nan)


def low_variance(pool: Pool) -> np.ndarray:
    """A random draw from both low-variance regions (``lowvar_rd`` in the authors' splits): variability alone."""
    return np.where(pool.region <= 1, pool.random, np.nan)


def random(pool: Pool) -> np.ndarray:
    """A random draw from all rows."""
    return pool.random


def high_margin(pool: Pool) -> np.ndarray:
    """Greatest signed margin first: the scores agree most clearly with the annotations."""
    return pool.margin


def low_margin(pool: Pool) -> np.ndarray:
    """Smallest margin first, whichever way it points: hard to tell apart."""
    return np.asarray(-np.abs(pool.margin))


def rip(pool: Pool) -> np.ndarray:
    """High score and length of the rejected response and small gap (RIP, 2501.18578); sum of three ranks (ours).

    The paper's chosen response has the highest reward and its rejected one the lowest, so that no gap is negative:
    rows whose scores contradict the annotation are never taken. It filters by thresholds on the three, which kept
    about 4,500 of 20,000 prompts. Where the texts cannot be read, length has no say.
    """
    key = rank_shares(pool.rejected) + rank_shares(-pool.margin)
    key += np.nan_to_num(rank_shares(pool.rejected_length))
    return np.where(pool.contradicted, np.nan, key)


def moderate_difficulty(pool: Pool) -> np.ndarray:
    """Mean score nearest to the median of the dataset: neither easy nor hard (2412.15282; measure ours).

    The paper's pairs are ordered by the verifier that scores them, so that none is contradicted: such rows are never
    taken.
    """
    mean = pool.moments[0].astype(float)
    key = -np.abs(mean - np.nanmedian(mean)) if np.isfinite(mean).any() else mean
    return np.where(pool.contradicted, np.nan, key)


def pvar(pool: Pool) -> np.ndarray:
    """Greatest preference variance (2510.13022): variance of sigmoid(s_i - s_j) over all ordered pairs of responses.

    By symmetry its mean is one half. The opposite of the map's rule, which takes low variance; the paper takes the top
    10 % of UltraFeedback by a reward model's scores. Its pairs are ordered by those same scores, so that rows whose
    scores contradict the annotation are never taken. Scores count in the units of the scorer, a reward model's logits
    in the paper.
    """
    return np.where(pool.contradicted, np.nan, preference_variance(pool.scores))


def preference_variance(scores: np.ndarray) -> np.ndarray:
    """Variance of sigmoid(s_i - s_j) over the ordered pairs of each row's valid scores, i not j; NaN below two.

    Args:
        scores: shape (rows, responses), NaN where missing.
    """
    count = np.isfinite(scores).sum(axis=1)
    total = np.zeros(len(scores))
    step = max(1, 4_000_000 // max(scores.shape[1] ** 2, 1))  # some 32 MB of differences at a time
    for start in range(0, len(scores), step):
        part = scores[start : start + step]
        gaps = np.clip(part[:, :, None] - part[:, None, :], -60, 60)
        squares = (1 / (1 + np.exp(-gaps)) - 0.5) ** 2
        total[start : start + step] = np.nansum(squares, axis=(1, 2))
    return np.where(count > 1, total / np.maximum(count * (count - 1), 1), np.nan)


def delta_learning(pool: Pool) -> np.ndarray:
    """Delta learning (2507.06187): the preferred response comes from a better model; greatest difference first.

    The paper pairs a 3B model's responses with a 1.5B model's and looks at no single response. A model's quality is
    its mean score here (`Pool.model_quality`); rows whose preferred response comes from the weaker model are never
    taken. Needs columns that say which model wrote what.
    """
    labels = pool.scores if pool.annotations is None else pool.annotations
    delta = columns.margin(pool.model_quality, labels).astype(float)
    return np.where(delta > 0, delta, np.nan)


def delta_ucb(pool: Pool) -> np.ndarray:
    """Greatest gap that is still plausible, as DeltaUCB chooses pairs (ActiveUltraFeedback, 2603.09692).

    Best minus worst score plus one standard error of their difference, sqrt(2 ``datamap_noise``) (the factor is ours):
    what is uncertain and may differ much is worth annotating first. Meant for rows to be annotated, so that it does
    not look at annotations. Needs ``datamap_noise``.
    """
    gap = columns.margin(pool.scores, pool.scores).astype(float)
    return np.asarray(gap + np.sqrt(2 * np.nan_to_num(pool.noise)))


def dual_margin(pool: Pool) -> np.ndarray:
    """BeeS (2502.14560), DM-MUL: explicit and implicit margin as probabilities p, joint prod p / (prod p + prod (1-p)).

    p = (clip(m, L, U) - L) / (U - L). L and U are the 5 % and 95 % quantiles (ours; the paper's are not known).
    """
    joint, against = np.ones(len(pool)), np.ones(len(pool))
    for margin in (pool.margin, pool.implicit_margin):
        low, high = np.nanquantile(margin, [0.05, 0.95])
        p = (np.clip(margin, low, high) - low) / max(high - low, 1e-12)
        joint, against = joint * p, against * (1 - p)
    return np.asarray(joint / np.maximum(joint + against, 1e-12))


def alignment_potential(pool: Pool) -> np.ndarray:
    """M_AP (2503.01864): z(margin) - z(|mean log-prob of chosen - mean log-prob of rejected|), weight 1 as in its code.

    Needs ``policy_chosen_mean_logps`` and ``policy_rejected_mean_logps`` (log-probabilities per token).
    """
    gap = np.abs(pool.column("policy_chosen_mean_logps") - pool.column("policy_rejected_mean_logps"))
    return np.asarray(_standard(pool.margin) - _standard(gap))


def implicit_gap(pool: Pool) -> np.ndarray:
    """Smallest signed implicit reward gap first: difficulty as 2508.04149 defines it. Wrong labels come first, too.

    The paper sorts by the signed gap and trusts the labels; audit and repair the dataset first.
    """
    return -pool.implicit_margin


def easiest_first(pool: Pool) -> np.ndarray:
    """SelectiveDPO (2502.09650): least held-out DPO loss first.

    Needs ``heldout_loss`` or ``dpo_loss``: a number, or a list of one loss per model, which is averaged.
    """
    return -pool.column("heldout_loss", "dpo_loss")


STRATEGIES: Final[Mapping[str, Strategy]] = {
    strategy.__name__: strategy
    for strategy in (
        high_mean_low_variance,
        low_mean_low_variance,
        high_variance,
        low_variance,
        random,
        high_margin,
        low_margin,
        rip,
        moderate_difficulty,
        pvar,
        delta_learning,
        delta_ucb,
        dual_margin,
        alignment_potential,
        implicit_gap,
        easiest_first,
    )
}

#: Shares of the rows that a strategy's paper takes, where it names one; a third for all others, as the map does.
PAPER_FRACTIONS: Final[Mapping[str, Fraction]] = {
    "rip": Fraction(9, 40),
    "pvar": Fraction(1, 10),
    "dual_margin": Fraction(1, 10),
    "alignment_potential": Fraction(2, 5),
    "implicit_gap": Fraction(1, 10),
    "easiest_first": Fraction(1, 2),
    "delta_ucb": Fraction(1, 6),
}


def _standard(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance over the valid values."""
    spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
    return np.asarray((values - np.nanmean(values)) / spread if spread > 0 else values * 0.0)

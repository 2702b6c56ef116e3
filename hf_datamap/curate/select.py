"""Curated subsets of a mapped dataset: by region, margin, difficulty, potential, or any rule of one's own."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from hf_datamap.curate.regions import cut_regions
from hf_datamap.curate.texts.words import words
from hf_datamap.data import columns
from hf_datamap.data.example import Example
from hf_datamap.data.statistics import rank_shares
from hf_datamap.data.view import DatasetView
from hf_datamap.engine.config import __version__
from hf_datamap.errors import SelectionError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data.layout import Layout

logger = logging.getLogger(__name__)

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

    def __len__(self) -> int:
        return len(self._index)

    def part(self, index: np.ndarray) -> Pool:
        """The pool of some of these rows; regions are cut anew among them."""
        return Pool(self._view, self._index[index], self._seed)

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
        labels = self._view.annotations
        labels = self._view.order if labels is None else labels
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
        labels = self.scores if self.annotations is None else self.annotations
        both = np.isfinite(self.scores) & np.isfinite(labels)
        worst = np.where(both, labels, np.inf).min(axis=1, keepdims=True)
        least = both & (labels == worst)
        total = np.where(least, self.scores, 0.0).sum(axis=1)
        return np.where(least.any(axis=1), total / np.maximum(least.sum(axis=1), 1), np.nan)

    def column(self, *names: str) -> np.ndarray:
        """The first of these columns that is there, as floats; lists of numbers are averaged.

        Raises:
            SelectionError: none of them is there.
        """
        for name in names:
            found = self._view.floats(name)
            if found is None and (lists := self._view.padded(name)) is not None:
                found = columns.moments(lists)[0].astype(float)
            if found is not None:
                return found[self._index]
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
    """High score of the rejected response and small gap (RIP, 2501.18578); sum of both ranks (ours)."""
    return np.asarray(rank_shares(pool.rejected) + rank_shares(-pool.margin))


def moderate_difficulty(pool: Pool) -> np.ndarray:
    """Mean score nearest to the median of the dataset: neither easy nor hard (2412.15282; measure ours)."""
    mean = pool.moments[0].astype(float)
    return -np.abs(mean - np.nanmedian(mean)) if np.isfinite(mean).any() else mean


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
    """Smallest signed implicit reward gap first: difficulty as 2508.04149 defines it. Wrong labels come first, too."""
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
        dual_margin,
        alignment_potential,
        implicit_gap,
        easiest_first,
    )
}


def select(
    ds: Dataset | DatasetDict,
    strategy: str | Strategy = "high_mean_low_variance",
    fraction: float | Fraction | None = None,
    *,
    rows: int | None = None,
    tokens: int | None = None,
    seed: int = 0,
    stratify_by: str | None = None,
    ranked: bool | None = None,
    count_tokens: Callable[[str], int] | None = None,
    layout: Layout | None = None,
) -> Dataset | DatasetDict:
    """Choose a subset of a mapped dataset. The same input and seed give the same rows.

    Example:
        >>> good = dm.select(ds, stratify_by="source")  # doctest: +SKIP
        >>> baseline = dm.select(ds, "random", rows=len(good), seed=1)  # doctest: +SKIP
        >>> mine = dm.select(ds, lambda pool: pool.moments[0] - pool.moments[1])  # doctest: +SKIP

    A region never gives rows of another one: with a budget greater than the region, the whole region is returned.

    Args:
        ds: a dataset with ``datamap_scores``; rows of several splits are chosen together.
        strategy: a name in `STRATEGIES`, or a function from a `Pool` to one float per row (greater first, NaN never).
        fraction: budget as a fraction of all rows, rounded up; a third when no budget is given.
        rows: budget in rows.
        tokens: budget in tokens of prompt and responses: rows are taken in order until the next does not fit.
        seed: of random draws, and of nothing else.
        stratify_by: a column whose values keep their shares: the strategy chooses within each, regions are cut within
            each. Otherwise rare sources tend to vanish from the good region.
        ranked: whether rows come in the strategy's order rather than in that of the dataset; None means only for
            ``easiest_first``, which is trained on from easy to hard.
        count_tokens: tokens of a text; words by default.
        layout: how to read the dataset; None detects it.

    Returns:
        The chosen rows; `provenance` tells how they were chosen.

    Raises:
        SelectionError: unknown strategy, missing column, several budgets or an impossible one.
    """
    # Long: most of it documents the options.
    from datasets import DatasetDict

    name, rule = _strategy(strategy)
    view = DatasetView(ds, layout)
    sizes = _sizes(view, count_tokens) if tokens is not None else np.ones(view.rows, np.int64)
    budget = _budget(view.rows, fraction, rows, tokens)
    taken = _taken(Pool(view, seed=seed), rule, sizes, budget, _strata(view, stratify_by))
    if ranked is None:
        ranked = name == "easiest_first"
    taken = taken if ranked else np.sort(taken)
    used = int(sizes[taken].sum())
    if tokens is None and used < budget - 1:  # a third of the rows, rounded up, may exceed a region by one
        logger.warning("%s holds %d rows of the %d asked for: all of them were taken", name, used, budget)
    told = {
        "strategy": name,
        "source": (rule.__doc__ or "").strip().split("\n")[0],
        "budget": {"tokens" if tokens is not None else "rows": budget, "used": used},
        "rows": len(taken),
        "of": view.rows,
        "seed": seed,
        "stratify_by": stratify_by,
        "version": __version__,
    }
    parts = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    chosen = {}
    for (split, part), first in zip(parts.items(), view.starts, strict=False):
        here = taken[(taken >= first) & (taken < first + len(part))] - first
        chosen[split] = part.select(here)
        chosen[split].info.description = json.dumps({"hf_datamap_selection": told})
    return DatasetDict(chosen) if isinstance(ds, DatasetDict) else chosen[""]


def provenance(ds: Dataset) -> dict[str, Any] | None:
    """How a dataset was selected (strategy, budget, seed, rows), None when it does not say."""
    try:
        found = json.loads(ds.info.description or "")["hf_datamap_selection"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(found)


def _strategy(strategy: str | Strategy) -> tuple[str, Strategy]:
    if callable(strategy):
        return getattr(strategy, "__name__", type(strategy).__name__), strategy
    name = str(strategy).replace("-", "_")
    if name not in STRATEGIES:
        raise SelectionError(f"no strategy {strategy!r}; there are: {', '.join(STRATEGIES)}, or any function of a Pool")
    return name, STRATEGIES[name]


def _budget(total: int, fraction: float | Fraction | None, rows: int | None, tokens: int | None) -> int:
    given = {"fraction": fraction, "rows": rows, "tokens": tokens}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise SelectionError(f"give one budget, not {' and '.join(named)}")
    for name, value in (("rows", rows), ("tokens", tokens)):
        if value is not None:
            if value < 0 or value != int(value):
                raise SelectionError(f"{name} must be a whole number of 0 or more, not {value}")
            return int(value)
    share = Fraction(1, 3) if fraction is None else Fraction(fraction).limit_denominator(1_000_000)
    if not 0 <= share <= 1:
        raise SelectionError(f"fraction must lie between 0 and 1, not {fraction}")
    return math.ceil(share * total)


def _taken(pool: Pool, rule: Strategy, sizes: np.ndarray, budget: int, strata: np.ndarray | None) -> np.ndarray:
    """The rows chosen, in the strategy's order (stratum by stratum when there are strata)."""
    if strata is None:
        return _first(_key(rule, pool), sizes, budget)
    weights = np.bincount(strata, weights=sizes)
    taken = []
    for stratum, quota in enumerate(_apportion(weights, min(budget, int(sizes.sum())))):
        index = np.flatnonzero(strata == stratum)
        if index.size:
            taken.append(index[_first(_key(rule, pool.part(index)), sizes[index], quota)])
    return np.concatenate(taken) if taken else np.empty(0, np.int64)


def _key(rule: Strategy, pool: Pool) -> np.ndarray:
    key = np.asarray(rule(pool))
    if key.shape != (len(pool),) or key.dtype.kind not in "fiub":
        raise SelectionError(
            f"a strategy must give one number per row, shape ({len(pool)},), not {key.dtype} of shape {key.shape}"
        )
    return np.where(key, 1.0, np.nan) if key.dtype.kind == "b" else key.astype(float)


def _first(key: np.ndarray, sizes: np.ndarray, budget: int) -> np.ndarray:
    """Rows with the greatest keys as long as their sizes fit the budget; ties by row order."""
    order = np.argsort(-key, kind="stable")
    order = order[np.isfinite(key[order])]
    return np.asarray(order[: int(np.searchsorted(sizes[order].cumsum(), budget, "right"))])


def _apportion(weights: np.ndarray, budget: int) -> list[int]:
    """Shares of a budget in proportion to weights: whole numbers that add up (largest remainders)."""
    exact = weights * budget / max(weights.sum(), 1)
    whole = np.floor(exact).astype(int)
    rest = budget - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:rest]] += 1
    return [int(share) for share in whole]


def _strata(view: DatasetView, name: str | None) -> np.ndarray | None:
    if name is None:
        return None
    column = view.column(name)
    if column is None or pa.types.is_nested(column.type):
        raise SelectionError(f"cannot stratify by {name!r}: no such plain column; there are: {', '.join(view.names)}")
    encoded = pa.concat_arrays(column.chunks).dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(codes)


def _sizes(view: DatasetView, count: Callable[[str], int] | None) -> np.ndarray:
    """Tokens of each row's prompt and responses; 0 where a row cannot be read."""
    if view.layout is None:
        raise SelectionError(f"a budget in tokens needs the texts: {view.layout_error}")
    sizes = np.zeros(view.rows, np.int64)
    for first, batch in view.batches():
        for place, example in enumerate(batch):
            if isinstance(example, Example):
                texts = [message["content"] for message in example.prompt] + [text or "" for text in example.responses]
                counts = [count(text) for text in texts] if count else words(texts).counts
                sizes[first + place] = int(sum(counts))
    return sizes


def _standard(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance over the valid values."""
    spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
    return np.asarray((values - np.nanmean(values)) / spread if spread > 0 else values * 0.0)

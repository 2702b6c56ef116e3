"""Curated subsets of a mapped dataset: a strategy's first rows under a budget, whole or by stratum."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hf_datamap.curate.strategies import PAPER_FRACTIONS, STRATEGIES, Pool, Strategy
from hf_datamap.curate.texts.words import words
from hf_datamap.data.example import Example
from hf_datamap.data.view import DatasetView
from hf_datamap.engine.config import __version__
from hf_datamap.errors import SelectionError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data.layout import Layout

logger = logging.getLogger(__name__)

_THIRD = Fraction(1, 3)


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
        fraction: budget as a fraction of all rows, rounded up. Without any budget it is the one of the strategy's paper
            (`hf_datamap.curate.strategies.PAPER_FRACTIONS`), or a third.
        rows: budget in rows.
        tokens: budget in tokens of prompt and responses: rows are taken in order, those that no longer fit are passed
            over.
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
    budget = _budget(name, view.rows, fraction, rows, tokens)
    taken = _taken(Pool(view, seed=seed), rule, sizes, budget, _strata(view, stratify_by))
    taken = taken if (name == "easiest_first" if ranked is None else ranked) else np.sort(taken)
    used = int(sizes[taken].sum())
    _warn(name, sizes, budget, used, in_tokens=tokens is not None)
    parts = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    record = {
        "strategy": name,
        "source": (rule.__doc__ or "").strip().split("\n")[0],
        "budget": {"tokens" if tokens is not None else "rows": budget, "used": used},
        "rows": len(taken),
        "of": view.rows,
        "seed": seed,
        "stratify_by": stratify_by,
        "version": __version__,
    }
    if earlier := provenance(next(iter(parts.values()))):
        record["selected_from"] = earlier
    chosen = {}
    for (split, part), first in zip(parts.items(), view.starts, strict=False):
        in_split = taken[(taken >= first) & (taken < first + len(part))] - first
        chosen[split] = part.select(in_split)
        chosen[split].info.description = json.dumps({"hf_datamap_selection": record})
    return DatasetDict(chosen) if isinstance(ds, DatasetDict) else chosen[""]


def _warn(name: str, sizes: np.ndarray, budget: int, used: int, *, in_tokens: bool) -> None:
    """Say when a budget could not be filled, or fits not even the smallest row."""
    if not in_tokens:
        if used < budget - 1:  # a third of the rows, rounded up, may exceed a region by one
            logger.warning("%s holds %d rows of the %d asked for: all of them were taken", name, used, budget)
    elif not used:
        least = int(sizes[sizes > 0].min()) if (sizes > 0).any() else 0
        logger.warning("%s: no row fits a budget of %d tokens; the shortest of all has %d", name, budget, least)


def provenance(ds: Dataset) -> dict[str, Any] | None:
    """How a dataset was selected (strategy, budget, seed, rows), None when it does not say.

    A selection from a selection remembers the first as ``selected_from``.
    """
    try:
        record = json.loads(ds.info.description or "")["hf_datamap_selection"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(record)


def _strategy(strategy: str | Strategy) -> tuple[str, Strategy]:
    if callable(strategy):
        return getattr(strategy, "__name__", type(strategy).__name__), strategy
    name = str(strategy).replace("-", "_")
    if name not in STRATEGIES:
        known = f"There are: {', '.join(STRATEGIES)}, or any function of a Pool"
        raise SelectionError(f"no strategy {strategy!r}. {did_you_mean(str(strategy), STRATEGIES, known)}")
    return name, STRATEGIES[name]


def _budget(name: str, total: int, fraction: float | Fraction | None, rows: int | None, tokens: int | None) -> int:
    given = {"fraction": fraction, "rows": rows, "tokens": tokens}
    named = [unit for unit, value in given.items() if value is not None]
    if len(named) > 1:
        raise SelectionError(f"give one budget, not {' and '.join(named)}")
    for unit, value in (("rows", rows), ("tokens", tokens)):
        if value is not None:
            if value < 0 or value != int(value):
                raise SelectionError(f"{unit} must be a whole number of 0 or more, not {value}")
            return int(value)
    share = PAPER_FRACTIONS.get(name, _THIRD) if fraction is None else Fraction(fraction).limit_denominator(1_000_000)
    if not 0 <= share <= 1:
        raise SelectionError(f"fraction must lie between 0 and 1, not {fraction}")
    return math.ceil(share * total)


def _taken(pool: Pool, rule: Strategy, sizes: np.ndarray, budget: int, strata: np.ndarray | None) -> np.ndarray:
    """The rows chosen, in the strategy's order (stratum by stratum when there are strata)."""
    if strata is None:
        return _first(pool, _key(rule, pool), sizes, budget)
    weights = np.bincount(strata, weights=sizes)
    taken = []
    for stratum, quota in enumerate(_apportion(weights, min(budget, int(sizes.sum())))):
        index = np.flatnonzero(strata == stratum)
        if index.size:
            part = pool.part(index)
            taken.append(index[_first(part, _key(rule, part), sizes[index], quota)])
    return np.concatenate(taken) if taken else np.empty(0, np.int64)


def _key(rule: Strategy, pool: Pool) -> np.ndarray:
    key = np.asarray(rule(pool))
    if key.shape != (len(pool),) or key.dtype.kind not in "fiub":
        raise SelectionError(
            f"a strategy must give one number per row, shape ({len(pool)},), not {key.dtype} of shape {key.shape}"
        )
    return np.where(key, 1.0, np.nan) if key.dtype.kind == "b" else key.astype(float)


def _first(pool: Pool, key: np.ndarray, sizes: np.ndarray, budget: int) -> np.ndarray:
    """Rows with the greatest keys as long as their sizes fit the budget; ties by content, whatever the row order."""
    order = np.argsort(-key, kind="stable")
    order = order[np.isfinite(key[order])]
    fits = int(np.searchsorted(sizes[order].cumsum(), budget, "right"))
    if 0 < fits < len(order) or (fits == 0 and len(order)):
        # Only rows that tie with the first one left out can change places with those taken.
        tied = np.flatnonzero(key[order] == key[order[fits]])
        if len(tied) > 1:
            hashes = pool.content_hashes(order[tied])
            order[tied] = order[tied][np.argsort(hashes, kind="stable")]
            fits = int(np.searchsorted(sizes[order].cumsum(), budget, "right"))
    left = budget - int(sizes[order[:fits]].sum())
    more = []
    if (sizes != 1).any():  # a budget in tokens: later rows may still fit
        for row in order[fits:].tolist():
            if sizes[row] <= left:
                more.append(row)
                left -= int(sizes[row])
    return np.concatenate([order[:fits], np.array(more, np.int64)])


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

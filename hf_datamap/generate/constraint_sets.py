"""Which kinds of constraints go together in one prompt, and how often each set of them is drawn.

Sets are drawn so that the kinds are used as equally often as IFEval's conflict table allows. How far that is, a linear
program says (`best_balance`): for equally many prompts of 4, 5 and 6 constraints the least used kind can have 60 % of
the uses of the most used one, because `LONERS` go with five and three other kinds only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_datamap.errors import GenerateError
from hf_datamap.scorers.constraints.checker import CONSTRAINTS
from hf_datamap.scorers.constraints.conflicts import CONFLICTS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: The 23 kinds that prompts are made of. The paper does not list its 23; IFEval's 25 without these two, which cannot
#: stand in any conflict-free set of four, is our choice.
KINDS: Final = tuple(
    kind
    for kind in CONSTRAINTS
    if kind not in {"detectable_format:constrained_response", "detectable_format:json_format"}
)

#: These two go with hardly any other kind: `repeat_prompt` stands in one set of four, `two_responses` in five of four
#: and in one of five. All their uses are therefore uses of the same few other kinds too.
LONERS: Final = ("combination:repeat_prompt", "combination:two_responses")
_MAX_ROUNDS: Final = 400
#: How far the least used kind may stay behind the optimum, and the other kinds behind each other. Without any slack
#: the sets would have to be drawn from a few dozen.
_SLACK: Final = 0.98
_COMMON_RATIO: Final = 0.93

KindSets = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=8)
def conflict_free_sets(k: int) -> KindSets:
    """Return every set of ``k`` kinds without a conflict in IFEval's table, as ascending indices into `KINDS`."""
    conflicts = [{KINDS.index(other) for other in CONFLICTS[kind] if other in KINDS} for kind in KINDS]
    sets: list[tuple[int, ...]] = []

    def extend(chosen: tuple[int, ...], allowed: list[int]) -> None:
        if len(chosen) == k:
            sets.append(chosen)
            return
        for place, kind in enumerate(allowed):
            extend((*chosen, kind), [other for other in allowed[place + 1 :] if other not in conflicts[kind]])

    extend((), list(range(len(KINDS))))
    return tuple(sets)


def draw_sets(
    counts: Mapping[int, int], rng: np.random.Generator, *, loner_share: float | None = None
) -> list[tuple[str, ...]]:
    """Draw conflict-free sets of kinds, the kinds used as equally often as the conflicts allow.

    Of all distributions with this balance, the sets are drawn from the one of greatest entropy (our choice): every set
    that can be drawn stays possible, and none is favoured more than the balance needs.

    Args:
        counts: how many sets to draw for each k.
        rng: the random numbers.
        loner_share: how often each of `LONERS` is used for one use of another kind; by default as often as the conflict
            table allows. A smaller share leaves more of the prompts with k = 4 to the other kinds: with 0.25 a third of
            them have one of `LONERS`, by default four fifths.

    Raises:
        GenerateError: there is no conflict-free set of some k.
    """
    sets = {k: _sets_of(k) for k in counts}
    pairs = tuple(counts.items())
    probabilities = (
        _bounded_probabilities(pairs) if loner_share is None else _balanced_probabilities(pairs, loner_share)
    )
    drawn: list[tuple[str, ...]] = []
    for k, count in counts.items():
        # Systematic sampling: each set comes as often as expected, give or take one.
        edges = np.cumsum(probabilities[k]) * (count / probabilities[k].sum())
        picks = np.minimum(np.searchsorted(edges, np.arange(count) + rng.random(), side="right"), len(sets[k]) - 1)
        rng.shuffle(picks)
        drawn += [tuple(KINDS[kind] for kind in sets[k][pick]) for pick in picks]
    return drawn


def _sets_of(k: int) -> KindSets:
    """Return the conflict-free sets of ``k`` kinds.

    Raises:
        GenerateError: there is none.
    """
    if sets := conflict_free_sets(k):
        return sets
    most = max(size for size in range(1, len(KINDS)) if conflict_free_sets(size))
    raise GenerateError(f"no {k} kinds of constraints go together without a conflict; k is 1 to {most}")


@dataclass(frozen=True, slots=True)
class Balance:
    """How equally often the kinds of constraints are used.

    Attributes:
        least: uses of the least used kind.
        most: uses of the most used kind.
        optimum: the greatest ratio of the two that the conflict table allows for so many prompts of each k.
    """

    least: int
    most: int
    optimum: float

    @property
    def ratio(self) -> float:
        """Uses of the least used kind over those of the most used one."""
        return self.least / self.most

    def __str__(self) -> str:
        return (
            f"the least used kind of constraint stands in {self.least:,} prompts, the most used one in {self.most:,}: "
            f"{self.ratio:.2f}, of {self.optimum:.2f} that the conflicts allow"
        )


def balance_of(sets: Iterable[Iterable[str]]) -> Balance:
    """Return how equally often the kinds that can be used are used in sets of kinds (``instruction_id_list``)."""
    sizes: Counter[int] = Counter()
    use: Counter[str] = Counter()
    for kinds in map(list, sets):
        sizes[len(kinds)] += 1
        use.update(kinds)
    counts = tuple(sorted(sizes.items()))
    possible = [use[kind] for kind, can_be_used in zip(KINDS, _possible(counts), strict=True) if can_be_used]
    return Balance(min(possible), max(possible), best_balance(counts)[0])


def _possible(counts: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return for each kind whether it stands in a set of one of the sizes."""
    return np.isin(np.arange(len(KINDS)), np.concatenate([np.ravel(_sets_of(k)) for k, _ in counts]))


@lru_cache(maxsize=8)
def best_balance(counts: tuple[tuple[int, int], ...]) -> tuple[float, np.ndarray]:
    """Return the greatest ratio of least to most uses that the conflict table allows, and bounds on uses to draw by.

    A linear-fractional program over how often each set is drawn, made linear by scaling the most used kind to 1
    (Charnes & Cooper 1962): maximise the least use where no use is above 1 and every k has its share of the sets.

    Args:
        counts: pairs of k and a number of sets.

    Returns:
        The ratio, and lower and upper bounds on the uses of each kind, shape (2, kinds): within them the least used
        kind has `_SLACK` of its optimum, and kinds other than `LONERS` `_COMMON_RATIO` of the most used one if that is
        possible.
    """
    member, of_size = _memberships(counts)
    possible = _possible(counts)
    loners = np.isin(KINDS, LONERS) & possible
    ratio, _ = _least_use(member[possible], of_size)
    optimum = ratio
    for common_ratio in (_COMMON_RATIO, 0.0):
        # Among the other kinds there need not be more inequality than the loners cause.
        floor = np.where(loners, ratio * _SLACK, max(common_ratio, ratio * _SLACK))[possible]
        _, scale = _least_use(member[possible], of_size, floor)
        if scale is not None:
            break
    assert scale is not None  # noqa: S101 - the optimum itself meets the second floor
    bounds = np.zeros((2, len(KINDS)))
    bounds[0, possible], bounds[1, possible] = floor * scale, scale
    return optimum, bounds


def _memberships(counts: tuple[tuple[int, int], ...]) -> tuple[csr_array, csr_array]:
    """Return which kinds stand in which set, shape (kinds, sets), and which sets have which size, (sizes, sets)."""
    from scipy.sparse import block_array, csr_array, hstack

    blocks = []
    for k, _ in counts:
        sets = np.array(_sets_of(k))
        columns = np.repeat(np.arange(len(sets)), k)
        blocks.append(csr_array((np.ones(sets.size), (sets.ravel(), columns)), shape=(len(KINDS), len(sets))))
    sizes = [[None] * len(blocks) for _ in blocks]
    for place, (block, (_, count)) in enumerate(zip(blocks, counts, strict=True)):
        sizes[place][place] = csr_array(np.full((1, block.shape[1]), 1 / count))  # type: ignore[call-overload]
    return hstack(blocks, format="csr"), block_array(sizes, format="csr")


def _least_use(member: csr_array, of_size: csr_array, floor: np.ndarray | None = None) -> tuple[float, float | None]:
    """Maximise the least use of a kind, with the most used one scaled to 1.

    Args:
        member: which kinds stand in which set.
        of_size: which sets have which size, over the number of sets of that size.
        floor: least uses of each kind, over those of the most used one.

    Returns:
        The least use, and how many uses the most used kind has; None if the floor cannot be met.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack, vstack

    kinds, sets = member.shape
    zeros, ones = csr_array((kinds, 1)), csr_array(np.ones((kinds, 1)))
    # The variables: how often each set is drawn, the scale, the least use.
    rows: list[Any] = [hstack([-member, zeros, ones]), hstack([member, zeros, zeros])]
    limits = [np.zeros(kinds), np.ones(kinds)]
    if floor is not None:
        rows.append(hstack([-member, zeros, zeros]))
        limits.append(-floor)
    sizes = of_size.shape[0]
    result = linprog(  # type: ignore[call-overload] # sparse matrices are taken, its stubs do not say so
        np.append(np.zeros(sets + 1), -1.0),
        A_ub=vstack(rows).tocsr(),
        b_ub=np.concatenate(limits),
        A_eq=hstack([of_size, csr_array(-np.ones((sizes, 1))), csr_array((sizes, 1))]).tocsr(),
        b_eq=np.zeros(sizes),
        method="highs",
    )
    if result.x is None:
        return 0.0, None
    return float(result.x[-1]), 1 / float(result.x[-2])


@lru_cache(maxsize=8)
def _bounded_probabilities(counts: tuple[tuple[int, int], ...]) -> dict[int, np.ndarray]:
    """Return the probability of each set, by k: the distribution of greatest entropy whose uses are in the bounds.

    It has the form p ~ exp(sum of the weights of the kinds in the set), where a weight is zero unless the use of its
    kind is at a bound. The weights minimise the dual of the problem (Berger et al. 1996, Computational Linguistics
    22:39-71, section 3, for equalities), which is convex.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    _, (lower, upper) = best_balance(counts)
    total = sum(count * k for k, count in counts)
    kinds = {k: np.array(conflict_free_sets(k)) for k, _ in counts}

    def dual(multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        raising, lowering = multipliers.reshape(2, -1)
        value, use = float(lowering @ upper - raising @ lower), np.zeros(len(KINDS))
        for k, count in counts:
            scores = (raising - lowering)[kinds[k]].sum(axis=1)
            norm = logsumexp(scores)
            value += count * norm
            use += count * np.bincount(kinds[k].ravel(), np.repeat(np.exp(scores - norm), k), len(KINDS))
        return value / total, np.concatenate([use - lower, upper - use]) / total

    # Multipliers beyond 30 would rule sets out.
    result = minimize(
        dual,
        np.zeros(2 * len(KINDS)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 30)] * (2 * len(KINDS)),
        options={"maxiter": 2000, "maxfun": 4000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-7},
    )
    raising, lowering = result.x.reshape(2, -1)
    weights = raising - lowering
    scores = {k: weights[kinds[k]].sum(axis=1) for k, _ in counts}
    return {k: np.exp(scores[k] - logsumexp(scores[k])) for k, _ in counts}


@lru_cache(maxsize=8)
def _balanced_probabilities(counts: tuple[tuple[int, int], ...], loner_share: float) -> dict[int, np.ndarray]:
    """Return the probability of each set, by k, for a given share of `LONERS`.

    The distribution of greatest entropy with given uses of each kind has the form p ~ exp(sum of the weights of the
    kinds in the set). The weights are fitted by iterative scaling: each moves by the logarithm of target over use.
    """
    kinds = {k: np.array(conflict_free_sets(k)) for k, _ in counts}
    possible = np.isin(np.arange(len(KINDS)), np.concatenate([sets.ravel() for sets in kinds.values()]))
    shares = np.array([loner_share if kind in LONERS else 1.0 for kind in KINDS]) * possible
    target = sum(count * k for k, count in counts) * shares / shares.sum()
    weights = np.zeros(len(KINDS))
    probabilities: dict[int, np.ndarray] = {}
    for _ in range(_MAX_ROUNDS):
        use = np.zeros(len(KINDS))
        for k, count in counts:
            unscaled = np.exp(weights[kinds[k]].sum(axis=1))
            probabilities[k] = unscaled / unscaled.sum()
            use += count * np.bincount(kinds[k].ravel(), np.repeat(probabilities[k], k), len(KINDS))
        # Kinds that no set holds stay at zero. The step is damped because kinds share sets.
        step = np.log(np.divide(target, use, out=np.ones_like(use), where=(use > 0) & (target > 0)))
        weights = np.clip(weights + 0.5 * step, -12, 12)
        if np.abs(step).max() < 1e-4:
            break
    return probabilities

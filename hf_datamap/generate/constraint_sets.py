"""Which kinds of constraints go together in one prompt, and how often each set of them is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from hf_datamap.errors import GenerateError
from hf_datamap.scorers.constraints.checker import CONSTRAINTS
from hf_datamap.scorers.constraints.conflicts import CONFLICTS

#: The 23 kinds that prompts are made of. The paper does not list its 23; IFEval's 25 without these two, which cannot
#: stand in any conflict-free set of four, is our choice.
KINDS: Final = tuple(
    kind
    for kind in CONSTRAINTS
    if kind not in {"detectable_format:constrained_response", "detectable_format:json_format"}
)

#: These two go with hardly any other kind (`repeat_prompt` stands in one set of four, `two_responses` in five, and in
#: one of five): used as often as the rest they would fill the prompts with k = 4.
LONERS: Final = ("combination:repeat_prompt", "combination:two_responses")
_MAX_ROUNDS: Final = 400

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
    counts: Mapping[int, int], rng: np.random.Generator, *, loner_share: float = 0.25
) -> list[tuple[str, ...]]:
    """Draw conflict-free sets of kinds, each kind used equally often as far as the conflicts allow.

    Of all distributions in which each kind has its target number of uses, the sets are drawn from the one of greatest
    entropy (our choice): every set that can be drawn stays possible, and none is favoured more than the balance needs.

    Args:
        counts: how many sets to draw for each k.
        rng: the random numbers.
        loner_share: how often each of `LONERS` is used for one use of another kind. At a quarter they stand in a third
            of the prompts with k = 4, at one in nearly all of them.

    Raises:
        GenerateError: there is no conflict-free set of some k.
    """
    sets = {k: conflict_free_sets(k) for k in counts}
    for k, sets_of_k in sets.items():
        if not sets_of_k:
            most = max(size for size in range(1, len(KINDS)) if conflict_free_sets(size))
            raise GenerateError(f"no {k} kinds of constraints go together without a conflict; k is 1 to {most}")
    probabilities = _balanced_probabilities(tuple(counts.items()), loner_share)
    drawn: list[tuple[str, ...]] = []
    for k, count in counts.items():
        # Systematic sampling: each set comes as often as expected, give or take one.
        edges = np.cumsum(probabilities[k]) * (count / probabilities[k].sum())
        picks = np.minimum(np.searchsorted(edges, np.arange(count) + rng.random(), side="right"), len(sets[k]) - 1)
        rng.shuffle(picks)
        drawn += [tuple(KINDS[kind] for kind in sets[k][pick]) for pick in picks]
    return drawn


@lru_cache(maxsize=8)
def _balanced_probabilities(counts: tuple[tuple[int, int], ...], loner_share: float) -> dict[int, np.ndarray]:
    """Return the probability of each set, by k.

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

"""Which kinds of constraints go together in one prompt, and how often each set of them is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from hf_datamap.errors import GenerateError
from hf_datamap.scorers.constraints import CONFLICTS, CONSTRAINTS

#: The 23 kinds that prompts are made of. The paper does not list its 23; IFEval's 25 without these two, which cannot
#: stand in any conflict-free set of four, is our choice.
KINDS: Final = tuple(
    kind
    for kind in CONSTRAINTS
    if kind not in {"detectable_format:constrained_response", "detectable_format:json_format"}
)

#: These two fit hardly any other kind (`repeat_prompt` stands in one set of four, `two_responses` in five, and in one
#: of five): used as often as the rest they would fill the prompts with k = 4.
LONERS: Final = ("combination:repeat_prompt", "combination:two_responses")
_ROUNDS: Final = 400

Sets = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=8)
def conflict_free(k: int) -> Sets:
    """Return every set of ``k`` kinds without a conflict in IFEval's table, as ascending indices into `KINDS`."""
    clash = [{KINDS.index(other) for other in CONFLICTS[kind] if other in KINDS} for kind in KINDS]
    found: list[tuple[int, ...]] = []

    def grow(chosen: tuple[int, ...], allowed: list[int]) -> None:
        if len(chosen) == k:
            found.append(chosen)
            return
        for place, kind in enumerate(allowed):
            grow((*chosen, kind), [other for other in allowed[place + 1 :] if other not in clash[kind]])

    grow((), list(range(len(KINDS))))
    return tuple(found)


def draw_sets(
    counts: Mapping[int, int], rng: np.random.Generator, *, loner_share: float = 0.25
) -> list[tuple[str, ...]]:
    """Draw conflict-free sets of kinds, each kind used equally often as far as the conflicts allow.

    Of all distributions with the wanted use of each kind the one of greatest entropy is drawn from (ours): every set
    that can be drawn stays possible, and none is favoured beyond what the balance needs.

    Args:
        counts: how many sets for each k.
        rng: the source of chance.
        loner_share: how often each of `LONERS` is used for one use of another kind. At a quarter they stand in a third
            of the prompts with k = 4, at one in nearly all of them.

    Raises:
        GenerateError: there is no conflict-free set of some k.
    """
    sets = {k: conflict_free(k) for k in counts}
    for k, found in sets.items():
        if not found:
            most = max(size for size in range(1, len(KINDS)) if conflict_free(size))
            raise GenerateError(f"no {k} kinds of constraints go together without a conflict; k is 1 to {most}")
    chances = _balanced(tuple(counts.items()), loner_share)
    drawn: list[tuple[str, ...]] = []
    for k, count in counts.items():
        # Systematic sampling: each set comes as often as expected, give or take one.
        edges = np.cumsum(chances[k]) * (count / chances[k].sum())
        picks = np.minimum(np.searchsorted(edges, np.arange(count) + rng.random(), side="right"), len(sets[k]) - 1)
        rng.shuffle(picks)
        drawn += [tuple(KINDS[kind] for kind in sets[k][pick]) for pick in picks]
    return drawn


@lru_cache(maxsize=8)
def _balanced(counts: tuple[tuple[int, int], ...], loner_share: float) -> dict[int, np.ndarray]:
    """Chances of the sets: p ~ exp(sum of weights of the kinds in the set), weights fitted to the wanted use."""
    kinds = {k: np.array(conflict_free(k)) for k, _ in counts}
    possible = np.isin(np.arange(len(KINDS)), np.concatenate([found.ravel() for found in kinds.values()]))
    shares = np.array([loner_share if kind in LONERS else 1.0 for kind in KINDS]) * possible
    wanted = sum(count * k for k, count in counts) * shares / shares.sum()
    weights = np.zeros(len(KINDS))
    chances: dict[int, np.ndarray] = {}
    for _ in range(_ROUNDS):
        use = np.zeros(len(KINDS))
        for k, count in counts:
            raw = np.exp(weights[kinds[k]].sum(axis=1))
            chances[k] = raw / raw.sum()
            use += count * np.bincount(kinds[k].ravel(), np.repeat(chances[k], k), len(KINDS))
        # Kinds that no set holds stay at nought; the step is damped because kinds share sets.
        step = np.log(np.divide(wanted, use, out=np.ones_like(use), where=(use > 0) & (wanted > 0)))
        weights = np.clip(weights + 0.5 * step, -12, 12)
        if np.abs(step).max() < 1e-4:
            break
    return chances

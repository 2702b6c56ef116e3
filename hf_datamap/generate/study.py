"""`study`: comparable arms of an experiment on preference data (Kim et al. 2025, arXiv 2412.15282)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_datamap.curate.pair_candidates import Contrast
from hf_datamap.curate.pairs import to_pairs
from hf_datamap.errors import GenerateError, PairError
from hf_datamap.generate.pair_counts import Yield, as_json, count_yields, hard_and_soft, met_counts, table
from hf_datamap.generate.rejection import Sampled
from hf_datamap.generate.tree_pairs import sibling_pairs
from hf_datamap.generate.tree_search import Searched

if TYPE_CHECKING:
    from datasets import Dataset

#: Share of the shorter response from which a shared prefix counts. Ours; where lineage is known, lineage decides.
SHARED_PREFIX_RATIO: Final = 0.2


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: a method, a contrast, a number of constraints.

    Attributes:
        method: how the responses were made, a key of the mapping that `study` was given.
        contrast: of its pairs.
        k: number of constraints of its prompts.
        eligible: number of prompts that have a pair of this contrast.
        of: number of sampled prompts with k constraints.
        pairs: number of pairs kept.
        prompts: number of different prompts among them.
        margin: mean margin of the pairs kept.
        chosen_score: mean score of the chosen.
        rejected_score: mean score of the rejected.
        prefix_tokens: mean number of tokens of the shared prefix.
        prefix_ratio: mean of its length over that of the shorter response.
        shared: share of pairs with a shared prefix: by lineage in a tree, else by a ratio of at least
            `SHARED_PREFIX_RATIO`.
    """

    method: str
    contrast: str
    k: int
    eligible: int
    of: int
    pairs: int
    prompts: int
    margin: float
    chosen_score: float
    rejected_score: float
    prefix_tokens: float
    prefix_ratio: float
    shared: float

    @property
    def name(self) -> str:
        """The name of the arm, for example ``rs-high-k4``."""
        return f"{self.method}-{self.contrast}-k{self.k}"


@dataclass(frozen=True, repr=False)
class Study:
    """Arms with equally many pairs and prompts.

    Attributes:
        arms: every arm with its figures, also those without a pair.
        pairs: TRL-ready pairs of each arm that has some, by its name.
        yields: of each method, by (k, c, r).
        scores: of each method, hard and soft scores of its responses by k.
        tokens: number of tokens that each method wrote.
    """

    arms: tuple[Arm, ...]
    pairs: Mapping[str, Dataset]
    yields: Mapping[str, list[Yield]]
    scores: Mapping[str, Mapping[int, Mapping[str, float]]]
    tokens: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Study(arms={len(self.arms)}, with pairs={len(self.pairs)}, methods={', '.join(self.scores)})"

    def to_markdown(self) -> str:
        """Return the table of the arms and a table of yields for each method."""
        lines = [
            "| arm | with a pair | of | pairs | prompts | margin | chosen | rejected | shared beginning | its share |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {arm.name} | {arm.eligible:,} | {arm.of:,} | {arm.pairs:,} | {arm.prompts:,} | {arm.margin:.3f} | "
            f"{arm.chosen_score:.3f} | {arm.rejected_score:.3f} | {arm.shared:.1%} | {arm.prefix_ratio:.1%} |"
            for arm in self.arms
        ]
        for method, entries in self.yields.items():
            lines += ["", f"Yields of {method} ({self.tokens[method]:,} tokens written)", "", table(entries)]
        return "\n".join(lines)

    def save(self, folder: Path | str) -> None:
        """Write ``arms/NAME.parquet`` for each arm, ``study.json`` and ``study.md``."""
        folder = Path(folder)
        (folder / "arms").mkdir(parents=True, exist_ok=True)
        for name, pairs in self.pairs.items():
            pairs.to_parquet(folder / "arms" / f"{name}.parquet")
        report = {
            "arms": [asdict(arm) for arm in self.arms],
            "yields": {method: as_json(entries) for method, entries in self.yields.items()},
            "scores": {method: dict(scores) for method, scores in self.scores.items()},
            "tokens": dict(self.tokens),
        }
        (folder / "study.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        (folder / "study.md").write_text(self.to_markdown() + "\n", encoding="utf-8")


def study(
    samples: Mapping[str, Sampled],
    *,
    contrasts: Sequence[Contrast] = ("high", "low", "mixed"),
    per_prompt: int = 1,
    size: int | None = None,
    same_prompts: bool = False,
    tokenizer: Any = None,  # noqa: ANN401 - as in to_pairs
    seed: int = 0,
) -> Study:
    """Build the arms of a study: method x contrast x number of constraints, with equally many pairs and prompts.

    Pairs of a tree search are siblings that share a prefix. The settings of the paper's arms are not in the public
    record: contrasts are read as in `hf_datamap.to_pairs`, and one pair per prompt is our choice.

    Args:
        samples: results of `rejection_sampling` and `tree_search` on the same prompts, by the name of the method.
        contrasts: high, low, mixed, or (c, r).
        per_prompt: pairs of each prompt; prompts with fewer are left out, so that both numbers are equal.
        size: prompts of each arm; as many as the smallest arm that is not empty has, by default.
        same_prompts: whether all arms of one k must have the very same prompts, not only equally many.
        tokenizer: for shared prefixes; words and punctuation marks by default.
        seed: of every draw.

    Raises:
        GenerateError: there is nothing to compare, the prompts differ, or ``size`` is more than an arm has.
    """
    if not samples or not contrasts:
        raise GenerateError("a study needs the results of at least one method, and a contrast")
    prompts_of = {method: list(sampled.dataset["prompt"]) for method, sampled in samples.items()}
    if any(prompts != next(iter(prompts_of.values())) for prompts in prompts_of.values()):
        raise GenerateError(f"the methods ({', '.join(prompts_of)}) answered different prompts: sample the same ones")
    sizes = sorted({k for k, _ in met_counts(next(iter(samples.values())).dataset)} - {0})
    if not sizes:
        raise GenerateError("no prompt has constraints (instruction_id_list) with scores that are shares of them met")
    candidates = {
        (method, _contrast_name(contrast), k): _pairs(sampled, k, contrast, per_prompt, tokenizer=tokenizer, seed=seed)
        for method, sampled in samples.items()
        for contrast in contrasts
        for k in sizes
    }
    kept = _cut_to_equal_size(candidates, size, same_prompts=same_prompts, seed=seed)
    arms = [_arm(key, candidates[key], kept.get(key), samples[key[0]]) for key in candidates]
    return Study(
        tuple(arms),
        {arm.name: pairs for arm in arms if (pairs := kept.get((arm.method, arm.contrast, arm.k))) is not None},
        {method: count_yields(sampled.dataset) for method, sampled in samples.items()},
        {method: hard_and_soft(met_counts(sampled.dataset)) for method, sampled in samples.items()},
        {method: sampled.usage.output_tokens for method, sampled in samples.items()},
    )


_ArmKey = tuple[str, str, int]  # method, contrast, k


def _contrast_name(contrast: Contrast) -> str:
    return contrast if isinstance(contrast, str) else f"{contrast[0]}_{contrast[1]}"


def _pairs(
    sampled: Sampled,
    k: int,
    contrast: Contrast,
    per_prompt: int,
    *,
    tokenizer: Any,  # noqa: ANN401
    seed: int,
) -> Dataset | None:
    """Return the pairs of one arm: ``per_prompt`` of each prompt that has so many; None without any."""
    rows = [row for row, (size, _) in enumerate(met_counts(sampled.dataset)) if size == k]
    dataset = sampled.dataset.select(rows)
    try:
        if isinstance(sampled, Searched):
            nodes = _nodes_of(sampled, rows)
            pairs = sibling_pairs(dataset, nodes, contrast, per_prompt=per_prompt, tokenizer=tokenizer, seed=seed)
        else:
            pairs = to_pairs(dataset, contrast, labels="scores", per_prompt=per_prompt, tokenizer=tokenizer, seed=seed)
    except PairError:
        return None
    source_rows = [rows[row] for row in pairs["source_row"]]
    pairs = pairs.remove_columns("source_row").add_column("source_row", source_rows)
    counts = np.bincount(source_rows, minlength=len(sampled.dataset))
    pairs = pairs.select([number for number, row in enumerate(source_rows) if counts[row] == per_prompt])
    return pairs if len(pairs) else None


def _nodes_of(searched: Searched, rows: Sequence[int]) -> Dataset:
    """Return the nodes of the trees of some rows, ``source_row`` counted among these rows."""
    place_of = {row: place for place, row in enumerate(rows)}
    nodes = searched.nodes.select(
        [number for number, row in enumerate(searched.nodes["source_row"]) if row in place_of]
    )
    places = [place_of[row] for row in nodes["source_row"]]
    return nodes.remove_columns("source_row").add_column("source_row", places)


def _cut_to_equal_size(
    candidates: Mapping[_ArmKey, Dataset | None], size: int | None, *, same_prompts: bool, seed: int
) -> dict[_ArmKey, Dataset]:
    """Return the arms that are not empty, cut to equally many prompts."""
    filled = {key: pairs for key, pairs in candidates.items() if pairs is not None}
    prompts = {key: sorted(set(pairs["source_row"])) for key, pairs in filled.items()}
    if not prompts:
        raise GenerateError("no arm has a pair: sample more responses per prompt, or loosen the contrasts")
    if same_prompts:
        for k in {key[2] for key in prompts}:
            shared = set.intersection(*(set(rows) for key, rows in prompts.items() if key[2] == k))
            prompts |= {key: sorted(shared) for key in prompts if key[2] == k}
    most = min(map(len, prompts.values()))
    if size is not None and size > most:
        least = min(prompts, key=lambda key: len(prompts[key]))
        raise GenerateError(f"size is {size}, but the arm {'-'.join(map(str, least))} has {most} prompts")
    if not most:
        raise GenerateError("the arms of one k have no prompt in common; leave out same_prompts")
    count = most if size is None else size
    kept: dict[_ArmKey, Dataset] = {}
    for key, rows in prompts.items():
        # The draw depends on k alone, so that arms with the same candidates get the same prompts.
        drawn = set(np.random.default_rng([seed, key[2]]).permutation(rows)[:count].tolist())
        pairs = filled[key]
        kept[key] = pairs.select([number for number, row in enumerate(pairs["source_row"]) if row in drawn])
    return kept


def _arm(key: _ArmKey, candidates: Dataset | None, kept: Dataset | None, sampled: Sampled) -> Arm:
    method, contrast, k = key
    of = sum(size == k for size, _ in met_counts(sampled.dataset))
    if candidates is None or kept is None:
        return Arm(method, contrast, k, 0, of, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def mean(column: str) -> float:
        return float(np.mean(kept[column]))

    if "depth" in kept.column_names:
        shares_prefix = [depth >= 1 for depth in kept["depth"]]
    else:
        shares_prefix = [ratio >= SHARED_PREFIX_RATIO for ratio in kept["shared_prefix_ratio"]]
    return Arm(
        method,
        contrast,
        k,
        eligible=len(set(candidates["source_row"])),
        of=of,
        pairs=len(kept),
        prompts=len(set(kept["source_row"])),
        margin=mean("margin"),
        chosen_score=mean("chosen_score"),
        rejected_score=mean("rejected_score"),
        prefix_tokens=mean("shared_prefix_tokens"),
        prefix_ratio=mean("shared_prefix_ratio"),
        shared=float(np.mean(shares_prefix)),
    )

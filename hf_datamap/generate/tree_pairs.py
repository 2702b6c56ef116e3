"""Pairs from sibling branches: answers that share a prefix word for word and differ after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.curate.pair_candidates import Candidates, Contrast, by_contrast, candidates, capped
from hf_datamap.curate.pairs import ATTRIBUTES, Tokenize, difficulties, shared_prefix, tokenize_with
from hf_datamap.data import columns
from hf_datamap.errors import PairError
from hf_datamap.generate.pair_counts import met_counts

if TYPE_CHECKING:
    from datasets import Dataset

#: Where a pair comes from in its tree.
LINEAGE: Final = pa.schema(
    [
        ("constraints", pa.int32()),
        ("source_row", pa.int64()),
        ("parent_node", pa.int32()),
        ("chosen_node", pa.int32()),
        ("rejected_node", pa.int32()),
        ("depth", pa.int32()),
        ("prefix_chars", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Divergence:
    """Where two answers diverge.

    Attributes:
        node: the last node that both pass through.
        chosen: the node after it of the chosen answer, -1 if that ends there.
        rejected: the same of the rejected answer.
        depth: of ``node``.
        end: how many characters they share.
    """

    node: int
    chosen: int
    rejected: int
    depth: int
    end: int


def sibling_pairs(
    ds: Dataset,
    nodes: Dataset,
    contrast: Contrast | None = None,
    *,
    min_depth: int = 1,
    per_prompt: int | None = 1,
    tokenizer: Any = None,  # noqa: ANN401 - as in to_pairs
    seed: int = 0,
) -> Dataset:
    """Build pairs of answers that diverge at a node of the tree: texts, `ATTRIBUTES` and lineage.

    The verifier's scores in ``ds`` alone decide which answer is chosen and by what margin.

    Args:
        ds: the dataset of a tree search.
        nodes: its nodes.
        contrast: as in `hf_datamap.to_pairs`; None takes every margin above 0.
        min_depth: how many steps the two must share; 0 allows pairs that diverge at the root.
        per_prompt: at most so many pairs of a prompt, drawn by seed; None for no limit.
        tokenizer: for the columns on shared prefixes, as in `hf_datamap.to_pairs`.
        seed: of every draw.

    Returns:
        One row per pair. ``parent_node`` is the last node that both pass through, ``chosen_node`` and ``rejected_node``
        are its children on either side (-1 where an answer ends), ``prefix_chars`` is how many characters both share.

    Raises:
        PairError: no pair is eligible.
    """
    scores = columns.padded(pa.array(ds[columns.SCORES], pa.list_(pa.float64())))
    pairs = candidates(scores, scores, "all")
    trees = _read_trees(ds, nodes)
    divergences = [_divergence(trees[row], chosen, rejected) for row, chosen, rejected in _keys(pairs)]
    texts = ds["responses"]
    eligible = np.array(
        [
            divergence.depth >= min_depth and texts[row][chosen].strip() != texts[row][rejected].strip()
            for (row, chosen, rejected), divergence in zip(_keys(pairs), divergences, strict=True)
        ],
        bool,
    )
    constraint_counts = np.array([k for k, _ in met_counts(ds)] or [0] * len(ds))
    rng = np.random.default_rng(seed)
    if contrast is None:
        kept = pairs.keep(np.flatnonzero(eligible))
    else:
        counts = constraint_counts if constraint_counts.all() else None
        kept = by_contrast(pairs, contrast, eligible, counts, rng)
    if per_prompt is not None:
        kept = capped(kept, per_prompt, rng)
    if not len(kept.row):
        raise PairError(f"no pair of siblings is eligible (contrast {contrast}, min_depth {min_depth})")
    # A pair is known by its row and its two responses.
    divergence_of = dict(zip(_keys(pairs), divergences, strict=True))
    lineage = [divergence_of[key] for key in _keys(kept)]
    attributes = _attributes(texts, scores, constraint_counts, kept, lineage, tokenize=tokenize_with(tokenizer))
    return _with_prompts(ds["prompt"], attributes)


def _keys(pairs: Candidates) -> list[tuple[int, int, int]]:
    return list(zip(pairs.row.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True))


@dataclass(frozen=True)
class _TreePaths:
    """One tree as pairing needs it.

    Attributes:
        paths: for each response the nodes from the root to the deepest that it passes through.
        ends: for each node where it ends in the answer, in characters.
    """

    paths: list[list[int]]
    ends: list[int]


def _read_trees(ds: Dataset, nodes: Dataset) -> list[_TreePaths]:
    parents: list[list[int]] = [[] for _ in range(len(ds))]
    ends: list[list[int]] = [[] for _ in range(len(ds))]
    for row, parent, end in zip(nodes["source_row"], nodes["parent"], nodes["end"], strict=True):
        parents[row].append(parent)
        ends[row].append(end)

    def path(row: int, node: int) -> list[int]:
        upwards = [node]
        while parents[row][upwards[-1]] >= 0:
            upwards.append(parents[row][upwards[-1]])
        return upwards[::-1]

    return [
        _TreePaths([path(row, node) for node in deepest], ends[row]) for row, deepest in enumerate(ds["response_nodes"])
    ]


def _divergence(tree: _TreePaths, chosen: int, rejected: int) -> _Divergence:
    one, two = tree.paths[chosen], tree.paths[rejected]
    shared = next((k for k in range(min(len(one), len(two))) if one[k] != two[k]), min(len(one), len(two)))
    first, second = (path[shared] if len(path) > shared else -1 for path in (one, two))
    return _Divergence(one[shared - 1], first, second, shared - 1, tree.ends[one[shared - 1]])


def _attributes(
    texts: Sequence[Sequence[str]],
    scores: np.ndarray,
    constraint_counts: np.ndarray,
    pairs: Candidates,
    lineage: Sequence[_Divergence],
    *,
    tokenize: Tokenize,
) -> dict[str, Any]:
    """Return the columns of the pairs, without their prompts."""
    chosen = [texts[row][place] for row, place in zip(pairs.row, pairs.chosen, strict=True)]
    rejected = [texts[row][place] for row, place in zip(pairs.row, pairs.rejected, strict=True)]
    prefixes = [shared_prefix(one, two, tokenize) for one, two in zip(chosen, rejected, strict=True)]
    return {
        "chosen": chosen,
        "rejected": rejected,
        "margin": columns.nullable(pairs.margin),
        "shared_prefix_tokens": pa.array([prefix[0] for prefix in prefixes], pa.int32()),
        "shared_prefix_ratio": pa.array([prefix[1] for prefix in prefixes], pa.float32()),
        "chosen_score": columns.nullable(pairs.chosen_score),
        "rejected_score": columns.nullable(pairs.rejected_score),
        "difficulty": columns.nullable(difficulties(scores)[pairs.row]),
        "constraints": pa.array([int(constraint_counts[row]) or None for row in pairs.row], pa.int32()),
        "source_row": pa.array(pairs.row, pa.int64()),
        "parent_node": pa.array([divergence.node for divergence in lineage], pa.int32()),
        "chosen_node": pa.array([divergence.chosen for divergence in lineage], pa.int32()),
        "rejected_node": pa.array([divergence.rejected for divergence in lineage], pa.int32()),
        "depth": pa.array([divergence.depth for divergence in lineage], pa.int32()),
        "prefix_chars": pa.array([divergence.end for divergence in lineage], pa.int32()),
    }


def _with_prompts(prompts: Sequence[Any], attributes: dict[str, Any]) -> Dataset:
    """Return the pairs as a dataset; texts become messages where the prompts are messages."""
    from datasets import Dataset

    attributes["prompt"] = [prompts[row] for row in attributes["source_row"].to_pylist()]
    if not isinstance(attributes["prompt"][0], str):
        for name in ("chosen", "rejected"):
            attributes[name] = [[{"role": "assistant", "content": text}] for text in attributes[name]]
    names = ["prompt", "chosen", "rejected", *(field.name for field in (*ATTRIBUTES, *LINEAGE))]
    return Dataset(pa.table({name: attributes[name] for name in names}))

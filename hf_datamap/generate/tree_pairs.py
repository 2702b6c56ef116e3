"""Pairs from sibling branches: answers that share a beginning word for word and differ after it."""

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
class _Fork:
    """Where two answers part: the last node they share, and the node of each after it (-1: it ends there)."""

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
    """Build pairs of answers that part at a node of the tree: texts, `ATTRIBUTES` and lineage.

    Which is chosen and by what margin is the verifier's word alone, read from the scores in ``ds``.

    Args:
        ds: the dataset of a tree search.
        nodes: its nodes.
        contrast: as in `hf_datamap.to_pairs`; None takes every margin above nought.
        min_depth: steps that the two must share; 0 lets pairs part at the root.
        per_prompt: at most so many pairs of a prompt, drawn by seed; None for no limit.
        tokenizer: for the columns on shared prefixes, as in `hf_datamap.to_pairs`.
        seed: of every draw.

    Returns:
        One row per pair. ``parent_node`` is the last node that both pass, ``chosen_node`` and ``rejected_node`` its
        children on either side (-1 where an answer ends), ``prefix_chars`` how much of the text both have.

    Raises:
        PairError: no pair is eligible.
    """
    scores = columns.padded(pa.array(ds[columns.SCORES], pa.list_(pa.float64())))
    found = candidates(scores, scores, "all")
    trees = _trees(ds, nodes)
    forks = [_fork(trees[row], c, r) for row, c, r in zip(found.row, found.chosen, found.rejected, strict=True)]
    texts = ds["responses"]
    among = np.array(
        [
            fork.depth >= min_depth and texts[row][c].strip() != texts[row][r].strip()
            for row, c, r, fork in zip(found.row, found.chosen, found.rejected, forks, strict=True)
        ],
        bool,
    )
    counts = np.array([k for k, _ in met_counts(ds)] or [0] * len(ds))
    rng = np.random.default_rng(seed)
    chosen = _Chosen(found, forks)
    if contrast is None:
        chosen = chosen.of(found.keep(np.flatnonzero(among)))
    else:
        chosen = chosen.of(by_contrast(found, contrast, among, counts if counts.all() else None, rng))
    if per_prompt is not None:
        chosen = chosen.of(capped(chosen.found, per_prompt, rng))
    if not len(chosen.found.row):
        raise PairError(f"no pair of siblings is eligible (contrast {contrast}, min_depth {min_depth})")
    told = _attributes(texts, scores, counts, chosen, tokenize_with(tokenizer))
    return _with_prompts(ds["prompt"], told)


@dataclass(frozen=True)
class _Chosen:
    """Candidates with their forks, kept together."""

    found: Candidates
    forks: list[_Fork]

    def of(self, some: Candidates) -> _Chosen:
        """Some of them, with their forks: a pair is known by its row and the two responses."""
        known = dict(zip(_keys(self.found), self.forks, strict=True))
        return _Chosen(some, [known[key] for key in _keys(some)])


def _keys(found: Candidates) -> list[tuple[int, int, int]]:
    return list(zip(found.row.tolist(), found.chosen.tolist(), found.rejected.tolist(), strict=True))


@dataclass(frozen=True)
class _Shape:
    """One tree: paths of its responses, and depth and end of its nodes."""

    paths: list[list[int]]
    ends: list[int]


def _trees(ds: Dataset, nodes: Dataset) -> list[_Shape]:
    parents: list[list[int]] = [[] for _ in range(len(ds))]
    ends: list[list[int]] = [[] for _ in range(len(ds))]
    for row, parent, end in zip(nodes["source_row"], nodes["parent"], nodes["end"], strict=True):
        parents[row].append(parent)
        ends[row].append(end)

    def path(row: int, node: int) -> list[int]:
        found = [node]
        while parents[row][found[-1]] >= 0:
            found.append(parents[row][found[-1]])
        return found[::-1]

    return [
        _Shape([path(row, node) for node in deepest], ends[row]) for row, deepest in enumerate(ds["response_nodes"])
    ]


def _fork(tree: _Shape, chosen: int, rejected: int) -> _Fork:
    one, two = tree.paths[chosen], tree.paths[rejected]
    shared = next((k for k in range(min(len(one), len(two))) if one[k] != two[k]), min(len(one), len(two)))
    first, second = (path[shared] if len(path) > shared else -1 for path in (one, two))
    return _Fork(one[shared - 1], first, second, shared - 1, tree.ends[one[shared - 1]])


def _attributes(
    texts: Sequence[Sequence[str]], scores: np.ndarray, counts: np.ndarray, chosen: _Chosen, tokenize: Tokenize
) -> dict[str, Any]:
    found, forks = chosen.found, chosen.forks
    better = [texts[row][place] for row, place in zip(found.row, found.chosen, strict=True)]
    worse = [texts[row][place] for row, place in zip(found.row, found.rejected, strict=True)]
    prefixes = [shared_prefix(one, two, tokenize) for one, two in zip(better, worse, strict=True)]
    return {
        "chosen": better,
        "rejected": worse,
        "margin": columns.nullable(found.margin),
        "shared_prefix_tokens": pa.array([prefix[0] for prefix in prefixes], pa.int32()),
        "shared_prefix_ratio": pa.array([prefix[1] for prefix in prefixes], pa.float32()),
        "chosen_score": columns.nullable(found.chosen_score),
        "rejected_score": columns.nullable(found.rejected_score),
        "difficulty": columns.nullable(difficulties(scores)[found.row]),
        "constraints": pa.array([int(counts[row]) or None for row in found.row], pa.int32()),
        "source_row": pa.array(found.row, pa.int64()),
        "parent_node": pa.array([fork.node for fork in forks], pa.int32()),
        "chosen_node": pa.array([fork.chosen for fork in forks], pa.int32()),
        "rejected_node": pa.array([fork.rejected for fork in forks], pa.int32()),
        "depth": pa.array([fork.depth for fork in forks], pa.int32()),
        "prefix_chars": pa.array([fork.end for fork in forks], pa.int32()),
    }


def _with_prompts(prompts: Sequence[Any], told: dict[str, Any]) -> Dataset:
    """The pairs as a dataset; texts become messages where the prompts are."""
    from datasets import Dataset

    told["prompt"] = [prompts[row] for row in told["source_row"].to_pylist()]
    if not isinstance(told["prompt"][0], str):
        for name in ("chosen", "rejected"):
            told[name] = [[{"role": "assistant", "content": text}] for text in told[name]]
    names = ["prompt", "chosen", "rejected", *(field.name for field in (*ATTRIBUTES, *LINEAGE))]
    return Dataset(pa.table({name: told[name] for name in names}))

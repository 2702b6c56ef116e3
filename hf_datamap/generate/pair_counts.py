"""Yields: how many pairs, of how many prompts, meet so many constraints on either side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hf_datamap.data import columns

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class Yield:
    """Pairs (c, r): the chosen response meets c of the k constraints, the rejected one r.

    Attributes:
        k: number of constraints.
        c: how many the chosen response meets.
        r: how many the rejected response meets.
        prompts: number of prompts with such a pair.
        pairs: number of such pairs.
        of: number of prompts with k constraints.
    """

    k: int
    c: int
    r: int
    prompts: int
    pairs: int
    of: int


def met_counts(ds: Dataset) -> list[tuple[int, list[int]]]:
    """Return for each row the number of its constraints, and how many of them each scored response meets.

    Rows without constraints, or with scores that are not multiples of 1/k, have k = 0.
    """
    if not {"instruction_id_list", columns.SCORES} <= set(ds.column_names):
        return []
    rows = zip(ds["instruction_id_list"], ds[columns.SCORES], strict=True)
    return [_met(len(ids or ()), [score for score in scores or () if score is not None]) for ids, scores in rows]


def _met(k: int, scores: Sequence[float]) -> tuple[int, list[int]]:
    counts = [round(score * k) for score in scores]
    are_shares = all(
        0 <= count <= k and abs(count - score * k) < 1e-4 for count, score in zip(counts, scores, strict=True)
    )
    if not are_shares:
        return 0, []
    return k, counts


def count_yields(ds: Dataset) -> list[Yield]:
    """Count pairs of responses that meet different numbers of constraints, by (k, c, r)."""
    prompts: dict[tuple[int, int, int], int] = defaultdict(int)
    pairs: dict[tuple[int, int, int], int] = defaultdict(int)
    prompts_of_size: dict[int, int] = defaultdict(int)
    for k, counts in met_counts(ds):
        if not k:
            continue
        prompts_of_size[k] += 1
        levels = {level: counts.count(level) for level in set(counts)}
        for c, count_of_c in levels.items():
            for r, count_of_r in levels.items():
                if c > r:
                    prompts[k, c, r] += 1
                    pairs[k, c, r] += count_of_c * count_of_r
    return [Yield(k, c, r, prompts[k, c, r], pairs[k, c, r], prompts_of_size[k]) for k, c, r in sorted(pairs)]


def hard_and_soft(counts: Iterable[tuple[int, Sequence[int]]]) -> dict[int, dict[str, float]]:
    """Return by k the hard score, the soft score and the number of responses.

    The hard score is the share of responses that meet all constraints, the soft score the mean share of constraints
    met (Kim et al. 2025 report the hard score; the name of the other is ours).
    """
    met: dict[int, list[int]] = defaultdict(list)
    for k, row in counts:
        if k:
            met[k] += row
    return {
        k: {"hard": sum(m == k for m in row) / len(row), "soft": sum(row) / (k * len(row)), "responses": len(row)}
        for k, row in sorted(met.items())
        if row
    }


def table(yields: Sequence[Yield]) -> str:
    """Return the yields as a Markdown table."""
    lines = ["| k | c | r | prompts | of | pairs |", "|---:|---:|---:|---:|---:|---:|"]
    lines += [f"| {row.k} | {row.c} | {row.r} | {row.prompts:,} | {row.of:,} | {row.pairs:,} |" for row in yields]
    return "\n".join(lines)


def as_json(yields: Sequence[Yield]) -> list[Mapping[str, Any]]:
    """Return the yields as JSON."""
    return [asdict(entry) for entry in yields]

"""What is done to every part of a dataset, and what is told of a part once it is scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.data import Layout, columns
from hf_datamap.datamap.noise import table_noise_split
from hf_datamap.datamap.reliability import NoiseSplit
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.scorers.base import Scorer
from hf_datamap.scoring.spread import ScoreSpread


@dataclass(frozen=True)
class MapJob:
    """How rows are scored and cut; can be sent to another machine.

    Attributes:
        scorer: the scorer.
        layout: how rows are read, as the scorer needs them.
        budget: what may be spent.
        low_variance: see `hf_datamap.DataMap.fit`.
        low_mean: see `hf_datamap.DataMap.fit`.
        correct_noise: whether the scorer's noise is taken out of the variance.
        approximate: whether boundaries come from sketches.
    """

    scorer: Scorer
    layout: Layout
    budget: Budget = field(default_factory=Budget)
    low_variance: Fraction = Fraction(2, 3)
    low_mean: Fraction = Fraction(1, 2)
    correct_noise: bool = False
    approximate: bool = False


@dataclass(frozen=True)
class PartReport:
    """What is told of a scored part.

    Attributes:
        number: which part, in row order.
        statuses: rows by status.
        noise: how much of its variance is the scorer's own noise; None where that is unknown.
        unfinished: rows that lack a score which another run might get.
        usage: what was spent on it, where it was scored in another process.
        spread: how its scores spread.
    """

    number: int
    statuses: Mapping[str, int]
    noise: NoiseSplit | None = None
    unfinished: int = 0
    usage: Usage | None = None
    spread: ScoreSpread | None = None

    @classmethod
    def of(cls, number: int, added: pa.Table, unfinished: int = 0, usage: Usage | None = None) -> PartReport:
        """Report on the columns that were added to a part."""
        noise, spread = table_noise_split(added), ScoreSpread.of(added)
        return cls(number, count_statuses(added[columns.STATUS]), noise, unfinished, usage, spread)


def count_statuses(statuses: pa.ChunkedArray) -> dict[str, int]:
    """Rows by status, of a column of them."""
    counts = Counter({entry["values"]: entry["counts"] for entry in pc.value_counts(statuses).to_pylist()})
    return {name: counts[name] for name in (columns.OK, columns.PARTIAL, columns.FAILED, columns.SKIPPED)}


def plain_usage(usage: Usage) -> Usage:
    """The numbers of a usage alone, as they can be sent to another process."""
    return Usage(**{each.name: getattr(usage, each.name) for each in fields(Usage)})

"""Whether scores tell responses apart at all: the map of a judge that always says the same is row order alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns

_SAMPLE: Final = 1001  # scores of a part among which its most frequent one is looked for
_LEAST_SCORES: Final = 20  # below, a repetition says little
_ONE_ANSWER: Final = 0.95  # share of one value above which a scorer hardly says anything else
_NEAR_CONSTANT: Final = 0.01  # standard deviation, as a share of the scale (or of the largest score)


@dataclass(frozen=True)
class ScoreSpread:
    """How the scores of some rows spread; parts are added up.

    Attributes:
        scores: valid scores.
        low: the least.
        high: the greatest.
        total: their sum.
        squares: the sum of their squares.
        frequent: how often the most frequent value of each part was counted there.
    """

    scores: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    squares: float = 0.0
    frequent: Mapping[float, int] = field(default_factory=dict)

    @classmethod
    def of(cls, added: pa.Table) -> Self:
        """Return the spread of the scores in a table of added columns."""
        lists = added[columns.SCORES].combine_chunks()
        chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
        flat = [chunk.flatten().drop_null().to_numpy(zero_copy_only=False) for chunk in chunks]
        values = np.concatenate(flat).astype(np.float64) if flat else np.empty(0)
        if not values.size:
            return cls()
        # A value that most scores have is the most frequent one of a sample too; it is then counted exactly.
        sample, counts = np.unique(values[:: max(1, values.size // _SAMPLE)], return_counts=True)
        typical = float(sample[counts.argmax()])
        return cls(
            int(values.size),
            float(values.min()),
            float(values.max()),
            float(values.sum()),
            float(np.square(values).sum()),
            {typical: int((values == typical).sum())},
        )

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**record, "frequent": {float(value): count for value, count in record["frequent"]}})

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {**vars(self), "frequent": [[value, count] for value, count in self.frequent.items()]}

    def finding(self, scale: tuple[float, float] | None = None) -> str:
        """Say what is wrong with the scores; empty when they tell responses apart.

        Args:
            scale: the lowest and the highest score that the scorer could have given, where that is known.
        """
        if self.scores < _LEAST_SCORES:
            return ""
        if self.low == self.high:
            return f"all {self.scores:,} scores are {self.low:.6g}"
        value, count = max(self.frequent.items(), key=lambda item: (item[1], -item[0]))
        if count > _ONE_ANSWER * self.scores:
            return f"{count / self.scores:.1%} of {self.scores:,} scores are {value:.6g}"
        mean = self.total / self.scores
        deviation = math.sqrt(max(0.0, self.squares / self.scores - mean**2))
        span = scale[1] - scale[0] if scale else max(abs(self.low), abs(self.high))
        limit = _NEAR_CONSTANT * span if scale else _NEAR_CONSTANT / 10 * span
        if deviation < limit:
            return f"{self.scores:,} scores differ by next to nothing (standard deviation {deviation:.2g})"
        return ""


def joined_spread(spreads: Iterable[ScoreSpread | None]) -> ScoreSpread:
    """Add the spreads of parts up."""
    known = [spread for spread in spreads if spread is not None]
    frequent: Counter[float] = Counter()
    for spread in known:
        frequent.update(spread.frequent)
    return ScoreSpread(
        sum(spread.scores for spread in known),
        min((spread.low for spread in known), default=math.inf),
        max((spread.high for spread in known), default=-math.inf),
        math.fsum(spread.total for spread in known),
        math.fsum(spread.squares for spread in known),
        dict(frequent),
    )

"""What a run would take, without sending anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hf_datamap.data import Example, Layout, notebook
from hf_datamap.data.dataset import find_layout, tables_of
from hf_datamap.engine.budget import Prices
from hf_datamap.engine.store import Store
from hf_datamap.errors import RowError
from hf_datamap.scorers.adapter import as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scoring.score_rows import READ_ROWS
from hf_datamap.scoring.task_keys import TaskKeys

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        rows: rows that can be read.
        skipped: rows that cannot, with reasons.
        requests: requests to send; those whose answers are in the store are not counted.
        from_store: answers already there.
        input_tokens: tokens to send, at about four bytes of UTF-8 a token.
        output_tokens: tokens to receive.
        cost: US dollars; None without prices.
    """

    rows: int
    skipped: dict[str, int]
    requests: int
    from_store: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def summary(self) -> dict[str, Any]:
        """The numbers, as JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """Return the estimate as a table for notebooks."""
        cost = "unknown: pass prices=" if self.cost is None else f"about ${self.cost:,.4f}"
        rows: list[tuple[str, object]] = [
            ("rows that can be scored", self.rows),
            *((f"rows that cannot: {reason}", count) for reason, count in self.skipped.items()),
            ("requests to send", self.requests),
            ("answers in the store already", self.from_store),
            ("tokens in, about", self.input_tokens),
            ("tokens out, about", self.output_tokens),
            ("cost", cost),
        ]
        return notebook.table("What this run would take", (), rows)

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows can be scored"]
        lines += [f"  {count:,} rows cannot: {reason}" for reason, count in self.skipped.items()]
        lines.append(f"{self.requests:,} requests to send, {self.from_store:,} answers are in the store already")
        lines.append(f"about {self.input_tokens:,} tokens in and {self.output_tokens:,} out")
        lines.append(f"about ${self.cost:,.4f}" if self.cost is not None else "cost unknown: pass --price IN,OUT")
        return "\n".join(lines)


def estimate(
    ds: Dataset, scorer: ScorerLike, *, layout: Layout | None = None, prices: Prices | None = None
) -> Estimate:
    """Say what annotating a dataset would take, without sending anything.

    Args:
        ds: the dataset.
        scorer: the scorer.
        layout: where prompt and responses are; detected from the columns by default.
        prices: what the endpoint charges.

    Raises:
        LayoutError: the columns fit no layout, or several.
    """
    scorer = as_scorer(scorer)
    layout = scorer.read_with(find_layout(ds, layout, images=scorer.takes_images))
    reasons: Counter[str] = Counter()
    rows = 0
    count = _RequestCount(scorer) if scorer.way is Way.ENGINE else None
    try:
        for batch in tables_of(ds, layout.columns, READ_ROWS):
            for example in layout.read_batch(batch):
                if isinstance(example, RowError):
                    reasons[example.reason] += 1
                    continue
                rows += 1
                if count is not None:
                    count.add(example)
    finally:
        if count is not None:
            count.close()
    skipped = dict(reasons.most_common())
    if count is None:
        return Estimate(rows, skipped, 0, 0, 0, 0, prices.cost(0, 0) if prices else None)
    cost = prices.cost(count.input_tokens, count.output_tokens) if prices else None
    return Estimate(rows, skipped, len(count.missing_keys), count.cached, count.input_tokens, count.output_tokens, cost)


class _RequestCount:
    """The requests that a scorer would send, each question once.

    Attributes:
        missing_keys: keys of the answers that are not in the store.
        cached: answers that are.
        input_tokens: tokens to send.
        output_tokens: tokens to receive.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._keys, self._store = TaskKeys(scorer), Store()
        self.missing_keys: set[bytes] = set()
        self.cached = self.input_tokens = self.output_tokens = 0

    def add(self, example: Example) -> None:
        """Count the requests for one row."""
        tasks = self._keys.tasks(example)
        cached_answers = self._store.get(key for key in tasks if key not in self.missing_keys)
        self.cached += len(cached_answers)
        for key, (task, answerer) in tasks.items():
            if key not in cached_answers and key not in self.missing_keys:
                self.missing_keys.add(key)
                sent, received = answerer.estimate(task)
                self.input_tokens += sent
                self.output_tokens += received

    def close(self) -> None:
        """Close the store."""
        self._store.close()

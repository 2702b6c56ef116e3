"""Scoring some rows: outcomes, and the added columns as an Arrow table, in row order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import Example, Layout, columns, parse_path
from hf_datamap.data.dataset import tables_of
from hf_datamap.engine.budget import Usage
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.scheduler import engine
from hf_datamap.errors import RowError
from hf_datamap.scorers.columns import ColumnScorer, scores_at
from hf_datamap.scoring.job import Job
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.score_table import (
    AnyScorer,
    Outcome,
    columns_of,
    examples_of,
    is_cheap,
    prepare,
    schema_of,
    score_here,
    table_of,
    with_labels,
)

if TYPE_CHECKING:
    from datasets import Dataset

READ_ROWS: Final = 256  # rows read at a time
_COLUMN_ROWS: Final = 10_000  # rows whose scores are there already


def needed_columns(scorer: AnyScorer, layout: Layout) -> tuple[str, ...]:
    """The columns of a dataset that scoring reads."""
    if not isinstance(scorer, ColumnScorer):
        members = getattr(scorer, "column_members", {}).values()
        return tuple(dict.fromkeys([*layout.columns, *(name for one in members for name in _heads(one, layout))]))
    heads = dict.fromkeys([*_heads(scorer, layout), *_names(layout.responses)])
    return tuple(heads) if _label_columns(layout) is not None else tuple(dict.fromkeys([*heads, *layout.columns]))


def added_schema(scorer: AnyScorer) -> pa.Schema:
    """The columns that a job adds, beside the region."""
    schema = schema_of(scorer)
    for name in (columns.AGREEMENT, columns.MARGIN):
        schema = schema.append(columns.SCHEMA.field(name))
    return schema


def _heads(scorer: ColumnScorer, layout: Layout) -> list[str]:
    return _names([*scorer.columns(layout), *(_label_columns(layout) or ())])


def _names(paths: Sequence[str]) -> list[str]:
    return [str(parse_path(path)[0]) for path in paths]


def _label_columns(layout: Layout) -> tuple[str, ...] | None:
    """Where annotations are that are plain numbers, or none at all; None where rows must be read for them."""
    if not layout.annotations and layout.label != "order":
        return ()
    return tuple(layout.annotations or ()) if layout.label == "scores" else None


class RowScoring:
    """Scoring some rows.

    Args:
        ds: the rows.
        job: the scorer, the layout and the budget.
        usage: what is spent, counted on the way.
        progress: shown on the way.

    Attributes:
        unfinished: rows that lack a score which another run might get.
    """

    def __init__(self, ds: Dataset, job: Job, usage: Usage, progress: Progress) -> None:
        self.ds, self.layout, self.budget = ds, job.layout, job.budget
        self.usage, self.progress = usage, progress
        self.unfinished = 0
        self._annotations: list[list[float | None] | None] = []

    @classmethod
    def of_table(cls, table: pa.Table, job: Job, usage: Usage, progress: Progress) -> RowScoring:
        """The same for rows in Arrow."""
        from datasets import Dataset

        return cls(Dataset(table, fingerprint="none"), job, usage, progress)  # or all texts are hashed for one

    def run(self, scorer: AnyScorer) -> pa.Table:
        """Return the added columns of every row, in row order."""
        if isinstance(scorer, ColumnScorer):
            return self._from_columns(scorer)
        return self.table(self.collect(scorer), scorer)

    def collect(self, scorer: AnyScorer) -> list[Outcome]:
        """Score every row."""
        if not is_cheap(scorer):
            outcomes, run = prepare(scorer, self._examples(scorer), budget=self.budget, usage=self.usage)
            engine().run(run, self.progress.show)
            self.unfinished += sum(
                any(score.value is None for score in scores) for scores in outcomes if not isinstance(scores, RowError)
            )
            return outcomes
        outcomes = []
        for example in self._examples(scorer):
            outcomes.append(score_here(scorer, example))
            self._count(outcomes[-1])
        return outcomes

    def table(self, outcomes: list[Outcome], scorer: AnyScorer) -> pa.Table:
        """The columns of what was collected."""
        table = table_of(outcomes, scorer)
        if not any(annotations for annotations in self._annotations):
            return with_labels(table, None)
        return with_labels(table, columns.padded(pa.array(self._annotations, pa.list_(pa.float64()))))

    def _count(self, outcome: Outcome) -> None:
        self.usage.rows += 1
        if not isinstance(outcome, RowError):
            self.usage.failed.update(kind_of(score.error) for score in outcome if score.value is None)
        if self.usage.rows % READ_ROWS == 0:
            self.progress.show()

    def _examples(self, scorer: AnyScorer) -> Iterator[Example | RowError]:
        for batch in tables_of(self.ds, self.layout.columns, READ_ROWS):
            for example in examples_of(scorer, self.layout, batch):
                labels = None if isinstance(example, RowError) else example.annotations
                self._annotations.append(labels)
                yield example

    def _from_columns(self, scorer: ColumnScorer) -> pa.Table:
        """Scores that are in the data need no texts; annotations only where they are more than numbers."""
        label_columns = _label_columns(self.layout)
        tables = []
        for batch in tables_of(self.ds, needed_columns(scorer, self.layout), _COLUMN_ROWS):
            table = columns_of(scorer, batch, self.layout)
            annotations: np.ndarray | None = None
            if label_columns is None:
                rows = self.layout.read_batch(batch)
                lists = [None if isinstance(row, RowError) else row.annotations for row in rows]
                annotations = columns.padded(pa.array(lists, pa.list_(pa.float64())))
            elif label_columns:
                annotations = columns.padded(scores_at(batch, label_columns))
            tables.append(with_labels(table, annotations))
            self.usage.rows += batch.num_rows
            self.progress.show()
        return pa.concat_tables(tables) if tables else with_labels(table_of([], scorer), None)

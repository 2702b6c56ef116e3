"""Scoring some rows: outcomes, and the added columns as an Arrow table, in row order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import Example, Layout, columns, parse_path
from hf_datamap.data.dataset import tables_of
from hf_datamap.data.independence import LabelBasis, independent_labels, label_basis
from hf_datamap.engine.budget import Usage
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.scheduler import engine
from hf_datamap.errors import RowError
from hf_datamap.scorers.base import Scorer, Way
from hf_datamap.scorers.columns import scores_at
from hf_datamap.scoring.job import MapJob
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.score_table import (
    Outcome,
    columns_of,
    prepare,
    read_examples,
    schema_of,
    score_inline,
    table_of,
    with_labels,
)

if TYPE_CHECKING:
    from datasets import Dataset

READ_ROWS: Final = 256  # rows read at a time
_COLUMN_ROWS: Final = 10_000  # rows whose scores are there already


def needed_columns(scorer: Scorer, layout: Layout) -> tuple[str, ...]:
    """The columns of a dataset that scoring reads."""
    if scorer.way is not Way.COLUMNS:
        return tuple(dict.fromkeys([*layout.columns, *_names(scorer.score_paths(layout))]))
    labels = _label_columns(scorer, layout)
    # A list of responses tells how many scores a row should have; where each has a column of its own, that is known.
    counted = layout.responses if len(layout.responses) == 1 else ()
    names = _names([*scorer.score_paths(layout), *(labels or ()), *counted])
    return tuple(dict.fromkeys(names if labels is not None else [*names, *layout.columns]))


def added_schema(scorer: Scorer) -> pa.Schema:
    """The columns that a job adds, beside the region."""
    schema = schema_of(scorer)
    for name in (columns.AGREEMENT, columns.MARGIN):
        schema = schema.append(columns.SCHEMA.field(name))
    return schema


def _names(paths: Sequence[str]) -> list[str]:
    return [str(parse_path(path)[0]) for path in paths]


def _label_columns(scorer: Scorer, layout: Layout) -> tuple[str, ...] | None:
    """Where annotations are that are plain numbers, or none at all; None where rows must be read for them."""
    if label_basis(layout, scorer.identity).labels != "annotations":
        return ()  # they are not compared with the scores
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

    def __init__(self, ds: Dataset, job: MapJob, usage: Usage, progress: Progress) -> None:
        self.ds, self.layout, self.budget = ds, job.layout, job.budget
        self.usage, self.progress = usage, progress
        self.unfinished = 0
        self._annotations: list[list[float | None] | None] = []

    @classmethod
    def of_table(cls, table: pa.Table, job: MapJob, usage: Usage, progress: Progress) -> RowScoring:
        """The same for rows in Arrow."""
        from datasets import Dataset

        return cls(Dataset(table, fingerprint="none"), job, usage, progress)  # or all texts are hashed for one

    def run(self, scorer: Scorer) -> pa.Table:
        """Return the added columns of every row, in row order."""
        if scorer.way is Way.COLUMNS:
            return self._from_columns(scorer)
        return self.table(self.collect(scorer), scorer)

    def collect(self, scorer: Scorer) -> list[Outcome]:
        """Score every row."""
        if scorer.way is Way.ENGINE:
            outcomes, run = prepare(scorer, self._examples(scorer), budget=self.budget, usage=self.usage)
            engine().run(run, self.progress.show)
            self.unfinished += sum(
                any(score.value is None for score in scores) for scores in outcomes if not isinstance(scores, RowError)
            )
            return outcomes
        outcomes = []
        for example in self._examples(scorer):
            outcomes.append(score_inline(scorer, example))
            self._count(outcomes[-1])
        return outcomes

    def table(self, outcomes: list[Outcome], scorer: Scorer) -> pa.Table:
        """The columns of what was collected."""
        table = table_of(outcomes, scorer)
        annotations = None
        if any(self._annotations):
            annotations = columns.padded(pa.array(self._annotations, pa.list_(pa.float64())))
        return with_labels(table, independent_labels(self._basis(scorer), annotations, table.num_rows))

    def _basis(self, scorer: Scorer) -> LabelBasis:
        """What agreement and margin compare the scores with: nothing, where the scores are the annotations."""
        return label_basis(self.layout, scorer.identity)

    def _count(self, outcome: Outcome) -> None:
        self.usage.rows += 1
        if not isinstance(outcome, RowError):
            self.usage.failed.update(kind_of(score.error) for score in outcome if score.value is None)
        if self.usage.rows % READ_ROWS == 0:
            self.progress.show()

    def _examples(self, scorer: Scorer) -> Iterator[Example | RowError]:
        for batch in tables_of(self.ds, self.layout.columns, READ_ROWS):
            for example in read_examples(scorer, self.layout, batch):
                labels = None if isinstance(example, RowError) else example.annotations
                self._annotations.append(labels)
                yield example

    def _from_columns(self, scorer: Scorer) -> pa.Table:
        """Scores that are in the data need no texts; annotations only where they are more than numbers."""
        label_columns, basis = _label_columns(scorer, self.layout), self._basis(scorer)
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
            tables.append(with_labels(table, independent_labels(basis, annotations, batch.num_rows)))
            self.usage.rows += batch.num_rows
            self.progress.show()
        return pa.concat_tables(tables) if tables else with_labels(table_of([], scorer), None)

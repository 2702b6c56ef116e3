"""Scoring the rows of one dataset: the added columns as an Arrow table, in row order."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from hf_datamap.data import Example, Layout, columns, parse_path
from hf_datamap.data.independence import LabelBasis, independent_labels, label_basis
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.run import kind_of
from hf_datamap.engine.scheduler import engine
from hf_datamap.errors import RowError
from hf_datamap.scorers.base import Scorer, Way
from hf_datamap.scorers.columns import scores_at
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

READ: Final = 256  # rows read at a time
_COLUMNS_READ: Final = 10_000  # rows whose scores are there already


def needed_columns(scorer: Scorer, layout: Layout) -> tuple[str, ...]:
    """The columns of a dataset that scoring reads."""
    if scorer.way is not Way.COLUMNS:
        return tuple(dict.fromkeys([*layout.columns, *_names(scorer.score_paths(layout))]))
    heads = dict.fromkeys([*_heads(scorer, layout), *_names(layout.responses)])
    return tuple(heads) if _numeric_labels(layout) else tuple(dict.fromkeys([*heads, *layout.columns]))


def added_schema(scorer: Scorer) -> pa.Schema:
    """The columns that a job adds, beside the region."""
    schema = schema_of(scorer)
    for name in (columns.AGREEMENT, columns.MARGIN):
        schema = schema.append(columns.SCHEMA.field(name))
    return schema


def _heads(scorer: Scorer, layout: Layout) -> list[str]:
    return _names([*scorer.score_paths(layout), *_numeric_labels(layout)])


def _names(paths: Sequence[str]) -> list[str]:
    return [str(parse_path(path)[0]) for path in paths]


def _numeric_labels(layout: Layout) -> tuple[str, ...]:
    """Where annotations are, when they are plain numbers that need no reading of rows."""
    return tuple(layout.annotations or ()) if layout.label == "scores" else ()


def score_table(
    table: pa.Table,
    scorer: Scorer,
    layout: Layout,
    *,
    budget: Budget | None = None,
    usage: Usage | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Return the added columns (`added_schema`) of some rows in Arrow."""
    from datasets import Dataset

    usage = usage or Usage()
    bar = progress or Progress(usage, None, wanted=False)
    rows = Dataset(table, fingerprint="none")  # or it is made by hashing all texts
    return ScoringJob(rows, layout, budget=budget or Budget(), usage=usage, progress=bar).run(scorer)


class ScoringJob:
    """Scoring one `Dataset`: outcomes, and the added columns as an Arrow table, in row order.

    Attributes:
        open: rows that lack a score which another run might get.
    """

    def __init__(self, ds: Dataset, layout: Layout, *, budget: Budget, usage: Usage, progress: Progress) -> None:
        self.ds, self.layout = ds, layout
        self.budget, self.usage, self.progress = budget, usage, progress
        self.open = 0
        self._annotations: list[list[float | None] | None] = []

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
            self.open += sum(
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
        if self.usage.rows % READ == 0:
            self.progress.show()

    def _examples(self, scorer: Scorer) -> Iterator[Example | RowError]:
        for batch in batches(self.ds, self.layout.columns, READ):
            for example in read_examples(scorer, self.layout, batch):
                labels = None if isinstance(example, RowError) else example.annotations
                self._annotations.append(labels)
                yield example

    def _from_columns(self, scorer: Scorer) -> pa.Table:
        """Scores that are in the data need no texts; annotations only where they are more than numbers."""
        labels, basis = _numeric_labels(self.layout), self._basis(scorer)
        tables = []
        for batch in batches(self.ds, needed_columns(scorer, self.layout), _COLUMNS_READ):
            table = columns_of(scorer, batch, self.layout)
            if labels:
                given = columns.padded(scores_at(batch, labels))
            else:
                read = self.layout.read_batch(batch)
                lists = [None if isinstance(row, RowError) else row.annotations for row in read]
                given = columns.padded(pa.array(lists, pa.list_(pa.float64())))
            tables.append(with_labels(table, independent_labels(basis, given, batch.num_rows)))
            self.usage.rows += batch.num_rows
            self.progress.show()
        return pa.concat_tables(tables) if tables else with_labels(table_of([], scorer), None)


class Progress:
    """A bar on stderr: rows done, and what the endpoint makes of it."""

    def __init__(self, usage: Usage, total: int | None, wanted: bool | None, what: str = "scoring") -> None:
        from datasets import is_progress_bar_enabled
        from tqdm.auto import tqdm

        hidden = not (is_progress_bar_enabled() if wanted is None else wanted)
        self._usage = usage
        often = 0.2 if sys.stderr.isatty() else 10.0  # seconds; a log file wants few lines
        self._bar = tqdm(total=total, desc=what, unit=" rows", disable=hidden, mininterval=often)

    def show(self) -> None:
        """Bring the bar up to date."""
        usage = self._usage
        words = {
            "in flight": usage.in_flight,
            "from store": usage.from_store,
            "retried": usage.retried,
            "failed": sum(usage.failed.values()),
        }
        self._bar.set_postfix({name: value for name, value in words.items() if value}, refresh=False)
        self._bar.update(usage.rows - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.show()
        self._bar.close()


def batches(ds: Dataset, names: Sequence[str], size: int) -> Iterator[pa.Table]:
    """Read some columns, the few that there are of them, so many rows at a time."""
    kept = [name for name in ds.column_names if name in set(names)]
    yield from ds.select_columns(kept).with_format("arrow").iter(size)

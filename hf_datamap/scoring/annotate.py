"""`annotate`: the whole job, from rows to a mapped dataset, for datasets and streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from hf_datamap.data import Layout, columns
from hf_datamap.data.dataset import by_row_group, find_layout, map_tables, table_digest, with_columns, with_table
from hf_datamap.datamap.assign import Assigner
from hf_datamap.datamap.points import IN_MEMORY_OF_STREAMS, Gathered
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.errors import BudgetError, RowError
from hf_datamap.scorers.adapter import as_fitted_scorer, as_scorer
from hf_datamap.scorers.base import ScorerLike, Way
from hf_datamap.scorers.panel import Panel
from hf_datamap.scoring.driver import Rows, job_of, map_rows
from hf_datamap.scoring.job import MapJob, PartReport
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.score_rows import RowScoring, added_schema, needed_columns

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    from hf_datamap.data.dataset import AnyDataset
    from hf_datamap.datamap.datamap import DataMap

_STREAMED_ROWS: Final = 10_000  # rows of a stream scored at a time, where that needs no requests
#: Otherwise: the last answers for one table are waited for before the next table is begun.
_STREAMED_ROWS_ASKING: Final = 2_000


def annotate(
    ds: AnyDataset,
    scorer: ScorerLike,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    low_variance: Fraction | float = Fraction(2, 3),
    low_mean: Fraction | float = Fraction(1, 2),
    correct_noise: bool = False,
    progress: bool | None = None,
    source: Mapping[str, Any] | None = None,
) -> tuple[AnyDataset, DataMap]:
    """Score a dataset, fit its map, and add every column: scores, region, agreement and margin.

    Rows keep their order and number, splits their names. What was paid for is kept in the score store whatever happens,
    so that the same call goes on where an earlier one ended.

    Args:
        ds: a `Dataset`, a `DatasetDict` (its splits are cut together) or an `IterableDataset`: read once now, a few
            thousand rows at a time, and once more, lazily, as the result is read.
        scorer: any scorer.
        layout: where prompt and responses are; detected from the columns by default.
        budget: what may be spent; rows beyond it are ``skipped``.
        low_variance: see `DataMap.fit`.
        low_mean: see `DataMap.fit`.
        correct_noise: see `DataMap.fit`; also adds ``datamap_region_probability``, see `DataMap.assign`.
        progress: whether to show a progress bar on stderr; as ``datasets`` is set by default.
        source: where the data came from, for the provenance record.

    Returns:
        The dataset with the added columns, and its map.

    Raises:
        LayoutError: the columns fit no layout, or several.
        ScorerError: the scorer cannot work at all.
        MapError: the dataset has no rows.
        BudgetError: a budget for a stream.
    """
    from datasets import IterableDataset

    options = {"low_variance": low_variance, "low_mean": low_mean, "correct_noise": correct_noise}
    rows: Any
    if isinstance(ds, IterableDataset):
        if budget is not None and budget.limited:
            raise BudgetError("a stream, scored as it is read, has no budget: take(n) of it, or load it as a Dataset")
        stream = by_row_group(ds)
        fitted = as_fitted_scorer(scorer)
        fitted.check()
        found_layout = find_layout(stream, layout, images=fitted.takes_images)
        rows = StreamRows(stream, job_of(fitted, found_layout, budget, options))
    else:
        splits = dict(ds) if isinstance(ds, Mapping) else {"": ds}
        adapted = as_scorer(scorer)
        adapted.check()
        found_layout = find_layout(ds, layout, images=adapted.takes_images)
        rows = DatasetRows(ds, splits, job_of(adapted, found_layout, budget, options))
    return map_rows(rows, source, progress)


def fit_panel(
    panel: Panel,
    ds: Dataset | DatasetDict,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> Panel:
    """Return a panel that knows its members' scales on a dataset, and how far they agree (``panel.report``).

    `annotate` does this by itself; ``score_fn`` needs it done. Every member scores everything, as in `annotate`; what
    is paid for is kept, so that the map after it asks nothing again.

    Args:
        panel: a panel.
        ds: the data that is going to be scored.
        layout: where prompt and responses are; detected from the columns by default.
        budget: what may be spent.
        progress: whether to show a progress bar on stderr.

    Raises:
        LayoutError: the columns fit no layout, or several.
        ScorerError: fewer than two members scored anything.
    """
    splits = list(ds.values()) if isinstance(ds, Mapping) else [ds]
    job = MapJob(panel, panel.read_with(find_layout(ds, layout, images=panel.takes_images)), budget or Budget())
    usage = Usage()
    bar = Progress(usage, sum(map(len, splits)), progress)
    scorings = [RowScoring(split, job, usage, bar) for split in splits]
    try:
        return panel.fitted([outcome for scoring in scorings for outcome in scoring.collect(panel.unfitted())])
    finally:
        bar.close()
        panel.release()


@dataclass
class DatasetRows(Rows[Any]):
    """The rows of a `Dataset`, or of the splits of a `DatasetDict`: a part is a split.

    A split is scored in one go, so that no slow answer holds up the rest; the added columns are held in memory.
    """

    ds: Dataset | DatasetDict
    splits: Mapping[str, Dataset]
    job: MapJob
    _tables: list[pa.Table] = field(default_factory=list)

    @property
    def count(self) -> int:  # type: ignore[override] # follows from the splits
        """Rows of all splits."""
        return sum(map(len, self.splits.values()))

    def score(self, usage: Usage, progress: Progress, points: Gathered) -> Iterator[PartReport]:
        """See `Rows`."""
        scorings = [RowScoring(split, self.job, usage, progress) for split in self.splits.values()]
        scorer = self.job.scorer
        if scorer.needs_fit:
            # The scales of a panel's members are known once all rows are scored.
            outcomes = [scoring.collect(scorer.unfitted()) for scoring in scorings]
            fitted = scorer.fitted([outcome for rows in outcomes for outcome in rows])
            self.job = replace(self.job, scorer=fitted)
            tables: Iterator[pa.Table] = (
                scoring.table([row if isinstance(row, RowError) else fitted.standardised(row) for row in rows], fitted)
                for scoring, rows in zip(scorings, outcomes, strict=True)
            )
        else:
            tables = (scoring.run(scorer) for scoring in scorings)
        for number, (table, scoring) in enumerate(zip(tables, scorings, strict=True)):
            self._tables.append(table)
            points.add(table)
            yield PartReport.of(number, table, scoring.unfinished)

    def assign(self, data_map: DataMap) -> Any:  # noqa: ANN401 - a Dataset or a DatasetDict, as was given
        """See `Rows`."""
        from datasets import DatasetDict

        assigner = data_map.assigner(probability=self.job.correct_noise)
        mapped, first_row = {}, 0
        for (name, split), table in zip(self.splits.items(), self._tables, strict=True):
            added = with_table(table, assigner(table, first_row))
            kept = split.remove_columns([name for name in columns.FOLLOWING if name in split.column_names])
            mapped[name] = with_columns(kept, added, table_digest(table) + assigner.content)
            first_row += table.num_rows
        return DatasetDict(mapped) if isinstance(self.ds, DatasetDict) else mapped[""]


@dataclass
class StreamRows(Rows["IterableDataset"]):
    """The rows of a stream, in tables: scored now, and again, from the store, as the result is read."""

    in_memory = IN_MEMORY_OF_STREAMS
    ds: IterableDataset
    job: MapJob
    count: None = None

    @property
    def _table_rows(self) -> int:
        return _STREAMED_ROWS_ASKING if self.job.scorer.way is Way.ENGINE else _STREAMED_ROWS

    def score(self, usage: Usage, progress: Progress, points: Gathered) -> Iterator[PartReport]:
        """See `Rows`."""
        needed = needed_columns(self.job.scorer, self.job.layout)
        names = self.ds.column_names
        narrow = self.ds.select_columns([name for name in names if name in needed]) if names else self.ds
        for number, table in enumerate(narrow.with_format("arrow").iter(self._table_rows)):
            scoring = RowScoring.of_table(table, self.job, usage, progress)
            added = scoring.run(self.job.scorer)
            points.add(added)
            yield PartReport.of(number, added, scoring.unfinished)

    def assign(self, data_map: DataMap) -> IterableDataset:
        """See `Rows`."""
        assigner = data_map.assigner(probability=self.job.correct_noise)
        replaced = assigner.schema.names  # the variance, where noise is taken out of it
        kept = [each for each in added_schema(self.job.scorer) if each.name not in replaced]
        work = _ScoreAndAssign(self.job, assigner)
        schema = pa.schema([*kept, *assigner.schema])
        return map_tables(self.ds, work, schema, self._table_rows, numbered=True, dropped=columns.FOLLOWING)


@dataclass(frozen=True)
class _ScoreAndAssign:
    """Adds all columns to tables of a stream."""

    job: MapJob
    assigner: Assigner

    def __call__(self, table: pa.Table, rows: list[int]) -> pa.Table:
        scored = RowScoring.of_table(table, self.job, Usage(), Progress.hidden()).run(self.job.scorer)
        added = with_table(scored, self.assigner(scored, rows[0] if rows else 0))
        kept = [name for name in table.column_names if name not in columns.FOLLOWING]
        return with_table(table.select(kept), added)

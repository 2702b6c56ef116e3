"""`annotate`: the whole job, from rows to a mapped dataset."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from hf_datamap import columns
from hf_datamap.budget import Budget, Prices, Usage
from hf_datamap.datamap import DataMap, with_columns
from hf_datamap.engine import engine, kind_of
from hf_datamap.errors import BudgetError, LayoutError, MapError, RowError
from hf_datamap.layouts import Example, Layout, choose_layout, detect_layout, parse_path
from hf_datamap.mapping import score_fn
from hf_datamap.noise import noise_split
from hf_datamap.outcomes import (
    AnyScorer,
    Outcome,
    columns_of,
    examples_of,
    is_cheap,
    layout_for,
    prepare,
    release,
    schema_of,
    score_here,
    table_of,
    with_labels,
)
from hf_datamap.scorers.base import Task, TaskScorer
from hf_datamap.scorers.columns import ColumnScorer, scores_at
from hf_datamap.scorers.panel import Panel
from hf_datamap.store import Keys, Store

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    from hf_datamap.datamap import AnyDataset

_READ: Final = 256  # rows read at a time
_HASHED: Final = 100_000  # rows digested at a time


def annotate(
    ds: AnyDataset,
    scorer: AnyScorer,
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

    Rows keep their order and number. What was paid for is kept in the score store whatever happens, so that the same
    call goes on where an earlier one ended.

    Args:
        ds: a `Dataset`, a `DatasetDict` (its splits are cut together) or an `IterableDataset` (read twice, lazily).
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
    from datasets import DatasetDict, IterableDataset

    options: dict[str, Any] = {"low_variance": low_variance, "low_mean": low_mean, "correct_noise": correct_noise}
    if isinstance(ds, IterableDataset):
        if budget is not None and budget != Budget(prices=budget.prices):
            raise BudgetError("a stream, scored as it is read, has no budget: take(n) of it, or load it as a Dataset")
        return _annotate_stream(ds, scorer, layout, options, source)
    splits = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    rows = sum(len(split) for split in splits.values())
    if not rows:
        raise MapError("the dataset has no rows: there is nothing to map")
    layout = layout_for(scorer, _layout_for(splits, layout))
    budget, usage = budget or Budget(), Usage()
    bar = Progress(usage, rows, progress)
    jobs = {name: _Job(split, layout, budget=budget, usage=usage, progress=bar) for name, split in splits.items()}
    try:
        scorer, tables = _run_all(jobs, scorer)
    finally:
        bar.close()
        release(scorer)
    scored = {name: with_columns(split, tables[name], _content(tables[name])) for name, split in splits.items()}
    whole = DatasetDict(scored) if isinstance(ds, DatasetDict) else scored[""]
    provenance = _provenance(scorer, layout, usage, budget, source)
    provenance["rows"] = _statuses(tables.values())
    if isinstance(scorer, Panel) and scorer.report is not None:
        provenance["panel"] = scorer.report.to_dict()
    if any(table[columns.NOISE].null_count < len(table) for table in tables.values()) and (found := noise_split(whole)):
        # Where nothing varies there is no share, and JSON knows no infinity.
        provenance["noise"] = {name: value for name, value in asdict(found).items() if math.isfinite(value)}
    data_map = DataMap.fit(whole, **options, provenance=provenance)
    return data_map.assign(whole, probability=correct_noise), data_map


def fit_panel(
    panel: Panel,
    ds: Dataset | DatasetDict,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> Panel:
    """Return a panel that knows its members' scales on a data set, and how far they agree (``panel.report``).

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
    splits = dict(ds) if isinstance(ds, Mapping) else {"": ds}
    layout = layout_for(panel, _layout_for(splits, layout))
    usage = Usage()
    bar = Progress(usage, sum(len(split) for split in splits.values()), progress)
    jobs = [_Job(split, layout, budget=budget or Budget(), usage=usage, progress=bar) for split in splits.values()]
    try:
        return panel.fitted([outcome for job in jobs for outcome in job.collect(panel.listening())])
    finally:
        bar.close()
        release(panel)


def _run_all(jobs: Mapping[str, _Job], scorer: AnyScorer) -> tuple[AnyScorer, dict[str, pa.Table]]:
    """Score every split; a panel without scales gets them from all of them."""
    if isinstance(scorer, ColumnScorer):
        return scorer, {name: job.from_columns(scorer) for name, job in jobs.items()}
    if not isinstance(scorer, Panel) or scorer.scales is not None:
        return scorer, {name: job.table(job.collect(scorer), scorer) for name, job in jobs.items()}
    gathered = {name: job.collect(scorer.listening()) for name, job in jobs.items()}
    panel = scorer.fitted([outcome for outcomes in gathered.values() for outcome in outcomes])
    return panel, {
        name: jobs[name].table([o if isinstance(o, RowError) else panel.finish(o) for o in outcomes], panel)
        for name, outcomes in gathered.items()
    }


def _statuses(tables: Iterable[pa.Table]) -> dict[str, int]:
    """Rows per status."""
    found: Counter[str] = Counter()
    for table in tables:
        for entry in pc.value_counts(table[columns.STATUS]).to_pylist():
            found[entry["values"]] += entry["counts"]
    return {name: found[name] for name in (columns.OK, columns.PARTIAL, columns.FAILED, columns.SKIPPED)}


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

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows can be scored"]
        lines += [f"  {count:,} rows cannot: {reason}" for reason, count in self.skipped.items()]
        lines.append(f"{self.requests:,} requests to send, {self.from_store:,} answers are in the store already")
        lines.append(f"about {self.input_tokens:,} tokens in and {self.output_tokens:,} out")
        lines.append(f"about ${self.cost:,.4f}" if self.cost is not None else "cost unknown: pass --price IN,OUT")
        return "\n".join(lines)


def estimate(ds: Dataset, scorer: AnyScorer, *, layout: Layout | None = None, prices: Prices | None = None) -> Estimate:
    """Say what annotating a dataset would take, without sending anything.

    Args:
        ds: the dataset.
        scorer: the scorer.
        layout: where prompt and responses are; detected from the columns by default.
        prices: what the endpoint charges.

    Raises:
        LayoutError: the columns fit no layout, or several.
    """
    layout = _layout_for({"": ds}, layout)
    layout = layout_for(scorer, layout)
    reasons: Counter[str] = Counter()
    rows = sent = received = 0
    wanted: set[bytes] = set()
    paying = scorer if isinstance(scorer, TaskScorer) else None
    store, keys = (Store() if paying else None), _KeyRing()
    known = 0
    for batch in _batches(ds, layout.columns, _READ):
        for example in layout.read_batch(batch):
            if isinstance(example, RowError):
                reasons[example.reason] += 1
                continue
            rows += 1
            if paying is None or store is None:
                continue
            tasks = {keys.of(task, paying): task for task in _all_tasks(paying, example)}
            there = store.get(key for key in tasks if key not in wanted)
            known += len(there)
            for key, task in tasks.items():
                if key not in there and key not in wanted:
                    wanted.add(key)
                    tokens = _tokens(paying, task)
                    sent, received = sent + tokens[0], received + tokens[1]
    if store is not None:
        store.close()
    cost = prices.cost(sent, received) if prices else None
    return Estimate(rows, dict(reasons.most_common()), len(wanted), known, sent, received, cost)


def _all_tasks(scorer: TaskScorer, example: Example) -> Iterator[Task]:
    """A scorer's tasks, and those that they wait for."""
    for task in scorer.tasks(example):
        yield task
        if task.after is not None:
            yield task.after


class _KeyRing:
    """Keys of tasks under whoever answers them."""

    def __init__(self) -> None:
        self._keys: dict[int, Keys] = {}

    def of(self, task: Task, cutter: TaskScorer) -> bytes:
        scorer = task.scorer or cutter
        if id(scorer) not in self._keys:
            self._keys[id(scorer)] = Keys(dict(scorer.identity))
        return self._keys[id(scorer)].of(task.content)


def _tokens(scorer: TaskScorer, task: Task) -> tuple[int, int]:
    guess = getattr(task.scorer or scorer, "estimate", None)
    return guess(task) if guess else (0, 0)


def _layout_for(splits: Mapping[str, Dataset], given: Layout | None = None) -> Layout:
    """The one layout of all splits; one that was given is checked against their columns."""
    if given is not None:
        return choose_layout(splits, given)
    found: dict[str, Layout] = {}
    for name, split in splits.items():
        sample = split.select(range(min(8, len(split)))).to_list() if len(split) else None
        found[name] = detect_layout(split.features, sample=sample)
    first, *others = found.values()
    if any(other.to_dict() != first.to_dict() for other in others):
        names = ", ".join(f"{name}: {layout.name}" for name, layout in found.items())
        raise LayoutError(f"the splits have different layouts ({names}); annotate them one by one, or pass layout=")
    return first


def _content(table: pa.Table) -> bytes:
    """A digest of the scores, for the fingerprint; however large the table, little of it is copied at a time."""
    digest = xxhash.xxh3_128()
    for start in range(0, table.num_rows, _HASHED):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(start, _HASHED).combine_chunks())
        digest.update(sink.getvalue())
    return digest.digest()


class _Job:
    """Scoring one `Dataset`: outcomes, and the added columns as an Arrow table, in row order."""

    def __init__(self, ds: Dataset, layout: Layout, *, budget: Budget, usage: Usage, progress: Progress) -> None:
        self.ds, self.layout = ds, layout
        self.budget, self.usage, self.progress = budget, usage, progress
        self._annotations: list[list[float | None] | None] = []

    def collect(self, scorer: AnyScorer) -> list[Outcome]:
        """Score every row."""
        if not is_cheap(scorer):
            outcomes, run = prepare(scorer, self._examples(scorer), budget=self.budget, usage=self.usage)
            engine().run(run, self.progress.show)
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
        if self.usage.rows % _READ == 0:
            self.progress.show()

    def _examples(self, scorer: AnyScorer) -> Iterator[Example | RowError]:
        for batch in _batches(self.ds, self.layout.columns, _READ):
            for example in examples_of(scorer, self.layout, batch):
                labels = None if isinstance(example, RowError) else example.annotations
                self._annotations.append(labels)
                yield example

    def from_columns(self, scorer: ColumnScorer) -> pa.Table:
        """Scores that are in the data need no texts; annotations only where they are more than numbers."""
        paths = scorer.columns(self.layout)
        labels = tuple(self.layout.annotations or ()) if self.layout.label == "scores" else ()
        numeric = bool(labels)
        heads = {str(parse_path(path)[0]) for path in (*paths, *labels, *self.layout.responses)}
        tables = []
        for batch in _batches(self.ds, tuple(heads) if numeric else (*heads, *self.layout.columns), 10_000):
            table = columns_of(scorer, batch, self.layout)
            if numeric:
                given = columns.padded(scores_at(batch, labels))
            else:
                read = self.layout.read_batch(batch)
                lists = [None if isinstance(row, RowError) else row.annotations for row in read]
                given = columns.padded(pa.array(lists, pa.list_(pa.float64())))
            tables.append(with_labels(table, given))
            self.usage.rows += batch.num_rows
            self.progress.show()
        return pa.concat_tables(tables) if tables else with_labels(table_of([], scorer), None)


class Progress:
    """A bar on stderr: rows done, and what the endpoint makes of it."""

    def __init__(self, usage: Usage, total: int, wanted: bool | None, what: str = "scoring") -> None:
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


def _annotate_stream(
    ds: IterableDataset,
    scorer: AnyScorer,
    layout: Layout | None,
    options: Mapping[str, Any],
    source: Mapping[str, Any] | None,
) -> tuple[IterableDataset, DataMap]:
    """Score lazily, fit in one pass, assign lazily: what is bought in the first pass is read back in the second."""
    if layout is None:
        sample = list(ds.take(8))
        if not sample:
            raise MapError("the dataset has no rows: there is nothing to map")
        layout = detect_layout(ds.features or sample[0], sample=sample)
    scored = ds.map(
        score_fn(scorer, layout=layout),
        batched=True,
        features=columns.features(ds.features, schema_of(scorer)) if ds.features else None,
    )
    data_map = DataMap.fit(scored, **options, provenance=_provenance(scorer, layout, Usage(), Budget(), source))
    return data_map.assign(scored, probability=data_map.corrected), data_map


def _batches(ds: Dataset, names: Sequence[str], size: int) -> Iterator[pa.Table]:
    kept = [name for name in ds.column_names if name in set(names)]
    yield from ds.select_columns(kept).with_format("arrow").iter(size)


def _provenance(
    scorer: AnyScorer, layout: Layout, usage: Usage, budget: Budget, source: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "scorer": dict(scorer.identity),
        "layout": {**layout.to_dict(), "name": layout.name, "why": layout.why},
        "source": dict(source or {}),
        "usage": usage.summary(budget.prices),
        "date": datetime.now(UTC).date().isoformat(),
    }

"""`annotate`: the whole job, from rows to a mapped dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from hf_datamap.data import Example, Layout, choose_layout, columns, detect_layout
from hf_datamap.data.dataset import by_row_group, map_tables, with_columns, with_table
from hf_datamap.datamap.datamap import DataMap, assign_stream
from hf_datamap.datamap.noise import split_of, with_probability, without_noise
from hf_datamap.datamap.reliability import NoiseSplit, joined
from hf_datamap.engine.budget import Budget, Prices, Usage
from hf_datamap.engine.store import Keys, Store
from hf_datamap.engine.task import Task
from hf_datamap.errors import BudgetError, LayoutError, MapError, RowError
from hf_datamap.scorers.adapter import as_fitted_scorer, as_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scorers.panel import Panel
from hf_datamap.scoring.progress import READ, Progress, ScoringJob, added_schema, batches, needed_columns, score_table

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    from hf_datamap.datamap.datamap import AnyDataset

_STREAMED: Final = 10_000  # rows of a stream scored at a time, where that needs no requests
_STREAMED_ASKING: Final = (
    2_000  # otherwise: the last answers to one table are waited for before the next is asked about
)
_HASHED: Final = 100_000  # rows digested at a time


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

    Rows keep their order and number. What was paid for is kept in the score store whatever happens, so that the same
    call goes on where an earlier one ended.

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
    from datasets import DatasetDict, IterableDataset

    options: dict[str, Any] = {"low_variance": low_variance, "low_mean": low_mean, "correct_noise": correct_noise}
    scorer = as_scorer(scorer)
    if isinstance(ds, IterableDataset):
        if budget is not None and budget.limited:
            raise BudgetError("a stream, scored as it is read, has no budget: take(n) of it, or load it as a Dataset")
        return _annotate_stream(ds, scorer, layout, options, source=source, progress=progress)
    splits = dict(ds) if isinstance(ds, DatasetDict) else {"": ds}
    rows = sum(len(split) for split in splits.values())
    if not rows:
        raise MapError("the dataset has no rows: there is nothing to map")
    layout = scorer.read_with(_layout_for(splits, layout))
    budget, usage = budget or Budget(), Usage()
    bar = Progress(usage, rows, progress)
    jobs = {name: ScoringJob(split, layout, budget=budget, usage=usage, progress=bar) for name, split in splits.items()}
    try:
        scorer, tables = _run_all(jobs, scorer)
    finally:
        bar.close()
        scorer.release()
    scored = {name: with_columns(split, tables[name], _content(tables[name])) for name, split in splits.items()}
    whole = DatasetDict(scored) if isinstance(ds, DatasetDict) else scored[""]
    provenance = provenance_of(scorer, layout, usage, budget, source)
    provenance["rows"] = statuses_of(*(table[columns.STATUS] for table in tables.values()))
    provenance |= scorer.provenance()
    if found := joined(map(split_of, tables.values())):
        provenance["noise"] = found.summary()
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
    layout = panel.read_with(_layout_for(splits, layout))
    usage = Usage()
    bar = Progress(usage, sum(len(split) for split in splits.values()), progress)
    jobs = [
        ScoringJob(split, layout, budget=budget or Budget(), usage=usage, progress=bar) for split in splits.values()
    ]
    try:
        return panel.fitted([outcome for job in jobs for outcome in job.collect(panel.unfitted())])
    finally:
        bar.close()
        panel.release()


def _run_all(jobs: Mapping[str, ScoringJob], scorer: Scorer) -> tuple[Scorer, dict[str, pa.Table]]:
    """Score every split; a panel without scales gets them from all of them."""
    if not scorer.needs_fit:
        return scorer, {name: job.run(scorer) for name, job in jobs.items()}
    gathered = {name: job.collect(scorer.unfitted()) for name, job in jobs.items()}
    panel = scorer.fitted([outcome for outcomes in gathered.values() for outcome in outcomes])
    return panel, {
        name: jobs[name].table([o if isinstance(o, RowError) else panel.standardised(o) for o in outcomes], panel)
        for name, outcomes in gathered.items()
    }


def statuses_of(*found: pa.ChunkedArray | Mapping[str, int]) -> dict[str, int]:
    """Rows per status, of columns of them or of counts."""
    rows: Counter[str] = Counter()
    for statuses in found:
        if isinstance(statuses, Mapping):
            rows.update(statuses)
        else:
            rows.update({entry["values"]: entry["counts"] for entry in pc.value_counts(statuses).to_pylist()})
    return {name: rows[name] for name in (columns.OK, columns.PARTIAL, columns.FAILED, columns.SKIPPED)}


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
    layout = scorer.read_with(_layout_for({"": ds}, layout))
    reasons: Counter[str] = Counter()
    rows = sent = received = 0
    wanted: set[bytes] = set()
    paying = scorer if scorer.way is Way.ENGINE else None
    store, keys = (Store() if paying else None), _KeyRing()
    known = 0
    for batch in batches(ds, layout.columns, READ):
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


def _all_tasks(scorer: Scorer, example: Example) -> Iterator[Task]:
    """A scorer's tasks, and those that they wait for."""
    for task in scorer.tasks(example):
        yield task
        if task.after is not None:
            yield task.after


class _KeyRing:
    """Keys of tasks under whoever answers them."""

    def __init__(self) -> None:
        self._keys: dict[int, Keys] = {}

    def of(self, task: Task, cutter: Scorer) -> bytes:
        scorer = task.scorer or cutter
        if id(scorer) not in self._keys:
            self._keys[id(scorer)] = Keys(dict(scorer.identity))
        return self._keys[id(scorer)].of(task.content)


def _tokens(scorer: Scorer, task: Task) -> tuple[int, int]:
    return (task.scorer or scorer).estimate(task)


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


def _annotate_stream(
    ds: IterableDataset,
    scorer: Scorer,
    layout: Layout | None,
    options: Mapping[str, Any],
    *,
    source: Mapping[str, Any] | None,
    progress: bool | None,
) -> tuple[IterableDataset, DataMap]:
    """Score and fit in one pass, then score and assign lazily: what was bought in the first pass is read back."""
    scorer = as_fitted_scorer(scorer)
    ds = by_row_group(ds)
    layout = scorer.read_with(layout or _layout_of_stream(ds))
    size = _STREAMED_ASKING if scorer.way is Way.ENGINE else _STREAMED
    needed = needed_columns(scorer, layout)
    narrow = ds.select_columns([name for name in ds.column_names if name in needed]) if ds.column_names else ds
    first, again = _StreamJob(scorer, layout), _StreamJob(scorer, layout)
    first.progress = Progress(first.usage, None, progress)
    try:
        data_map = DataMap.fit(map_tables(narrow, first, added_schema(scorer), size), **options)
    finally:
        first.progress.close()
        scorer.release()
    if not data_map.rows:
        raise MapError("the dataset has no rows: there is nothing to map")
    provenance = provenance_of(scorer, layout, first.usage, Budget(), source)
    provenance["rows"] = statuses_of(first.statuses)
    if found := joined(first.noise):
        provenance["noise"] = found.summary()
    data_map = data_map.model_copy(update={"provenance": provenance})
    scored = map_tables(ds, again, added_schema(scorer), size)
    assigned = assign_stream(without_noise(scored) if data_map.corrected else scored, data_map)
    return (with_probability(assigned, data_map) if data_map.corrected else assigned), data_map


def _layout_of_stream(ds: IterableDataset) -> Layout:
    sample = list(ds.take(8).with_format(None))
    if not sample:
        raise MapError("the dataset has no rows: there is nothing to map")
    return detect_layout(ds.features or sample[0], sample=sample)


class _StreamJob:
    """Scores the tables of a stream, and counts."""

    def __init__(self, scorer: Scorer, layout: Layout) -> None:
        self.scorer, self.layout = scorer, layout
        self.usage, self.statuses = Usage(), Counter[str]()
        self.noise: list[NoiseSplit | None] = []
        self.progress: Progress | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _StreamJob, (self.scorer, self.layout)

    def __call__(self, table: pa.Table) -> pa.Table:
        added = score_table(table, self.scorer, self.layout, usage=self.usage, progress=self.progress)
        self.statuses.update(statuses_of(added[columns.STATUS]))
        self.noise.append(split_of(added))
        return with_table(table, added)


def provenance_of(
    scorer: Scorer, layout: Layout, usage: Usage, budget: Budget, source: Mapping[str, Any] | None
) -> dict[str, Any]:
    """How scores came about, for a map."""
    return {
        "scorer": dict(scorer.identity),
        "layout": {**layout.to_dict(), "name": layout.name, "why": layout.why},
        "source": dict(source or {}),
        "usage": usage.summary(budget.prices),
        "date": datetime.now(UTC).date().isoformat(),
    }

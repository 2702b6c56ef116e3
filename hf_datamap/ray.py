"""Maps on a Ray cluster: the same columns, row for row, as on one machine.

Every worker is an actor that holds one scorer and keeps many requests in flight. Answers go to one score store, that of
the driver's machine, before the row that they belong to is done: a worker or a node that dies loses no answer that has
arrived. Budget and rate are granted from one place (`hf_datamap.office`).
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from hf_datamap import columns, env
from hf_datamap.blocks import Block, Loader, fit_blocks, fit_whole
from hf_datamap.budget import Budget, Usage
from hf_datamap.cutting import Cut
from hf_datamap.datamap import DataMap, fraction
from hf_datamap.engine import engine
from hf_datamap.errors import DataMapError, MapError, ScorerError, SourceError
from hf_datamap.layouts import Layout, choose_layout, detect_layout
from hf_datamap.noise import corrected_table, probable_table, split_of
from hf_datamap.office import Lease, LeasedUsage, Office, Report, SharedStore
from hf_datamap.outcomes import AnyScorer, checked, layout_for
from hf_datamap.points import IN_MEMORY, joined_block, values_of, wanted
from hf_datamap.reliability import joined
from hf_datamap.scorers.base import Answer
from hf_datamap.scorers.panel import Panel
from hf_datamap.scoring import provenance_of, statuses_of
from hf_datamap.scoring_job import Progress, score_table
from hf_datamap.shards import Part, Scored, ShardJob, finish_part, score_part
from hf_datamap.streams import with_table

if TYPE_CHECKING:
    import ray.data

_SETTLED: Final = 512  # answers on their way to the store, per worker
_STARTED: Final = 200  # tasks submitted ahead
_ROWS: Final = 2_000  # rows of a Ray dataset scored at a time


class RayCrew:
    """Scores the parts of `hf_datamap.shards.annotate_files` on a Ray cluster.

    The source, and the folder that is written, must be visible to all nodes under the same path.

    Args:
        address: the cluster; that of ``RAY_ADDRESS``, or a new one on this machine, by default.
        workers: actors; one per CPU (per GPU where GPUs are taken) by default, at most one per part.
        num_cpus: CPUs that an actor takes.
        num_gpus: GPUs that an actor takes; by default 1 for a scorer that loads weights where the cluster has GPUs.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int | None = None,
        num_cpus: float = 1,
        num_gpus: float | None = None,
    ) -> None:
        self.address, self.workers = address, workers
        self.num_cpus, self.num_gpus = num_cpus, num_gpus

    def score(self, parts: Sequence[Part], job: ShardJob, usage: Usage, bar: Progress) -> Iterator[Scored]:
        """See `hf_datamap.shards.Crew`."""
        if not parts:
            return
        import ray.data

        connect(self.address)
        with _office(job.budget) as office:
            work = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
            actors = self._actors(job.scorer, len(parts))
            scored = work.map_batches(_PartWorker, batch_size=1, fn_constructor_args=(job, office), **actors)
            for row in scored.iter_rows():
                found: Scored = pickle.loads(row["scored"])  # noqa: S301 - our own worker's
                if found.usage is not None:
                    _add(usage, found.usage)
                yield found
                bar.show()

    def finish(self, parts: Sequence[Part], job: ShardJob, cut: Cut, paths: Sequence[Path]) -> None:
        """See `hf_datamap.shards.Crew`."""
        connect(self.address)
        calls = [(part, job, cut, path) for part, path in zip(parts, paths, strict=True)]
        for _ in _spread(finish_part, calls):
            pass

    def _actors(self, scorer: AnyScorer, most: int) -> dict[str, Any]:
        return _actors(scorer, most, self.workers, self.num_cpus, self.num_gpus)


def annotate(
    ds: ray.data.Dataset,
    scorer: AnyScorer,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    low_variance: Fraction | float = Fraction(2, 3),
    low_mean: Fraction | float = Fraction(1, 2),
    correct_noise: bool = False,
    approximate: bool = False,
    workers: int | None = None,
    num_cpus: float = 1,
    num_gpus: float | None = None,
    batch_size: int = _ROWS,
    source: dict[str, Any] | None = None,
) -> tuple[ray.data.Dataset, DataMap]:
    """Score a Ray dataset, fit its map, and add every column, as `hf_datamap.annotate` does.

    Rows keep the order that Ray Data has with ``preserve_order``; the result is materialised in the object store (Ray
    spills it to disk). For data that must survive the driver use `RayCrew`.

    Args:
        ds: the dataset.
        scorer: any scorer; of a panel one that knows its members' scales (`hf_datamap.fit_panel`).
        layout: where prompt and responses are; detected from the columns by default.
        budget: what all workers together may spend; rows beyond it are ``skipped``.
        low_variance: see `DataMap.fit`.
        low_mean: see `DataMap.fit`.
        correct_noise: see `DataMap.fit`.
        approximate: see `DataMap.fit`.
        workers: see `RayCrew`.
        num_cpus: see `RayCrew`.
        num_gpus: see `RayCrew`.
        batch_size: rows that a worker scores at a time.
        source: where the data came from, for the provenance record.

    Returns:
        The dataset with the added columns, and its map.

    Raises:
        LayoutError: the columns fit no layout, or several.
        ScorerError: the scorer cannot work at all.
        MapError: the dataset has no rows.
    """
    import ray.data

    if isinstance(checked(scorer), Panel) and getattr(scorer, "scales", None) is None:
        raise ScorerError("the panel does not know its members' scales: panel = dm.fit_panel(panel, some_rows) first")
    connect(None)
    layout = layout_for(scorer, _layout(ds, layout))
    shares = fraction("low_variance", low_variance), fraction("low_mean", low_mean)
    limits, usage = budget or Budget(), Usage()
    with _office(limits) as office, _ordered(ds):
        actors = _actors(scorer, 1 << 30, workers, num_cpus, num_gpus)
        given = (scorer, layout, limits, office)
        scored = ds.map_batches(_TableWorker, batch_size=batch_size, fn_constructor_args=given, **actors).materialize()
        for part in ray.get(office.usages.remote()):
            _add(usage, part)
    loaders = _stored(scored, correct_noise=correct_noise)
    if not loaders:
        raise MapError("the dataset has no rows: there is nothing to map")
    data_map = _fit(loaders, *shares, approximate=approximate, correct_noise=correct_noise)
    told = list(_spread(_tell, [(load.ref,) for load in loaders]))
    provenance = provenance_of(scorer, layout, usage, limits, source)
    provenance["rows"] = statuses_of(*(statuses for statuses, _ in told))
    if noise := joined(split for _, split in told):
        provenance["noise"] = noise.summary()
    data_map = data_map.model_copy(update={"provenance": provenance})
    assign = ray.remote(_assign)
    done = [assign.remote(load.ref, data_map.cut, load.first_row, correct_noise) for load in loaders]
    return ray.data.from_arrow_refs(done), data_map


def connect(address: str | None) -> None:
    """Connect to a cluster, unless this process is connected already.

    Raises:
        DataMapError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise DataMapError("Ray is not installed: pip install 'hf_datamap[ray]'") from None
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataMapError(f"no Ray cluster at {address or 'RAY_ADDRESS'}: {error}") from None


# --- workers ----------------------------------------------------------------------------------------------------------


class _Desk(Office):
    """The office as an actor: keeps its own clock, and what workers say they have spent."""

    def __init__(self, budget: Budget, folder: str) -> None:
        super().__init__(budget, folder)
        self._usages: list[Usage] = []
        self._failure: DataMapError | None = None

    def fail(self, error: DataMapError) -> None:
        self._failure = self._failure or error

    def failure(self) -> DataMapError | None:
        return self._failure

    def ask(self, wanted: int, report: Report, guess: tuple[int, int]) -> Lease:
        return self.lease(wanted, report, guess, time.monotonic())

    def spent(self, usage: Usage) -> None:
        self._usages.append(usage)

    def usages(self) -> list[Usage]:
        return self._usages


class _Line:
    """How a worker reaches the office (`hf_datamap.office.Reached`)."""

    def __init__(self, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        self._office = office
        self._kept: list[Any] = []

    def look_up(self, keys: list[bytes]) -> dict[bytes, Answer]:
        import ray

        found: dict[bytes, Answer] = ray.get(self._office.look_up.remote(keys))
        return found

    def keep(self, key: bytes, answer: Answer) -> None:
        self._kept.append(self._office.keep.remote(key, answer))
        if len(self._kept) > _SETTLED:
            self.settle()

    def settle(self) -> None:
        import ray

        kept, self._kept = self._kept, []
        ray.get(kept)

    async def lease(self, wanted: int, report: Report, guess: tuple[int, int]) -> Lease:
        lease: Lease = await self._office.ask.remote(wanted, report, guess)
        return lease


class _Worker:
    """What both kinds of workers do: share the office's store and budget."""

    def __init__(self, budget: Budget, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        import ray

        self._office, self._line, self._budget = office, _Line(office), budget
        env.take_secrets(ray.get(office.secrets.remote()))
        self._store = engine().shared = SharedStore(self._line)
        self._quiet = Progress(Usage(), None, wanted=False)

    @contextmanager
    def _spending(self) -> Iterator[Usage]:
        usage = LeasedUsage(office=self._line) if self._budget.limited else Usage()
        try:
            yield usage
        except DataMapError as error:
            _report(self._office, error)
            raise
        finally:
            self._store.settle()
            if isinstance(usage, LeasedUsage):
                self._office.ask.remote(0, usage.report(last=True), (0, 0))


class _PartWorker(_Worker):
    """Scores parts of files."""

    def __init__(self, job: ShardJob, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        super().__init__(job.budget, office)
        if not job.scratch.is_dir():
            way = "write --out to a folder that all nodes share under one path"
            _report(office, SourceError(f"a node does not see {job.scratch}: {way}"))
            raise RuntimeError(way)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        found = []
        for part in batch["part"].to_pylist():
            with self._spending() as usage:
                scored = score_part(pickle.loads(part), self._job, usage, self._quiet)  # noqa: S301 - the driver's
            found.append(pickle.dumps(_with_usage(scored, usage)))
        return pa.table({"scored": pa.array(found, pa.binary())})


class _TableWorker(_Worker):
    """Scores batches of a Ray dataset."""

    def __init__(self, scorer: AnyScorer, layout: Layout, budget: Budget, office: Any) -> None:  # noqa: ANN401
        super().__init__(budget, office)
        self._scorer, self._layout = scorer, layout

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray

        with self._spending() as usage:
            added = score_table(batch, self._scorer, self._layout, budget=self._budget, usage=usage)
        ray.get(self._office.spent.remote(_plain(usage)))
        return with_table(batch, added)


def _report(office: Any, error: DataMapError) -> None:  # noqa: ANN401 - an actor's handle
    """Tell the driver what went wrong: of an exception itself Ray Data brings the words only."""
    import ray

    ray.get(office.fail.remote(error))


def _plain(usage: Usage) -> Usage:
    """The numbers alone: they go to another process."""
    return Usage(**{field.name: getattr(usage, field.name) for field in fields(Usage)})


def _with_usage(scored: Scored, usage: Usage) -> Scored:
    return Scored(scored.number, scored.rows, scored.statuses, scored.open, _plain(usage))


def _add(total: Usage, more: Usage) -> None:
    for name in ("rows", "requests", "from_store", "retried", "input_tokens", "output_tokens", "answered"):
        setattr(total, name, getattr(total, name) + getattr(more, name))
    total.failed.update(more.failed)
    total.stopped = total.stopped or more.stopped


# --- blocks of a Ray dataset ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """A block in Ray's object store."""

    ref: Any
    rows: int
    first_row: int
    correct_noise: bool

    def __call__(self) -> Block:
        import ray

        return self.of(ray.get(self.ref))

    def of(self, table: pa.Table) -> Block:
        table = corrected_table(table) if self.correct_noise else table
        return Block(values_of(table.select(wanted(table.column_names))), self.first_row)


def _stored(ds: ray.data.Dataset, *, correct_noise: bool) -> list[_Stored]:
    """The blocks of a materialised dataset that have rows, in order."""
    refs = ds.get_internal_block_refs()
    found: list[_Stored] = []
    first = 0
    for ref, rows in zip(refs, _spread(len, [(ref,) for ref in refs]), strict=True):
        if rows:
            found.append(_Stored(ref, rows, first, correct_noise))
        first += rows
    return found


def _on_block(table: pa.Table, load: _Stored, work: Callable[[Block], Any]) -> Any:  # noqa: ANN401
    return work(load.of(table))


def _each(work: Callable[[Block], Any], loaders: Sequence[Loader]) -> Iterator[Any]:
    """Do the work where the blocks are (`hf_datamap.blocks.Each`)."""
    stored = [load for load in loaders if isinstance(load, _Stored)]
    plain = [_Stored(None, load.rows, load.first_row, load.correct_noise) for load in stored]
    calls = [(load.ref, bare) for load, bare in zip(stored, plain, strict=True)]
    return _spread(partial(_on_block, work=work), calls)


def _fit(
    loaders: Sequence[_Stored],
    low_variance: Fraction,
    low_mean: Fraction,
    *,
    approximate: bool,
    correct_noise: bool,
) -> DataMap:
    """Fit here where the points fit in memory, otherwise where they are."""
    shares = low_variance, low_mean
    if not approximate and sum(load.rows for load in loaders) <= IN_MEMORY:
        fitted = fit_whole(joined_block(list(_each(_itself, loaders))), *shares)
    else:
        fitted = fit_blocks(loaders, *shares, each=_each, approximate=approximate)
    return DataMap.of(fitted, *shares, correct_noise=correct_noise)


def _itself(block: Block) -> Block:
    return block


def _tell(table: pa.Table) -> tuple[dict[str, int], Any]:
    """What the provenance says of a block."""
    return statuses_of(table[columns.STATUS]), split_of(table)


def _assign(table: pa.Table, cut: Cut, first_row: int, corrected: bool) -> pa.Table:
    table = corrected_table(table) if corrected else table
    table = cut.assign(table, range(first_row, first_row + table.num_rows))
    return probable_table(table, cut, corrected=True) if corrected else table


# --- Ray --------------------------------------------------------------------------------------------------------------


@contextmanager
def _office(budget: Budget) -> Iterator[Any]:
    """An office on this machine, for as long as the work takes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    office = ray.remote(_Desk).options(num_cpus=0, scheduling_strategy=here).remote(budget, str(env.cache_dir()))
    # As a call, not as an argument of the actor: Ray keeps those in its control store.
    ray.get(office.give_secrets.remote(env.secrets()))
    try:
        with _plainly(lambda: ray.get(office.failure.remote())):
            yield office
    finally:
        office.__ray_terminate__.remote()


def _actors(
    scorer: AnyScorer, most: int, workers: int | None, num_cpus: float, num_gpus: float | None
) -> dict[str, Any]:
    """Options of ``map_batches``: a pool of actors."""
    import ray

    there = ray.cluster_resources()
    if num_gpus is None:
        num_gpus = 1 if getattr(scorer, "loads_weights", False) and there.get("GPU") else 0
    per_worker = (num_gpus, there.get("GPU", 0)) if num_gpus else (num_cpus, there.get("CPU", 1))
    workers = workers or max(1, int(per_worker[1] // per_worker[0] if per_worker[0] else 1))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(workers, most)))
    options: dict[str, Any] = {"compute": pool, "num_cpus": num_cpus, "batch_format": "pyarrow"}
    return options | ({"num_gpus": num_gpus} if num_gpus else {})


@contextmanager
def _plainly(told: Callable[[], DataMapError | None] = lambda: None) -> Iterator[None]:
    """Raise errors of workers as they were raised there, without Ray's wrapping.

    Args:
        told: gives what a worker has told of its end.
    """
    import ray.exceptions

    try:
        yield
    except (ray.exceptions.RayError, SystemError) as error:
        cause = getattr(error, "cause", None)
        if found := cause if isinstance(cause, DataMapError) else told():
            raise found from None
        raise DataMapError(f"the Ray cluster failed: {' '.join(str(error).split())[-500:]}") from error


@contextmanager
def _ordered(ds: ray.data.Dataset) -> Iterator[None]:
    """Let results keep the order of their input."""
    import ray.data

    options = [context.execution_options for context in (ray.data.DataContext.get_current(), ds.context)]
    before = [one.preserve_order for one in options]
    for one in options:
        one.preserve_order = True
    try:
        yield
    finally:
        for one, value in zip(options, before, strict=True):
            one.preserve_order = value


def _spread(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Call a function on the cluster, some calls ahead, and give the results in order."""
    import ray

    def call(*given: Any) -> Any:  # noqa: ANN401 - Ray takes functions only
        return work(*given)

    task = ray.remote(num_cpus=1)(call)
    with _plainly():
        started: list[Any] = []
        for place in range(len(calls)):
            while len(started) < min(place + _STARTED, len(calls)):
                started.append(task.remote(*calls[len(started)]))
            yield ray.get(started[place])
            started[place] = None


def _layout(ds: ray.data.Dataset, given: Layout | None) -> Layout:
    from datasets import Dataset

    sample = ds.take_batch(8, batch_format="pyarrow")
    if given is not None:
        return choose_layout(Dataset(sample), given)
    return detect_layout(Dataset(sample).features, sample=sample.to_pylist())

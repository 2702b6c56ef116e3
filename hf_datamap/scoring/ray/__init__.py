"""Maps on a Ray cluster: the same columns, row for row, as on one machine.

Every worker is an actor that holds one scorer and keeps many requests in flight. Answers go to one score store, that of
the driver's machine, before the row that they belong to is done: a worker or a node that dies loses no answer that has
arrived. Budget and rate are granted from one place (`hf_datamap.engine.coordinator`).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import Layout, choose_layout, detect_layout
from hf_datamap.data.parquet import Part
from hf_datamap.datamap.assign import Assigner
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.fit import Fitted, fit_points
from hf_datamap.datamap.points import Gathered
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.scorers.adapter import as_fitted_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike
from hf_datamap.scoring.driver import Rows, job_of, map_rows
from hf_datamap.scoring.job import MapJob, PartReport
from hf_datamap.scoring.parts import PartsJob, write_part
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.ray.blocks import (
    StoredBlock,
    assign_block,
    for_each_stored,
    narrow_block,
    report_on_block,
    stored_blocks,
)
from hf_datamap.scoring.ray.cluster import call_all, connect, coordinator_actor, ordered, pool_of, silence_ray
from hf_datamap.scoring.ray.workers import PartWorker, TableWorker

if TYPE_CHECKING:
    import ray.data

_BATCH_ROWS: Final = 2_000  # rows of a Ray dataset scored at a time


class RayExecutor:
    """Works on the parts of `hf_datamap.annotate_files` on a Ray cluster.

    The source, and the folder that is written, must be visible to all nodes under the same path.

    Args:
        address: the cluster; by default that of ``RAY_ADDRESS``, one that runs on this machine, or a new one here.
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}(address={self.address!r}, workers={self.workers})"

    def pool(self, scorer: Scorer, most: int) -> dict[str, Any]:
        """Options of ``map_batches``: a pool of at most so many actors."""
        return pool_of(scorer, most, self.workers, self.num_cpus, self.num_gpus)

    def score(self, parts: Sequence[Part], job: PartsJob, usage: Usage, progress: Progress) -> Iterator[PartReport]:
        """See `hf_datamap.scoring.executors.Executor`."""
        if not parts:
            return
        import ray.data

        connect(self.address)
        with coordinator_actor(job.job.budget) as coordinator:
            work = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
            silence_ray()
            scored = work.map_batches(
                PartWorker,
                batch_size=1,
                fn_constructor_args=(job, coordinator),
                **self.pool(job.job.scorer, len(parts)),
            )
            for row in scored.iter_rows():
                report: PartReport = pickle.loads(row["report"])  # noqa: S301 - our own worker's
                if report.usage is not None:
                    usage.add(report.usage)
                progress.show()
                yield report

    def write(self, parts: Sequence[Part], job: PartsJob, assigner: Assigner, paths: Sequence[Path]) -> None:
        """See `hf_datamap.scoring.executors.Executor`."""
        connect(self.address)
        calls = [(part, job, assigner, path) for part, path in zip(parts, paths, strict=True)]
        for _ in call_all(write_part, calls):
            pass


RayCrew = RayExecutor  # its older name


def annotate(
    ds: ray.data.Dataset,
    scorer: ScorerLike,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    low_variance: Fraction | float = Fraction(2, 3),
    low_mean: Fraction | float = Fraction(1, 2),
    correct_noise: bool = False,
    approximate: bool = False,
    executor: RayExecutor | None = None,
    batch_size: int = _BATCH_ROWS,
    progress: bool | None = None,
    source: dict[str, Any] | None = None,
    in_memory: int | None = None,
    workers: int | None = None,
    num_cpus: float = 1,
    num_gpus: float | None = None,
) -> tuple[ray.data.Dataset, DataMap]:
    """Score a Ray dataset, fit its map, and add every column, as `hf_datamap.annotate` does.

    Rows keep the order that Ray Data has with ``preserve_order``; the result is materialised in the object store (Ray
    spills it to disk). For data that must survive the driver use `annotate_files` with a `RayExecutor`.

    Args:
        ds: the dataset.
        scorer: any scorer; of a panel one that knows its members' scales (`hf_datamap.fit_panel`).
        layout: where prompt and responses are; detected from the columns by default.
        budget: what all workers together may spend; rows beyond it are ``skipped``.
        low_variance: see `DataMap.fit`.
        low_mean: see `DataMap.fit`.
        correct_noise: see `DataMap.fit`; also adds ``datamap_region_probability``, see `DataMap.assign`.
        approximate: see `DataMap.fit`.
        executor: the cluster and its workers.
        batch_size: rows that a worker scores at a time.
        progress: whether to show a progress bar on stderr; as ``datasets`` is set by default.
        source: where the data came from, for the provenance record.
        in_memory: rows whose points the driver may hold in memory (see `DataMap.fit`); points of more rows are cut
            where they are.
        workers: the same as of ``executor``, which may be left out.
        num_cpus: the same as of ``executor``.
        num_gpus: the same as of ``executor``.

    Returns:
        The dataset with the added columns, and its map.

    Raises:
        LayoutError: the columns fit no layout, or several.
        ScorerError: the scorer cannot work at all.
        MapError: the dataset has no rows.
    """
    scorer = as_fitted_scorer(scorer)
    executor = executor or RayExecutor(workers=workers, num_cpus=num_cpus, num_gpus=num_gpus)
    connect(executor.address)
    options = {
        "low_variance": low_variance,
        "low_mean": low_mean,
        "correct_noise": correct_noise,
        "approximate": approximate,
    }
    rows = RayRows(
        ds, job_of(scorer, _layout(ds, layout, images=scorer.takes_images), budget, options), executor, batch_size
    )
    if in_memory is not None:
        rows.in_memory = in_memory
    return map_rows(rows, source, progress)


@dataclass
class RayRows(Rows["ray.data.Dataset"]):
    """The rows of a Ray dataset; a part is a block in the object store."""

    ds: ray.data.Dataset
    job: MapJob
    executor: RayExecutor
    batch_size: int
    count: None = None
    _blocks: list[StoredBlock] = field(default_factory=list)

    @property
    def _rows(self) -> int:
        return sum(block.rows for block in self._blocks)

    def score(self, usage: Usage, progress: Progress, points: Gathered) -> Iterator[PartReport]:
        """See `Rows`."""
        import ray

        silence_ray()
        with coordinator_actor(self.job.budget) as coordinator, ordered(self.ds):
            pool = self.executor.pool(self.job.scorer, 1 << 30)
            arguments = (self.job, coordinator)
            scored = self.ds.map_batches(TableWorker, batch_size=self.batch_size, fn_constructor_args=arguments, **pool)
            scored = scored.materialize()
            for worker_usage in ray.get(coordinator.usages.remote()):
                usage.add(worker_usage)
        progress.show()
        self._blocks = stored_blocks(scored, correct_noise=self.job.correct_noise)
        yield from call_all(report_on_block, [(block.ref, number) for number, block in enumerate(self._blocks)])
        if self._rows <= points.in_memory:
            calls = [(block.ref, self.job.correct_noise) for block in self._blocks]
            for table in call_all(narrow_block, calls):
                points.add(table)

    def fit(self, points: Gathered) -> Fitted:
        """See `Rows`: here where the points fit in memory, otherwise where they are."""
        if self._rows <= points.in_memory:
            return super().fit(points)
        job = self.job
        return fit_points(
            self._blocks, job.low_variance, job.low_mean, for_each=for_each_stored, approximate=job.approximate
        )

    def assign(self, data_map: DataMap) -> ray.data.Dataset:
        """See `Rows`."""
        import ray.data

        assign, assigner = ray.remote(assign_block), data_map.assigner(probability=self.job.correct_noise)
        return ray.data.from_arrow_refs([assign.remote(block.ref, assigner, block.first_row) for block in self._blocks])


def _layout(ds: ray.data.Dataset, given: Layout | None, *, images: bool) -> Layout:
    from datasets import Dataset

    sample = ds.take_batch(8, batch_format="pyarrow")
    if given is not None:
        return choose_layout(Dataset(sample), given)
    return detect_layout(Dataset(sample).features, sample=sample.to_pylist(), images=images)

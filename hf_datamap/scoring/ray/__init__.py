"""Maps on a Ray cluster: the same columns, row for row, as on one machine.

Every worker is an actor that holds one scorer and keeps many requests in flight. Answers go to one score store, that of
the driver's machine, before the row that they belong to is done: a worker or a node that dies loses no answer that has
arrived. Budget and rate are granted from one place (`hf_datamap.engine.coordinator`).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.data import Layout, choose_layout, detect_layout
from hf_datamap.data.parquet import Part
from hf_datamap.datamap.cut import Cut
from hf_datamap.datamap.datamap import DataMap, fraction
from hf_datamap.datamap.reliability import joined
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.errors import MapError
from hf_datamap.scorers.adapter import as_fitted_scorer
from hf_datamap.scorers.base import ScorerLike
from hf_datamap.scoring.annotate import provenance_of, statuses_of
from hf_datamap.scoring.files import Scored, ShardJob, finish_part
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.ray.blocks import assign_stored, fit_stored, stored_blocks, tell
from hf_datamap.scoring.ray.cluster import connect, coordinator_actor, ordered, pool_of, quiet, spread
from hf_datamap.scoring.ray.workers import PartWorker, TableWorker

if TYPE_CHECKING:
    import ray.data

_ROWS: Final = 2_000  # rows of a Ray dataset scored at a time


class RayCrew:
    """Scores the parts of `hf_datamap.scoring.files.annotate_files` on a Ray cluster.

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

    def score(self, parts: Sequence[Part], job: ShardJob, usage: Usage, bar: Progress) -> Iterator[Scored]:
        """See `hf_datamap.scoring.files.Crew`."""
        if not parts:
            return
        import ray.data

        connect(self.address)
        with coordinator_actor(job.budget) as coordinator:
            work = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
            actors = pool_of(job.scorer, len(parts), self.workers, self.num_cpus, self.num_gpus)
            quiet()
            scored = work.map_batches(PartWorker, batch_size=1, fn_constructor_args=(job, coordinator), **actors)
            for row in scored.iter_rows():
                found: Scored = pickle.loads(row["scored"])  # noqa: S301 - our own worker's
                if found.usage is not None:
                    usage.add(found.usage)
                yield found
                bar.show()

    def finish(self, parts: Sequence[Part], job: ShardJob, cut: Cut, paths: Sequence[Path]) -> None:
        """See `hf_datamap.scoring.files.Crew`."""
        connect(self.address)
        calls = [(part, job, cut, path) for part, path in zip(parts, paths, strict=True)]
        for _ in spread(finish_part, calls):
            pass


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

    scorer = as_fitted_scorer(scorer)
    connect(None)
    layout = scorer.read_with(_layout(ds, layout))
    shares = fraction("low_variance", low_variance), fraction("low_mean", low_mean)
    limits, usage = budget or Budget(), Usage()
    with coordinator_actor(limits) as coordinator, ordered(ds):
        actors = pool_of(scorer, 1 << 30, workers, num_cpus, num_gpus)
        given = (scorer, layout, limits, coordinator)
        scored = ds.map_batches(TableWorker, batch_size=batch_size, fn_constructor_args=given, **actors).materialize()
        for part in ray.get(coordinator.usages.remote()):
            usage.add(part)
    loaders = stored_blocks(scored, correct_noise=correct_noise)
    if not loaders:
        raise MapError("the dataset has no rows: there is nothing to map")
    data_map = fit_stored(loaders, *shares, approximate=approximate, correct_noise=correct_noise)
    told = list(spread(tell, [(load.ref,) for load in loaders]))
    provenance = provenance_of(scorer, layout, usage, limits, source)
    provenance["rows"] = statuses_of(*(statuses for statuses, _ in told))
    if noise := joined(split for _, split in told):
        provenance["noise"] = noise.summary()
    data_map = data_map.model_copy(update={"provenance": provenance})
    assign = ray.remote(assign_stored)
    done = [assign.remote(load.ref, data_map.cut, load.first_row, correct_noise) for load in loaders]
    return ray.data.from_arrow_refs(done), data_map


def _layout(ds: ray.data.Dataset, given: Layout | None) -> Layout:
    from datasets import Dataset

    sample = ds.take_batch(8, batch_format="pyarrow")
    if given is not None:
        return choose_layout(Dataset(sample), given)
    return detect_layout(Dataset(sample).features, sample=sample.to_pylist())

"""What runs in the actors: workers that hold a scorer each, and the coordinator that they share."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.dataset import with_table
from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.coordinator import Coordinator, RequestGrant, SharedStore, SharedUsage, WorkerReport
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import Answer
from hf_datamap.errors import DataMapError, SourceError
from hf_datamap.scoring.job import MapJob, plain_usage
from hf_datamap.scoring.parts import PartsJob, score_part
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.score_rows import RowScoring

_MAX_UNFINISHED_PUTS: Final = 512  # answers on their way to the store, per worker


class CoordinatorActor(Coordinator):
    """The coordinator as an actor: with a clock of its own and a list of what workers have spent."""

    def __init__(self, budget: Budget, folder: str) -> None:
        super().__init__(budget, folder)
        self._usages: list[Usage] = []
        self._failure: DataMapError | None = None

    def fail(self, error: DataMapError) -> None:
        """A worker ends with this error."""
        self._failure = self._failure or error

    def failure(self) -> DataMapError | None:
        """The first error of a worker."""
        return self._failure

    def grant_now(self, requested: int, report: WorkerReport, estimate: tuple[int, int]) -> RequestGrant:
        """See `Coordinator.grant`; by the clock of this process."""
        return self.grant(requested, report, estimate, time.monotonic())

    def spent(self, usage: Usage) -> None:
        """A worker has spent this."""
        self._usages.append(usage)

    def usages(self) -> list[Usage]:
        """What workers have spent."""
        return self._usages


class ActorClient:
    """How a worker reaches the coordinator (`hf_datamap.engine.coordinator.CoordinatorClient`)."""

    def __init__(self, coordinator: Any) -> None:  # noqa: ANN401 - an actor's handle
        self._coordinator = coordinator
        self._unfinished_puts: list[Any] = []

    def get(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """See `Coordinator.get`."""
        import ray

        cached_answers: dict[bytes, Answer] = ray.get(self._coordinator.get.remote(keys))
        return cached_answers

    def put(self, key: bytes, answer: Answer) -> None:
        """See `Coordinator.put`; returns before it is done."""
        self._unfinished_puts.append(self._coordinator.put.remote(key, answer))
        if len(self._unfinished_puts) > _MAX_UNFINISHED_PUTS:
            self.flush()

    def flush(self) -> None:
        """Wait until all answers are stored."""
        import ray

        unfinished, self._unfinished_puts = self._unfinished_puts, []
        ray.get(unfinished)

    async def grant(self, requested: int, report: WorkerReport, estimate: tuple[int, int]) -> RequestGrant:
        """See `Coordinator.grant`."""
        grant: RequestGrant = await self._coordinator.grant_now.remote(requested, report, estimate)
        return grant


class Worker:
    """What both kinds of workers do: share the coordinator's store and budget."""

    def __init__(self, budget: Budget, coordinator: Any) -> None:  # noqa: ANN401 - an actor's handle
        import ray

        self._coordinator, self._client, self._budget = coordinator, ActorClient(coordinator), budget
        config.adopt_secrets(ray.get(coordinator.secrets.remote()))
        self._store = engine().shared = SharedStore(self._client)
        self._progress = Progress.hidden()

    @contextmanager
    def _spending(self) -> Iterator[Usage]:
        usage = SharedUsage(client=self._client) if self._budget.limited else Usage()
        try:
            yield usage
        except DataMapError as error:
            _report(self._coordinator, error)
            raise
        finally:
            self._store.flush()
            if isinstance(usage, SharedUsage):
                self._coordinator.grant_now.remote(0, usage.report(last=True), (0, 0))


class PartWorker(Worker):
    """Scores parts of files."""

    def __init__(self, job: PartsJob, coordinator: Any) -> None:  # noqa: ANN401 - an actor's handle
        super().__init__(job.job.budget, coordinator)
        if not job.scratch.is_dir():
            way = "write --out to a folder that all nodes share under one path"
            _report(coordinator, SourceError(f"a node does not see {job.scratch}: {way}"))
            raise RuntimeError(way)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score the parts of a batch, which name files and row groups; the reports on them, pickled."""
        reports = []
        for part in batch["part"].to_pylist():
            with self._spending() as usage:
                report = score_part(pickle.loads(part), self._job, usage, self._progress)  # noqa: S301 - the driver's
            reports.append(pickle.dumps(replace(report, usage=plain_usage(usage))))
        return pa.table({"report": pa.array(reports, pa.binary())})


class TableWorker(Worker):
    """Scores batches of a Ray dataset."""

    def __init__(self, job: MapJob, coordinator: Any) -> None:  # noqa: ANN401 - an actor's handle
        super().__init__(job.budget, coordinator)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows with the added columns."""
        import ray

        with self._spending() as usage:
            added = RowScoring.of_table(batch, self._job, usage, self._progress).run(self._job.scorer)
        ray.get(self._coordinator.spent.remote(plain_usage(usage)))
        stale = [name for name in columns.FOLLOWING if name in batch.column_names]
        return with_table(batch.drop_columns(stale), added)


def _report(coordinator: Any, error: DataMapError) -> None:  # noqa: ANN401 - an actor's handle
    """Tell the driver what went wrong: of an exception itself Ray Data brings the words only."""
    import ray

    ray.get(coordinator.fail.remote(error))

"""What runs in the actors: workers that hold a scorer each, and the office that they share."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Final

import pyarrow as pa

from hf_datamap.data import Layout
from hf_datamap.data.dataset import with_table
from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.coordinator import Lease, LeasedUsage, Office, Report, SharedStore
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.task import Answer
from hf_datamap.errors import DataMapError, SourceError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scoring.files import Scored, ShardJob, score_part
from hf_datamap.scoring.progress import Progress, score_table

_SETTLED: Final = 512  # answers on their way to the store, per worker


class Desk(Office):
    """The office as an actor: keeps its own clock, and what workers say they have spent."""

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

    def ask(self, wanted: int, report: Report, guess: tuple[int, int]) -> Lease:
        """See `Office.lease`."""
        return self.lease(wanted, report, guess, time.monotonic())

    def spent(self, usage: Usage) -> None:
        """A worker has spent this."""
        self._usages.append(usage)

    def usages(self) -> list[Usage]:
        """What workers have spent."""
        return self._usages


class Line:
    """How a worker reaches the office (`hf_datamap.engine.coordinator.Reached`)."""

    def __init__(self, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        self._office = office
        self._kept: list[Any] = []

    def look_up(self, keys: list[bytes]) -> dict[bytes, Answer]:
        """See `Office.look_up`."""
        import ray

        found: dict[bytes, Answer] = ray.get(self._office.look_up.remote(keys))
        return found

    def keep(self, key: bytes, answer: Answer) -> None:
        """See `Office.keep`; returns before it is done."""
        self._kept.append(self._office.keep.remote(key, answer))
        if len(self._kept) > _SETTLED:
            self.settle()

    def settle(self) -> None:
        """Wait until all answers are kept."""
        import ray

        kept, self._kept = self._kept, []
        ray.get(kept)

    async def lease(self, wanted: int, report: Report, guess: tuple[int, int]) -> Lease:
        """See `Office.lease`."""
        lease: Lease = await self._office.ask.remote(wanted, report, guess)
        return lease


class Worker:
    """What both kinds of workers do: share the office's store and budget."""

    def __init__(self, budget: Budget, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        import ray

        self._office, self._line, self._budget = office, Line(office), budget
        config.take_secrets(ray.get(office.secrets.remote()))
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


class PartWorker(Worker):
    """Scores parts of files."""

    def __init__(self, job: ShardJob, office: Any) -> None:  # noqa: ANN401 - an actor's handle
        super().__init__(job.budget, office)
        if not job.scratch.is_dir():
            way = "write --out to a folder that all nodes share under one path"
            _report(office, SourceError(f"a node does not see {job.scratch}: {way}"))
            raise RuntimeError(way)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score the parts of a batch, which name files and row groups; their results, pickled."""
        found = []
        for part in batch["part"].to_pylist():
            with self._spending() as usage:
                scored = score_part(pickle.loads(part), self._job, usage, self._quiet)  # noqa: S301 - the driver's
            found.append(pickle.dumps(_with_usage(scored, usage)))
        return pa.table({"scored": pa.array(found, pa.binary())})


class TableWorker(Worker):
    """Scores batches of a Ray dataset."""

    def __init__(self, scorer: Scorer, layout: Layout, budget: Budget, office: Any) -> None:  # noqa: ANN401
        super().__init__(budget, office)
        self._scorer, self._layout = scorer, layout

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the rows with the added columns."""
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

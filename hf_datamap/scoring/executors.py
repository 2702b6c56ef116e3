"""Where parts of files are worked on: in this process, one by one or in threads. On Ray: `hf_datamap.scoring.ray`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from hf_datamap.data.parquet import Part
from hf_datamap.datamap.assign import Assigner
from hf_datamap.engine.budget import Usage
from hf_datamap.engine.scheduler import engine
from hf_datamap.errors import ScorerError
from hf_datamap.scorers.base import Way
from hf_datamap.scoring.job import PartReport
from hf_datamap.scoring.parts import PartsJob, score_part, write_part
from hf_datamap.scoring.progress import Progress


class Executor(Protocol):
    """Says where parts are worked on; what is done to them is the same everywhere."""

    def score(self, parts: Sequence[Part], job: PartsJob, usage: Usage, progress: Progress) -> Iterator[PartReport]:
        """Score parts, in any order (`hf_datamap.scoring.parts.score_part`)."""
        ...

    def write(self, parts: Sequence[Part], job: PartsJob, assigner: Assigner, paths: Sequence[Path]) -> None:
        """Write each part with its regions to a file (`hf_datamap.scoring.parts.write_part`)."""
        ...


class Inline:
    """Works on one part after the other, in the calling thread."""

    def __repr__(self) -> str:
        return "Inline()"

    def score(self, parts: Sequence[Part], job: PartsJob, usage: Usage, progress: Progress) -> Iterator[PartReport]:
        """See `Executor`."""
        for part in parts:
            yield score_part(part, job, usage, progress)

    def write(self, parts: Sequence[Part], job: PartsJob, assigner: Assigner, paths: Sequence[Path]) -> None:
        """See `Executor`."""
        for part, path in zip(parts, paths, strict=True):
            write_part(part, job, assigner, path)


class Threads:
    """Works in threads of this process: parts are read while others are scored, requests share one limit.

    Args:
        workers: parts under way.

    Raises:
        ScorerError: ``workers`` is less than 1.
    """

    def __init__(self, workers: int = 4) -> None:
        if workers < 1:
            raise ScorerError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._stopped = threading.Event()

    def __repr__(self) -> str:
        return f"Threads(workers={self.workers})"

    def score(self, parts: Sequence[Part], job: PartsJob, usage: Usage, progress: Progress) -> Iterator[PartReport]:
        """See `Executor`."""
        if job.job.scorer.way is Way.ENGINE:  # then the engine's thread alone counts
            yield from self._each(lambda part: score_part(part, job, usage, progress, self._stopped.is_set), parts)
            return

        def score_and_count(part: Part) -> tuple[PartReport, Usage]:
            own = Usage()  # several threads cannot count in one
            return score_part(part, job, own, Progress.hidden(), self._stopped.is_set), own

        for report, own in self._each(score_and_count, parts):
            usage.add(own)
            yield report

    def write(self, parts: Sequence[Part], job: PartsJob, assigner: Assigner, paths: Sequence[Path]) -> None:
        """See `Executor`."""
        work = list(zip(parts, paths, strict=True))
        for _ in self._each(lambda one: write_part(one[0], job, assigner, one[1]), work):
            pass

    def _each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        self._stopped.clear()
        with ThreadPoolExecutor(min(self.workers, max(1, len(items)))) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:  # Ctrl-C among them: threads do not hear of it
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                engine().interrupt()
                raise

"""The one driver: every way in scores, cuts, remembers and assigns through `map_rows`.

A way in is a `Rows`: it knows how its rows are read in parts and how they are given back. Where the work on parts is
done is the business of an executor (`hf_datamap.scoring.executors`).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Generic, TypeVar

from hf_datamap.data import Layout
from hf_datamap.datamap.datamap import DataMap, parse_fraction
from hf_datamap.datamap.fit import Fitted, fit_points
from hf_datamap.datamap.points import IN_MEMORY, Gathered, gathering
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.errors import MapError
from hf_datamap.scorers.base import Scorer
from hf_datamap.scoring.job import MapJob, PartReport
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.provenance import provenance_of, spread_finding

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Rows(ABC, Generic[Result]):
    """Rows that are scored part by part, and given back with their regions.

    Attributes:
        job: what is done to them; a panel without scales is replaced by one that has them.
        count: how many rows there are; None where that is not known before they are read.
        in_memory: rows whose points may be held in memory.
    """

    in_memory: int = IN_MEMORY
    job: MapJob
    count: int | None

    @abstractmethod
    def score(self, usage: Usage, progress: Progress, points: Gathered) -> Iterator[PartReport]:
        """Score the parts, in any order, and gather their points, in row order.

        Args:
            usage: what is spent, counted on the way.
            progress: shown on the way.
            points: where points go.
        """

    def fit(self, points: Gathered) -> Fitted:
        """Cut the points."""
        job = self.job
        return fit_points(points.readers(), job.low_variance, job.low_mean, approximate=job.approximate)

    @abstractmethod
    def assign(self, data_map: DataMap) -> Result:
        """Give the rows back with their regions."""


def job_of(scorer: Scorer, layout: Layout, budget: Budget | None, options: Mapping[str, Any]) -> MapJob:
    """Return the job that a caller asks for.

    Args:
        scorer: the scorer.
        layout: how rows are read.
        budget: what may be spent; anything by default.
        options: those of `DataMap.fit`.

    Raises:
        MapError: a fraction is outside [0, 1].
    """
    fractions: dict[str, Fraction] = {
        name: parse_fraction(name, options[name]) for name in ("low_variance", "low_mean")
    }
    return MapJob(scorer, scorer.read_with(layout), budget or Budget(), **{**options, **fractions})


def map_rows(rows: Rows[Result], source: Mapping[str, Any] | None, progress: bool | None) -> tuple[Result, DataMap]:
    """Score rows, fit their map, and give them back with their regions.

    Args:
        rows: the rows, and what is done to them.
        source: where they came from, for the provenance record.
        progress: whether to show a progress bar on stderr.

    Raises:
        MapError: there are no rows.
    """
    if rows.count == 0:
        raise MapError("the dataset has no rows: there is nothing to map")
    usage = Usage()
    reports: list[PartReport] = []
    bar = Progress(usage, rows.count, progress)
    with gathering(correct_noise=rows.job.correct_noise, in_memory=rows.in_memory) as points:
        try:
            for report in rows.score(usage, bar, points):
                reports.append(report)
                bar.show()
        finally:
            bar.close()
            rows.job.scorer.release()
        if not sum(sum(report.statuses.values()) for report in reports):  # of a stream that is known only now
            raise MapError("the dataset has no rows: there is nothing to map")
        job = rows.job
        if finding := spread_finding(job.scorer, reports):
            log.warning("%s: %s; the regions of such a map are row order, no finding", job.scorer.name, finding)
        data_map = DataMap.of(
            rows.fit(points),
            job.low_variance,
            job.low_mean,
            points,
            provenance=provenance_of(job, usage, reports, source),
        )
    return rows.assign(data_map), data_map

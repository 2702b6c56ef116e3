"""Parts of Parquet files: scored each into a small file of the added columns, then written out with their regions."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data import columns
from hf_datamap.data.dataset import with_table
from hf_datamap.data.parquet import Part
from hf_datamap.datamap.assign import Assigner
from hf_datamap.datamap.noise import table_noise_split
from hf_datamap.datamap.reliability import NoiseSplit, joined
from hf_datamap.engine.budget import Usage
from hf_datamap.errors import Interrupted
from hf_datamap.scorers.base import Way
from hf_datamap.scoring.job import MapJob, PartReport, count_statuses
from hf_datamap.scoring.progress import Progress
from hf_datamap.scoring.score_rows import RowScoring, added_schema, needed_columns
from hf_datamap.scoring.spread import ScoreSpread, joined_spread

if TYPE_CHECKING:
    from datasets import Features

_ROWS_ASKING: Final = 5_000  # rows scored at a time where that takes requests
_ROWS: Final = 20_000  # otherwise
_REPORT: Final = b"hf_datamap.report"  # metadata of a scored part


@dataclass(frozen=True)
class PartsJob:
    """What is done to every part of some files; can be sent to another machine.

    Attributes:
        job: how rows are scored and cut.
        scratch: folder of the scored parts.
        features: the columns of the source, as ``datasets`` knows them.
        keep: ``all`` columns of the source in the result, or ``added`` ones only.
        sampled: one row in so many is in the sample that the card's words about texts come from.
    """

    job: MapJob
    scratch: Path
    features: Features | Mapping[str, Any] = field(default_factory=dict)
    keep: str = "all"
    sampled: int = 1

    def sample(self, path: Path) -> Path:
        """Where the sample of a finished part is kept, for the card."""
        return self.scratch / "sample" / path.name

    def scored(self, part: Part) -> Path:
        """Where the added columns of a part are kept."""
        return self.scratch / f"scored-{part.number:06d}.parquet"


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, which becomes ``path`` when it is complete."""
    unfinished = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# --- scoring ----------------------------------------------------------------------------------------------------------


def score_part(
    part: Part, job: PartsJob, usage: Usage, progress: Progress, stopped: Callable[[], bool] = lambda: False
) -> PartReport:
    """Score one part, and keep its columns and the report on it.

    Args:
        part: the part.
        job: the job.
        usage: what is spent, counted on the way.
        progress: shown on the way.
        stopped: whether the whole work has been given up; asked after every table.

    Raises:
        Interrupted: it has.
    """
    statuses: Counter[str] = Counter()
    splits: list[NoiseSplit | None] = []
    spreads: list[ScoreSpread] = []
    unfinished = 0
    scorer = job.job.scorer
    names = needed_columns(scorer, job.job.layout)
    with complete_file(job.scored(part)) as path, pq.ParquetWriter(path, added_schema(scorer)) as writer:
        for table in part.batches(_ROWS_ASKING if scorer.way is Way.ENGINE else _ROWS, names):
            scoring = RowScoring.of_table(table, job.job, usage, progress)
            added = scoring.run(scorer)
            writer.write_table(added)
            statuses.update(count_statuses(added[columns.STATUS]))
            splits.append(table_noise_split(added))
            spreads.append(ScoreSpread.of(added))
            unfinished += scoring.unfinished
            if stopped():
                raise Interrupted("stopped; what was answered is in the store")
        report = PartReport(part.number, dict(statuses), joined(splits), unfinished, spread=joined_spread(spreads))
        writer.add_key_value_metadata({_REPORT: _report_text(report)})
    return report


def earlier_report(part: Part, job: PartsJob) -> PartReport | None:
    """The report on a part that an earlier run scored; None where there is none."""
    try:
        metadata: dict[bytes, bytes] = pq.read_metadata(job.scored(part)).metadata or {}
        values = json.loads(metadata[_REPORT])
        noise = NoiseSplit(**values["noise"]) if values["noise"] else None
        spread = ScoreSpread.of_json(values["spread"])
        return PartReport(part.number, values["statuses"], noise, values["unfinished"], spread=spread)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return None


def _report_text(report: PartReport) -> str:
    noise = asdict(report.noise) if report.noise else None
    spread = report.spread.to_json() if report.spread else None
    record = {"statuses": dict(report.statuses), "noise": noise, "unfinished": report.unfinished, "spread": spread}
    return json.dumps(record)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_part(part: Part, job: PartsJob, assigner: Assigner, path: Path) -> None:
    """Write one part with its regions to a file, and its share of the sample for the card."""
    with pq.ParquetFile(job.scored(part)) as file:
        scored = file.read()
    added = with_table(scored, assigner(scored, part.first_row))
    schema = _written_schema(added, job)
    row = part.first_row
    with (
        complete_file(path) as unfinished,
        complete_file(job.sample(path)) as unfinished_sample,
        pq.ParquetWriter(unfinished, schema) as writer,
        pq.ParquetWriter(unfinished_sample, schema) as sample,
    ):
        for rows in _with_source_columns(part, added, job):
            table = rows.cast(schema)
            writer.write_table(table)
            if job.sampled > 1:
                table = table.take(list(range(-row % job.sampled, table.num_rows, job.sampled)))
            sample.write_table(table)
            row += rows.num_rows


def _with_source_columns(part: Part, added: pa.Table, job: PartsJob) -> Iterator[pa.Table]:
    if job.keep == "added":
        yield added
        return
    start = 0
    for table in part.batches(_ROWS, tuple(job.features) or None):
        yield with_table(table, added.slice(start, table.num_rows))
        start += table.num_rows


def _written_schema(added: pa.Table, job: PartsJob) -> pa.Schema:
    """Names and types of a finished file, with the features that ``datasets`` reads."""
    from datasets import Features

    new = Features.from_arrow_schema(added.schema)
    kept = {name: kind for name, kind in job.features.items() if name not in new} if job.keep == "all" else {}
    return Features({**kept, **new}).arrow_schema

"""Maps of many Parquet files: scored part by part, in parallel, on one machine or several, and resumed by part.

The parts are scored, each into a small file of the added columns; the map is fitted on those files; the parts are
written out with their regions. Only scoring costs anything, and what it has done stays done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq
import xxhash

from hf_datamap.data import Layout, choose_layout, columns, detect_layout
from hf_datamap.data.parquet import Part, parquet_files, plan
from hf_datamap.data.shards import shard_name, split_name
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import SAMPLE_ROWS
from hf_datamap.datamap.points import IN_MEMORY_OF_STREAMS, Gathered, scored_tables
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.config import __version__
from hf_datamap.engine.store import canonical
from hf_datamap.errors import SourceError
from hf_datamap.publish.folder import check_folder, write_parts
from hf_datamap.scorers.adapter import as_fitted_scorer
from hf_datamap.scorers.base import ScorerLike, Way
from hf_datamap.scoring.driver import Rows, job_of, map_rows
from hf_datamap.scoring.executors import Executor, Threads
from hf_datamap.scoring.job import MapJob, PartReport
from hf_datamap.scoring.parts import PartsJob, complete_file, earlier_report
from hf_datamap.scoring.progress import Progress

if TYPE_CHECKING:
    from datasets import Features, IterableDataset

PART_ROWS: Final = 50_000  # of row groups that together make a part
PART_ROWS_ASKING: Final = 10_000  # the same where scoring takes requests


def annotate_files(
    files: str | Path | Sequence[str | Path],
    scorer: ScorerLike,
    out: str | Path,
    *,
    layout: Layout | None = None,
    budget: Budget | None = None,
    low_variance: Fraction | float = Fraction(2, 3),
    low_mean: Fraction | float = Fraction(1, 2),
    correct_noise: bool = False,
    approximate: bool = False,
    keep: str = "all",
    split: str = "train",
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    source: Mapping[str, Any] | None = None,
    part_rows: int | None = None,
    crew: Executor | None = None,
    telling: Mapping[str, Any] | None = None,
) -> tuple[IterableDataset, DataMap]:
    """Map Parquet files too large for one `Dataset`, and write the folder that ``hf-datamap map`` writes.

    Memory stays flat: some thousand rows of each part under way. The columns are those that `hf_datamap.annotate`
    gives. Scored parts wait in ``OUT.parts`` until the map is complete; the same call goes on where an earlier one
    ended, and asks again only for parts that lack scores.

    Args:
        files: Parquet files: paths, patterns, folders or URLs (``hf://datasets/owner/name/data/*.parquet``).
        scorer: any scorer; of a panel one that knows its members' scales (`hf_datamap.fit_panel`).
        out: folder to write.
        layout: where prompt and responses are; detected from the first file by default.
        budget: what may be spent; rows beyond it are ``skipped``.
        low_variance: see `DataMap.fit`.
        low_mean: see `DataMap.fit`.
        correct_noise: see `DataMap.fit`.
        approximate: see `DataMap.fit`.
        keep: ``all`` columns of the source, or only those that are ``added`` (row by row in the source's order): then
            only the columns that the scorer needs are read.
        split: name of the split that is written.
        executor: where parts are worked on: threads of this process by default (`hf_datamap.Threads`), or a cluster
            (`hf_datamap.ray.RayExecutor`).
        overwrite: whether the map, or the scored parts, of another job may be replaced.
        progress: whether to show a progress bar on stderr; as ``datasets`` is set by default.
        source: where the data came from, for the provenance record; the files by default.
        part_rows: rows of the row groups that together make a part; 50,000 by default, 10,000 where scoring takes
            requests.
        crew: the older name of ``executor``.
        telling: the older name of ``source``.

    Returns:
        The mapped dataset, read lazily from the files that were written, and its map.

    Raises:
        SourceError: a file cannot be read, or ``out`` holds something else.
        LayoutError: the columns fit no layout, or several.
        ScorerError: the scorer cannot work at all.
        MapError: there are no rows.
    """
    if keep not in ("all", "added"):
        raise SourceError(f"keep is 'all' or 'added', not {keep!r}")
    out, executor = Path(out), executor or crew or Threads()
    scorer = as_fitted_scorer(scorer)
    scorer.check()
    parts = plan(parquet_files(files), part_rows or (PART_ROWS_ASKING if scorer.way is Way.ENGINE else PART_ROWS))
    features = parts[0].features()
    for name in columns.FOLLOWING:
        features.pop(name, None)
    options = {
        "low_variance": low_variance,
        "low_mean": low_mean,
        "correct_noise": correct_noise,
        "approximate": approximate,
    }
    job = job_of(scorer, _layout(parts[0], features, layout, images=scorer.takes_images), budget, options)
    named = str(files) if isinstance(files, str | Path) else ", ".join(map(str, files))
    source = dict(source or telling or {"id": named})
    check_folder(out, {"scorer": dict(scorer.identity), "source": source}, overwrite=overwrite)
    parts_job = PartsJob(job, scratch_of(out).absolute(), features, keep)
    _claim(parts_job, parts, overwrite=overwrite)
    return map_rows(FileRows(parts, parts_job, executor, out, split_name(split)), source, progress)


def scratch_of(out: Path) -> Path:
    """Where the parts of a map wait until it is complete."""
    return out.with_name(out.name + ".parts")


@dataclass
class FileRows(Rows["IterableDataset"]):
    """The rows of Parquet files; a part is a run of row groups of one file."""

    in_memory = IN_MEMORY_OF_STREAMS
    parts: Sequence[Part]
    parts_job: PartsJob
    executor: Executor
    out: Path
    split: str
    _unfinished: int = field(default=0)

    @property
    def job(self) -> MapJob:  # type: ignore[override] # stands in the job of the parts
        """How rows are scored and cut."""
        return self.parts_job.job

    @property
    def count(self) -> int:  # type: ignore[override] # follows from the parts
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def score(self, usage: Usage, progress: Progress, points: Gathered) -> Iterator[PartReport]:
        """See `Rows`: what an earlier run left unfinished, and what it did not come to."""
        missing = []
        for part in self.parts:
            report = earlier_report(part, self.parts_job)
            if report is None or report.unfinished:
                missing.append(part)
            else:
                usage.rows += part.rows
                yield report
        for report in self.executor.score(missing, self.parts_job, usage, progress):
            self._unfinished += report.unfinished
            yield report
        scored = [self.parts_job.scored(part) for part in self.parts]
        for table in scored_tables(scored, correct_noise=self.job.correct_noise):
            points.add(table)

    def assign(self, data_map: DataMap) -> IterableDataset:
        """See `Rows`: write the finished folder."""
        job = replace(self.parts_job, sampled=-(-data_map.rows // SAMPLE_ROWS))
        data, sample = job.scratch / "data", job.scratch / "sample"
        for folder in (data, sample):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        count = len(self.parts)
        paths = [data / shard_name(self.split, number, count) for number in range(count)]
        self.executor.write(self.parts, job, data_map.assigner(probability=self.job.correct_noise), paths)
        title = str(data_map.provenance["source"].get("id", ""))
        write_parts(data, sample, self.split, data_map, self.out, title=title)
        shutil.rmtree(sample)
        if not self._unfinished:
            shutil.rmtree(job.scratch, ignore_errors=True)
        return _opened([self.out / "data" / path.name for path in paths], self.split)


def _opened(paths: Sequence[Path], split: str) -> IterableDataset:
    """The files that were written, as a dataset that is read lazily: nothing is copied to a cache."""
    from datasets import Features, load_dataset

    features = Features.from_arrow_schema(pq.read_schema(paths[0]))
    names = {split: [str(path) for path in paths]}
    return load_dataset("parquet", data_files=names, split=split, features=features, streaming=True)


def _layout(part: Part, features: Features, given: Layout | None, *, images: bool) -> Layout:
    if given is not None:
        from datasets import Dataset

        return choose_layout(Dataset(features.arrow_schema.empty_table()), given)
    return detect_layout(features, sample=next(part.batches(8)).to_pylist(), images=images)


def _claim(job: PartsJob, parts: Sequence[Part], *, overwrite: bool) -> None:
    """Make the scratch folder ours, or go on with it.

    Raises:
        SourceError: it belongs to another job.
    """
    identity: dict[str, Any] = {
        "version": __version__,
        "scorer": dict(job.job.scorer.identity),
        "layout": job.job.layout.to_dict(),
        "parts": xxhash.xxh3_128(canonical([list(asdict(part).values()) for part in parts])).hexdigest(),
    }
    claim = job.scratch / "job.json"
    if claim.is_file() and json.loads(claim.read_text(encoding="utf-8")) != json.loads(json.dumps(identity)):
        if not overwrite:
            raise SourceError(
                f"{job.scratch} holds parts that another job scored (another scorer, layout, source or version). "
                "Name another --out, or pass --overwrite."
            )
        for path in job.scratch.glob("*scored-*"):
            path.unlink()
    job.scratch.mkdir(parents=True, exist_ok=True)
    with complete_file(claim) as path:
        path.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")

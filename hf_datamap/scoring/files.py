"""Maps of many Parquet files: scored part by part, in parallel, on one machine or several, and resumed by part.

Three passes: the parts are scored, each into a small file of the added columns; the map is fitted on those files; the
parts are written out with their regions. Only the first pass costs anything, and what it has done stays done.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from hf_datamap.data import Layout, choose_layout, columns, detect_layout
from hf_datamap.data.dataset import with_table
from hf_datamap.data.parquet import Part, parquet_files, plan
from hf_datamap.data.shards import shard_name
from hf_datamap.datamap.cut import Cut
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.noise import NEEDED, corrected_table, probable_table, split_of
from hf_datamap.datamap.points import IN_MEMORY_OF_STREAMS
from hf_datamap.datamap.reliability import NoiseSplit, joined
from hf_datamap.engine.budget import Budget, Usage
from hf_datamap.engine.config import __version__
from hf_datamap.engine.scheduler import engine
from hf_datamap.engine.store import canonical
from hf_datamap.errors import Interrupted, ScorerError, SourceError
from hf_datamap.publish.folder import check_folder, write_parts
from hf_datamap.scorers.adapter import as_fitted_scorer
from hf_datamap.scorers.base import Scorer, ScorerLike, Way
from hf_datamap.scoring.annotate import provenance_of, statuses_of
from hf_datamap.scoring.progress import Progress, ScoringJob, added_schema, needed_columns

if TYPE_CHECKING:
    from datasets import Features

SAMPLE: Final = 100_000  # rows whose texts the card tells of
PART_ROWS: Final = 50_000  # of row groups that together make a part
ASKED_PART_ROWS: Final = 10_000  # the same where scoring takes requests
_ASKING: Final = 5_000  # rows scored at a time where that takes requests
_READING: Final = 20_000  # otherwise
_OPEN: Final = b"hf_datamap.open"


@dataclass(frozen=True)
class ShardJob:
    """What is done to every part; can be sent to another machine.

    Attributes:
        scorer: the scorer.
        layout: how rows are read, as the scorer wants them.
        scratch: folder of the scored parts.
        features: the columns of the source, as ``datasets`` knows them.
        budget: what may be spent.
        keep: ``all`` columns of the source in the result, or ``added`` ones only.
        corrected: whether the scorer's noise is taken out of the variance.
        every: one row in so many is in the sample that the card's words about texts come from.
    """

    scorer: Scorer
    layout: Layout
    scratch: Path
    features: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    keep: str = "all"
    corrected: bool = False
    every: int = 1

    def sample(self, path: Path) -> Path:
        """Where the sample of a finished part is kept, for the card."""
        return self.scratch / "sample" / path.name

    def scored(self, part: Part) -> Path:
        """Where the added columns of a part are kept."""
        return self.scratch / f"scored-{part.number:06d}.parquet"


@dataclass(frozen=True)
class Scored:
    """A part that was scored.

    Attributes:
        number: which.
        rows: how many rows.
        statuses: rows by status.
        open: rows that lack a score that another run might get.
        usage: what was spent on it, where it was scored in another process.
    """

    number: int
    rows: int
    statuses: dict[str, int]
    open: int
    usage: Usage | None = None


class Crew(Protocol):
    """Who does the work on parts."""

    def score(self, parts: Sequence[Part], job: ShardJob, usage: Usage, bar: Progress) -> Iterator[Scored]:
        """Score parts, in any order."""
        ...

    def finish(self, parts: Sequence[Part], job: ShardJob, cut: Cut, paths: Sequence[Path]) -> None:
        """Write each part with its regions to a file."""
        ...


def annotate_files(
    source: str | Path | Sequence[str | Path],
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
    crew: Crew | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    telling: Mapping[str, Any] | None = None,
) -> DataMap:
    """Map Parquet files too large for one `Dataset`, and write the folder that ``hf-datamap map`` writes.

    Memory stays flat: some thousand rows of each part under way. The columns are those that `hf_datamap.annotate`
    gives. Scored parts wait in ``OUT.parts`` until the map is complete; the same call goes on where an earlier one
    ended, and asks again only for parts that lack scores.

    Args:
        source: Parquet files: paths, patterns, folders or URLs (``hf://datasets/owner/name/data/*.parquet``).
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
        crew: who does the work: threads of this process by default, `hf_datamap.ray.RayCrew` for a cluster.
        overwrite: whether the map, or the scored parts, of another job may be replaced.
        progress: whether to show a progress bar on stderr; as ``datasets`` is set by default.
        telling: where the data came from, for the provenance record.

    Returns:
        The map.

    Raises:
        SourceError: a file cannot be read, or ``out`` holds something else.
        LayoutError: the columns fit no layout, or several.
        ScorerError: the scorer cannot work at all.
        MapError: there are no rows.
    """
    out, crew = Path(out), crew or Threads()
    if keep not in ("all", "added"):
        raise SourceError(f"keep is 'all' or 'added', not {keep!r}")
    scorer = as_fitted_scorer(scorer)
    parts = plan(parquet_files(source), ASKED_PART_ROWS if scorer.way is Way.ENGINE else PART_ROWS)
    features = parts[0].features()
    layout = scorer.read_with(_layout(parts[0], features, layout))
    telling = dict(telling or {"id": str(source) if isinstance(source, str | Path) else ", ".join(map(str, source))})
    check_folder(out, {"scorer": dict(scorer.identity), "source": telling}, overwrite=overwrite)
    scratch = scratch_of(out)
    job = ShardJob(scorer, layout, scratch.absolute(), features, budget or Budget(), keep, correct_noise)
    _claim(job, parts, overwrite=overwrite)
    usage, statuses, still_open = _score(parts, job, crew, progress)
    shares: dict[str, Any] = {"low_variance": low_variance, "low_mean": low_mean}
    files = [job.scored(part) for part in parts]
    data_map = DataMap.fit(
        files, **shares, correct_noise=correct_noise, approximate=approximate, in_memory=IN_MEMORY_OF_STREAMS
    )
    provenance = provenance_of(scorer, layout, usage, job.budget, telling) | {"rows": statuses_of(statuses)}
    if noise := joined(_noise(file) for file in files):
        provenance["noise"] = noise.summary()
    data_map = data_map.model_copy(update={"provenance": provenance})
    _finish(parts, replace(job, every=-(-data_map.rows // SAMPLE)), data_map, crew, out=out, split=split)
    if not still_open:
        shutil.rmtree(scratch, ignore_errors=True)
    return data_map


def scratch_of(out: Path) -> Path:
    """Where the parts of a map wait until it is complete."""
    return out.with_name(out.name + ".parts")


# --- before -----------------------------------------------------------------------------------------------------------


def _layout(part: Part, features: Features, given: Layout | None) -> Layout:
    if given is not None:
        from datasets import Dataset

        return choose_layout(Dataset(features.arrow_schema.empty_table()), given)
    return detect_layout(features, sample=next(part.batches(8)).to_pylist())


def _claim(job: ShardJob, parts: Sequence[Part], *, overwrite: bool) -> None:
    """Make the scratch folder ours, or go on with it.

    Raises:
        SourceError: it belongs to another job.
    """
    identity: dict[str, Any] = {
        "version": __version__,
        "scorer": dict(job.scorer.identity),
        "layout": job.layout.to_dict(),
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
    with whole_file(claim) as path:
        path.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, which becomes ``path`` when it is complete."""
    unfinished = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# --- scoring ----------------------------------------------------------------------------------------------------------


def _score(parts: Sequence[Part], job: ShardJob, crew: Crew, progress: bool | None) -> tuple[Usage, Counter[str], int]:
    """Score the parts that are not scored yet."""
    done = {part.number: found for part in parts if (found := _done(part, job)) and not found.open}
    usage = Usage(rows=sum(found.rows for found in done.values()))
    bar = Progress(usage, sum(part.rows for part in parts), progress)
    try:
        for found in crew.score([part for part in parts if part.number not in done], job, usage, bar):
            done[found.number] = found
            bar.show()
    finally:
        bar.close()
        job.scorer.release()
    statuses: Counter[str] = Counter()
    for found in done.values():
        statuses.update(found.statuses)
    return usage, statuses, sum(found.open for found in done.values())


def _done(part: Part, job: ShardJob) -> Scored | None:
    """What is known of a part that an earlier run scored."""
    try:
        with pq.ParquetFile(job.scored(part)) as file:
            found: dict[bytes, bytes] = file.metadata.metadata or {}
            statuses = statuses_of(file.read([columns.STATUS])[columns.STATUS])
            return Scored(part.number, part.rows, statuses, int(found[_OPEN])) if _OPEN in found else None
    except (OSError, pa.ArrowInvalid):
        return None


def _noise(scored: Path) -> NoiseSplit | None:
    """How much of the variance of a scored part is the scorer's own; most scorers do not know."""
    with pq.ParquetFile(scored) as file:
        known = file.read([columns.NOISE])
        return split_of(file.read(list(NEEDED))) if known[columns.NOISE].null_count < known.num_rows else None


def score_part(
    part: Part, job: ShardJob, usage: Usage, bar: Progress, given_up: Callable[[], bool] = lambda: False
) -> Scored:
    """Score one part, and keep its columns.

    Args:
        part: the part.
        job: the job.
        usage: what is spent, counted on the way.
        bar: shows progress.
        given_up: whether the whole work is; asked after every table.

    Raises:
        Interrupted: it is.
    """
    statuses: Counter[str] = Counter()
    still_open = 0
    names = needed_columns(job.scorer, job.layout)
    size = _ASKING if job.scorer.way is Way.ENGINE else _READING
    with whole_file(job.scored(part)) as path, pq.ParquetWriter(path, added_schema(job.scorer)) as writer:
        for table in part.batches(size, names):
            scoring = _job_of(table, job, usage, bar)
            added = scoring.run(job.scorer)
            writer.write_table(added)
            statuses.update(statuses_of(added[columns.STATUS]))
            still_open += scoring.open
            if given_up():
                raise Interrupted("stopped; what was answered is in the store")
        writer.add_key_value_metadata({_OPEN: str(still_open)})
    return Scored(part.number, part.rows, dict(statuses), still_open)


def _job_of(table: pa.Table, job: ShardJob, usage: Usage, bar: Progress) -> ScoringJob:
    from datasets import Dataset

    rows = Dataset(table, fingerprint="none")  # or it is made by hashing all texts
    return ScoringJob(rows, job.layout, budget=job.budget, usage=usage, progress=bar)


class Threads:
    """Works in threads of this process: parts are read while others are scored, requests share one limit.

    Args:
        workers: parts under way.
    """

    def __init__(self, workers: int = 4) -> None:
        if workers < 1:
            raise ScorerError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._given_up = threading.Event()

    def score(self, parts: Sequence[Part], job: ShardJob, usage: Usage, bar: Progress) -> Iterator[Scored]:
        """See `Crew`."""
        if job.scorer.way is Way.ENGINE:  # the engine's thread alone counts
            yield from self._each(lambda part: score_part(part, job, usage, bar, self._given_up.is_set), parts)
            return
        quiet = Progress(Usage(), None, wanted=False)

        def count(part: Part) -> tuple[Scored, Usage]:
            own = Usage()
            return score_part(part, job, own, quiet, self._given_up.is_set), own

        for found, own in self._each(count, parts):
            usage.add(own)
            yield found

    def finish(self, parts: Sequence[Part], job: ShardJob, cut: Cut, paths: Sequence[Path]) -> None:
        """See `Crew`."""
        work = list(zip(parts, paths, strict=True))
        for _ in self._each(lambda one: finish_part(one[0], job, cut, one[1]), work):
            pass

    def _each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        self._given_up.clear()
        with ThreadPoolExecutor(min(self.workers, max(1, len(items)))) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:  # Ctrl-C among them: threads do not hear of it
                self._given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                engine().interrupt()
                raise


def _finish(parts: Sequence[Part], job: ShardJob, data_map: DataMap, crew: Crew, *, out: Path, split: str) -> None:
    """Write the finished folder."""
    data, sample = job.scratch / "data", job.scratch / "sample"
    for folder in (data, sample):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    paths = [data / shard_name(split, place, len(parts)) for place in range(len(parts))]
    crew.finish(parts, job, data_map.cut, paths)
    title = str(data_map.provenance["source"].get("id", ""))
    write_parts(data, sample, split, data_map, out, title=title)
    shutil.rmtree(sample)


# --- writing ----------------------------------------------------------------------------------------------------------


def finish_part(part: Part, job: ShardJob, cut: Cut, path: Path) -> None:
    """Write one part with its regions."""
    with pq.ParquetFile(job.scored(part)) as file:
        added = file.read()
    if job.corrected:
        added = corrected_table(added)
    added = cut.assign(added, range(part.first_row, part.first_row + part.rows))
    if job.corrected:
        added = probable_table(added, cut, corrected=True)
    schema = _written(added, job)
    row, every = part.first_row, job.every
    with (
        whole_file(path) as unfinished,
        whole_file(job.sample(path)) as sampled,
        pq.ParquetWriter(unfinished, schema) as writer,
        pq.ParquetWriter(sampled, schema) as sample,
    ):
        for table in _joined(part, added, job):
            writer.write_table(table.cast(schema))
            if every == 1:
                sample.write_table(table.cast(schema))
            else:
                sample.write_table(table.take(list(range(-row % every, table.num_rows, every))).cast(schema))
            row += table.num_rows


def _joined(part: Part, added: pa.Table, job: ShardJob) -> Iterator[pa.Table]:
    if job.keep == "added":
        yield added
        return
    start = 0
    for table in part.batches(_READING):
        yield with_table(table, added.slice(start, table.num_rows))
        start += table.num_rows


def _written(added: pa.Table, job: ShardJob) -> pa.Schema:
    """Names and types of a finished file, with the features that ``datasets`` reads."""
    from datasets import Features

    more = Features.from_arrow_schema(added.schema)
    kept = {name: kind for name, kind in job.features.items() if name not in more} if job.keep == "all" else {}
    return Features({**kept, **more}).arrow_schema

"""``hf-datamap map``: which engine does the work, and the work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hf_datamap.cli._job import ScoringJob, check_options, named_scorer

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.data.load import ParquetSplit
    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.engine.budget import Budget
    from hf_datamap.scorers.base import Scorer
    from hf_datamap.scoring.executors import Executor

_EXPORTED_ROWS: Final = 50_000  # of the files that data of another format is written to
_ROW_GROUP_ROWS: Final = 5_000  # of their row groups
#: What one `Dataset` may take before work is done part by part: decoded bytes, rows, and share of the free memory.
_MOST_BYTES: Final = 1_000_000_000
_MOST_ROWS: Final = 1_000_000
_SHARE_OF_MEMORY: Final = 0.25
_BYTES_PER_ROW: Final = 150  # of the columns that are added


@dataclass(frozen=True)
class PartOptions:
    """Options of work part by part.

    Attributes:
        engine: ``auto``, ``memory``, ``shards`` or ``ray``.
        address: of the Ray cluster.
        workers: parts under way at once.
        keep: ``all`` columns, or those ``added``.
        approximate: whether boundaries come from sketches.
    """

    engine: str
    address: str | None = None
    workers: int | None = None
    keep: str = "all"
    approximate: bool = False

    @property
    def for_parts_only(self) -> list[str]:
        """Those that were given and mean nothing in memory."""
        options = {
            "--address": self.address,
            "--workers": self.workers,
            "--keep added": self.keep == "added",
            "--approximate": self.approximate,
        }
        return [name for name, value in options.items() if value]

    def executor(self) -> Executor:
        """Where parts are worked on."""
        if self.engine == "ray":
            from hf_datamap.scoring.ray import RayExecutor

            return RayExecutor(address=self.address, workers=self.workers)
        if self.address:
            raise click.UsageError("--address is for --engine ray")
        from hf_datamap.scoring.executors import Threads

        return Threads(self.workers) if self.workers else Threads()


@dataclass(frozen=True)
class MapOptions:
    """Options of a map, whatever the engine.

    Attributes:
        out: folder to write.
        budget: what may be spent, as it was written.
        rate: requests per second at most.
        correct_noise: whether the scorer's noise is taken out of the variance.
        overwrite: whether the map of another job may be replaced.
    """

    out: Path
    budget: str | None = None
    rate: float | None = None
    correct_noise: bool = False
    overwrite: bool = False


def map_source(source: str, options: Mapping[str, Any], parts: PartOptions, mapping: MapOptions) -> DataMap:
    """Map SOURCE with the engine that is asked for, or that fits, and write the folder.

    Raises:
        UsageError: an option is for another engine.
    """
    if parts.engine == "memory" and parts.for_parts_only:
        raise click.UsageError(f"{', '.join(parts.for_parts_only)}: only with --engine shards or ray")
    check_options(options)
    scorer = named_scorer(options)  # before anything is read: wrong spellings show at once, a missing key too
    if scorer is not None:
        scorer.check()
    asked_for = parts.engine in ("shards", "ray") or (parts.engine == "auto" and bool(parts.for_parts_only))
    # The scales of a panel's members take all rows at once.
    by_size = parts.engine == "auto" and not (scorer and scorer.needs_fit)
    split = _parquet(source, options) if asked_for or (by_size and _may_be_large(source)) else None
    if asked_for or (split and _is_large(split.files)):
        return _map_in_parts(source, split, options, scorer=scorer, parts=parts, mapping=mapping)
    return _map_in_memory(ScoringJob.load(source, options, scorer), mapping)


def _map_in_memory(job: ScoringJob, mapping: MapOptions) -> DataMap:
    from hf_datamap.publish.folder import check_folder

    check_folder(mapping.out, job.identity(), overwrite=mapping.overwrite)
    return map_job(job, mapping.out, job.budget(mapping.budget, mapping.rate), correct_noise=mapping.correct_noise)


def map_job(
    job: ScoringJob, out: Path, budget: Budget, *, title: str | None = None, correct_noise: bool = False
) -> DataMap:
    """Map a job's dataset in memory, and write the folder."""
    from hf_datamap.publish.folder import write_folder
    from hf_datamap.scoring.annotate import annotate

    ds, data_map = annotate(
        job.ds,
        job.scorer,
        layout=job.layout,
        budget=budget,
        source=job.source,
        progress=True,
        correct_noise=correct_noise,
    )
    write_folder(ds, data_map, out, title=job.source["id"] if title is None else title)
    return data_map


# --- part by part -----------------------------------------------------------------------------------------------------


def _map_in_parts(
    source: str,
    split: ParquetSplit | None,
    options: Mapping[str, Any],
    *,
    scorer: Scorer | None,
    parts: PartOptions,
    mapping: MapOptions,
) -> DataMap:
    from datasets import Dataset

    from hf_datamap.data.parquet import read_first_rows
    from hf_datamap.publish.folder import check_folder
    from hf_datamap.scoring.files import annotate_files

    executor = parts.executor()
    if split:
        job = ScoringJob.of(Dataset(read_first_rows(split.files)), source, options, scorer)
    else:
        job = ScoringJob.load(source, options, scorer)
        check_folder(mapping.out, job.identity(), overwrite=mapping.overwrite)
        split = _exported(job.ds, mapping.out)
    _, data_map = annotate_files(
        split.files,
        job.scorer,
        mapping.out,
        layout=job.layout,
        budget=job.budget(mapping.budget, mapping.rate),
        correct_noise=mapping.correct_noise,
        approximate=parts.approximate,
        keep=parts.keep,
        split=split.name,
        executor=executor,
        overwrite=mapping.overwrite,
        progress=True,
        source=job.source,
    )
    return data_map


def _parquet(source: str, options: Mapping[str, Any]) -> ParquetSplit | None:
    """The Parquet files of SOURCE, where they are; None where it is kept otherwise, or only some of it is wanted."""
    from hf_datamap.data.load import parquet_split

    if options.get("limit") or options.get("group"):
        return None
    return parquet_split(source, *(options.get(name) for name in ("split", "config", "revision")))


def _exported(ds: Dataset, out: Path) -> ParquetSplit:
    """A dataset of another format, written to Parquet files beside the folder."""
    from hf_datamap.data.load import ParquetSplit
    from hf_datamap.data.shards import split_name
    from hf_datamap.scoring.files import scratch_of

    folder = scratch_of(out) / "source"
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-len(ds) // _EXPORTED_ROWS))
    paths = [folder / f"{number:06d}.parquet" for number in range(count)]
    for number, path in enumerate(paths):
        ds.shard(count, number, contiguous=True).to_parquet(path, batch_size=_ROW_GROUP_ROWS)
    return ParquetSplit(split_name(ds.split), [str(path) for path in paths])


def _may_be_large(source: str) -> bool:
    """Whether it is worth finding out of which Parquet files SOURCE consists: local ones are looked at first."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _is_large([str(file) for file in path.rglob("*.parquet")])
    if path.is_file():
        return path.name.lower().endswith(".parquet") and _is_large([str(path)])
    return True


def _is_large(files: Sequence[str]) -> bool:
    """Whether Parquet files are too large to be worked on as one `Dataset`."""
    from hf_datamap.data.parquet import sizes_of

    most_bytes = min(_MOST_BYTES, _SHARE_OF_MEMORY * _free_memory())
    rows = decoded = 0
    for file_rows, file_bytes in sizes_of(files):  # no more footers are read than it takes
        rows, decoded = rows + file_rows, decoded + file_bytes
        if rows > _MOST_ROWS or decoded + _BYTES_PER_ROW * rows > most_bytes:
            return True
    return False


def _free_memory() -> float:
    """Bytes; without end where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return float("inf")

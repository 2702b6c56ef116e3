"""``hf-datamap map --engine shards|ray``: part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli._job import Job, parse_prices

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.scoring.executors import Executor

_EXPORTED, _ROW_GROUP = 50_000, 5_000  # rows of the files that data of another format is written to


def run_shards(
    source: str,
    out: Path,
    options: dict[str, Any],
    *,
    engine: str,
    address: str | None,
    workers: int | None,
    keep: str,
    budget: str | None,
    rate: float | None,
    correct_noise: bool,
    approximate: bool,
    overwrite: bool,
) -> DataMap:
    """Map SOURCE part by part, and write the folder."""
    from hf_datamap.data.shards import split_name
    from hf_datamap.engine.budget import Budget
    from hf_datamap.scoring.files import annotate_files

    files, job = _open(source, out, options, overwrite=overwrite)
    prices = parse_prices(options.get("price"))
    limits = Budget.parse(budget, prices) if budget else Budget(prices=prices)
    _, data_map = annotate_files(
        files,
        job.scorer,
        out,
        layout=job.layout,
        budget=replace(limits, rate=rate),
        correct_noise=correct_noise,
        approximate=approximate,
        keep=keep,
        split=split_name(options.get("split")),
        executor=_executor(engine, address, workers),
        overwrite=overwrite,
        progress=True,
        source=job.source,
    )
    return data_map


def _open(source: str, out: Path, options: dict[str, Any], *, overwrite: bool) -> tuple[Sequence[str], Job]:
    """The Parquet files of SOURCE, where they are; of another format, a copy in Parquet beside the folder."""
    from datasets import Dataset

    from hf_datamap.data.load import parquet_shards
    from hf_datamap.data.parquet import plan
    from hf_datamap.publish.folder import check_folder
    from hf_datamap.scoring.files import PART_ROWS, scratch_of

    cut = options.get("limit") or options.get("group")
    named = (options.get(name) for name in ("split", "config", "revision"))
    if not cut and (files := parquet_shards(source, *named)):
        return files, Job.on(Dataset(next(plan(files[:1], PART_ROWS)[0].batches(8))), source, **options)
    job = Job.open(source, **options)
    check_folder(out, {"scorer": dict(job.scorer.identity), "source": job.source}, overwrite=overwrite)
    return _exported(job.ds, scratch_of(out) / "source"), job


def _exported(ds: Dataset, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-len(ds) // _EXPORTED))
    paths = [folder / f"{place:06d}.parquet" for place in range(count)]
    for place, path in enumerate(paths):
        ds.shard(count, place, contiguous=True).to_parquet(path, batch_size=_ROW_GROUP)
    return [str(path) for path in paths]


def _executor(engine: str, address: str | None, workers: int | None) -> Executor:
    if engine == "ray":
        from hf_datamap.scoring.ray import RayExecutor

        return RayExecutor(address=address, workers=workers)
    if address:
        raise click.UsageError("--address is for --engine ray")
    from hf_datamap.scoring.executors import Threads

    return Threads(workers) if workers else Threads()

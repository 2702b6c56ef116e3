"""``hf-datamap map --batch``: submit to the Batch API, and collect."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli._engine import MapOptions, map_job
from hf_datamap.cli._job import ScoringJob
from hf_datamap.cli._report import report

if TYPE_CHECKING:
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scoring.openai_batch import BatchJob

_SUFFIX = ".batch.json"


def batch_file(source: str, out: Path) -> Path | None:
    """The file of submitted batches that is meant: SOURCE itself, or the one beside --out; None when there is none."""
    path = Path(source) if source.endswith(_SUFFIX) else out.with_name(out.name + _SUFFIX)
    return path if path.is_file() else None


def run_batch(source: str, options: dict[str, Any], mapping: MapOptions, *, cancel: bool, as_json: bool) -> None:
    """Submit what has not been submitted; else collect, and write the folder once everything is over."""
    from hf_datamap.scoring.openai_batch import BatchJob, cancel_batch

    path = batch_file(source, mapping.out)
    submitted = BatchJob.load(path) if path else None
    if submitted:
        source, options = str(submitted.options["source"]), {**options, **submitted.options["job"]}
    elif cancel:
        raise click.UsageError(f"nothing was submitted for {mapping.out}: {mapping.out.name}{_SUFFIX} is not beside it")
    job = ScoringJob.open(source, **options)
    judge, limits = _judge(job), job.budget(mapping.budget)
    if limits.tokens is not None or limits.cost is not None:
        raise click.UsageError("with --batch a budget counts requests: --budget '500 requests'")
    path = path or mapping.out.with_name(mapping.out.name + _SUFFIX)
    if cancel and submitted:
        cancel_batch(submitted, judge)
        click.echo("cancelled; what was answered by then can be collected with --resume", err=True)
    elif submitted and submitted.complete:
        _collect(submitted, job, judge, path, mapping, as_json=as_json)
    else:
        # The endpoint too, that the environment may have named: another machine must not need to know.
        kept = {name: value for name, value in options.items() if value is not None}
        kept["base_url"] = judge.endpoint.base_url
        record = {"source": source, "job": kept}
        _submit(submitted, job, judge, path, mapping, record=record, most=limits.requests, as_json=as_json)


def _judge(job: ScoringJob) -> LLMJudge:
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scorers.local import LocalJudge

    if not isinstance(job.scorer, LLMJudge) or isinstance(job.scorer, LocalJudge):
        raise click.UsageError("--batch is for --scorer judge:MODEL")
    return job.scorer


def _submit(
    submitted: BatchJob | None,
    job: ScoringJob,
    judge: LLMJudge,
    path: Path,
    mapping: MapOptions,
    *,
    record: dict[str, Any],
    most: int | None,
    as_json: bool,
) -> None:
    from hf_datamap.publish.folder import check_folder
    from hf_datamap.scoring.openai_batch import submit_batch

    check_folder(mapping.out, job.identity(), overwrite=mapping.overwrite)
    submitted = submit_batch(
        job.ds,
        judge,
        layout=job.layout,
        job=submitted,
        save=lambda so_far: so_far.save(path),
        options=record,
        most_requests=most,
    )
    count = sum(part.requests for part in submitted.parts)
    again = f"hf-datamap map {path} --resume --out {mapping.out}"
    click.echo(f"submitted {count:,} requests in {len(submitted.parts)} batches; to collect: {again}", err=True)
    if as_json:
        click.echo(json.dumps({"batch": str(path), "requests": count, "batches": len(submitted.parts)}, indent=2))


def _collect(
    submitted: BatchJob, job: ScoringJob, judge: LLMJudge, path: Path, mapping: MapOptions, *, as_json: bool
) -> None:
    from hf_datamap.engine.budget import Budget
    from hf_datamap.scoring.openai_batch import collect_batch

    state = collect_batch(submitted, job.ds, judge, layout=job.layout)
    click.echo(str(state), err=True)
    if state.pending:
        click.echo("not all is done yet: run the same command later", err=True)
        sys.exit(1)
    if state.failed:
        again = f"the same command without --batch, or {path.name} removed and submitted again"
        click.echo(f"what has no answer is still to be asked: {again}", err=True)
    collected = replace(job, scorer=state.scorer)
    data_map = map_job(collected, mapping.out, Budget(), correct_noise=mapping.correct_noise)
    report(data_map, mapping.out, as_json=as_json)

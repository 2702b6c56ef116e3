"""``hf-datamap map --batch``: submit to the Batch API, and collect."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

_SUFFIX = ".batch.json"


def batch_file(source: str, out: Path) -> Path | None:
    """The file of submitted batches that is meant: SOURCE itself, or the one beside --out; None when there is none."""
    there = Path(source) if source.endswith(_SUFFIX) else out.with_name(out.name + _SUFFIX)
    return there if there.is_file() else None


def run_batch(
    source: str,
    out: Path,
    options: dict[str, Any],
    *,
    budget: str | None,
    cancel: bool,
    correct_noise: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Submit what has not been submitted; else collect, and write the folder once everything is over."""
    from hf_datamap.cli._job import Job
    from hf_datamap.cli.map import report, run
    from hf_datamap.engine.budget import Budget
    from hf_datamap.publish.folder import check_folder
    from hf_datamap.scorers.judge import LLMJudge
    from hf_datamap.scorers.local import LocalJudge
    from hf_datamap.scoring.openai_batch import BatchJob, cancel_batch, collect_batch, submit_batch

    path = batch_file(source, out)
    submitted = BatchJob.load(path) if path else None
    if submitted:
        source, options = str(submitted.options["source"]), {**options, **submitted.options["job"]}
    elif cancel:
        raise click.UsageError(f"nothing was submitted for {out}: there is no {out.name}{_SUFFIX} beside it")
    job = Job.open(source, **options)
    judge = job.scorer
    if not isinstance(judge, LLMJudge) or isinstance(judge, LocalJudge):
        raise click.UsageError("--batch is for --scorer judge:MODEL")
    limits = Budget.parse(budget, job.prices) if budget else Budget(prices=job.prices)
    if limits.tokens is not None or limits.cost is not None:
        raise click.UsageError("with --batch a budget counts requests: --budget '500 requests'")
    path = path or out.with_name(out.name + _SUFFIX)
    if cancel and submitted:
        cancel_batch(submitted, judge)
        click.echo("cancelled; what was answered by then can be collected with --resume", err=True)
        return
    if not (submitted and submitted.complete):
        check_folder(out, {"scorer": dict(judge.identity), "source": job.source}, overwrite=overwrite)
        # The endpoint too, that the environment may have named: another machine must not need to know.
        kept = {name: value for name, value in options.items() if value is not None}
        kept["base_url"] = judge.endpoint.base_url
        submitted = submit_batch(
            job.ds,
            judge,
            layout=job.layout,
            job=submitted,
            save=lambda so_far: so_far.save(path),
            options={"source": source, "job": kept},
            most_requests=limits.requests,
        )
        count = sum(part.requests for part in submitted.parts)
        again = f"hf-datamap map {path} --resume --out {out}"
        click.echo(f"submitted {count:,} requests in {len(submitted.parts)} batches; to collect: {again}", err=True)
        if as_json:
            click.echo(json.dumps({"batch": str(path), "requests": count, "batches": len(submitted.parts)}, indent=2))
        return
    state = collect_batch(submitted, job.ds, judge, layout=job.layout)
    click.echo(str(state), err=True)
    if state.pending:
        click.echo("not all is done yet: run the same command later", err=True)
        sys.exit(1)
    if state.failed:
        again = f"the same command without --batch, or {path.name} removed and submitted again"
        click.echo(f"what has no answer is still to be asked: {again}", err=True)
    data_map = run(replace(job, scorer=state.scorer), out, Budget(), title=source, correct_noise=correct_noise)
    report(data_map, out, as_json=as_json)

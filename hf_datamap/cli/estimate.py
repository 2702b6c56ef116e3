"""``hf-datamap estimate``: requests, tokens and cost before anything is spent."""

from __future__ import annotations

import json
from typing import Any

import click

from hf_datamap.cli._job import ScoringJob, job_options

_EXAMPLES = """\b
Examples:
  hf-datamap estimate pairs.jsonl --scorer judge:gpt-4o-2024-11-20 --price 2.5,10
  hf-datamap estimate openbmb/UltraFeedback --scorer judge:qwen --limit 1000 --json
"""


@click.command(epilog=_EXAMPLES)
@job_options
def command(source: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - the options of a job
    """Say how many requests and tokens a map of SOURCE would take, without sending any."""
    from hf_datamap.scoring.estimate import estimate

    job = ScoringJob.open(source, **options)
    requests = estimate(job.ds, job.scorer, layout=job.layout, prices=job.prices)
    click.echo(json.dumps(requests.summary(), indent=2) if as_json else str(requests))

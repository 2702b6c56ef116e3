"""``hf-datamap map``: score, fit, assign, and write a folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hf_datamap.cli._batch import batch_file, run_batch
from hf_datamap.cli._engine import MapOptions, PartOptions, map_source
from hf_datamap.cli._job import job_options
from hf_datamap.cli._report import report, unscored
from hf_datamap.cli.options import out_folder

_EXAMPLES = """\b
Examples:
  hf-datamap map pairs.jsonl --scorer columns:score_chosen,score_rejected --out map
  hf-datamap map openbmb/UltraFeedback --scorer auto --limit 5000 --out map
  hf-datamap map pairs.jsonl --scorer judge:qwen --base-url http://localhost:8000/v1 --budget 2Mtokens --out map
  hf-datamap map pairs.jsonl --scorer reward:org/model -o dtype=bfloat16 -o long_texts=refuse --out map
  hf-datamap map pairs.jsonl --scorer judge:gpt-4o-mini --batch --out map     (again with --resume, to collect)
  hf-datamap map me/100M-pairs --scorer columns:rating --engine shards --out map
  hf-datamap map me/100M-pairs --scorer reward:my/rm --engine ray --address auto --out /shared/map

\b
An interrupted run loses nothing that was paid for: the same command goes on where it ended.
"""


@click.command(epilog=_EXAMPLES)
@job_options
@out_folder()
@click.option(
    "--budget", help="Stop at '500 requests', '2M tokens' or '$5' (several with commas); what is done is kept."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted or partly failed run (what every run does).")
@click.option(
    "--batch",
    is_flag=True,
    help="Submit to OpenAI's Batch API instead (half the price, within 24 h); --resume collects. What was submitted is "
    "written to OUT.batch.json, which can be SOURCE on another machine.",
)
@click.option("--cancel", is_flag=True, help="Cancel what was submitted; --resume collects what was answered.")
@click.option(
    "--correct-noise",
    is_flag=True,
    help="Take the scorer's own noise out of the variance first, and say how sure each region is.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "memory", "shards", "ray"]),
    default="auto",
    show_default=True,
    help="memory: one Dataset. shards: Parquet files part by part, in flat memory, resumed by part, straight from the "
    "Hub. ray: the same on a Ray cluster (extra ray). auto: shards for Parquet that is large for this machine, else "
    "memory. The columns are the same.",
)
@click.option("--address", help="Ray cluster; left out, that of RAY_ADDRESS, one on this machine, or a new one.")
@click.option("--workers", type=click.IntRange(min=1), help="Parts under way at once (shards, ray).")
@click.option(
    "--keep",
    type=click.Choice(["all", "added"]),
    default="all",
    show_default=True,
    help="added: only the columns that are added, row by row in SOURCE's order; no other is read (shards, ray).",
)
@click.option("--approximate", is_flag=True, help="Boundaries from quantile sketches: fewer passes (shards, ray).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests per second at most.")
@click.option("--overwrite", is_flag=True, help="Replace the map of another job in --out.")
def command(
    source: str,
    *,
    out: Path,
    budget: str | None,
    resume: bool,
    batch: bool,
    cancel: bool,
    correct_noise: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    keep: str,
    approximate: bool,
    rate: float | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the options of a job
) -> None:
    """Score SOURCE, draw its map, and write data, thresholds, picture and card to a folder.

    SOURCE is a Hub id, a folder, or a file: .jsonl, .jsonl.gz, .json, .parquet, .csv.
    """
    mapping = MapOptions(out, budget, rate, correct_noise=correct_noise, overwrite=overwrite and not resume)
    if batch or cancel or (resume and batch_file(source, out)):
        run_batch(source, options, replace(mapping, overwrite=overwrite), cancel=cancel, as_json=as_json)
        return
    parts = PartOptions(engine, address, workers, keep, approximate=approximate)
    data_map = map_source(source, options, parts, mapping)
    report(data_map, out, as_json=as_json)
    scored = data_map.rows - unscored(data_map)
    if not scored:
        click.echo("Error: no row could be scored; the column datamap_error says why.", err=True)
        sys.exit(2)

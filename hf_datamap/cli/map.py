"""``hf-datamap map``: score, fit, assign, and write a folder."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli._batch import batch_file, run_batch
from hf_datamap.cli._job import Job, job_options
from hf_datamap.cli._shards import run_shards
from hf_datamap.cli.options import out_folder

if TYPE_CHECKING:
    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.engine.budget import Budget

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
    type=click.Choice(["memory", "shards", "ray"]),
    default="memory",
    show_default=True,
    help="memory: one Dataset. shards: Parquet files part by part, in flat memory, resumed by part, straight from the "
    "Hub. ray: the same on a Ray cluster (extra ray). The columns are the same.",
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
    from hf_datamap.engine.budget import Budget
    from hf_datamap.publish.folder import check_folder

    if batch or cancel or (resume and batch_file(source, out)):
        then: dict[str, Any] = {
            "budget": budget,
            "cancel": cancel,
            "correct_noise": correct_noise,
            "overwrite": overwrite,
        }
        run_batch(source, out, options, as_json=as_json, **then)
        return
    if engine == "memory":
        only = {
            "--address": address,
            "--workers": workers,
            "--keep added": keep == "added",
            "--approximate": approximate,
        }
        if given := [name for name, value in only.items() if value]:
            raise click.UsageError(f"{', '.join(given)}: only with --engine shards or ray")
        job = Job.open(source, **options)
        limits = Budget.parse(budget, job.prices) if budget else Budget(prices=job.prices)
        identity = {"scorer": dict(job.scorer.identity), "source": job.source}
        check_folder(out, identity, overwrite=overwrite and not resume)
        data_map = run(job, out, replace(limits, rate=rate), title=source, correct_noise=correct_noise)
    else:
        data_map = run_shards(
            source,
            out,
            options,
            engine=engine,
            address=address,
            workers=workers,
            keep=keep,
            budget=budget,
            rate=rate,
            correct_noise=correct_noise,
            approximate=approximate,
            overwrite=overwrite and not resume,
        )
    report(data_map, out, as_json=as_json)
    scored = data_map.rows - unscored(data_map)
    if not scored:
        click.echo("Error: no row could be scored; the column datamap_error says why.", err=True)
        sys.exit(2)


def run(job: Job, out: Path, budget: Budget, title: str, *, correct_noise: bool = False) -> DataMap:
    """Map a job's dataset and write the folder."""
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
    write_folder(ds, data_map, out, title=title)
    return data_map


def unscored(data_map: DataMap) -> int:
    """Rows without any score."""
    status: dict[str, int] = data_map.provenance.get("rows", {})
    return status.get("failed", 0) + status.get("skipped", 0)


def report(data_map: DataMap, out: Path, *, as_json: bool, then: str = "") -> None:
    """Print what was done."""
    usage, panel = data_map.provenance["usage"], data_map.provenance.get("panel")
    if as_json:
        found = {
            "out": str(out),
            "rows": data_map.rows,
            "mapped": data_map.mapped,
            "regions": data_map.counts,
            "thresholds": data_map.thresholds,
            "status": data_map.provenance["rows"],
            "usage": usage,
            "scorer": data_map.provenance["scorer"],
        } | {name: data_map.provenance[name] for name in ("panel", "noise") if name in data_map.provenance}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(str(data_map))
    click.echo(_spent(usage, data_map.provenance["rows"]))
    if panel:
        click.echo(_agreement(panel))
    if (share := data_map.provenance.get("noise", {}).get("share")) is not None:
        click.echo(f"  {100 * share:.0f} % of the variance within rows is the scorer's own noise")
    click.echo(f"\nmap picture   {out / 'map.png'}\nannotated     {out / 'data'}\ncard          {out / 'README.md'}")
    click.echo(f"next          {then or f'hf-datamap audit {out}'}")


def _agreement(panel: dict[str, Any]) -> str:
    """How far the members of a panel agree."""
    counts = ", ".join(f"{name} {count:,}" for name, count in zip(panel["members"], panel["scored"], strict=True))
    taus = [tau for tau in panel["kendall"].values() if tau is not None]
    alpha = "unknown" if panel["alpha"] is None else f"{panel['alpha']:.3f}"
    between = f", Kendall's tau between two of them {min(taus):.3f} to {max(taus):.3f}" if taus else ""
    return f"  panel: {counts} responses scored; Krippendorff's alpha {alpha}{between} (each in datamap.json)"


def _spent(usage: dict[str, Any], status: dict[str, int]) -> str:
    words = [", ".join(f"{count:,} rows {name}" for name, count in status.items() if count)]
    if usage["requests"] or usage["from_store"]:
        words.append(
            f"{usage['requests']:,} requests ({usage['retried']:,} retries), {usage['from_store']:,} answers from the "
            f"store, {usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"
            + (f", ${usage['cost']:.4f}" if usage["cost"] is not None else "")
        )
    if usage["failed"]:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in usage["failed"].items())
        words.append(f"responses without a score - {reasons}")
    if usage["stopped"]:
        words.append(f"stopped early: {usage['stopped']}; raise it and run the same command to go on")
    return "\n".join(f"  {line}" for line in words)

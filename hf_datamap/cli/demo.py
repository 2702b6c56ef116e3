"""``hf-datamap demo``: the main job on the bundled sample."""

from __future__ import annotations

from pathlib import Path

import click

from hf_datamap.cli.options import OutputPath

_EXAMPLES = """\b
Examples:
  hf-datamap demo
  hf-datamap demo --out my-first-map
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--out", type=OutputPath(folder=True), default=Path("datamap-demo"), show_default=True, help="Folder to write."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(out: Path, *, as_json: bool) -> None:
    """Draw the map of the bundled sample: real responses to IFEval prompts, scored by verifiable constraints.

    Needs no key and no network.
    """
    from hf_datamap.cli._engine import map_job
    from hf_datamap.cli._job import ScoringJob
    from hf_datamap.cli._report import report
    from hf_datamap.engine.budget import Budget
    from hf_datamap.publish.folder import check_folder

    sample = Path(__file__).parents[1] / "data" / "demo_sample" / "ifeval_sample.parquet"
    job = ScoringJob.open(str(sample), scorer="auto")
    job.source.update(id="hf_datamap demo (IFEval sample)", license="apache-2.0")
    check_folder(out, {"source": job.source})
    data_map = map_job(job, out, Budget(), title="Demo: six models answer verifiable prompts")
    report(
        data_map, out, as_json=as_json, then=f"hf-datamap inspect {out}   (then map your own: hf-datamap map --help)"
    )

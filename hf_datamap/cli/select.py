"""``hf-datamap select``: a curated subset of a mapped dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from hf_datamap.cli.options import OVERWRITE, out_folder, source_options
from hf_datamap.cli.sources import check_new, open_source, read_layout, scored, write_parquet, written_folder

_EXAMPLES = """\b
Examples:
  hf-datamap select my-map --out good                                   the third worth training on
  hf-datamap select my-map random --rows 5000 --seed 1 --out baseline
  hf-datamap select my-map --stratify-by source --out good              every source keeps its share
  hf-datamap select my-map high_margin --fraction 0.1 --out clear && hf-datamap push clear me/clear
"""


def _list(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from hf_datamap.curate.strategies import STRATEGIES

    width = max(map(len, STRATEGIES))
    for name, strategy in STRATEGIES.items():
        click.echo(f"{name:<{width}}  {(strategy.__doc__ or '').splitlines()[0]}")
    context.exit(0)


@click.command(epilog=_EXAMPLES)
@source_options
@click.argument("strategy", default="high_mean_low_variance")
@out_folder(required=False, help_text="Folder to write; left out, only the counts are record.")
@OVERWRITE
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1),
    help="Budget as a fraction of the rows (default: as in the strategy's paper, else a third).",
)
@click.option("--rows", type=click.IntRange(min=0), help="Budget in rows.")
@click.option("--tokens", type=click.IntRange(min=0), help="Budget in words of prompts and responses.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random draws.")
@click.option("--stratify-by", help="Column whose values keep their shares.")
@click.option("--list", "listed", is_flag=True, is_eager=True, expose_value=False, callback=_list,
              help="List the strategies and where they come from.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(
    source: str,
    strategy: str,
    *,
    splits: tuple[str, ...],
    config: str | None,
    revision: str | None,
    layout_text: str | None,
    limit: int | None,
    out: Path | None,
    overwrite: bool,
    fraction: float | None,
    rows: int | None,
    tokens: int | None,
    seed: int,
    stratify_by: str | None,
    as_json: bool,
) -> None:
    """Choose rows of a mapped dataset by STRATEGY (default: high_mean_low_variance); --list lists them."""
    from datasets import DatasetDict

    from hf_datamap.curate.select import provenance, select
    from hf_datamap.publish.folder import MAP_FILE

    if out:
        check_new(out, "selection.json", overwrite=overwrite)
    layout = read_layout(layout_text)
    ds = scored(open_source(source, splits, config, revision, limit), layout)
    subset = select(ds, strategy, fraction, rows=rows, tokens=tokens, seed=seed, stratify_by=stratify_by, layout=layout)
    record = provenance(next(iter(subset.values())) if isinstance(subset, DatasetDict) else subset) or {}
    record["dataset"] = source
    if (earlier := Path(source) / "selection.json").is_file():  # Parquet does not keep how rows were selected
        record["selected_from"] = json.loads(earlier.read_text(encoding="utf-8"))
    if out:
        with written_folder(out, "selection.json", record) as new:
            write_parquet(subset, new / "data")
            # with the map that it was chosen by, so that it can be pushed
            if (data_map := Path(source) / MAP_FILE).is_file():
                shutil.copyfile(data_map, new / MAP_FILE)
    if as_json:
        click.echo(json.dumps({**record, "out": str(out) if out else None}))
    else:
        click.echo(
            f"{record['rows']:,} of {record['of']:,} rows by {record['strategy']}" + (f" in {out}" if out else "")
        )

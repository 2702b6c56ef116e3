"""``hf-datamap inspect``: which layout, why, rows as read, counts of the labels, what is left out or skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hf_datamap.data.layout import Layout

_EXAMPLES = """\b
Examples:
  hf-datamap inspect HuggingFaceH4/ultrafeedback_binarized --split train_prefs
  hf-datamap inspect pairs.jsonl.gz --json
  hf-datamap inspect answers.parquet --layout "prompt=question,responses=answer_a|answer_b"
"""


@click.command(epilog=_EXAMPLES)
@click.argument("source")
@click.option("--split", help="Which split to read.")
@click.option("--config", help="Which configuration (subset, or folder) of the dataset.")
@click.option("--revision", help="Branch, tag or commit on the Hub.")
@click.option(
    "--layout", help="A known layout, paths (prompt=...,responses=...), JSON or a JSON file; detected if left out."
)
@click.option("--group", is_flag=True, help="Group rows that hold one response each into one row per prompt first.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Look at this many rows (default: all; 1,000 of a Hub dataset)."
)
@click.option("--images", is_flag=True, help="Read rows with images, as for a judge with vision or for shipped scores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    source: str,
    split: str | None,
    config: str | None,
    revision: str | None,
    layout: str | None,
    *,
    group: bool,
    limit: int | None,
    images: bool,
    as_json: bool,
) -> None:
    """Show how a preference dataset is read: layout, polarity, rows as read, what is left out or skipped."""
    from hf_datamap.data.group_rows import group_rows
    from hf_datamap.data.inspect import inspect_dataset
    from hf_datamap.data.load import joined_files, load_source

    on_hub = not Path(source).expanduser().exists()
    ds = load_source(source, split, config, revision, streaming=on_hub and not group)
    if group:
        ds = group_rows(ds, on_report=lambda report: click.echo(report.to_text(), err=True))
    inspection = inspect_dataset(
        ds,
        layout=layout,
        limit=limit,
        describe_auto=auto_in_words,
        files=[] if on_hub else joined_files(source, split),
        images=images,
    )
    click.echo(inspection.to_json() if as_json else inspection.to_text())


def auto_in_words(layout: Layout) -> str:
    """Return what ``--scorer auto`` would do with a layout, or why it would find no scorer."""
    from hf_datamap.errors import ScorerError
    from hf_datamap.scorers.registry import describe_auto

    try:
        choice = describe_auto(layout)
    except ScorerError as error:
        reason = str(error).partition(". ")[0]
        return f"no scorer: {reason}; name a judge with --scorer judge:MODEL"
    return f"{choice.name}: {choice.why}"

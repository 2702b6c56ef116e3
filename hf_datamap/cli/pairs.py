"""``hf-datamap pairs``: preference pairs for TRL."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hf_datamap.cli.options import OVERWRITE, out_folder, source_options
from hf_datamap.cli.sources import check_new, open_source, read_layout, scored, write_parquet, written_folder

_EXAMPLES = """\b
Examples:
  hf-datamap pairs my-map --out pairs                              best against worst of each row
  hf-datamap pairs my-map --contrast high --per-prompt 2 --out high
  hf-datamap pairs ifeval-map --contrast 4,2 --out pairs           4 constraints met against 2
  hf-datamap pairs pairs.jsonl --attributes --out described        columns for pairs that exist
"""


@click.command(epilog=_EXAMPLES)
@source_options
@out_folder()
@OVERWRITE
@click.option("--contrast", help="high, low, mixed, or constraint counts like 4,2.")
@click.option("--pairing", type=click.Choice(["all", "best_worst", "best_sweet"]), help="Which responses meet.")
@click.option("--labels", type=click.Choice(["auto", "data", "scores"]), default="auto", show_default=True,
              help="What says which response is better.")  # fmt: skip
@click.option("--quality", type=click.Choice(["high", "low"]), help="Half of the chosen scores to take.")
@click.option("--per-prompt", type=click.IntRange(min=1), help="At most so many pairs of a row.")
@click.option("--conversational/--plain", default=None, help="Messages, or texts; decided by the data by default.")
@click.option("--attributes", is_flag=True, help="Only add margin, shared prefix and difficulty to existing pairs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random draws.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(
    source: str,
    *,
    splits: tuple[str, ...],
    config: str | None,
    revision: str | None,
    layout_text: str | None,
    limit: int | None,
    out: Path,
    overwrite: bool,
    contrast: str | None,
    pairing: str | None,
    labels: str,
    quality: str | None,
    per_prompt: int | None,
    conversational: bool | None,
    attributes: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Build prompt, chosen and rejected from N scored responses, with margin, shared prefix and difficulty."""
    from hf_datamap.curate.pairs import pair_attributes, provenance, to_pairs

    check_new(out, "pairs.json", overwrite=overwrite)
    wanted_contrast = _contrast(contrast)
    layout = read_layout(layout_text)
    ds = scored(open_source(source, splits, config, revision, limit), layout)
    if attributes:
        pairs = pair_attributes(ds, layout=layout)
        record = {"pairs": sum(pairs.num_rows.values()) if isinstance(pairs.num_rows, dict) else pairs.num_rows}
    else:
        pairs = to_pairs(
            ds,
            wanted_contrast,  # type: ignore[arg-type] # _contrast has checked it
            pairing=pairing,  # type: ignore[arg-type] # click has checked it
            labels=labels,  # type: ignore[arg-type]
            quality=quality,  # type: ignore[arg-type]
            per_prompt=per_prompt,
            conversational=conversational,
            seed=seed,
            layout=layout,
        )
        record = provenance(pairs) or {}
    with written_folder(out, "pairs.json", record) as new:
        write_parquet(pairs, new / "data")
    click.echo(json.dumps({**record, "out": str(out)}) if as_json else f"{record['pairs']:,} pairs in {out}")


def _contrast(text: str | None) -> str | tuple[int, int] | None:
    if text is None or text in {"high", "low", "mixed"}:
        return text
    try:
        met, failed = (int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--contrast takes high, low, mixed or two counts like 4,2 - not {text!r}") from None
    return met, failed

"""What ``map`` and ``demo`` print once a map is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hf_datamap.cli.screen import files_of, map_screen
from hf_datamap.cli.terminal import print_screen

if TYPE_CHECKING:
    from hf_datamap.datamap.datamap import DataMap


def unscored(data_map: DataMap) -> int:
    """Rows without any score."""
    status: dict[str, int] = data_map.provenance.get("rows", {})
    return status.get("failed", 0) + status.get("skipped", 0)


def report(data_map: DataMap, out: Path, *, as_json: bool, then: str = "") -> None:
    """Print what was done."""
    usage, panel = data_map.provenance["usage"], data_map.provenance.get("panel")
    if as_json:
        summary = {
            "out": str(out),
            "rows": data_map.rows,
            "mapped": data_map.mapped,
            "regions": data_map.counts,
            "thresholds": data_map.thresholds,
            "status": data_map.provenance["rows"],
            "usage": usage,
            "scorer": data_map.provenance["scorer"],
        } | {name: data_map.provenance[name] for name in ("panel", "noise") if name in data_map.provenance}
        click.echo(json.dumps(summary, indent=2))
        return
    notes = _spent(usage, data_map.provenance["rows"])
    notes += data_map.arbitrary
    if panel:
        notes.append(_agreement(panel))
    if (share := data_map.provenance.get("noise", {}).get("share")) is not None:
        notes.append(f"{100 * share:.0f} % of the variance within rows is the scorer's own noise")
    print_screen(map_screen(data_map, notes, files_of(out, then or f"hf-datamap audit {out}")))


def _agreement(panel: dict[str, Any]) -> str:
    """How far the members of a panel agree."""
    counts = ", ".join(f"{name} {count:,}" for name, count in zip(panel["members"], panel["scored"], strict=True))
    taus = [tau for tau in panel["kendall"].values() if tau is not None]
    alpha = "unknown" if panel["alpha"] is None else f"{panel['alpha']:.3f}"
    between = f", Kendall's tau between two of them {min(taus):.3f} to {max(taus):.3f}" if taus else ""
    return f"panel: {counts} responses scored; Krippendorff's alpha {alpha}{between} (each in datamap.json)"


def _spent(usage: dict[str, Any], status: dict[str, int]) -> list[str]:
    """What became of the rows and what was spent on them, a sentence each."""
    lines = [", ".join(f"{count:,} rows {name}" for name, count in status.items() if count)]
    if usage["requests"] or usage["from_store"]:
        lines.append(
            f"{usage['requests']:,} requests ({usage['retried']:,} retries), {usage['from_store']:,} answers from the "
            f"store, {usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"
            + (f", ${usage['cost']:.4f}" if usage["cost"] is not None else "")
        )
    if usage["failed"]:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in usage["failed"].items())
        lines.append(f"responses without a score - {reasons}")
    if usage["stopped"]:
        lines.append(f"stopped early: {usage['stopped']}; raise it and run the same command to go on")
    return lines

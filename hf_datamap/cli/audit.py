"""``hf-datamap audit``: findings, release gates, reports, repairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from hf_datamap.cli.options import OutputPath, source_options
from hf_datamap.cli.screen import audit_screen
from hf_datamap.cli.sources import check_new, open_source, read_layout, scored, write_parquet, written_folder
from hf_datamap.cli.terminal import print_file, print_screen

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.curate.audit import AuditReport
    from hf_datamap.datamap.datamap import DataMap

_EXAMPLES = """\b
Examples:
  hf-datamap audit my-map                                       the findings on one screen
  hf-datamap audit my-map --fail-on 'suspect_rate>0.05,inversion,duplicates>1%' --report audit.xml
  hf-datamap audit new.parquet --against old.parquet            what changed between two releases
  hf-datamap audit my-map --fixes fixed --fix-rows suspects,identical,duplicates
  hf-datamap audit me/pairs --split all                         leaks between splits, too
  hf-datamap audit my-map --reviewed seen.jsonl                 suspects calibrated by rows that a person has marked
  hf-datamap audit my-map --contamination ifeval --baseline report.json --report new.sarif

\b
Exit code 1: a gate failed, or, without --fail-on, there is an alarm.
"""
_FORMATS = {".md": "to_markdown", ".json": "to_json", ".xml": "to_junit", ".sarif": "to_sarif"}


@click.command(epilog=_EXAMPLES)
@source_options
@click.option("--fail-on", metavar="GATES", help="NAME or NAME>NUMBER, with commas; --fail-on help lists the names.")
@click.option("--against", metavar="OLD", help="An older release to compare with: Hub id, folder or file.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=OutputPath(folder=False),
    help="Write the report to a file: .md, .json, .xml for JUnit, or .sarif. Several times for several.",
)
@click.option(
    "--contamination",
    multiple=True,
    metavar="SET",
    help="Evaluation set whose prompts must not stand in the data: ifeval, mt_bench, or a file of prompts. Repeatable.",
)
@click.option("--personal-data", is_flag=True, help="Look for mail addresses, phone numbers, cards, accounts, IPs.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier report (.json): what it found fails nothing unless it has become worse.",
)
@click.option("--fixes", type=OutputPath(folder=True), help="Write a repaired dataset to this new folder.")
@click.option(
    "--fix",
    "action",
    type=click.Choice(["remove", "flip"]),
    default="remove",
    show_default=True,
    help="What --fixes does to suspects. A published comparison found removal better.",
)
@click.option("--fix-rows", default="suspects", show_default=True, help="Checks whose rows --fixes repairs.")
@click.option(
    "--least-probability",
    "--probability",
    "least_probability",
    default="0.5",
    show_default=True,
    help="From which estimated probability of a wrong annotation a row is a suspect; 'balanced' finds more.",
)
@click.option(
    "--least-similarity",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="From which share of three-word sequences in common two texts are near-duplicates; 0.6 finds more.",
)
@click.option(
    "--reviewed",
    metavar="COLUMN|FILE",
    help="Rows that a person has marked: a column, or a .jsonl, .csv or .parquet with row and verdict (right, wrong).",
)
@click.option(
    "--read-texts/--no-read-texts",
    "--texts/--no-texts",
    "read_texts",
    default=True,
    help="Whether to look at texts (slower than scores alone).",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the whole report as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def command(
    context: click.Context,
    source: str,
    *,
    splits: tuple[str, ...],
    config: str | None,
    revision: str | None,
    layout_text: str | None,
    limit: int | None,
    fail_on: str | None,
    against: str | None,
    reports: tuple[Path, ...],
    contamination: tuple[str, ...],
    personal_data: bool,
    baseline: Path | None,
    fixes: Path | None,
    action: str,
    fix_rows: str,
    least_probability: str,
    least_similarity: float,
    reviewed: str | None,
    read_texts: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Look for wrong labels, broken rows and faults of a preference dataset before it is released."""
    # Long: two thirds of it hand options on to `audit`.
    from hf_datamap.curate.audit import MEASURES, audit

    if fail_on == "help":
        width = max(map(len, MEASURES))
        click.echo("\n".join(f"{name:<{width}}  {what}" for name, what in MEASURES.items()))
        return
    _check_options(fail_on, reports, fixes)
    layout = read_layout(layout_text)
    ds = scored(open_source(source, splits, config, revision, limit), layout)
    old = scored(open_source(against, splits, config, None, limit), layout) if against else None
    report = audit(
        ds,
        layout=layout,
        data_map=_map_of(source),
        fail_on=fail_on,
        against=old,
        read_texts=read_texts,
        least_probability=_threshold(least_probability),
        least_similarity=least_similarity,
        reviewed=reviewed,
        baseline=baseline,
        personal_data=personal_data,
        contamination=contamination,
    )
    for path in reports:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(getattr(report, _FORMATS[path.suffix])(), encoding="utf-8")
        click.echo(f"wrote {path}", err=True)
    if fixes:
        _repair(ds, report, fixes, action, [name.strip() for name in fix_rows.split(",") if name.strip()])
    if as_json or as_markdown:
        print_file(f"{report.to_json()}\n" if as_json else report.to_markdown())
    else:
        print_screen(audit_screen(report, source, _following(report, source)))
    context.exit(0 if report.passed else 1)


def _check_options(fail_on: str | None, reports: tuple[Path, ...], fixes: Path | None) -> None:
    """Find what is wrong with options before anything is read."""
    from hf_datamap.curate.audit import parse_gates

    if fail_on is not None:
        parse_gates(fail_on)
    for path in reports:
        if path.suffix not in _FORMATS:
            raise click.UsageError(f"--report {path}: the name must end in {', '.join(_FORMATS)}")
    if fixes:
        check_new(fixes, "fixes.json")


def _following(report: AuditReport, source: str) -> list[tuple[str, str]]:
    """What to do after an audit."""
    commands = [("in full", f"hf-datamap audit {source} --markdown")]
    if len(report.suspects):
        commands.append(("next", f"hf-datamap audit {source} --fixes fixed --fix-rows suspects"))
    else:
        commands.append(("next", f"hf-datamap select {source} --out good"))
    return commands


def _threshold(text: str) -> float | Literal["balanced"]:
    if text == "balanced":
        return "balanced"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise click.UsageError(f"--least-probability takes 'balanced' or a number between 0 and 1, not {text!r}")
    return value


def _map_of(source: str) -> DataMap | None:
    """The map in a mapped folder, which knows how the rows were scored."""
    from hf_datamap.datamap.datamap import DataMap
    from hf_datamap.publish.folder import MAP_FILE

    path = Path(source) / MAP_FILE
    return DataMap.load(path) if path.is_file() else None


def _repair(ds: Dataset | DatasetDict, report: AuditReport, out: Path, action: str, checks: list[str]) -> None:
    from hf_datamap.curate.audit import fix

    fixed = fix(ds, report, action="flip" if action == "flip" else "remove", checks=checks)
    with written_folder(out, "fixes.json", dict(sorted(fixed.counts.items()))) as new:
        write_parquet(fixed.kept, new / "data")
        if sum(fixed.counts.values()) > fixed.counts.get("kept", 0):
            write_parquet(fixed.removed, new / "removed")
    fates = ", ".join(f"{rows:,} {fate}" for fate, rows in sorted(fixed.counts.items()))
    click.echo(f"wrote {out}: {fates}", err=True)

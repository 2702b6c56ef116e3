"""What ``map`` and ``audit`` end in: one screen of 80 columns and at most 25 lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_datamap.cli.terminal import clean, styled, width

if TYPE_CHECKING:
    from hf_datamap.curate.audit import AuditReport
    from hf_datamap.datamap.datamap import DataMap

_BAR: Final = 18
_FINDINGS: Final = 9
_SUSPECTS: Final = 3
_GATES: Final = 6
_REGION_STYLES: Final = {
    "high_mean_low_variance": "blue",
    "low_mean_low_variance": "yellow",
    "high_variance": "magenta",
    "unmapped": "dim",
}
_SEVERITY_STYLES: Final = {"alarm": "red", "warning": "yellow", "note": "dim"}


def map_screen(data_map: DataMap, notes: Sequence[str], files: Sequence[tuple[str, str]]) -> list[str]:
    """Return the screen of a map.

    Args:
        data_map: the map.
        notes: what happened while it was made, a sentence each; the most important first.
        files: where things are and what to do next, with a label each.
    """
    source = data_map.provenance.get("source") or {}
    lines = [
        _heading(str(source.get("id", "map")), f"{data_map.rows:,} rows, {data_map.mapped:,} mapped"),
        *_wrapped(_scorer(data_map.provenance.get("scorer") or {}), "scored by "),
        "",
        *[_region(region) for region in data_map.regions],
        "",
        *_boundaries(data_map),
    ]
    room = 25 - len(lines) - 1 - len(files)
    said = [line for note in notes for line in _wrapped(note, "  ", "    ")]
    if len(said) > room:
        said = [*said[: room - 1], f"  … and {len(said) - room + 1} more lines (datamap.json has all)"]
    lines += said
    return [*lines, "", *_labelled(files)]


def _heading(title: str, right: str) -> str:
    columns = width()
    shown = _cut(" ".join(title.split()), max(10, columns - len(right) - 2))
    return styled(shown, "bold") + " " * max(2, columns - len(shown) - len(right)) + right


def _scorer(identity: dict[str, Any]) -> str:
    kind, name = str(identity.get("kind", "an unknown scorer")), identity.get("model") or identity.get("path")
    return f"{kind} {name}" if name else kind


def _region(region: Any) -> str:  # noqa: ANN401 - of a DataMap
    filled = round(region.share * _BAR)
    bar = "█" * (filled or (1 if region.rows else 0))
    mean = "" if region.mean is None else f"  mean {region.mean:.4g}"
    coloured = styled(bar, _REGION_STYLES.get(region.name, "dim")) + "░" * (_BAR - len(bar))
    return f"  {region.name:<23}{coloured} {region.rows:>11,} {region.share:>6.1%}{mean}"


def _boundaries(data_map: DataMap) -> list[str]:
    lines = []
    for name, boundary in (("variance", data_map.variance), ("mean", data_map.mean)):
        if boundary is not None:
            tied = f": {boundary.ties:,} rows lie on it, {boundary.below:,} count as low" if boundary.ties > 1 else ""
            lines.append(f"  cut at {name} {boundary.value:.4g}{tied}")
    return lines


def audit_screen(report: AuditReport, source: str, following: Sequence[tuple[str, str]]) -> list[str]:
    """Return the screen of an audit.

    Args:
        report: the report.
        source: what was audited.
        following: what to do next, with a label each.
    """
    state = styled("passed", "green") if report.passed else styled("FAILED", "red", "bold")
    heading = f"audit of {source}"
    columns = width()
    shown = _cut(" ".join(heading.split()), columns - 8)
    splits = ", ".join(f"{clean(name)} {rows:,}" for name, rows in list(report.splits.items())[:4])
    splits += f" and {len(report.splits) - 4} more splits" if len(report.splits) > 4 else ""
    lines = [
        styled(shown, "bold") + " " * (columns - len(shown) - 6) + state,
        _cut(f"{report.rows:,} rows ({splits})"),
        "",
    ]
    lines += _gates(report)
    lines += [_finding(finding.severity, finding.title) for finding in report.findings[:_FINDINGS]]
    if rest := report.findings[_FINDINGS:]:
        kinds = {severity: sum(finding.severity == severity for finding in rest) for severity in _SEVERITY_STYLES}
        counted = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items() if count)
        lines.append(f"  … and {counted} more")
    if not report.findings:
        lines.append("  nothing to report")
    if len(report.suspects):
        lines += ["", f"  {len(report.suspects):,} suspects, the most probable first"]
        for suspect, _ in zip(report.suspects, range(_SUSPECTS), strict=False):
            lines.append(_cut(f"    row {suspect.row:,}  {' '.join(suspect.reason.split())}"))
    if report.left_out:
        lines.append(_cut(f"  not checked: {', '.join(report.left_out)}"))
    return [*lines, "", *_labelled(following)]


def _gates(report: AuditReport) -> list[str]:
    failed = [gate for gate in report.gates if gate.failed]
    if not report.gates:
        return []
    lines = [styled(_cut(f"  gate     {gate}"), "red") for gate in failed[:_GATES]]
    lines += [f"  … and {len(failed) - _GATES} more gates failed"] if len(failed) > _GATES else []
    held = len(report.gates) - len(failed)
    return [*lines, f"  {held} of {len(report.gates)} gates held", ""]


def _finding(severity: str, title: str) -> str:
    label = styled(f"  {severity:<9}", _SEVERITY_STYLES.get(severity, "dim"))
    return label + _cut(" ".join(title.split()), width() - 11)


def _labelled(pairs: Sequence[tuple[str, str]]) -> list[str]:
    # A path that is cut could not be copied: it may be longer than the line.
    return [f"  {label:<9}{clean(' '.join(value.split()))}" for label, value in pairs]


def _wrapped(text: str, first: str, later: str | None = None) -> list[str]:
    rest = " " * len(first) if later is None else later
    words = clean(" ".join(text.split()))
    return textwrap.wrap(words, width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _cut(text: str, limit: int | None = None) -> str:
    limit = width() if limit is None else limit
    shown = clean(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def files_of(out: Path, then: str) -> list[tuple[str, str]]:
    """Return where the files of a map are, and the next command."""
    return [
        ("picture", str(out / "map.png")),
        ("data", str(out / "data")),
        ("card", str(out / "README.md")),
        ("next", then),
    ]

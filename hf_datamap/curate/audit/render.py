"""A report as Markdown and as JUnit XML. Text from the data set is hostile: it is escaped, never trusted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from hf_datamap.data import columns

if TYPE_CHECKING:
    from hf_datamap.curate.audit.releases import Comparison
    from hf_datamap.curate.audit.report import Finding, Report

_SUSPECTS: Final = 20
_CELL: Final = 200
_MARKS: Final = re.compile(r"([\\`*_{}\[\]|~$#])")
_ENTITIES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
#: Characters that XML 1.0 does not allow at all, and those that reorder or hide text.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


def inert(value: object, limit: int = _CELL) -> str:
    """Text that Markdown and HTML show as it is: one line, every mark escaped, shortened."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    text = re.sub(r"\s+", " ", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))).strip()
    if len(text) > limit:
        text = text[:limit].rstrip() + " …"
    text = re.sub("[<>&@]", lambda match: _ENTITIES[match[0]], text)
    text = _MARKS.sub(r"\\\1", text)
    return re.sub(r"(?i)\b(https?|ftp|www)\b", lambda match: match[1][0] + "\u2060" + match[1][1:], text)


def markdown(report: Report) -> str:
    """The report for people."""
    state = "passed" if report.passed else "FAILED"
    parts = [
        f"# Audit: {state}",
        f"{report.rows:,} rows ({', '.join(f'{inert(name)} {rows:,}' for name, rows in report.splits.items())}). "
        f"Read as: {inert(report.layout, 400)}.",
    ]
    if report.gates:
        rows = [
            {
                "gate": gate.name,
                "allowed": gate.least,
                "measured": "not measured" if gate.value is None else gate.value,
                "": "FAILED" if gate.failed else "passed",
            }
            for gate in report.gates
        ]
        parts += ["## Gates", _table(rows)]
    for severity, title in (("alarm", "Alarms"), ("warning", "Warnings"), ("note", "Notes")):
        found = [finding for finding in report.findings if finding.severity == severity]
        if found:
            parts += [f"## {title}", *(_finding(finding) for finding in found)]
    if len(report.suspects):
        parts.append(_suspects(report))
    if report.comparison is not None:
        parts.append(_comparison(report.comparison))
    if report.left_out:
        parts += [
            "## Not checked",
            "\n".join(f"- {inert(name)}: {inert(why, 400)}" for name, why in report.left_out.items()),
        ]
    measures = [{"measure": name, "value": value} for name, value in report.measures.items()]
    parts += ["## Measures", _table(measures), f"hf_datamap {report.version}"]
    return "\n\n".join(parts) + "\n"


def _finding(finding: Finding) -> str:
    parts = [f"### {inert(finding.title, 400)}"]
    if finding.detail:
        parts.append(inert(finding.detail, 1000))
    if finding.evidence:
        parts.append(_table(finding.evidence))
    if len(finding.rows) > len(finding.evidence):
        parts.append(
            f"Rows: {', '.join(map(str, finding.rows[:30].tolist()))}{', …' if len(finding.rows) > 30 else ''}"
        )
    return "\n\n".join(parts)


def _suspects(report: Report) -> str:
    rows = [
        {
            "row": suspect.index if len(report.splits) == 1 else f"{suspect.split} {suspect.index}",
            "wrong with": f"{suspect.probability:.0%}",
            "annotated better, scored": f"response {suspect.better + 1}: {suspect.scores[0]:.4g}",
            "annotated worse, scored": f"response {suspect.worse + 1}: {suspect.scores[1]:.4g}",
            "S_corr": suspect.agreement,
            "tau": suspect.kendall,
            "Pearson": suspect.pearson,
            "text annotated better": suspect.responses[0] if suspect.responses else "",
            "text annotated worse": suspect.responses[1] if suspect.responses else "",
        }
        for suspect in report.suspects[:_SUSPECTS]
    ]
    shown = (
        f"The first {len(rows)} of {len(report.suspects):,}, most probable first."
        if len(rows) < len(report.suspects)
        else ""
    )
    return "\n\n".join(filter(None, ["## Suspects", shown, _table(rows)]))


def _comparison(found: Comparison) -> str:
    parts = [
        "## Against the older release",
        f"{found.old_rows:,} rows became {found.new_rows:,}: {found.added:,} added, {found.removed:,} removed, "
        f"{found.changed:,} changed, {found.unchanged:,} unchanged. {found.relabelled:,} rows prefer another response.",
    ]
    if found.regions is not None:
        names = [inert(name) for name in columns.REGIONS]
        table = [
            {"old \\ new": name, **dict(zip(names, row, strict=True))}
            for name, row in zip(names, found.regions, strict=True)
        ]
        parts += ["Regions of common rows, old by row, new by column:", _table(table, raw=True)]
    drifts = [
        {"quantity": d.what, "old mean": d.old, "new mean": d.new, "distance": d.distance, "p": d.p}
        for d in found.drifts
    ]
    if drifts:
        parts += ["Drift (two-sample Kolmogorov-Smirnov):", _table(drifts)]
    return "\n\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]], *, raw: bool = False) -> str:
    shown = (lambda value: f"{value:,}" if isinstance(value, int) else str(value)) if raw else _cell
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(name if raw else inert(name) for name in names), _line("---" for _ in names)]
    lines += [_line(shown(row.get(name, "")) for name in names) for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return str(value) if isinstance(value, int) else inert(value)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def junit(report: Report) -> str:
    """JUnit XML: one test case per gate, or per measure and alarm when there are no gates."""
    cases = [(gate.name, str(gate) if gate.failed else "") for gate in report.gates]
    if not cases:
        alarms = {finding.check: finding.title for finding in report.alarms}
        cases = [(name, alarms.get(name, "")) for name in sorted({*report.measures, *alarms})]
    failures = sum(bool(message) for _, message in cases)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites tests="{len(cases)}" failures="{failures}">',
        f'  <testsuite name="hf-datamap audit" tests="{len(cases)}" failures="{failures}" skipped="0" errors="0">',
    ]
    for name, message in cases:
        start = f'    <testcase classname="hf_datamap.audit" name={quoteattr(_xml(name))}'
        if message:
            lines += [
                f"{start}>",
                f"      <failure message={quoteattr(_xml(message))}>{escape(_xml(_why(report, name)))}</failure>",
                "    </testcase>",
            ]
        else:
            lines.append(f"{start} />")
    lines += ["  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


def _why(report: Report, name: str) -> str:
    found = [finding for finding in report.findings if finding.check == name]
    return "\n".join(f"{finding.title}. {finding.detail}" for finding in found)


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)

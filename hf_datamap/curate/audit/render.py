"""Parts of a report as Markdown and JUnit XML. Text from the dataset is hostile: it is escaped, never trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from hf_datamap.curate.audit.findings import MEASURES, Finding
from hf_datamap.curate.audit.gates import Gate
from hf_datamap.curate.audit.releases import ReleaseComparison
from hf_datamap.curate.audit.review import ReviewSummary
from hf_datamap.curate.audit.suspects import Suspects
from hf_datamap.data import columns

_SUSPECTS: Final = 20
_CELL: Final = 200
_LOCATIONS: Final = 20
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


def gates(judged: Sequence[Gate]) -> list[str]:
    """The section on release gates, no parts without any."""
    rows = [
        {
            "gate": gate.name,
            "allowed": gate.least,
            "measured": gate.measured if gate.value is None else gate.value,
            "": "FAILED" if gate.failed else "passed",
        }
        for gate in judged
    ]
    return ["## Gates", _table(rows)] if rows else []


def findings(every: Sequence[Finding]) -> list[str]:
    """One section per severity that has findings."""
    parts: list[str] = []
    for severity, title in (("alarm", "Alarms"), ("warning", "Warnings"), ("note", "Notes")):
        of_severity = [finding for finding in every if finding.severity == severity]
        if of_severity:
            parts += [f"## {title}", *(_finding(finding) for finding in of_severity)]
    return parts


def not_checked(reasons: Mapping[str, str]) -> list[str]:
    """The section on what could not be checked."""
    lines = [f"- {inert(name)}: {inert(why, 400)}" for name, why in reasons.items()]
    return ["## Not checked", "\n".join(lines)] if lines else []


def measures(values: Mapping[str, float]) -> list[str]:
    """The table of measures."""
    return ["## Measures", _table([{"measure": name, "value": value} for name, value in values.items()])]


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


def suspects(listed: Suspects, *, with_split: bool) -> list[str]:
    """The section on suspects: the most probable ones as a table."""
    if not len(listed):
        return []
    rows = [
        {
            "row": f"{suspect.split} {suspect.index}" if with_split else suspect.index,
            "wrong with": f"{suspect.probability:.0%}",
            "annotated better, scored": f"response {suspect.better + 1}: {suspect.scores[0]:.4g}",
            "annotated worse, scored": f"response {suspect.worse + 1}: {suspect.scores[1]:.4g}",
            "S_corr": suspect.agreement,
            "tau": suspect.kendall,
            "Pearson": suspect.pearson,
            "text annotated better": suspect.responses[0] if suspect.responses else "",
            "text annotated worse": suspect.responses[1] if suspect.responses else "",
        }
        for suspect in listed[:_SUSPECTS]
    ]
    shown = [f"The first {len(rows)} of {len(listed):,}, most probable first."] if len(rows) < len(listed) else []
    return ["## Suspects", *shown, _table(rows)]


def review(summary: ReviewSummary) -> list[str]:
    """The section on reviewed rows: shares with their intervals, and what to review next."""
    rows = [
        {"share of wrong labels among": name, "estimate": share, "95 % from": low, "to": high}
        for name, (share, low, high) in (("suspects", summary.precision), ("all rows", summary.label_error))
    ]
    share, low, high = summary.agreement
    if not math.isnan(share):
        what = "all rows, by corrected agreement"
        rows.append({"share of wrong labels among": what, "estimate": 1 - share, "95 % from": 1 - high, "to": 1 - low})
    parts = ["## Reviewed rows", f"{summary.reviewed:,} reviewed, {summary.wrong:,} of them wrong.", _table(rows)]
    if summary.review_next:
        parts.append(
            f"Review next, least certain first: {', '.join(map(str, summary.review_next))}. "
            f"{summary.more_reviews:,} more reviews of suspects would halve the interval of their share."
        )
    return parts


def comparison(both: ReleaseComparison) -> list[str]:
    """The section on what changed since an older release."""
    parts = [
        "## Against the older release",
        f"{both.old_rows:,} rows became {both.new_rows:,}: {both.added:,} added, {both.removed:,} removed, "
        f"{both.changed:,} changed, {both.unchanged:,} unchanged. {both.relabelled:,} rows prefer another response.",
    ]
    if both.regions is not None:
        names = [inert(name) for name in columns.REGIONS]
        table = [
            {"old \\ new": name, **dict(zip(names, row, strict=True))}
            for name, row in zip(names, both.regions, strict=True)
        ]
        parts += ["Regions of common rows, old by row, new by column:", _table(table, raw=True)]
    drift_rows = [
        {"quantity": d.what, "old mean": d.old, "new mean": d.new, "distance": d.distance, "p": d.p}
        for d in both.drifts
    ]
    if drift_rows:
        parts += ["Drift (two-sample Kolmogorov-Smirnov):", _table(drift_rows)]
    return parts


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


def junit(cases: Sequence[tuple[str, str]], every: Sequence[Finding]) -> str:
    """JUnit XML of test cases: a name and why it failed, empty where it passed; findings of that name explain more."""
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
                f"      <failure message={quoteattr(_xml(message))}>{escape(_xml(_why(every, name)))}</failure>",
                "    </testcase>",
            ]
        else:
            lines.append(f"{start} />")
    lines += ["  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


def _why(every: Sequence[Finding], name: str) -> str:
    return "\n".join(f"{finding.title}. {finding.detail}" for finding in every if finding.check == name)


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def sarif(every: Sequence[Finding], accepted: Set[str], source: str, version: str) -> str:
    """SARIF 2.1.0: one rule per check, one result per finding, with its first rows as locations (row 0 is line 1)."""
    levels = {"alarm": "error", "warning": "warning", "note": "note"}
    results = []
    for finding in every:
        rows: list[int] = finding.rows[:_LOCATIONS].tolist()
        artifact = {"artifactLocation": {"uri": _xml(source)}}
        locations = [{"physicalLocation": {**artifact, "region": {"startLine": row + 1}}} for row in rows]
        result: dict[str, Any] = {
            "ruleId": finding.check,
            "level": levels[finding.severity],
            "message": {"text": _xml(f"{finding.title}. {finding.detail}".strip())},
            "locations": locations or [{"physicalLocation": artifact}],
        }
        if finding.check in accepted:
            result["suppressions"] = [{"kind": "external", "justification": "in the baseline"}]
        results.append(result)
    rules = [
        {"id": name, "shortDescription": {"text": MEASURES.get(name, name)}}
        for name in sorted({f.check for f in every})
    ]
    driver = {"name": "hf-datamap audit", "version": version, "rules": rules}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, ensure_ascii=False, indent=2)

"""`AuditReport`: what an audit says, as an object, JSON, Markdown and JUnit XML."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hf_datamap.curate.audit import render
from hf_datamap.curate.audit.findings import Finding
from hf_datamap.curate.audit.gates import Gate
from hf_datamap.curate.audit.releases import ReleaseComparison
from hf_datamap.curate.audit.review import ReviewSummary
from hf_datamap.curate.audit.suspects import Suspects
from hf_datamap.data import columns, notebook
from hf_datamap.data.dataset import with_columns
from hf_datamap.engine.config import __version__
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True, repr=False)
class AuditReport:
    """The result of an audit.

    Attributes:
        rows: how many rows were audited.
        splits: rows per split.
        layout: how the rows were read, in words.
        findings: alarms first.
        suspects: rows whose annotation the scores contradict, most probable first.
        measures: every measure taken, by name (`MEASURES`).
        left_out: what could not be checked, and why.
        gates: release gates, judged; empty when none were given.
        comparison: against an older release, when one was given.
        review: what reviewed rows say about the suspects, when some were given.
        accepted: measures of an earlier report (``baseline``): alarms that are no worse fail nothing.
        label_columns: the columns the annotations come from.
        version: of the package.
    """

    rows: int
    splits: Mapping[str, int]
    layout: str
    findings: tuple[Finding, ...]
    suspects: Suspects
    measures: Mapping[str, float]
    left_out: Mapping[str, str]
    gates: tuple[Gate, ...] = ()
    comparison: ReleaseComparison | None = None
    review: ReviewSummary | None = None
    accepted: Mapping[str, float] = field(default_factory=dict)
    label_columns: tuple[str, ...] = ()
    version: str = __version__

    @property
    def passed(self) -> bool:
        """Whether the release may go out: no gate failed, or, without gates, no alarm was raised."""
        if self.gates:
            return not any(gate.failed for gate in self.gates)
        return not self.new_alarms

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that fail an audit without gates."""
        return tuple(finding for finding in self.findings if finding.severity == "alarm")

    @property
    def new_alarms(self) -> tuple[Finding, ...]:
        """Alarms beyond what a ``baseline`` has seen already."""
        return tuple(
            alarm
            for alarm in self.alarms
            if not self.measures.get(alarm.check, math.inf) <= self.accepted.get(alarm.check, -math.inf)
        )

    def finding(self, check: str) -> Finding | None:
        """The first finding of a check, None when it has nothing to say."""
        return next((finding for finding in self.findings if finding.check == check), None)

    def annotate(self, ds: Dataset | DatasetDict) -> Dataset | DatasetDict:
        """Return ``ds`` with ``datamap_suspect``.

        Raises:
            MapError: ``ds`` is not the dataset that was audited (another number of rows).
        """
        from datasets import DatasetDict

        flags = np.zeros(self.rows, bool)
        flags[self.suspects.rows] = True
        parts = dict(ds) if isinstance(ds, DatasetDict) else {next(iter(self.splits)): ds}
        if {name: len(part) for name, part in parts.items()} != dict(self.splits):
            audited = ", ".join(f"{name} {rows:,}" for name, rows in self.splits.items())
            raise MapError(
                f"this report is about {audited} rows; the dataset given has {sum(map(len, parts.values())):,}"
            )
        schema, annotated, start = pa.schema([(columns.SUSPECT, pa.bool_())]), {}, 0
        for name, part in parts.items():
            in_split = flags[start : start + len(part)]
            annotated[name] = with_columns(part, pa.table([pa.array(in_split)], schema=schema), in_split.tobytes())
            start += len(part)
        return DatasetDict(annotated) if isinstance(ds, DatasetDict) else next(iter(annotated.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "passed": self.passed,
            "rows": self.rows,
            "splits": dict(self.splits),
            "layout": self.layout,
            "measures": {name: _plain(value) for name, value in self.measures.items()},
            "gates": [
                {"name": g.name, "allowed": g.least, "value": _plain(g.value), "failed": g.failed, "reason": g.reason}
                for g in self.gates
            ],
            "findings": [_plain({**asdict(finding), "rows": finding.rows.tolist()}) for finding in self.findings],
            "suspects": [_plain(asdict(suspect)) for suspect in self.suspects],
            "left_out": dict(self.left_out),
            "comparison": _plain(asdict(self.comparison)) if self.comparison else None,
            "review": _plain(asdict(self.review)) if self.review else None,
            "version": self.version,
        }

    def to_json(self) -> str:
        """Return the report as JSON text; the same report gives the same text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)

    def to_markdown(self) -> str:
        """Return the report for people; text from the dataset is escaped."""
        state = "passed" if self.passed else "FAILED"
        splits = ", ".join(f"{render.inert(name)} {rows:,}" for name, rows in self.splits.items())
        parts = [
            f"# Audit: {state}",
            f"{self.rows:,} rows ({splits}). Read as: {render.inert(self.layout, 400)}.",
            *render.gates(self.gates),
            *render.findings(self.findings),
            *render.suspects(self.suspects, with_split=len(self.splits) > 1),
            *(render.review(self.review) if self.review is not None else ()),
            *(render.comparison(self.comparison) if self.comparison is not None else ()),
            *render.not_checked(self.left_out),
            *render.measures(self.measures),
            f"hf_datamap {self.version}",
        ]
        return "\n\n".join(parts) + "\n"

    def to_junit(self) -> str:
        """Return the report as JUnit XML: one test case per gate, or per check when there are no gates."""
        cases = [(gate.name, str(gate) if gate.failed else "") for gate in self.gates]
        if not cases:
            alarms = {finding.check: finding.title for finding in self.new_alarms}
            cases = [(name, alarms.get(name, "")) for name in sorted({*self.measures, *alarms})]
        return render.junit(cases, self.findings)

    def to_sarif(self, source: str = "dataset") -> str:
        """Return the report as SARIF 2.1.0, as code scanning reads it: one result per finding.

        Args:
            source: what the findings are about, a file or a Hub id.
        """
        accepted = {finding.check for finding in self.alarms} - {finding.check for finding in self.new_alarms}
        return render.sarif(self.findings, accepted, source, self.version)

    def _repr_html_(self) -> str:
        """Return the findings as a table for notebooks."""
        state = "passed" if self.passed else "FAILED"
        rows = [(finding.severity, finding.title, len(finding.rows)) for finding in self.findings]
        gates = [f"gate {'failed' if gate.failed else 'held'}: {gate}" for gate in self.gates]
        title = f"Audit {state}: {self.rows:,} rows, {len(self.suspects):,} suspects"
        return notebook.table(title, ("severity", "finding", "rows"), rows, notes=gates)

    def __repr__(self) -> str:
        state = "passed" if self.passed else "failed"
        return (
            f"AuditReport({state}, {self.rows:,} rows, {len(self.findings)} findings, {len(self.suspects):,} suspects)"
        )

    def __str__(self) -> str:
        state = "passed" if self.passed else "failed"
        lines = [f"{self.rows:,} rows, {len(self.suspects):,} suspects: {state}"]
        lines += [f"  {finding.severity:<8}{finding.title}" for finding in self.findings]
        return "\n".join(lines)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """JSON values: no numpy, no NaN; floats rounded to six significant digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value

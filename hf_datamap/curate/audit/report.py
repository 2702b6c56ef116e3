"""What an audit says: findings, suspects, gates, and the report that holds them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.engine.config import __version__
from hf_datamap.errors import GateError, MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.curate.audit.releases import Comparison

Severity = Literal["alarm", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing the audit has to say about the data set.

    Attributes:
        check: which check says so; also the name of its measure in gates.
        severity: ``alarm`` (fails the audit unless gates are given), ``warning`` or ``note``.
        title: what was found, in one line, with its numbers.
        detail: what it means and what to do about it.
        value: the measure.
        rows: the rows concerned, ascending (numbers over all splits); empty for findings about the whole.
        evidence: some of them, or a table, as plain values.
    """

    check: str
    severity: Severity
    title: str
    detail: str = ""
    value: float = math.nan
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    evidence: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Suspect:
    """A row whose annotation the scores contradict.

    Attributes:
        row: its number (over all splits when there are several).
        split: its split.
        index: its number in that split.
        reason: why, in one sentence.
        probability: that the annotation is wrong, as estimated (`hf_datamap.curate.audit.statistics.Reliability`).
        margin: score of the response annotated worse minus that of the one annotated better.
        better: index of the response annotated better.
        worse: index of the response annotated worse.
        scores: scores of those two.
        annotations: annotations of those two.
        agreement: S_corr of the row, the papers' uncentred cosine.
        kendall: Kendall's tau-b of the row.
        pearson: Pearson correlation of the row.
        responses: the two texts, shortened; None when the row cannot be read.
    """

    row: int
    split: str
    index: int
    reason: str
    probability: float
    margin: float
    better: int
    worse: int
    scores: tuple[float, float]
    annotations: tuple[float, float]
    agreement: float
    kendall: float
    pearson: float
    responses: tuple[str, str] | None = None


class Suspects(Sequence[Suspect]):
    """The suspects, most probable first: arrays inside, `Suspect` objects when looked at.

    Args:
        rows: row numbers.
        table: for every field of `Suspect` that is a number, one array as long as ``rows``.
        places: split and index of a row number.
        texts: from row number and both indices to the two texts.
    """

    def __init__(
        self,
        rows: np.ndarray,
        table: Mapping[str, np.ndarray],
        places: Callable[[int], tuple[str, int]],
        texts: Callable[[int, int, int], tuple[str, str] | None] = lambda *_: None,
    ) -> None:
        self.rows = rows
        self._table, self._places, self._texts = table, places, texts

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Suspect: ...
    @overload
    def __getitem__(self, place: slice) -> list[Suspect]: ...
    def __getitem__(self, place: int | slice) -> Suspect | list[Suspect]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        found = {name: values[place].item() for name, values in self._table.items()}
        better, worse = int(found["better"]), int(found["worse"])
        scores = (found.pop("score_better"), found.pop("score_worse"))
        labels = (found.pop("label_better"), found.pop("label_worse"))
        split, index = self._places(int(self.rows[place]))
        reason = (
            f"response {better + 1} is annotated better ({labels[0]:.4g} against {labels[1]:.4g}) than response "
            f"{worse + 1} but scored lower ({scores[0]:.4g} against {scores[1]:.4g}); "
            f"the annotation is wrong with an estimated probability of {found['probability']:.0%}"
        )
        return Suspect(
            row=int(self.rows[place]),
            split=split,
            index=index,
            reason=reason,
            scores=scores,
            annotations=labels,
            responses=self._texts(int(self.rows[place]), better, worse),
            **found,
        )


@dataclass(frozen=True)
class Gate:
    """One condition on which a release fails.

    Attributes:
        name: a measure of the audit.
        least: it fails above this value.
        value: the measure, None when it could not be taken (then the gate fails: nothing was shown).
    """

    name: str
    least: float
    value: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the release fails on it."""
        return self.value is None or self.value > self.least

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} {found}, allowed {self.least:.4g}"


@dataclass
class Ledger:
    """What the checks write into: findings, measures, and what could not be checked."""

    findings: list[Finding] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def rate(
        self,
        check: str,
        rows: np.ndarray,
        total: int,
        what: str,
        *,
        alarm: float = math.inf,
        warning: float = 0.0,
        of_responses: float | None = None,
        detail: str = "",
        evidence: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write down a share of rows: a note, a warning above ``warning``, an alarm above ``alarm``.

        With ``of_responses`` that share decides: where rows have many responses, most rows have a bad one.
        """
        share = len(rows) / total if total else 0.0
        self.measures[check] = share
        if len(rows):
            level = share if of_responses is None else of_responses
            severity: Severity = "alarm" if level > alarm else "warning" if level > warning else "note"
            title = f"{len(rows):,} of {total:,} rows ({_percent(share)}) {what}"
            self.findings.append(Finding(check, severity, title, detail, share, rows, tuple(evidence)))

    def add(self, check: str, severity: Severity, title: str, value: float = math.nan, **more: Any) -> None:  # noqa: ANN401
        """Write down a finding about the whole."""
        self.findings.append(Finding(check, severity, title, value=value, **more))


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2%}"


_GATE: Final = re.compile(r"\s*([a-z_]+)\s*(?:>\s*([0-9.eE+-]+)\s*(%?))?\s*")


def parse_gates(text: str) -> list[Gate]:
    """Read release gates: ``suspect_rate>0.05,inversion,duplicates>1%``. A name alone means ``> 0``.

    Raises:
        GateError: a piece is not of that form, or names no measure of the audit.
    """
    gates = []
    for piece in filter(None, map(str.strip, text.split(","))):
        match = _GATE.fullmatch(piece)
        if match is None:
            raise GateError(f"{piece!r} is not a gate: write NAME or NAME>NUMBER, like suspect_rate>0.05 or inversion")
        name, number, percent = match.groups()
        if name not in MEASURES:
            raise GateError(f"no measure {name!r}; there are: {', '.join(sorted(MEASURES))}")
        try:
            least = float(number or 0) / (100 if percent else 1)
        except ValueError:
            raise GateError(f"{number!r} in {piece!r} is not a number") from None
        gates.append(Gate(name, least))
    if not gates:
        raise GateError("no gate given; write for example 'suspect_rate>0.05,inversion,duplicates>0.01'")
    return gates


#: Every measure of an audit, and what it is. Shares are of all rows unless said otherwise.
MEASURES: Final[Mapping[str, str]] = {
    "suspect_rate": "share of rows whose annotation the scores contradict",
    "label_error": "estimated share of wrong labels",
    "inversion": "1 when labels (of all rows, or of a group) point the wrong way, else 0",
    "scale": "share of responses whose overall rating contradicts its own aspect ratings",
    "outliers": "share of rows with a score or annotation far outside the scale of all others",
    "constant": "1 when an annotator or the scorer gives everything the same value, else 0",
    "tied_labels": "share of rows whose annotations are all equal",
    "duplicates": "share of rows that repeat an earlier row's prompt",
    "near_duplicates": "share of rows whose prompt nearly repeats an earlier row's",
    "duplicate_responses": "share of rows whose responses repeat an earlier row's, under another prompt",
    "near_duplicate_responses": "share of rows with a response that nearly repeats another (of any row)",
    "identical": "share of rows with two equal responses that are labelled differently, or chosen equal to rejected",
    "leaks": "share of rows whose prompt also stands in another split",
    "empty": "share of rows with an empty response",
    "truncated": "share of rows with a response that breaks off",
    "repetitive": "share of rows with a response that repeats itself",
    "refused": "share of rows with a refusal",
    "wrong_language": "share of rows with a response in another language than its prompt and its siblings",
    "swapped": "share of rows with a response that answers another row's prompt",
    "unreadable": "share of rows that the layout cannot read",
    "length_bias": "correlation of label and length within rows, absolute",
    "composition": "Cramér's V of region and source",
    "low_impact": "share of rows with equal scores or zero margin",
    "removed": "share of the old release's rows that are gone (with --against)",
    "changed": "share of common rows that changed (with --against)",
    "region_drift": "share of common rows that changed region (with --against)",
    "score_drift": "Kolmogorov-Smirnov distance of the mean scores of both releases (with --against)",
    "label_drift": "share of common rows whose preferred response changed (with --against)",
}


@dataclass(frozen=True)
class Report:
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
    comparison: Comparison | None = None
    label_columns: tuple[str, ...] = ()
    version: str = __version__

    @property
    def passed(self) -> bool:
        """Whether the release may go out: no gate failed, or, without gates, no alarm was raised."""
        if self.gates:
            return not any(gate.failed for gate in self.gates)
        return not self.alarms

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that fail an audit without gates."""
        return tuple(finding for finding in self.findings if finding.severity == "alarm")

    def finding(self, check: str) -> Finding | None:
        """The first finding of a check, None when it has nothing to say."""
        return next((finding for finding in self.findings if finding.check == check), None)

    def annotate(self, ds: Dataset | DatasetDict) -> Dataset | DatasetDict:
        """Return ``ds`` with ``datamap_suspect``.

        Raises:
            MapError: ``ds`` is not the data set that was audited (another number of rows).
        """
        from datasets import DatasetDict

        from hf_datamap.data.dataset import with_columns

        flags = np.zeros(self.rows, bool)
        flags[self.suspects.rows] = True
        parts = dict(ds) if isinstance(ds, DatasetDict) else {next(iter(self.splits)): ds}
        if {name: len(part) for name, part in parts.items()} != dict(self.splits):
            told = ", ".join(f"{name} {rows:,}" for name, rows in self.splits.items())
            raise MapError(
                f"this report is about {told} rows; the data set given has {sum(map(len, parts.values())):,}"
            )
        schema, done, start = pa.schema([(columns.SUSPECT, pa.bool_())]), {}, 0
        for name, part in parts.items():
            mine = flags[start : start + len(part)]
            done[name] = with_columns(part, pa.table([pa.array(mine)], schema=schema), mine.tobytes())
            start += len(part)
        return DatasetDict(done) if isinstance(ds, DatasetDict) else next(iter(done.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "passed": self.passed,
            "rows": self.rows,
            "splits": dict(self.splits),
            "layout": self.layout,
            "measures": {name: _plain(value) for name, value in self.measures.items()},
            "gates": [
                {"name": g.name, "allowed": g.least, "value": _plain(g.value), "failed": g.failed} for g in self.gates
            ],
            "findings": [_plain({**asdict(finding), "rows": finding.rows.tolist()}) for finding in self.findings],
            "suspects": [_plain(asdict(suspect)) for suspect in self.suspects],
            "left_out": dict(self.left_out),
            "comparison": _plain(asdict(self.comparison)) if self.comparison else None,
            "version": self.version,
        }

    def to_json(self) -> str:
        """Return the report as JSON text; the same report gives the same text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)

    def to_markdown(self) -> str:
        """Return the report for people; text from the data set is escaped."""
        from hf_datamap.curate.audit.render import markdown

        return markdown(self)

    def to_junit(self) -> str:
        """Return the report as JUnit XML: one test case per gate, or per check when there are no gates."""
        from hf_datamap.curate.audit.render import junit

        return junit(self)

    def __str__(self) -> str:
        state = "passed" if self.passed else "failed"
        lines = [f"{self.rows:,} rows, {len(self.suspects):,} suspects: {state}"]
        lines += [f"  {finding.severity:<8}{finding.title}" for finding in self.findings]
        return "\n".join(lines)


def judged(gates: Sequence[Gate], measures: Mapping[str, float]) -> tuple[Gate, ...]:
    """The gates with the values they were held against."""
    values = {name: float(value) for name, value in measures.items() if math.isfinite(value)}
    return tuple(Gate(gate.name, gate.least, values.get(gate.name)) for gate in gates)


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

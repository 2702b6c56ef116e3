"""What the checks of an audit write down: findings with evidence, measures, and what could not be checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

Severity = Literal["alarm", "warning", "note"]


#: Every measure of an audit, and what it is. Shares are of all rows unless said otherwise.
MEASURES: Final[Mapping[str, str]] = {
    "suspect_rate": "share of rows whose annotation the scores contradict",
    "label_error": "estimated share of wrong labels",
    "expected_precision": "mean probability that a suspect is wrong, 1 without suspects",
    "style_control": "share of suspects that vanish when length, lists and headings are taken out of the scores",
    "self_preference": "standard deviations by which a judge favours its own family, against the annotators",
    "inversion": "1 when labels (of all rows, or of a group) point the wrong way, else 0",
    "scale": "share of responses whose overall rating contradicts its own aspect ratings",
    "group_scale": "1 when a source or annotator uses another scale or polarity than all others, else 0",
    "outliers": "share of rows with a score or annotation far outside the scale of all others",
    "constant": "1 when an annotator or the scorer gives everything the same value, else 0",
    "tied_labels": "share of rows whose annotations are all equal",
    "duplicates": "share of rows that repeat an earlier row's prompt",
    "near_duplicates": "share of rows whose prompt nearly repeats an earlier row's",
    "duplicate_responses": "share of rows whose responses repeat an earlier row's, under another prompt",
    "near_duplicate_responses": "share of rows with a response that nearly repeats another (of any row)",
    "identical": "share of rows with two equal responses that are labelled differently, or chosen equal to rejected",
    "contamination": "share of rows whose prompt stands in an evaluation set (with --contamination)",
    "personal_data": "share of rows that hold personal data (with --personal-data)",
    "leaks": "share of rows whose prompt also stands in another split",
    "empty": "share of rows with an empty response",
    "truncated": "share of rows with a response that breaks off",
    "repetitive": "share of rows with a response that repeats itself",
    "refused": "share of rows with a refusal",
    "judge_directed": "share of rows with a response that speaks to a judge",
    "thoughts": "share of rows with a response that holds the model's thoughts",
    "wrong_language": "share of rows with a response in another language than its prompt and its siblings",
    "swapped": "share of rows with a response that answers another row's prompt",
    "unreadable": "share of rows that the layout cannot read",
    "length_bias": "correlation of label and length within rows, absolute",
    "length_ruler": "share of rows in which the longer response is labelled better",
    "contradictory_labels": "share of rows whose preference another row of the same prompt contradicts",
    "composition": "Cramér's V of region and source",
    "low_impact": "share of rows with equal scores or zero margin",
    "removed": "share of the old release's rows that are gone (with --against)",
    "changed": "share of common rows that changed (with --against)",
    "region_drift": "share of common rows that changed region (with --against)",
    "score_drift": "Kolmogorov-Smirnov distance of the mean scores of both releases (with --against)",
    "label_drift": "share of common rows whose preferred response changed (with --against)",
}


@dataclass(frozen=True)
class Finding:
    """One thing the audit has to say about the dataset.

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

    def __repr__(self) -> str:
        return f"Finding({self.check}, {self.severity}, {self.title[:80]!r})"


@dataclass
class AuditLog:
    """What the checks write into.

    Attributes:
        findings: in the order in which the checks ran.
        measures: every measure taken, by name (`MEASURES`).
        left_out: what could not be checked, and why.
        not_measured: measures that could not be taken, and why; a gate on one fails and says so.
    """

    findings: list[Finding] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)

    def rows_finding(
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

    def finding(self, check: str, severity: Severity, title: str, value: float = math.nan, **more: Any) -> None:  # noqa: ANN401
        """Write down a finding about the whole."""
        self.findings.append(Finding(check, severity, title, value=value, **more))


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2%}"

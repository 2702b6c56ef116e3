"""Judgement on a mapped dataset: findings with evidence, suspects, release gates, repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_datamap.curate.audit import content, labels, ratings, releases, texts
from hf_datamap.curate.audit.fix import Fixed, fix
from hf_datamap.curate.audit.releases import Comparison
from hf_datamap.curate.audit.report import (
    MEASURES,
    Finding,
    Gate,
    Ledger,
    Report,
    Suspect,
    Suspects,
    judged,
    parse_gates,
)
from hf_datamap.data.paths import column_of
from hf_datamap.data.view import Material
from hf_datamap.errors import DataMapError, GateError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data import Layout

__all__ = [
    "MEASURES",
    "Comparison",
    "Finding",
    "Fixed",
    "Gate",
    "GateError",
    "Report",
    "Suspect",
    "Suspects",
    "audit",
    "fix",
    "parse_gates",
]

_ORDER = {"alarm": 0, "warning": 1, "note": 2}


def audit(
    ds: Dataset | DatasetDict,
    *,
    layout: Layout | None = None,
    fail_on: str | None = None,
    against: Dataset | DatasetDict | None = None,
    read_texts: bool = True,
    least_probability: float = 0.5,
    evidence: int = 10,
) -> Report:
    """Look for wrong labels, broken rows and faults of the whole, and say what was found.

    Example:
        >>> report = dm.audit(ds, fail_on="suspect_rate>0.05,inversion,duplicates>1%")  # doctest: +SKIP
        >>> report.passed, report.suspects[0].row, report.suspects[0].reason  # doctest: +SKIP
        >>> fixed = dm.fix(ds, report)  # removes the suspects; dm.audit(fixed.kept) again  # doctest: +SKIP

    Checks that need scores work on ``datamap_scores``; those that need texts read each row once. What could not be
    checked is listed in ``report.left_out``.

    Args:
        ds: a data set, mapped or not; splits of a `DatasetDict` are audited together (and against each other).
        layout: how to read it; None detects it.
        fail_on: release gates, like ``"suspect_rate>0.05,inversion,duplicates>0.01"`` (`MEASURES`); without any, the
            audit fails on alarms.
        against: an older release to compare with.
        read_texts: whether to look at texts; without, only scores, annotations and columns are checked (seconds for
            millions of rows).
        least_probability: from which estimated probability of a wrong annotation a row is a suspect.
        evidence: how many examples each finding carries.

    Returns:
        The report.

    Raises:
        GateError: ``fail_on`` is malformed.
        MapError: ``ds`` is a streaming dataset or has no rows.
    """
    gates = parse_gates(fail_on) if fail_on is not None else []
    if not 0 < least_probability < 1:
        raise DataMapError(f"least_probability must lie between 0 and 1, not {least_probability}")
    material, ledger = Material(ds, layout), Ledger()
    found = texts.read(material) if read_texts else None
    if not read_texts:
        ledger.left_out["texts"] = "texts were not read (read_texts=False)"
    elif found is None:
        ledger.measures["unreadable"] = 1.0
        ledger.left_out["texts"] = material.layout_error
        ledger.add(
            "unreadable",
            "alarm",
            "The rows cannot be read as prompts with responses",
            1.0,
            detail=material.layout_error,
        )
    truth = labels.labels_of(material, ledger)
    suspects = Suspects(np.empty(0, np.int64), {}, material.where)
    if truth is not None:
        suspects = labels.suspects(material, truth, ledger, least_probability)
        labels.by_group(material, truth, ledger)
    ratings.scale(material, ledger)
    ratings.outliers(material, ledger)
    ratings.constants(material, ledger)
    ratings.composition(material, ledger)
    ratings.low_impact(material, ledger, _words(found))
    if found is not None:
        content.examine(material, found, ledger, evidence)
        content.length_bias(material, found, truth, ledger)
    comparison = _compared(material, found, against, ledger) if against is not None else None
    ledger.findings.sort(key=lambda finding: _ORDER[finding.severity])
    return Report(
        rows=material.rows,
        splits={name: len(part) for name, part in material.splits.items()},
        layout=f"{material.layout.name}, {material.layout.why}"
        if material.layout
        else f"not read: {material.layout_error}",
        findings=tuple(ledger.findings),
        suspects=suspects,
        measures=ledger.measures,
        left_out=ledger.left_out,
        gates=judged(gates, ledger.measures),
        comparison=comparison,
        label_columns=_label_columns(material.layout),
    )


def _told(layout: Layout) -> str:
    return f"{layout.name}, {layout.why}"


def _label_columns(layout: Layout | None) -> tuple[str, ...]:
    return tuple(column_of(path) for path in layout.annotations or ()) if layout else ()


def _words(found: texts.Texts | None) -> np.ndarray | None:
    if found is None:
        return None
    return found.prompt_words + np.bincount(found.row, weights=found.words, minlength=len(found.readable))


def _compared(
    material: Material, found: texts.Texts | None, against: Dataset | DatasetDict, ledger: Ledger
) -> Comparison:
    old = Material(against, material.layout)
    if material.layout and not set(material.layout.columns) <= set(old.names):
        old = Material(against)  # columns were renamed in between
    comparison = releases.compare(material, found if found is not None else texts.read(material), old, texts.read(old))
    releases.report(comparison, ledger)
    return comparison

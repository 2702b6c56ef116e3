"""Repairs: rows removed or flipped by explicit choice, and a record of what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.curate.audit.report import AuditReport
from hf_datamap.data import columns
from hf_datamap.data.dataset import with_columns
from hf_datamap.errors import DataMapError, MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

#: The column that says what was done to a row.
FIX: Final = "datamap_fix"
_SCHEMA: Final = pa.schema([(FIX, pa.string())])


@dataclass(frozen=True)
class FixResult:
    """A repaired dataset.

    Attributes:
        kept: the rows that stay, with ``datamap_fix``: ``kept`` or ``flipped: ...``.
        removed: the rows taken out, with ``datamap_fix``: ``removed: ...``.
        counts: how many rows had which fate.
    """

    kept: Dataset | DatasetDict
    removed: Dataset | DatasetDict
    counts: dict[str, int]

    def __repr__(self) -> str:
        fates = ", ".join(f"{rows:,} {fate}" for fate, rows in self.counts.items())
        return f"FixResult({fates})"[:120]


def fix(
    ds: Dataset | DatasetDict,
    report: AuditReport,
    *,
    action: Literal["remove", "flip"] = "remove",
    checks: Sequence[str] = ("suspects",),
) -> FixResult:
    """Repair what an audit found.

    Removal is the default: a published comparison on noisy preference data found it better than flipping
    (PrefCleanBench, NeurIPS 2025).

    Args:
        ds: the dataset that was audited.
        report: its report.
        action: what happens to suspects: ``remove`` them, or ``flip`` chosen and rejected. Rows of other checks are
            always removed.
        checks: whose rows are repaired: ``suspects``, and findings about rows such as ``duplicates``, ``identical``,
            ``empty``, ``leaks``, ``swapped``.

    Raises:
        DataMapError: an unknown action or check, or flipping where there are no chosen and rejected columns.
        MapError: ``ds`` is not the dataset of the report.
    """
    if action not in {"remove", "flip"}:
        raise DataMapError(f"action must be 'remove' or 'flip', not {action!r}")
    from datasets import DatasetDict

    parts = dict(ds) if isinstance(ds, DatasetDict) else {next(iter(report.splits)): ds}
    if {name: len(part) for name, part in parts.items()} != dict(report.splits):
        raise MapError("the dataset does not have the rows that the report is about; audit it again")
    codes, fates = _fates(report, action, checks)
    gone = np.array([fate.startswith("removed") for fate in fates])[codes]
    turned = np.array([fate.startswith("flipped") for fate in fates])[codes]
    kept, removed, start = {}, {}, 0
    for name, part in parts.items():
        in_split = slice(start, start + len(part))
        start += len(part)
        marked = _with_fates(part, codes[in_split], fates)
        flipped = _flip(marked, turned[in_split], report.label_columns) if turned[in_split].any() else marked
        kept[name] = flipped.select(np.flatnonzero(~gone[in_split]))
        removed[name] = marked.select(np.flatnonzero(gone[in_split]))
    counts = {fates[code]: int(rows) for code, rows in zip(*np.unique(codes, return_counts=True), strict=True)}
    if isinstance(ds, DatasetDict):
        return FixResult(DatasetDict(kept), DatasetDict(removed), counts)
    return FixResult(next(iter(kept.values())), next(iter(removed.values())), counts)


def _fates(report: AuditReport, action: str, checks: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """What happens to each row, as an index into the fates there are."""
    rows_of = {finding.check: finding.rows for finding in report.findings if len(finding.rows)}
    # One bit per check: a row that several checks name is told by all of them.
    bits = np.zeros(report.rows, np.int64)
    for place, check in enumerate(checks):
        if check != "suspects" and check not in report.measures:
            raise DataMapError(
                f"no check {check!r} with rows to repair; this report has: suspects, {', '.join(sorted(rows_of))}"
            )
        rows = report.suspects.rows if check == "suspects" else rows_of.get(check, np.empty(0, np.int64))
        bits[rows] |= 1 << place
    masks, codes = np.unique(bits, return_inverse=True)
    fates = []
    for mask in masks.tolist():
        why = [check for place, check in enumerate(checks) if mask >> place & 1]
        word = "flipped" if why == ["suspects"] and action == "flip" else "removed"
        fates.append(f"{word}: {', '.join(why)}" if why else "kept")
    return codes, fates


def _with_fates(part: Dataset, codes: np.ndarray, fates: Sequence[str]) -> Dataset:
    names = pa.array(fates).take(pa.array(codes))
    return with_columns(part, pa.table([names], schema=_SCHEMA), codes.tobytes() + repr(fates).encode())


def _flip(part: Dataset, flipped: np.ndarray, labels: Sequence[str]) -> Dataset:
    """Exchange chosen and rejected, and everything that goes with either but the labels, in some rows."""
    pairs = _partners([name for name in part.column_names if name not in labels])
    if not pairs:
        raise DataMapError(
            "flipping needs columns for chosen and rejected (with the same type); this dataset has "
            f"{', '.join(part.column_names)}. Remove the suspects instead (action='remove')"
        )
    table = part.with_format("arrow")[:]
    mask = pa.array(flipped)
    changed: dict[str, Any] = {}
    for one, two in pairs:
        if table.schema.field(one).type != table.schema.field(two).type:
            raise DataMapError(f"cannot flip: {one} and {two} have different types")
        changed[one] = pc.if_else(mask, table[two], table[one])
        changed[two] = pc.if_else(mask, table[one], table[two])
    if columns.SCORES in table.column_names:
        lists = table[columns.SCORES].to_pylist()
        turned = [row[::-1] if flip and row else row for row, flip in zip(lists, flipped, strict=True)]
        changed[columns.SCORES] = pa.array(turned, table[columns.SCORES].type)
    if columns.MARGIN in table.column_names:
        changed[columns.MARGIN] = pc.if_else(mask, pc.negate(table[columns.MARGIN]), table[columns.MARGIN])
    if columns.AGREEMENT in table.column_names:
        changed[columns.AGREEMENT] = pc.if_else(mask, pa.scalar(None, pa.float32()), table[columns.AGREEMENT])
    if columns.SUSPECT in table.column_names:
        changed[columns.SUSPECT] = pc.if_else(mask, pa.scalar(False), table[columns.SUSPECT])
    order = part.column_names
    schema = pa.schema([table.schema.field(name) for name in changed])
    return with_columns(part, pa.table(changed).cast(schema), flipped.tobytes()).select_columns(order)


def _partners(names: Sequence[str]) -> list[tuple[str, str]]:
    """Columns that differ only in saying chosen or rejected: ``chosen_score`` and ``rejected_score``."""
    others = [(name, name.replace("chosen", "rejected")) for name in names if "chosen" in name]
    return [(name, other) for name, other in others if other in names]

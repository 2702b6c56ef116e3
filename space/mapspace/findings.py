"""The audit of an open map, as tables: findings and suspects, each with a way to the rows."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import Layout, columns
from hf_datamap.errors import DataMapError
from mapspace.errors import SpaceError
from mapspace.sessions import Session
from mapspace.sources import OpenMap
from mapspace.statistics import number
from mapspace.texts import plain

HEADERS: Final = ("No.", "Severity", "Check", "Finding", "Rows")
SUSPECT_HEADERS: Final = ("Split", "Row", "Probability", "Margin", "Reason")
MAX_ROWS: Final = 20_000
MAX_BYTES: Final = 192 << 20
_LISTED: Final = 300
_SEVERITIES: Final = ("alarm", "warning", "note")


@dataclass(frozen=True)
class Audited:
    """An audit and the rows it saw.

    Attributes:
        report: what `hf_datamap.audit` says.
        splits: splits in the order in which the audit counts rows.
        sizes: how many rows of each it saw.
        total: rows of the map.
    """

    report: Any
    splits: tuple[str, ...]
    sizes: tuple[int, ...]
    total: int

    @property
    def findings(self) -> list[Any]:
        """Findings, most severe first."""
        return sorted(self.report.findings, key=lambda finding: _SEVERITIES.index(finding.severity))


_done: weakref.WeakKeyDictionary[OpenMap, Audited] = weakref.WeakKeyDictionary()
_one = threading.Semaphore(1)  # an audit is the one thing here that keeps a core busy


def report(opened: OpenMap) -> Audited:
    """Audit a map, or return the audit made before; one at a time.

    Raises:
        SpaceError: the rows cannot be read.
        DataMapError: they cannot be audited.
    """
    with _one:
        if opened not in _done:
            _done[opened] = opened.guard(lambda: _audited(opened))
        return _done[opened]


def _audited(opened: OpenMap) -> Audited:
    from datasets import Dataset, DatasetDict

    from hf_datamap.curate.audit import audit

    splits: dict[str, Dataset] = {}
    left = MAX_BYTES
    for code, name in enumerate(opened.index.split.names):
        rows = np.sort(opened.index.row[opened.index.split.codes == code])
        parts, taken = [], 0
        for table in opened.texts(name).rows(rows[: MAX_ROWS - sum(len(part) for part in splits.values())], 512):
            left -= table.nbytes
            if left < 0:
                break
            parts.append(table)
            taken += len(table)
        if parts:
            splits[name] = Dataset(_with_region(opened, code, pa.concat_tables(parts, promote_options="permissive")))
    if not splits:
        raise SpaceError("the rows of this map cannot be read, so they cannot be audited")
    report = audit(DatasetDict(splits), layout=_layout(opened), data_map=opened.data_map)
    return Audited(report, tuple(splits), tuple(map(len, splits.values())), len(opened.index))


def _layout(opened: OpenMap) -> Layout | None:
    """How the map's rows are read; None lets the audit find that they cannot be."""
    try:
        return opened.layout
    except DataMapError:
        return None


def _with_region(opened: OpenMap, code: int, table: pa.Table) -> pa.Table:
    """The table with the regions of the map, where the files lack them."""
    table = table.replace_schema_metadata()
    if columns.REGION in table.column_names:
        return table
    places_of_split = np.flatnonzero(opened.index.split.codes == code)
    places_of_split = places_of_split[np.argsort(opened.index.row[places_of_split], kind="stable")][: len(table)]
    names = np.array(columns.REGIONS, dtype=object)[opened.index.region[places_of_split]]
    return table.append_column(columns.REGION, pa.array(names, pa.string()))


def listed(audited: Audited) -> list[list[str]]:
    """Return the findings as lines of text."""
    seen = sum(audited.sizes)
    lines = [
        [
            str(at + 1),
            finding.severity,
            plain(finding.check, 60),
            plain(f"{finding.title}. {finding.detail}", 1_000),
            f"{len(finding.rows):,}",
        ]
        for at, finding in enumerate(audited.findings)
    ]
    if seen < audited.total:
        lines.append(["", "note", "size", f"The first {seen:,} of {audited.total:,} rows were audited.", ""])
    return lines


def rows(session: Session, line: Any) -> tuple[np.ndarray, str]:  # noqa: ANN401 - from the browser
    """Return the places of a finding's rows and its title.

    Raises:
        SpaceError: no such finding, or it is about the dataset as a whole.
    """
    audited = session.report
    listed_findings = audited.findings if audited else []
    if audited is None or not str(line).isdecimal() or not 0 < int(line) <= len(listed_findings):
        raise SpaceError("run the audit and choose a finding")
    finding = listed_findings[int(line) - 1]
    if not len(finding.rows):
        raise SpaceError("this finding is about the dataset as a whole, not about single rows")
    ends = np.cumsum((0, *audited.sizes))
    places = []
    for at, split in enumerate(audited.splits):
        inside = finding.rows[(finding.rows >= ends[at]) & (finding.rows < ends[at + 1])] - ends[at]
        places_of_split = np.flatnonzero(session.map.index.split.codes == session.map.index.split.names.index(split))
        places_of_split = places_of_split[np.argsort(session.map.index.row[places_of_split], kind="stable")]
        places.append(places_of_split[inside])
    return np.concatenate(places), plain(finding.title, 200)


def suspects(session: Session) -> list[list[str]]:
    """Return the suspects as lines of text, most probable first."""
    if session.report is None:
        return []
    return [
        [plain(item.split, 60), str(item.index), number(item.probability), number(item.margin), plain(item.reason, 400)]
        for item in session.report.report.suspects[:_LISTED]
    ]

"""Counts and averages of a selection, as rows of a table."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from hf_datamap.data import columns
from mapspace.sessions import Session

HEADERS: Final = ("Region", "Rows", "Share", "Mean", "Variance", "Margin", "Agreement", "Suspects")


def summary(session: Session) -> list[list[str]]:
    """Return one row per region of the selection and one for all of it, as text."""
    index, mask = session.map.index, session.selected()
    weights = mask.astype(np.float64)
    regions, size = index.region, len(columns.REGIONS)
    rows = np.bincount(regions, weights, size)
    suspects = np.bincount(regions, weights * index.suspect, size)
    sums = [
        _sums(values, mask, regions, size) for values in (index.mean, index.variance, index.margin, index.agreement)
    ]
    total = rows.sum()
    table = []
    for code, name in enumerate(columns.REGIONS):
        if rows[code]:
            averages = [sum_[code] / count[code] if count[code] else math.nan for sum_, count in sums]
            table.append(_line(name.replace("_", " "), rows[code], total, averages, suspects[code]))
    averages = [sum_.sum() / count.sum() if count.sum() else math.nan for sum_, count in sums]
    return [*table, _line("all selected", total, total, averages, suspects.sum())]


def _sums(values: np.ndarray, mask: np.ndarray, regions: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    valid = mask & np.isfinite(values)
    kept = np.where(valid, values, 0).astype(np.float64)
    return np.bincount(regions, kept, size), np.bincount(regions, valid.astype(np.float64), size)


def _line(name: str, rows: float, total: float, averages: list[float], suspects: float) -> list[str]:
    share = f"{rows / total:.1%}" if total else "–"
    return [name, f"{int(rows):,}", share, *map(number, averages), f"{int(suspects):,}"]


def number(value: Any) -> str:  # noqa: ANN401 - any number
    """Return a number in four digits, a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"

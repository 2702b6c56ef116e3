"""A slice of rows that a person has looked at: it calibrates the estimates, and says how far they can be believed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from hf_datamap.data.statistics import corrected_share, wilson_interval
from hf_datamap.data.view import DatasetView
from hf_datamap.errors import DataMapError

#: Rows that a person has marked: verdicts by row number, the name of a column, or a file (JSON lines, CSV, Parquet).
Reviewed: TypeAlias = "Mapping[int, Any] | str | Path"

_WORDS: Final = {"right": False, "correct": False, "wrong": True, "incorrect": True, "true": False, "false": True}
_Z: Final = 1.96
_NEXT: Final = 20
_FILES: Final = {".jsonl", ".json", ".csv", ".parquet"}


@dataclass(frozen=True, repr=False)
class Review:
    """Verdicts of a person on some rows.

    Attributes:
        rows: row numbers (over all splits), ascending.
        wrong: whether the annotation of each was found wrong.
    """

    rows: np.ndarray
    wrong: np.ndarray

    def __repr__(self) -> str:
        return f"Review({len(self.rows):,} rows, {int(self.wrong.sum()):,} wrong)"


@dataclass(frozen=True)
class ReviewSummary:
    """What reviewed rows say about an audit. Intervals are at 95 %.

    Attributes:
        reviewed: how many rows were reviewed and compared.
        wrong: how many of them had a wrong annotation.
        suspects_reviewed: how many of them are suspects.
        precision: share of the suspects that are wrong, and its interval; NaN without a reviewed suspect.
        label_error: share of all compared annotations that are wrong, and its interval.
        agreement: share of right annotations by the scores' agreement with them, corrected for how the scores err on
            reviewed rows (`hf_datamap.data.statistics.corrected_share`), and its interval; NaN where the reviewed rows
            are no fair draw (suspects were looked at first) or show too little.
        more_reviews: how many more suspects to review so that the interval of the precision is half as wide.
        review_next: rows to review next, those that the estimate is least sure about first.
    """

    reviewed: int
    wrong: int
    suspects_reviewed: int
    precision: tuple[float, float, float]
    label_error: tuple[float, float, float]
    agreement: tuple[float, float, float]
    more_reviews: int
    review_next: tuple[int, ...]


def read_review(reviewed: Reviewed, view: DatasetView) -> Review:
    """Read verdicts on rows of a dataset.

    Args:
        reviewed: a mapping from row number to verdict; the name of a column; or a file of rows with ``row``,
            ``verdict`` and, where there are several, ``split``. A verdict is ``right`` or ``wrong`` (True is right);
            None means not reviewed.
        view: the dataset.

    Raises:
        DataMapError: there is no such column or file, a verdict is neither, or a row is not there.
    """
    if isinstance(reviewed, Mapping):
        verdicts = dict(reviewed)
    elif isinstance(reviewed, str) and (column := view.column(reviewed)) is not None:
        verdicts = dict(enumerate(column.to_pylist()))
    else:
        verdicts = _from_file(Path(reviewed), view)
    known = {int(row): _is_wrong(value, row) for row, value in verdicts.items() if value is not None}
    if outside := [row for row in known if not 0 <= row < view.rows]:
        raise DataMapError(f"reviewed row {outside[0]} is not there: the dataset has {view.rows:,} rows")
    rows = np.array(sorted(known), np.int64)
    return Review(rows, np.array([known[row] for row in rows.tolist()], bool))


def _is_wrong(verdict: object, row: object) -> bool:
    if isinstance(verdict, bool):
        return not verdict
    word = str(verdict).strip().lower()
    if word not in _WORDS:
        raise DataMapError(f"the verdict {verdict!r} on row {row} is neither 'right' nor 'wrong'")
    return _WORDS[word]


def _from_file(path: Path, view: DatasetView) -> dict[int, Any]:
    if path.suffix not in _FILES or not path.is_file():
        raise DataMapError(
            f"reviewed={str(path)!r} is neither a column ({', '.join(view.names)}) nor a file that is there "
            f"({', '.join(sorted(_FILES))} with row and verdict)"
        )
    starts = dict(zip(view.splits, view.starts.tolist(), strict=False))
    verdicts: dict[int, Any] = {}
    for entry in _entries(path):
        split = entry.get("split") or next(iter(starts))
        if split not in starts or "row" not in entry or "verdict" not in entry:
            raise DataMapError(f"{path}: {entry} lacks row or verdict, or its split is none of {', '.join(starts)}")
        verdicts[starts[split] + int(entry["row"])] = entry["verdict"] or None
    return verdicts


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.read_table(path).to_pylist())
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            import csv

            return [dict(row) for row in csv.DictReader(text.splitlines())]
        entries = (
            json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
        )
    except (OSError, ValueError) as error:
        raise DataMapError(f"cannot read reviews from {path}: {error}") from None
    return [entry for entry in entries if isinstance(entry, dict)]


def calibrated(probability: np.ndarray, review: Review) -> np.ndarray:
    """Probabilities moved to what a person found: a line in log odds, held back by a prior (Platt 1999; prior ours).

    The prior is worth some twenty reviews: a handful of verdicts moves little, hundreds decide.

    Args:
        probability: of a wrong label, shape (rows,), NaN where not compared.
        review: verdicts; rows that were not compared do not count.
    """
    from scipy.optimize import minimize

    usable = np.isfinite(probability[review.rows])
    rows, wrong = review.rows[usable], review.wrong[usable]
    if not len(rows):
        return probability
    odds = _log_odds(probability)
    x, sign = odds[rows], np.where(wrong, 1.0, -1.0)

    def loss(line: np.ndarray) -> float:
        fit = np.logaddexp(0, -sign * (line[0] + math.exp(line[1]) * x)).sum()
        return float(fit + 0.5 * (line[0] / 1.5) ** 2 + 0.5 * (line[1] / 0.5) ** 2)

    shift, log_slope = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    return np.asarray(1 / (1 + np.exp(-(shift + math.exp(log_slope) * odds))))


def summarise(
    probability: np.ndarray, contradicted: np.ndarray, suspects: np.ndarray, review: Review, threshold: float
) -> ReviewSummary:
    """What the reviewed rows say about suspects, and about all labels.

    Rows are not reviewed at random: suspects come first. So the shares are estimated apart for suspects, for other
    contradicted rows and for the rest, and weighted by how many rows each has; a stratum without a reviewed row counts
    with its estimated probability.

    Args:
        probability: of a wrong label, calibrated, shape (rows,), NaN where not compared.
        contradicted: whether the scores contradict the label, shape (rows,).
        suspects: whether a row is a suspect, shape (rows,).
        review: verdicts.
        threshold: probability from which a row is a suspect.
    """
    compared = np.isfinite(probability)
    verdict = np.full(len(probability), np.nan)
    verdict[review.rows] = review.wrong
    verdict[~compared] = np.nan
    known = np.isfinite(verdict)
    share, variance = 0.0, 0.0
    for stratum in (suspects, contradicted & ~suspects & compared, ~contradicted & ~suspects & compared):
        weight = float(stratum.sum()) / max(int(compared.sum()), 1)
        seen = verdict[stratum & known]
        if seen.size:
            smooth = (seen.sum() + 1) / (seen.size + 2)
            share += weight * float(seen.mean())
            variance += weight**2 * float(smooth * (1 - smooth)) / seen.size
        elif stratum.any():
            share += weight * float(probability[stratum].mean())
    seen = verdict[suspects & known]
    precision = (math.nan, 0.0, 1.0)
    if seen.size:
        precision = (float(seen.mean()), *wilson_interval(float(seen.mean()), seen.size, _Z))
    half = _Z * math.sqrt(variance)
    open_rows = np.flatnonzero(compared & ~known & contradicted)
    unsure = open_rows[np.lexsort((open_rows, np.abs(probability[open_rows] - threshold)))]
    return ReviewSummary(
        reviewed=int(known.sum()),
        wrong=int(np.nansum(verdict)),
        suspects_reviewed=int(seen.size),
        precision=precision,
        label_error=(share, max(0.0, share - half), min(1.0, share + half)),
        agreement=_corrected_agreement(contradicted[compared], verdict[compared]),
        more_reviews=3 * max(int(seen.size), 8),
        review_next=tuple(unsure[:_NEXT].tolist()),
    )


def _corrected_agreement(contradicted: np.ndarray, verdict: np.ndarray) -> tuple[float, float, float]:
    """Share of right annotations from how often scores agree with them, corrected; NaN unless reviews are a fair draw.

    The correction needs reviewed rows that were not chosen by what the scores say of them.
    """
    known = np.isfinite(verdict)
    rate = float(contradicted.mean()) if contradicted.size else 0.0
    spread = math.sqrt(max(rate * (1 - rate), 1e-12) / max(int(known.sum()), 1))
    if not known.any() or abs(float(contradicted[known].mean()) - rate) > 3 * spread:
        return math.nan, 0.0, 1.0
    right, wrong = known & (verdict == 0), known & (verdict == 1)
    agreed = int((right & ~contradicted).sum()), int(right.sum())
    opposed = int((wrong & contradicted).sum()), int(wrong.sum())
    return corrected_share(1 - rate, contradicted.size, agreed, opposed)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))

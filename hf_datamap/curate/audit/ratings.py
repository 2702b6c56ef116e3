"""Scores and annotations by themselves: constants, broken scales, composition of the regions, low impact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.curate.audit import statistics as st
from hf_datamap.curate.audit.labels import as_wide
from hf_datamap.curate.audit.report import Ledger
from hf_datamap.data import columns
from hf_datamap.data.view import Group, Material

_LEAST: Final = 20


def constants(material: Material, ledger: Ledger) -> None:
    """Annotators and scorers that give everything the same value, and rows whose annotations all tie."""
    labels, scores = material.annotations, material.scores
    evidence: list[dict[str, Any]] = []
    if labels is not None and material.order is None and material.layout and material.layout.label != "order":
        low, high = _range(labels)
        ledger.rate(
            "tied_labels",
            np.flatnonzero((high == low) & (np.isfinite(labels).sum(axis=1) > 1)),
            material.rows,
            "have annotations that are all equal",
            warning=0.2,
            alarm=0.95,
            detail="Such rows prefer nothing and make no pair.",
        )
        everyone = Group("everyone", "annotator", np.zeros(material.rows, np.int64), ("all rows",))
        for group in [everyone, *(g for g in material.groups if g.kind == "annotator")]:
            for code, value in enumerate(group.values):
                given = labels[group.codes == code]
                positions = given.argmax(axis=1) if given.size and np.isfinite(given).all() else np.empty(0)
                given = given[np.isfinite(given)]
                if given.size < _LEAST:
                    continue
                if given.min() == given.max():
                    evidence.append({"annotator": value, "annotations": given.size, "always": float(given[0])})
                elif positions.size >= _LEAST and (positions == positions[0]).all():
                    evidence.append(
                        {"annotator": value, "annotations": given.size, "always": f"response {positions[0] + 1}"}
                    )
    if scores is not None:
        valid = scores[np.isfinite(scores)]
        if valid.size >= _LEAST and valid.min() == valid.max():
            evidence.append({"annotator": "the scorer", "annotations": valid.size, "always": float(valid[0])})
    ledger.measures["constant"] = float(bool(evidence))
    if evidence:
        first = evidence[0]
        told = f"{first['always']:.4g}" if isinstance(first["always"], float) else first["always"]
        ledger.add(
            "constant",
            "alarm",
            f"A constant annotator: {first['annotator']} always says {told} ({first['annotations']:,} annotations)",
            1.0,
            detail="A constant tells nothing. Responses sorted by preference need the layout's rule 'order'.",
            evidence=tuple(evidence),
        )


def _range(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest valid value of each row; infinite where there is none."""
    valid = np.isfinite(matrix)
    low = np.where(valid, matrix, np.inf).min(axis=1, initial=np.inf)
    return low, np.where(valid, matrix, -np.inf).max(axis=1, initial=-np.inf)


def composition(material: Material, ledger: Ledger) -> None:
    """How the regions differ in where their rows come from (Cramér's V), and what selecting one would lose."""
    region = material.region
    strongest = 0.0
    if region is None:
        return
    for group in material.groups:
        mapped = (region < len(columns.REGIONS) - 1) & (group.codes >= 0)
        if group.kind == "annotator" or len(group.values) < 2 or not mapped.any():
            continue
        size = len(group.values)
        table = np.bincount(group.codes[mapped] * 3 + region[mapped], minlength=size * 3).reshape(size, 3)
        v, p = st.cramers_v(table)
        strongest = max(strongest, v)
        rows = [
            {
                group.name: value,
                "rows": int(counts.sum()),
                **dict(zip(columns.REGIONS[:3], counts / counts.sum(), strict=True)),
            }
            for value, counts in zip(group.values, table, strict=True)
            if counts.sum()
        ]
        rows.sort(key=lambda row: float(row[columns.HIGH_MEAN_LOW_VARIANCE]))
        ledger.add(
            "composition",
            "warning" if v > 0.1 and p < 0.01 else "note",
            f"Cramér's V of region and {group.name} is {v:.2f} (p {p:.2g}): {rows[0][group.name]} has "
            f"{rows[0][columns.HIGH_MEAN_LOW_VARIANCE]:.0%} of its rows in {columns.HIGH_MEAN_LOW_VARIANCE}, "
            f"{rows[-1][group.name]} {rows[-1][columns.HIGH_MEAN_LOW_VARIANCE]:.0%}",
            v,
            detail="Selecting a region shifts the mix of sources; select(..., stratify_by=...) keeps it.",
            evidence=tuple(rows[:20]),
        )
    if material.groups:
        ledger.measures["composition"] = strongest


def low_impact(material: Material, ledger: Ledger, tokens: np.ndarray | None) -> None:
    """Rows that a training run gets little from (methods 1.11), and what it would lose without them.

    Args:
        material: the data set.
        ledger: to write into.
        tokens: words per row, None when the texts were not read.
    """
    scores, region = material.scores, material.region
    if scores is None or region is None:
        ledger.left_out["low_impact"] = "the data set has no scores"
        return
    low, high = _range(scores)
    constant = (low == high) & (np.isfinite(scores).sum(axis=1) > 1)
    labels = material.annotations if material.annotations is not None else material.order
    margin = (
        columns.margin(scores, as_wide(labels, scores.shape[1]))
        if labels is not None
        else np.full(material.rows, np.nan)
    )
    kinds: Mapping[str, np.ndarray] = {
        columns.LOW_MEAN_LOW_VARIANCE: region == 1,
        columns.HIGH_VARIANCE: region == 2,
        "equal scores": constant,
        "zero margin": (margin == 0) & ~constant,
        "unmapped": region == 3,
    }
    evidence = []
    for name, here in kinds.items():
        row: dict[str, Any] = {"rows that are": name, "rows": int(here.sum()), "share of rows": float(here.mean())}
        if tokens is not None:
            row["share of words"] = float(tokens[here].sum() / max(1, tokens.sum()))
        for group in material.groups[:1]:
            share = np.bincount(group.codes[here & (group.codes >= 0)], minlength=len(group.values)) / np.maximum(
                np.bincount(group.codes[group.codes >= 0], minlength=len(group.values)), 1
            )
            row[f"{group.name} losing most"] = f"{group.values[int(share.argmax())]} ({share.max():.0%})"
        evidence.append(row)
    nothing = constant | (margin == 0)
    ledger.measures["low_impact"] = float(nothing.mean())
    ledger.add(
        "low_impact",
        "warning" if nothing.mean() > 0.2 else "note",
        f"{int(nothing.sum()):,} rows ({nothing.mean():.1%}) carry no preference in their scores; "
        f"{int((region == 1).sum()):,} are {columns.LOW_MEAN_LOW_VARIANCE}, {int((region == 2).sum()):,} "
        f"{columns.HIGH_VARIANCE}",
        float(nothing.mean()),
        detail="The papers' reading: training on the last two gives less than on the same number of "
        f"{columns.HIGH_MEAN_LOW_VARIANCE} rows. What a run without them would lose:",
        rows=np.flatnonzero(nothing),
        evidence=tuple(evidence),
    )


_OVERALL: Final = ("overall_score", "overall", "overall_rating")
_FINE: Final = ("fine-grained_score", "fine_grained_score", "finegrained_score")


def scale(material: Material, ledger: Ledger) -> None:
    """Overall ratings that contradict their own aspect ratings (UltraFeedback's 1 that became 10, its issue 8).

    Both are brought to 0..1 by the range seen; a contradiction is a difference of half the range or more beyond the
    typical one (ours; the public repair of UltraFeedback looks at overall 10 with aspects of 2 or less).
    """
    for name, rows, overall, fine in _rated(material):
        both = np.isfinite(overall) & np.isfinite(fine)
        if both.sum() < _LEAST:
            continue
        gap = _unit(overall) - _unit(fine)
        found = np.flatnonzero(both & (np.abs(gap - np.median(gap[both])) >= 0.5))
        top = found[np.argsort(-np.abs(gap[found]), kind="stable")][:10]
        ledger.measures["scale"] = len(found) / int(both.sum())
        if found.size:
            ledger.add(
                "scale",
                "alarm" if found.size > max(2, 0.001 * both.sum()) else "warning",
                f"{found.size:,} of {int(both.sum()):,} responses in {name} have an overall rating that contradicts "
                "their own aspect ratings",
                ledger.measures["scale"],
                detail="A 1 that was parsed as 10 looks like this. With an overall rating of 10 and aspects of 2 or "
                "less the known repair is 1; between 2 and 4 the response needs to be rated again.",
                rows=np.unique(rows[found]),
                evidence=tuple(
                    {"row": int(rows[k]), "overall": float(overall[k]), "mean of aspects": float(fine[k])} for k in top
                ),
            )
        return
    ledger.left_out["scale"] = "no responses with an overall rating beside aspect ratings"


def outliers(material: Material, ledger: Ledger) -> None:
    """Scores and annotations more than ten times the spread of the middle half away from the median (ours).

    A percentage among ratings of 1 to 10, a sentinel like -1000, a reward model's overflow.
    """
    rows: list[np.ndarray] = []
    evidence: list[dict[str, Any]] = []
    for name, matrix in (("score", material.scores), ("annotation", material.annotations)):
        valid = matrix[np.isfinite(matrix)] if matrix is not None else np.empty(0)
        if matrix is None or valid.size < _LEAST:
            continue
        low, middle, high = np.quantile(valid, [0.25, 0.5, 0.75])
        far = np.isfinite(matrix) & (np.abs(matrix - middle) > 10 * (high - low)) if high > low else np.zeros(1, bool)
        found = np.argwhere(far) if far.ndim > 1 else np.empty((0, 2), int)
        rows.append(found[:, 0])
        evidence += [
            {"row": int(row), name: float(matrix[row, place]), "median": float(middle)} for row, place in found[:10]
        ]
    if rows:
        ledger.rate(
            "outliers",
            np.unique(np.concatenate(rows)),
            material.rows,
            "have a score or annotation far outside the scale of all others",
            alarm=0.001,
            detail="Another scale, a sentinel for a failure, an overflow. They pull the mean and burst the variance.",
            evidence=evidence,
        )


def _rated(material: Material) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Where overall and aspect ratings stand side by side: the column; row, overall and mean aspect per response."""
    for name in material.names:
        column = material.column(name)
        if column is not None and pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
            lengths = pc.list_value_length(column).fill_null(0).to_numpy()
            items = [chunk.flatten() for chunk in column.chunks]
            overalls = np.concatenate([_first_number(part, _OVERALL) for part in items])
            fines = np.concatenate([_aspects(part) for part in items])
            yield name, np.repeat(np.arange(material.rows), lengths), overalls, fines
    overall, fine = (next((name for name in names if name in material.names), None) for names in (_OVERALL, _FINE))
    if overall and fine:
        sides = [material.padded(name) for name in (overall, fine)]
        one, two = (
            side if side is not None else _as_column(material.floats(name))
            for side, name in zip(sides, (overall, fine), strict=True)
        )
        if one is not None and two is not None and one.shape == two.shape:
            yield overall, np.repeat(np.arange(material.rows), one.shape[1]), one.ravel(), two.ravel()


def _as_column(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else values[:, None]


def _first_number(items: pa.StructArray, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if items.type.get_field_index(name) >= 0:
            return _numbers(pc.struct_field(items, name))
    return np.full(len(items), np.nan)


def _aspects(items: pa.StructArray) -> np.ndarray:
    """The fine-grained score, or the mean of ``annotations.<aspect>.Rating``."""
    fine = _first_number(items, _FINE)
    if np.isfinite(fine).any() or items.type.get_field_index("annotations") < 0:
        return fine
    annotations = pc.struct_field(items, "annotations")
    ratings = []
    for place in range(annotations.type.num_fields if pa.types.is_struct(annotations.type) else 0):
        aspect = pc.struct_field(annotations, place)
        if pa.types.is_struct(aspect.type) and aspect.type.get_field_index("Rating") >= 0:
            ratings.append(_numbers(pc.struct_field(aspect, "Rating")))
    if not ratings:
        return fine
    stacked = np.column_stack(ratings)
    valid = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(valid, stacked, 0.0).sum(axis=1) / valid.sum(axis=1))


def _numbers(values: pa.Array) -> np.ndarray:
    """Numbers, or the numbers in texts ("N/A" gives NaN)."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        good = pc.match_substring_regex(values, r"^\s*-?[0-9]+(\.[0-9]+)?\s*$").fill_null(False)
        values = pc.if_else(good, pc.utf8_trim_whitespace(values), None)
    elif not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        return np.full(len(values), np.nan)
    return np.asarray(values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))


def _unit(values: np.ndarray) -> np.ndarray:
    valid = values[np.isfinite(values)]
    low, high = float(valid.min()), float(valid.max())
    return (values - low) / (high - low if high > low else 1.0)

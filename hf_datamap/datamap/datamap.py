"""`DataMap`: the cut of a dataset into regions by mean and variance of its scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError

from hf_datamap.data import columns, notebook
from hf_datamap.data.dataset import add_columns
from hf_datamap.data.independence import SAME, LabelBasis, map_label_basis
from hf_datamap.datamap.assign import Assigner
from hf_datamap.datamap.cut import UNMAPPED, Boundary, Cut
from hf_datamap.datamap.fit import Fitted, fit_points
from hf_datamap.datamap.noise import check_noise_columns, is_corrected, without_noise
from hf_datamap.datamap.points import Gathered, Points, PointsDigest, open_points, scored_tables
from hf_datamap.datamap.prior import TruthPrior
from hf_datamap.datamap.regions import FrozenModel, Region
from hf_datamap.engine.config import __version__
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from hf_datamap.data.dataset import AnyDataset
    from hf_datamap.datamap.points import AnyPoints

_WIDE_TIE: Final = Fraction(1, 3)  # share of the mapped rows on one value from which on a cut through it says little
#: The colours of `hf_datamap.datamap.plot`, which imports this module.
_COLOURS: Final = {
    columns.HIGH_MEAN_LOW_VARIANCE: "#0072B2",
    columns.LOW_MEAN_LOW_VARIANCE: "#E69F00",
    columns.HIGH_VARIANCE: "#8E2157",
}
_DEEPEST: Final = 60  # a provenance record is six or seven deep


class DataMap(FrozenModel):
    """Thresholds, counts and statistics of a mapped dataset: frozen, and JSON both ways.

    The cut is the authors' (Alignment Data Map, their ``split_data.py``), made deterministic: of the M rows with at
    least two valid scores, those after the first floor(2M/3) by variance are ``high_variance``; of the rest, the
    lower half by mean is ``low_mean_low_variance``. Ties keep the original row order.

    Attributes:
        rows: all rows, mapped or not.
        mapped: rows with at least two valid scores.
        low_variance: fraction of mapped rows on the low-variance side.
        low_mean: fraction of those on the low-mean side.
        variance: the boundary in variance, None when one side is empty.
        mean: the boundary in mean, None when one side is empty.
        regions: statistics, in the order of `hf_datamap.data.columns.REGIONS`.
        cohort: digest of the two columns the map was fitted on.
        corrected: whether the variance is without the scorer's noise (`hf_datamap.datamap.reliability`).
        prior: where the truth behind the scores lies, for `assign` with ``probability=True``; known of corrected maps
            in whose variance noise has a share of more than 20 %.
        provenance: how the scores came about (scorer identity, source, usage); no secrets.
        version: package version that fitted the map.
    """

    rows: int
    mapped: int
    low_variance: Fraction
    low_mean: Fraction
    variance: Boundary | None
    mean: Boundary | None
    regions: tuple[Region, ...]
    cohort: str
    corrected: bool = False
    prior: TruthPrior | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    version: str = __version__

    @classmethod
    def fit(
        cls,
        ds: AnyPoints,
        *,
        low_variance: Fraction | float = Fraction(2, 3),
        low_mean: Fraction | float = Fraction(1, 2),
        correct_noise: bool = False,
        provenance: Mapping[str, Any] | None = None,
        approximate: bool = False,
        in_memory: int | None = None,
    ) -> Self:
        """Find the cut of a scored dataset, exactly and whatever its size.

        Args:
            ds: a dataset with ``datamap_mean`` and ``datamap_variance``; splits of a `DatasetDict` are cut together. A
                stream and Parquet files (paths, folders, patterns, ``hf://`` URLs) are read once, these columns only.
            low_variance: fraction of mapped rows kept as low variance, floor(fraction * M) rows.
            low_mean: fraction of those that counts as low mean.
            correct_noise: whether to take the scorer's own noise (``datamap_noise``) out of the variance first;
                `assign` then does the same, and keeps what was seen as ``datamap_variance_observed``. A dataset that
                has that column is without noise already, and the map says so.
            provenance: what to remember about how the scores came about.
            approximate: whether to take the boundaries from quantile sketches (Apache DataSketches, extra ``scale``),
                which read blocks three times instead of five; ``rank_error`` of a boundary says how far off it may be.
            in_memory: rows whose points may be held in memory (20 bytes each; 50 million by default, 2 million of a
                stream or files); beyond, they wait in a temporary file and are cut block by block.

        Raises:
            MapError: a column is missing, or a fraction is outside [0, 1].
            SourceError: a file cannot be read.
        """
        shares = parse_fraction("low_variance", low_variance), parse_fraction("low_mean", low_mean)
        with open_points(ds, correct_noise=correct_noise, in_memory=in_memory) as gathered:
            return cls.of_points(gathered, *shares, approximate=approximate, provenance=provenance)

    @classmethod
    def of_points(
        cls,
        gathered: Gathered,
        low_variance: Fraction,
        low_mean: Fraction,
        *,
        approximate: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the map of points that were gathered while rows were scored."""
        fitted = fit_points(gathered.readers(), low_variance, low_mean, approximate=approximate)
        return cls.of(fitted, low_variance, low_mean, gathered, provenance=provenance)

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        low_variance: Fraction,
        low_mean: Fraction,
        gathered: Gathered,
        *,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the map of points that were gathered and cut (`hf_datamap.datamap.fit.fit_points`)."""
        prior = gathered.noise.prior(low_variance, low_mean) if gathered.corrected else None
        regions = fitted.sums.regions()
        rows = sum(region.rows for region in regions)
        return cls(
            rows=rows,
            mapped=rows - regions[UNMAPPED].rows,
            low_variance=low_variance,
            low_mean=low_mean,
            variance=fitted.cut.variance,
            mean=fitted.cut.mean,
            regions=regions,
            cohort=fitted.digest,
            corrected=gathered.corrected,
            prior=prior,
            provenance=dict(provenance or {}),
        )

    @property
    def counts(self) -> dict[str, int]:
        """Rows per region name."""
        return {region.name: region.rows for region in self.regions}

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The boundary values: ``variance`` and ``mean``."""
        return {
            "variance": self.variance.value if self.variance else None,
            "mean": self.mean.value if self.mean else None,
        }

    @property
    def arbitrary(self) -> tuple[str, ...]:
        """What to know of a cut that runs through one value of a third or more of the mapped rows: a sentence each."""
        return tuple(
            f"the cut by {name} is arbitrary: {boundary.ties:,} of {self.mapped:,} mapped rows have the value "
            f"{boundary.value:.6g}, and row order alone puts {boundary.below:,} of them on the lower side"
            for name, boundary in self.boundaries
            if self.is_arbitrary(boundary)
        )

    @property
    def boundaries(self) -> tuple[tuple[str, Boundary], ...]:
        """The boundaries that there are, by the name of their axis."""
        named = (("variance", self.variance), ("mean", self.mean))
        return tuple((name, boundary) for name, boundary in named if boundary is not None)

    def is_arbitrary(self, boundary: Boundary) -> bool:
        """Whether a boundary runs through one value of a third or more of the mapped rows."""
        return 0 < boundary.below < boundary.ties and boundary.ties >= _WIDE_TIE * self.mapped

    def codes(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return the region of each point as an index into `hf_datamap.data.columns.REGIONS` (int8).

        The points the map was fitted on, in their order, get the exact cut. Others are assigned by threshold: a value
        equal to the boundary belongs to the lower side.

        Args:
            mean: shape (rows,), NaN where missing.
            variance: shape (rows,), NaN where missing.
        """
        is_own = self._is_own(len(mean), [Points({columns.MEAN: mean, columns.VARIANCE: variance})])
        return (self.cut if is_own else self.cut.by_threshold()).codes(mean, variance)

    def _is_own(self, rows: int, blocks: Iterable[Points]) -> bool:
        """Whether these are the very points that the map was fitted on."""
        return bool(self.cohort) and rows == self.rows and str(PointsDigest.of(blocks)) == self.cohort

    @property
    def label_basis(self) -> LabelBasis:
        """Which labels the scores can be compared with; none, where the scores are the annotations."""
        return map_label_basis(self.provenance)

    @property
    def cut(self) -> Cut:
        """The boundaries, for the rows that the map was fitted on."""
        return Cut(self.variance, self.mean)

    def assign(self, ds: AnyDataset, *, probability: bool = False) -> AnyDataset:
        """Return ``ds`` with ``datamap_region``: the exact cut for the dataset fitted on, thresholds for any other.

        Args:
            ds: a scored dataset.
            probability: whether to add ``datamap_region_probability``, how likely it is that the row truly belongs to
                its region, given the scorer's noise (`hf_datamap.datamap.reliability`); null where that is unknown.

        Raises:
            MapError: ``datamap_mean`` or ``datamap_variance`` is missing.
        """
        from datasets import IterableDataset

        assigner = self.assigner(probability=probability)
        if isinstance(ds, IterableDataset):  # to know whether it is the map's own, all of it would have to be read
            assigner = assigner.by_threshold()
        else:
            if self.corrected:
                ds, assigner = without_noise(ds), replace(assigner, adds_correction=False)
            splits = list(ds.values()) if isinstance(ds, Mapping) else [ds]
            if probability:
                for split in splits:
                    check_noise_columns(split.column_names)
            if not self._is_own(sum(map(len, splits)), map(self._points, scored_tables(ds))):
                assigner = assigner.by_threshold()
        return add_columns(ds, assigner, assigner.schema, needed=assigner.needed, content=assigner.content)

    def _points(self, table: pa.Table) -> Points:
        """The points of some rows, on the scale of the map's own variance."""
        if self.corrected or not is_corrected(table.column_names):
            return Points.of(table)
        return Points.of(
            table.set_column(
                table.column_names.index(columns.VARIANCE), columns.VARIANCE, table[columns.VARIANCE_OBSERVED]
            )
        )

    def assigner(self, *, probability: bool = False) -> Assigner:
        """What gives the rows that the map was fitted on their regions, some at a time; see `assign`."""
        return Assigner(self.cut, self.corrected, probability, prior=self.prior)

    def to_json(self) -> str:
        """Return the map as JSON text; `from_json` gives an equal map back."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a map from JSON text.

        Raises:
            MapError: the text is not a map.
        """
        try:
            content = json.loads(text)
            _check_depth(content)
            return cls.model_validate(content)
        except RecursionError:
            raise MapError("not an Alignment Data Map: its JSON is nested beyond all use") from None
        except (ValueError, ValidationError) as error:
            raise MapError(f"not an Alignment Data Map: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the map to a JSON file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a map from a JSON file.

        Raises:
            MapError: the file is missing or not a map.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise MapError(f"cannot read a map from {path}: {error.strerror}") from None

    def _repr_html_(self) -> str:
        """Return the map as a table for notebooks."""
        rows = [
            (region.name, region.rows, f"{region.share:.1%}", region.mean, region.variance) for region in self.regions
        ]
        cuts = [
            f"cut at {name} {boundary.value:.6g} ({boundary.ties:,} rows on it, {boundary.below:,} count as low)"
            for name, boundary in (("variance", self.variance), ("mean", self.mean))
            if boundary
        ]
        shares = [(region.share, _COLOURS.get(region.name, "#888888")) for region in self.regions]
        title = f"Alignment Data Map: {self.rows:,} rows, {self.mapped:,} mapped"
        return notebook.table(title, ("region", "rows", "share", "mean", "variance"), rows, notes=cuts, shares=shares)

    def __repr__(self) -> str:
        variance, mean = self.thresholds.values()
        return f"DataMap(rows={self.rows}, mapped={self.mapped}, variance={variance}, mean={mean})"

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows, {self.mapped:,} mapped"]
        for region in self.regions:
            mean = "" if region.mean is None else f"  mean {region.mean:.4g}"
            spread = "" if region.variance is None else f"  variance {region.variance:.4g}"
            lines.append(f"  {region.name:<23}{region.rows:>10,}  {region.share:>6.1%}{mean}{spread}")
        lines += [
            f"  {name} boundary {boundary.value:.6g} ({boundary.ties:,} rows on it, {boundary.below:,} below)"
            for name, boundary in self.boundaries
        ]
        lines += [f"  {sentence}" for sentence in self.arbitrary]
        if self.label_basis.reason == SAME:
            lines.append(f"  labels {SAME}")
        return "\n".join(lines)


def parse_fraction(name: str, value: Fraction | float) -> Fraction:
    """Read a share; 0.3333 and 1/3 as written are both meant exactly.

    Raises:
        MapError: it is none.
    """
    share = Fraction(value).limit_denominator(10_000)
    if not 0 <= share <= 1:
        raise MapError(f"{name} must lie between 0 and 1, not {value}")
    return share


def _check_depth(content: object) -> None:
    """Refuse JSON that is nested so deeply that those who walk it (the card, a fingerprint) could not.

    Raises:
        ValueError: it is.
    """
    level: list[object] = [content]
    for _ in range(_DEEPEST):
        level = [
            value
            for item in level
            if isinstance(item, dict | list)
            for value in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"its JSON is nested more than {_DEEPEST} deep")

"""`DataMap`: the cut of a dataset into regions by mean and variance of its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError

from hf_datamap.data import columns
from hf_datamap.data.dataset import map_tables, with_columns
from hf_datamap.data.independence import SAME, LabelBasis, map_label_basis
from hf_datamap.datamap.blocks import Cohort, Fitted, fit_blocks, fit_whole
from hf_datamap.datamap.cut import UNMAPPED, Boundary, Cut, Frozen, Region, region_names
from hf_datamap.datamap.points import opened, read_points
from hf_datamap.engine.config import __version__
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset

    from hf_datamap.datamap.points import AnyPoints

    AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset)


class DataMap(Frozen):
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
                stream is read once, Parquet files (paths, folders, patterns, ``hf://`` URLs) five times, these columns
                only.
            low_variance: fraction of mapped rows kept as low variance, floor(fraction * M) rows.
            low_mean: fraction of those that counts as low mean.
            correct_noise: whether to take the scorer's own noise (``datamap_noise``) out of the variance first;
                `assign` then does the same, and keeps what was seen as ``datamap_variance_observed``.
            provenance: what to remember about how the scores came about.
            approximate: whether to take the boundaries from quantile sketches (Apache DataSketches, extra ``scale``),
                which read blocks three times instead of five; ``rank_error`` of a boundary says how far off it may be.
            in_memory: rows whose points may be held in memory (20 bytes each; 50 million by default, 2 million of a
                stream); beyond, they are read in blocks, those of a stream from a temporary file.

        Raises:
            MapError: a column is missing, or a fraction is outside [0, 1].
            SourceError: a file cannot be read.
        """
        shares = fraction("low_variance", low_variance), fraction("low_mean", low_mean)
        with opened(ds, correct_noise=correct_noise, in_memory=in_memory) as loaders:
            if len(loaders) == 1 and not approximate:
                fitted = fit_whole(loaders[0](), *shares)
            else:
                fitted = fit_blocks(loaders, *shares, approximate=approximate)
        return cls.of(fitted, *shares, correct_noise=correct_noise, provenance=provenance)

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        low_variance: Fraction,
        low_mean: Fraction,
        *,
        correct_noise: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the map of points that were cut block by block (`hf_datamap.datamap.blocks.fit_blocks`)."""
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
            cohort=fitted.cohort,
            corrected=correct_noise,
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

    def codes(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return the region of each point as an index into `hf_datamap.data.columns.REGIONS` (int8).

        The points the map was fitted on, in their order, get the exact cut. Others are assigned by threshold: a value
        equal to the boundary belongs to the lower side.

        Args:
            mean: shape (rows,), NaN where missing.
            variance: shape (rows,), NaN where missing.
        """
        same = len(mean) == self.rows and self.cohort and str(Cohort.of(mean, variance)) == self.cohort
        return (self.cut if same else self.cut.by_threshold()).codes(mean, variance)

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
        assigned = self._assign(_without_noise(ds) if self.corrected else ds)
        if not probability:
            return assigned
        from hf_datamap.datamap.noise import with_probability

        return with_probability(assigned, self)

    def _assign(self, ds: AnyDataset) -> AnyDataset:
        from datasets import DatasetDict, IterableDataset

        if isinstance(ds, IterableDataset):
            return map_tables(ds, self.cut.by_threshold().assign, _REGION, _STREAMED)
        codes = self.codes(*read_points(ds))
        if isinstance(ds, DatasetDict):
            ends = np.cumsum([len(split) for split in ds.values()])[:-1]
            parts = np.split(codes, ends)
            return DatasetDict(
                {name: _with_regions(split, part) for (name, split), part in zip(ds.items(), parts, strict=True)}
            )
        return _with_regions(ds, codes)

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
            return cls.model_validate(json.loads(text))
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

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows, {self.mapped:,} mapped"]
        for region in self.regions:
            mean = "" if region.mean is None else f"  mean {region.mean:.4g}"
            spread = "" if region.variance is None else f"  variance {region.variance:.4g}"
            lines.append(f"  {region.name:<23}{region.rows:>10,}  {region.share:>6.1%}{mean}{spread}")
        for name, boundary in (("variance", self.variance), ("mean", self.mean)):
            if boundary:
                lines.append(
                    f"  {name} boundary {boundary.value:.6g} ({boundary.ties:,} rows on it, {boundary.below:,} below)"
                )
        if self.label_basis.reason == SAME:
            lines.append(f"  labels {SAME}")
        return "\n".join(lines)


def _without_noise(ds: AnyDataset) -> AnyDataset:
    from hf_datamap.datamap.noise import without_noise

    return without_noise(ds)


def fraction(name: str, value: Fraction | float) -> Fraction:
    """Read a share; 0.3333 and 1/3 as written are both meant exactly.

    Raises:
        MapError: it is none.
    """
    share = Fraction(value).limit_denominator(10_000)
    if not 0 <= share <= 1:
        raise MapError(f"{name} must lie between 0 and 1, not {value}")
    return share


_REGION: Final = pa.schema([(columns.REGION, pa.string())])
_STREAMED: Final = 10_000  # rows of a stream assigned at a time


def assign_stream(ds: IterableDataset, data_map: DataMap) -> IterableDataset:
    """Return the very stream that a map was fitted on with ``datamap_region``: the exact cut, ties by row number."""
    return map_tables(ds, data_map.cut.assign, _REGION, _STREAMED, numbered=True)


def _with_regions(ds: Dataset, codes: np.ndarray) -> Dataset:
    return with_columns(ds, pa.table([region_names(codes)], schema=_REGION), codes.tobytes())

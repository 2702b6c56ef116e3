"""Regions of rows by a cut: the one place where rows get ``datamap_region`` and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.datamap.cut import Cut, region_names
from hf_datamap.datamap.noise import (
    CORRECTED,
    NEEDED,
    corrected_columns,
    float64s,
    is_corrected,
    observed_variance,
    score_counts,
)
from hf_datamap.datamap.prior import TruthPrior
from hf_datamap.datamap.reliability import NO_NOISE, added_by_noise, probability_above, probability_below


@dataclass(frozen=True)
class Assigner:
    """Gives rows of a scored dataset, in Arrow, their regions. Can be sent to another process.

    Attributes:
        cut: the boundaries.
        corrected: whether they are boundaries of a variance without the scorer's noise; then the variance of rows is
            corrected too, where it was not before.
        probability: whether to add the probability that the row truly belongs to its region.
        adds_correction: whether the columns of the correction are added; they need not be, where they are there.
        prior: where the truth lies, for the probability; without it each row is judged by itself.
    """

    cut: Cut
    corrected: bool = False
    probability: bool = False
    adds_correction: bool = True
    prior: TruthPrior | None = None

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns that are added."""
        schema = CORRECTED if self.corrected and self.adds_correction else pa.schema([])
        schema = schema.append(pa.field(columns.REGION, pa.string()))
        return schema.append(pa.field(columns.REGION_PROBABILITY, pa.float32())) if self.probability else schema

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are read."""
        names = (columns.MEAN, columns.VARIANCE, columns.VARIANCE_OBSERVED)
        return (*NEEDED, columns.VARIANCE_OBSERVED) if self.corrected or self.probability else names

    @property
    def content(self) -> bytes:
        """What the regions follow from, for fingerprints."""
        return repr(self).encode()

    def by_threshold(self) -> Assigner:
        """The same for other rows than those that were cut."""
        return replace(self, cut=self.cut.by_threshold())

    def __call__(self, table: pa.Table, first_row: int = 0) -> pa.Table:
        """Return the added columns (`schema`) of some rows.

        Args:
            table: the rows.
            first_row: number of the first of them in the dataset that was cut; without meaning by threshold.

        Raises:
            KeyError: a column of `needed` is missing.
        """
        mean = columns.floats(table, columns.MEAN)
        arrays = []
        if self.corrected:
            corrected = corrected_columns(table)
            variance = columns.floats(corrected, columns.VARIANCE)
            arrays += [corrected[name] for name in CORRECTED.names] if self.adds_correction else []
        else:
            # The boundaries of a map with noise in it are on the scale of the variance as it was observed.
            observed = columns.VARIANCE_OBSERVED if is_corrected(table.column_names) else columns.VARIANCE
            variance = columns.floats(table, observed)
        codes = self.cut.codes(mean, variance, first_row)
        arrays.append(region_names(codes))
        if self.probability:
            arrays.append(columns.nullable(self._probability(table, codes)))
        return pa.table(arrays, schema=self.schema)

    def _probability(self, table: pa.Table, codes: np.ndarray) -> np.ndarray:
        """Shape (rows,); NaN where the noise is unknown, or the row unmapped."""
        counts, noise = score_counts(table), float64s(table, columns.NOISE)
        variance, mean = observed_variance(table), float64s(table, columns.MEAN)
        low = np.zeros(len(mean))
        if self.cut.variance:
            added = np.zeros(len(mean)) if self.corrected else added_by_noise(np.nan_to_num(noise), counts)
            low = probability_below(variance, noise, counts, self.cut.variance.value - added)
        high_mean = np.ones(len(mean))
        if self.cut.mean:
            high_mean = probability_above(mean, noise, counts, self.cut.mean.value)
        # In the order of the codes; an unmapped row has none.
        by_region = np.stack([low * high_mean, low * (1 - high_mean), 1 - low, np.full(len(mean), np.nan)])
        noisy = np.flatnonzero((noise > NO_NOISE) & (counts > 1) & np.isfinite(variance))
        if self.prior is not None and len(noisy):
            chosen = (values[noisy] for values in (variance, mean, noise, counts))
            by_region[:3, noisy] = self.prior.probabilities(*chosen)
        probability = by_region[codes, np.arange(len(mean))]
        return np.where(np.isfinite(noise), probability, np.nan).astype(np.float32)

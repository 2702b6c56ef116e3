"""The scorer's own noise in a scored dataset: how much there is, and the variance without it.

The formulas are in `hf_datamap.datamap.reliability`; ``datamap_noise`` is the variance of the reported score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.dataset import add_columns, tables_of
from hf_datamap.datamap.reliability import NoiseSplit, corrected_variance, joined, split
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.data.dataset import AnyDataset

#: The columns that noise is known from.
NEEDED: Final = (columns.SCORES, columns.MEAN, columns.VARIANCE, columns.NOISE)
#: The columns that a correction for noise adds, or puts in place of others.
CORRECTED: Final = pa.schema([(columns.VARIANCE, pa.float32()), (columns.VARIANCE_OBSERVED, pa.float32())])


def is_corrected(names: Sequence[str]) -> bool:
    """Whether a dataset with these columns has a variance without noise already."""
    return columns.VARIANCE_OBSERVED in names


def noise_split(ds: Dataset | DatasetDict) -> NoiseSplit | None:
    """Say how much of the variance within rows is the scorer's own noise; None where no row's noise is known.

    Args:
        ds: a scored dataset; the splits of a `DatasetDict` together.

    Raises:
        MapError: a column is missing.
    """
    splits = list(ds.values()) if isinstance(ds, Mapping) else [ds]
    for part in splits:
        check_noise_columns(part.column_names)
    names = (*NEEDED, columns.VARIANCE_OBSERVED)
    return joined(table_noise_split(table) for part in splits for table in tables_of(part, names))


def table_noise_split(table: pa.Table) -> NoiseSplit | None:
    """The same for some rows of a scored dataset in Arrow."""
    if table[columns.NOISE].null_count == table.num_rows:
        return None
    return split(observed_variance(table), float64s(table, columns.NOISE), score_counts(table))


def without_noise(ds: AnyDataset) -> AnyDataset:
    """Return a scored dataset whose ``datamap_variance`` is that of the true scores, as far as it can be known.

    What was seen is kept as ``datamap_variance_observed``; rows whose noise is unknown keep their variance; a dataset
    that has been through this is known by that column, and returned as it is.

    Args:
        ds: a `Dataset`, a `DatasetDict` or an `IterableDataset`.

    Raises:
        MapError: a column is missing.
    """
    first = next(iter(ds.values())) if isinstance(ds, Mapping) else ds
    if names := first.column_names:  # those of some streams are not known
        if is_corrected(names):
            return ds
        check_noise_columns(names)
    return add_columns(ds, _corrected, CORRECTED, needed=NEEDED, content=b"without noise")


def corrected_columns(table: pa.Table) -> pa.Table:
    """The columns `CORRECTED` of some rows of a scored dataset in Arrow."""
    if is_corrected(table.column_names):
        return table.select(CORRECTED.names)
    observed = columns.floats(table, columns.VARIANCE)
    corrected = corrected_variance(observed, float64s(table, columns.NOISE), score_counts(table))
    return pa.table([columns.nullable(values) for values in (corrected, observed)], schema=CORRECTED)


def _corrected(table: pa.Table, _first_row: int) -> pa.Table:
    return corrected_columns(table)


def observed_variance(table: pa.Table) -> np.ndarray:
    """The variance of the scores as they are, whether or not the table was corrected for noise."""
    corrected = is_corrected(table.column_names)
    return float64s(table, columns.VARIANCE_OBSERVED if corrected else columns.VARIANCE)


def float64s(table: pa.Table, name: str) -> np.ndarray:
    """A column of shape (rows,), NaN for null."""
    return np.asarray(table[name].cast(pa.float64()).fill_null(np.nan).to_numpy())


def score_counts(table: pa.Table) -> np.ndarray:
    """How many valid scores each row has, shape (rows,)."""
    return np.asarray(np.isfinite(columns.padded(table[columns.SCORES])).sum(axis=1), dtype=np.float64)


def check_noise_columns(names: Sequence[str]) -> None:
    """Make sure that noise is known of a dataset with these columns.

    Raises:
        MapError: a column is missing.
    """
    if missing := [name for name in NEEDED if name not in names]:
        raise MapError(f"no column {', '.join(missing)}: noise is known of scored datasets only")

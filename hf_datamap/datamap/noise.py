"""The scorer's own noise in a scored data set: how much there is, and the map without it.

The formulas are in `hf_datamap.datamap.reliability`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.dataset import map_tables, with_columns, with_table
from hf_datamap.datamap.cut import Cut
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.reliability import (
    NoiseSplit,
    added_by_noise,
    corrected_variance,
    joined,
    probability_above,
    probability_below,
    split,
)
from hf_datamap.errors import MapError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_datamap.datamap.datamap import AnyDataset

#: Where `without_noise` keeps the variance as it was seen.
OBSERVED = f"{columns.VARIANCE}_observed"
#: Probability that a row truly belongs to its region.
PROBABILITY = f"{columns.REGION}_probability"

_CORRECTED = pa.schema([(columns.VARIANCE, pa.float32()), (OBSERVED, pa.float32())])
_STREAMED = 10_000  # rows of a stream at a time

#: The columns that noise is told by.
NEEDED = (columns.SCORES, columns.MEAN, columns.VARIANCE, columns.NOISE)


def noise_split(ds: Dataset | DatasetDict) -> NoiseSplit | None:
    """Say how much of the variance within rows is the scorer's own noise; None where no row's noise is known.

    Args:
        ds: a scored dataset; the splits of a `DatasetDict` together.

    Raises:
        MapError: a column is missing.
    """
    return joined(split_of(_table(part)) for part in _parts(ds).values())


def split_of(table: pa.Table) -> NoiseSplit | None:
    """The same for rows of a scored dataset in Arrow."""
    if table[columns.NOISE].null_count == table.num_rows:
        return None
    return split(_observed(table), _floats(table, columns.NOISE), _counts(table))


def without_noise(ds: AnyDataset) -> AnyDataset:
    """Return a scored dataset whose ``datamap_variance`` is that of the true scores, as far as it can be known.

    What was seen is kept as ``datamap_variance_observed``; rows whose noise is unknown keep their variance; a dataset
    that has been through this is returned as it is.

    Args:
        ds: a `Dataset`, a `DatasetDict` or an `IterableDataset`.

    Raises:
        MapError: a column is missing.
    """
    from datasets import DatasetDict, IterableDataset

    if isinstance(ds, DatasetDict):
        return DatasetDict({name: without_noise(part) for name, part in ds.items()})
    if OBSERVED in (ds.column_names or ()):
        return ds
    if isinstance(ds, IterableDataset):
        return map_tables(ds, corrected_table, _CORRECTED, _STREAMED)
    added = corrected_table(_table(ds)).select(_CORRECTED.names)
    return with_columns(ds, added, np.asarray(added[columns.VARIANCE].to_numpy()).tobytes())


def corrected_table(table: pa.Table) -> pa.Table:
    """Return rows of a scored dataset, in Arrow, as `without_noise` does."""
    if OBSERVED in table.column_names:
        return table
    seen = columns.floats(table, columns.VARIANCE)
    corrected = corrected_variance(seen, _floats(table, columns.NOISE), _counts(table))
    arrays = [columns.nullable(values) for values in (corrected, seen)]
    return with_table(table, pa.table(arrays, schema=_CORRECTED))


def with_probability(ds: AnyDataset, data_map: DataMap) -> AnyDataset:
    """Return an assigned dataset with the probability that each row truly belongs to its region.

    Null where the noise is unknown, or the row unmapped. Well calibrated as long as the noise is not larger than the
    real variance within rows; optimistic beyond that.

    Args:
        ds: a dataset that ``data_map.assign`` gave its regions.
        data_map: the map.

    Raises:
        MapError: a column is missing.
    """
    from datasets import DatasetDict, IterableDataset

    if isinstance(ds, DatasetDict):
        return DatasetDict({name: with_probability(part, data_map) for name, part in ds.items()})
    if isinstance(ds, IterableDataset):
        work = partial(probable_table, cut=data_map.cut, corrected=data_map.corrected)
        return map_tables(ds, work, pa.schema([(PROBABILITY, pa.float32())]), _STREAMED)
    probability = _probability(_table(ds, columns.REGION), data_map.cut, corrected=data_map.corrected)
    return with_columns(ds, pa.table({PROBABILITY: columns.nullable(probability)}), probability.tobytes())


def probable_table(table: pa.Table, cut: Cut, *, corrected: bool) -> pa.Table:
    """Return rows of an assigned dataset, in Arrow, as `with_probability` does."""
    found = columns.nullable(_probability(table, cut, corrected=corrected))
    return with_table(table, pa.table({PROBABILITY: found}))


def _probability(table: pa.Table, cut: Cut, *, corrected: bool) -> np.ndarray:
    counts, noise = _counts(table), _floats(table, columns.NOISE)
    variance, mean = _observed(table), _floats(table, columns.MEAN)
    low = np.zeros(len(mean))
    if cut.variance:
        seen = np.zeros(len(mean)) if corrected else added_by_noise(np.nan_to_num(noise), counts)
        low = probability_below(variance, noise, counts, cut.variance.value - seen)
    good = probability_above(mean, noise, counts, cut.mean.value) if cut.mean else np.ones(len(mean))
    known = {
        columns.HIGH_MEAN_LOW_VARIANCE: low * good,
        columns.LOW_MEAN_LOW_VARIANCE: low * (1 - good),
        columns.HIGH_VARIANCE: 1 - low,
    }
    regions = np.array(table[columns.REGION].to_pylist(), dtype=object)
    found = np.full(len(mean), np.nan)
    for name, values in known.items():
        found = np.where(regions == name, values, found)
    return np.where(np.isfinite(noise), found, np.nan).astype(np.float32)


def _parts(ds: Dataset | DatasetDict) -> dict[str, Dataset]:
    return dict(ds) if isinstance(ds, Mapping) else {"": ds}


def _table(ds: Dataset, *more: str) -> pa.Table:
    wanted = [*NEEDED, *more]
    if missing := [name for name in wanted if name not in ds.column_names]:
        raise MapError(f"no column {', '.join(missing)}: noise is known to scored (and assigned) data sets only")
    wanted += [OBSERVED] if OBSERVED in ds.column_names else []
    return ds.select_columns(wanted).with_format("arrow")[:]


def _observed(table: pa.Table) -> np.ndarray:
    return _floats(table, OBSERVED if OBSERVED in table.column_names else columns.VARIANCE)


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].cast(pa.float64()).fill_null(np.nan).to_numpy())


def _counts(table: pa.Table) -> np.ndarray:
    return np.asarray(np.isfinite(columns.padded(table[columns.SCORES])).sum(axis=1), dtype=np.float64)

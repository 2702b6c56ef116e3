"""What each selection strategy of the package would keep of an open map, under the published or the live cut."""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.curate.select import select
from hf_datamap.curate.strategies import STRATEGIES
from hf_datamap.data import columns
from hf_datamap.data.paths import column_of, parse_paths
from hf_datamap.errors import DataMapError
from mapspace.errors import SpaceError
from mapspace.sessions import Session
from mapspace.sources import OpenMap
from mapspace.statistics import number
from mapspace.texts import plain

HEADERS: Final = ("Strategy", "Rows kept", "Mean", "Variance", "Margin", "Suspects", "What it takes")
_PLACE: Final = "datamap_space_place"
_numbers: weakref.WeakKeyDictionary[OpenMap, pa.Table] = weakref.WeakKeyDictionary()


def kept(session: Session, strategy: str, fraction: float) -> np.ndarray:
    """Return the places of the rows a strategy keeps, ascending.

    Args:
        session: the visitor's view; with a live cut its regions count.
        strategy: a name in `hf_datamap.curate.select.STRATEGIES`.
        fraction: budget as a fraction of all rows.

    Raises:
        SpaceError: no such strategy, or the rows' scores cannot be read.
        DataMapError: the map lacks what the strategy needs.
    """
    from datasets import Dataset

    if strategy not in STRATEGIES:
        raise SpaceError(f"no strategy {strategy!r:.40}; there are {', '.join(STRATEGIES)}")
    table = _table(session.map)
    codes = session.cut.codes if session.cut is not None else session.map.index.region
    regions = np.array(columns.REGIONS, dtype=object)[codes[table[_PLACE].to_numpy()]]
    table = table.append_column(columns.REGION, pa.array(regions, pa.string()))
    chosen: Any = select(Dataset(table), strategy, fraction=fraction, layout=session.map.layout)
    return np.sort(np.asarray(chosen.with_format("numpy")[_PLACE], np.int64))


def _table(opened: OpenMap) -> pa.Table:
    """Scores and annotations of all rows with their places; no texts."""
    if opened not in _numbers:
        _numbers[opened] = opened.guard(lambda: _read(opened))
    return _numbers[opened]


def _read(opened: OpenMap) -> pa.Table:
    labels = {column_of(path) for path in parse_paths(opened.layout.annotations)}
    names = [name for name in opened.columns if name == columns.SCORES or name in labels]
    if columns.SCORES not in names:
        raise SpaceError(f"the files of this map have no {columns.SCORES}; strategies need them")
    parts = []
    for code, split in enumerate(opened.index.split.names):
        places = np.flatnonzero(opened.index.split.codes == code)
        places, start = places[np.argsort(opened.index.row[places], kind="stable")], 0
        for table in opened.texts(split).rows(opened.index.row[places], 50_000, sorted(names)):
            parts.append(table.append_column(_PLACE, pa.array(places[start : start + len(table)])))
            start += len(table)
    return pa.concat_tables(parts, promote_options="permissive").replace_schema_metadata()


def table(session: Session, fraction: float) -> list[list[str]]:
    """Return one line of text per strategy that this map has the columns for."""
    index, lines = session.map.index, []
    for name, rule in STRATEGIES.items():
        says = (rule.__doc__ or "").strip().split("\n")[0]
        try:
            places = kept(session, name, fraction)
        except SpaceError:
            raise
        except DataMapError as error:
            lines.append([name, "–", "–", "–", "–", "–", plain(str(error), 200)])
            continue
        averages = [number(_average(values[places])) for values in (index.mean, index.variance, index.margin)]
        lines.append([name, f"{len(places):,}", *averages, f"{int(index.suspect[places].sum()):,}", says])
    return lines


def _average(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")

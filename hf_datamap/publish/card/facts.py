"""Everything a card says, as one object; computed from the index, so that it is true of the data that is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.data.independence import SAME
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.index import IndexedDataset

_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_FILE: Final = re.compile(r"(?i)\.(jsonl?|parquet|csv|tsv|arrow)(\.gz|\.zst)?$")
_USAGE: Final = ("requests", "from_store", "retried", "input_tokens", "output_tokens", "cost", "failed")
_SOURCE: Final = ("id", "config", "split", "revision", "fingerprint", "license", "language")
_SHOWN_SOURCES: Final = 3
_SHOWN_IDENTITY: Final = 24


@dataclass(frozen=True)
class RegionFacts:
    """One region; averages are over its rows that have the value, None where none has.

    Attributes:
        name: one of `hf_datamap.data.columns.REGIONS`.
        rows: how many rows.
        share: of all rows, 0 to 1.
        mean: average of ``datamap_mean``.
        variance: average of ``datamap_variance``.
        margin: average of ``datamap_margin``.
        opposed: of the rows whose margin is not zero, the share with a negative one (score against annotation).
        agreement: average of ``datamap_agreement``.
        length: median characters of the longest response.
        sources: the most frequent sources and their share of the region.
    """

    name: str
    rows: int
    share: float
    mean: float | None
    variance: float | None
    margin: float | None
    opposed: float | None
    agreement: float | None
    length: int | None
    sources: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Facts:
    """What is known about a map; None and empty mean not recorded.

    Attributes:
        data_map: thresholds, ties, provenance.
        splits: rows per split, in the dataset's own order.
        rows: all rows.
        mapped: rows with a point on the map.
        regions: in the order in which they are shown.
        overall: the same statistics over all mapped rows.
        suspects: rows marked by the audit, None when there was none.
        scorer: identity of the scorer, flattened to labels and values.
        source: id, config, split, revision, licence of the data that was mapped.
        usage: requests, tokens, cost, failures.
        date: when the scores were made.
        outcomes: rows by what became of them while scoring (ok, partial, failed, skipped).
        noise: share of the average variance that the scorer's own noise explains, 0 to 1.
        comparable: rows with one longest and one best response.
        longest_wins: share of those in which they are the same.
        by_chance: the share expected if length did not matter.
        panel: how the members of a panel agree, flattened like the scorer's identity.
        calibration: what was measured against human labels, flattened alike.
    """

    data_map: DataMap
    splits: Mapping[str, int]
    rows: int
    mapped: int
    regions: tuple[RegionFacts, ...]
    overall: RegionFacts
    suspects: int | None
    scorer: tuple[tuple[str, str], ...]
    source: Mapping[str, Any]
    usage: Mapping[str, Any]
    date: str | None
    outcomes: Mapping[str, Any]
    noise: float | None
    comparable: int
    longest_wins: float | None
    by_chance: float | None
    panel: tuple[tuple[str, str], ...]
    calibration: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> str:
        """Why scores are not compared with annotations."""
        basis = self.data_map.label_basis
        return SAME if basis.reason == SAME else "none to compare the scores with"

    @property
    def extended(self) -> bool:
        """Whether the data has grown or shrunk since the thresholds were fitted."""
        return self.rows != self.data_map.rows

    def counted(self, splits: Mapping[str, int]) -> Facts:
        """Return the facts of a sample with the counts and averages of all rows, which the map knows."""
        whole = {region.name: region for region in self.data_map.regions}
        names = ("rows", "share", "mean", "variance", "margin", "agreement")
        regions = tuple(
            replace(region, **{name: getattr(whole[region.name], name) for name in names}) for region in self.regions
        )
        rows, mapped = self.data_map.rows, self.data_map.mapped
        overall = replace(self.overall, rows=mapped, share=mapped / rows)
        return replace(self, splits=splits, rows=rows, mapped=mapped, regions=regions, overall=overall)

    @property
    def source_id(self) -> str | None:
        """Hub id of the source dataset, None when it is a file or not recorded."""
        source = self.source.get("id")
        if not isinstance(source, str) or not _HUB_ID.fullmatch(source) or _FILE.search(source):
            return None
        return source if self.source.get("revision") or not self.source.get("fingerprint") else None

    @property
    def source_name(self) -> str | None:
        """The source in words: its Hub id, or the last part of a path without its ending."""
        source = self.source.get("id")
        return self.source_id or (name_of_path(source) if isinstance(source, str) else None)

    @property
    def scorer_name(self) -> str:
        """The scorer in a few words: its kind, and its model where it has one."""
        identity = dict(self.scorer)
        model = identity.get("model")
        return f"{identity.get('kind', 'a scorer that is not recorded')}{f' {model}' if model else ''}"


def name_of_path(path: str) -> str:
    """Return the name of a dataset that stands in a file or folder: the last part of its path, without an ending."""
    name = PurePath(path).name
    return _FILE.sub("", name) or name or path


def gather_facts(indexed: IndexedDataset, data_map: DataMap) -> Facts:
    """Collect the facts of a mapped dataset.

    Args:
        indexed: its index, with the statistics of its texts.
        data_map: the map, with its provenance.
    """
    table = indexed.table
    provenance = data_map.provenance
    mapped = np.asarray(table["region"].cast(pa.string()).to_numpy(zero_copy_only=False) != columns.UNMAPPED)
    overall = _region("all", table.filter(pa.array(mapped)), table.num_rows)
    suspect = table["suspect"]
    return Facts(
        data_map=data_map,
        splits=indexed.splits,
        rows=table.num_rows,
        mapped=int(mapped.sum()),
        regions=tuple(_region(name, _rows_of(table, name), table.num_rows) for name in columns.REGIONS),
        overall=overall,
        suspects=None if suspect.null_count == len(suspect) else sum(map(bool, suspect.to_pylist())),
        scorer=tuple(_flattened(_mapping(provenance, "scorer")))[:_SHOWN_IDENTITY],
        source={**dict.fromkeys(_SOURCE), **_mapping(provenance, "source")},
        usage={**dict.fromkeys(_USAGE), **_mapping(provenance, "usage")},
        date=provenance.get("date"),
        outcomes=_mapping(provenance, "rows"),
        noise=_noise(data_map),
        comparable=indexed.comparable,
        longest_wins=indexed.longest_wins / indexed.comparable if indexed.comparable else None,
        by_chance=indexed.by_chance / indexed.comparable if indexed.comparable else None,
        panel=tuple(_flattened(_mapping(provenance, "panel")))[:_SHOWN_IDENTITY],
        calibration=tuple(_flattened(_mapping(provenance, "calibration")))[:_SHOWN_IDENTITY],
    )


def _mapping(provenance: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = provenance.get(key)
    return value if isinstance(value, Mapping) else {}


def _rows_of(table: pa.Table, region: str) -> pa.Table:
    return table.filter(pa.compute.equal(table["region"].cast(pa.string()), region))


def _region(name: str, table: pa.Table, total: int) -> RegionFacts:
    def values(column: str) -> np.ndarray:
        numbers = table[column].cast(pa.float64()).to_numpy()
        return np.asarray(numbers[np.isfinite(numbers)])

    def average(column: str) -> float | None:
        numbers = values(column)
        return float(numbers.mean()) if len(numbers) else None

    margins, lengths = values("margin"), values("length")
    decided = margins[margins != 0]
    return RegionFacts(
        name=name,
        rows=table.num_rows,
        share=table.num_rows / total if total else 0.0,
        mean=average("mean"),
        variance=average("variance"),
        margin=average("margin"),
        opposed=float((decided < 0).mean()) if len(decided) else None,
        agreement=average("agreement"),
        length=int(np.median(lengths)) if len(lengths) else None,
        sources=_sources(table),
    )


def _sources(table: pa.Table) -> tuple[tuple[str, float], ...]:
    counts = [(item["values"], item["counts"]) for item in table["source"].value_counts().to_pylist()]
    named = sorted(((name, count) for name, count in counts if name), key=lambda pair: (-pair[1], pair[0]))
    return tuple((name, count / table.num_rows) for name, count in named[:_SHOWN_SOURCES])


def _noise(data_map: DataMap) -> float | None:
    """The share of the scorer's noise in the variance, as `noise_split` pairs it.

    Maps made by other means do not say; then noise against variance over the regions that have both, weighted by rows.
    """
    share = _mapping(data_map.provenance, "noise").get("share")
    if isinstance(share, int | float) and not isinstance(share, bool):
        return float(share)
    pairs = [(r.noise, r.variance, r.rows) for r in data_map.regions if r.noise is not None and r.variance is not None]
    spread = sum(variance * rows for _, variance, rows in pairs)
    return sum(noise * rows for noise, _, rows in pairs) / spread if spread > 0 else None


def _flattened(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            pairs += _flattened(item, f"{prefix}{key}.")
        elif isinstance(item, list | tuple) and any(isinstance(one, Mapping) for one in item):
            pairs += _flattened({f"{key}[{number}]": one for number, one in enumerate(item)}, prefix)
        elif isinstance(item, list | tuple):
            pairs.append((f"{prefix}{key}", ", ".join(map(str, item))))
        elif item is not None:
            pairs.append((f"{prefix}{key}", f"{item:.4g}" if isinstance(item, float) else str(item)))
    return pairs

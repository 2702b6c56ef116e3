"""The blocks of a Ray dataset: cut and assigned where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hf_datamap.data import columns
from hf_datamap.datamap.blocks import Block, Loader, fit_blocks, fit_whole
from hf_datamap.datamap.cut import Cut
from hf_datamap.datamap.datamap import DataMap
from hf_datamap.datamap.noise import corrected_table, probable_table, split_of
from hf_datamap.datamap.points import IN_MEMORY, joined_block, values_of, wanted
from hf_datamap.datamap.reliability import NoiseSplit
from hf_datamap.scoring.annotate import statuses_of
from hf_datamap.scoring.ray.cluster import spread

if TYPE_CHECKING:
    import ray.data


@dataclass(frozen=True)
class Stored:
    """A block in Ray's object store."""

    ref: Any
    rows: int
    first_row: int
    correct_noise: bool

    def __call__(self) -> Block:
        """Read the block."""
        import ray

        return self.of(ray.get(self.ref))

    def of(self, table: pa.Table) -> Block:
        """The block that a table is."""
        table = corrected_table(table) if self.correct_noise else table
        return Block(values_of(table.select(wanted(table.column_names))), self.first_row)


def stored_blocks(ds: ray.data.Dataset, *, correct_noise: bool) -> list[Stored]:
    """The blocks of a materialised dataset that have rows, in order."""
    refs = ds.get_internal_block_refs()
    found: list[Stored] = []
    first = 0
    for ref, rows in zip(refs, spread(len, [(ref,) for ref in refs]), strict=True):
        if rows:
            found.append(Stored(ref, rows, first, correct_noise))
        first += rows
    return found


def _on_block(table: pa.Table, load: Stored, work: Callable[[Block], Any]) -> Any:  # noqa: ANN401
    return work(load.of(table))


def _each(work: Callable[[Block], Any], loaders: Sequence[Loader]) -> Iterator[Any]:
    """Do the work where the blocks are (`hf_datamap.datamap.blocks.Each`)."""
    stored = [load for load in loaders if isinstance(load, Stored)]
    plain = [Stored(None, load.rows, load.first_row, load.correct_noise) for load in stored]
    calls = [(load.ref, bare) for load, bare in zip(stored, plain, strict=True)]
    return spread(partial(_on_block, work=work), calls)


def fit_stored(
    loaders: Sequence[Stored],
    low_variance: Fraction,
    low_mean: Fraction,
    *,
    approximate: bool,
    correct_noise: bool,
) -> DataMap:
    """Fit here where the points fit in memory, otherwise where they are."""
    shares = low_variance, low_mean
    if not approximate and sum(load.rows for load in loaders) <= IN_MEMORY:
        fitted = fit_whole(joined_block(list(_each(_itself, loaders))), *shares)
    else:
        fitted = fit_blocks(loaders, *shares, each=_each, approximate=approximate)
    return DataMap.of(fitted, *shares, correct_noise=correct_noise)


def _itself(block: Block) -> Block:
    return block


def tell(table: pa.Table) -> tuple[dict[str, int], NoiseSplit | None]:
    """What the provenance says of a block."""
    return statuses_of(table[columns.STATUS]), split_of(table)


def assign_stored(table: pa.Table, cut: Cut, first_row: int, corrected: bool) -> pa.Table:
    """A block with its regions."""
    table = corrected_table(table) if corrected else table
    table = cut.assign(table, range(first_row, first_row + table.num_rows))
    return probable_table(table, cut, corrected=True) if corrected else table

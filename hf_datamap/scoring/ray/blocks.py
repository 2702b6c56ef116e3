"""The blocks of a Ray dataset: reported on, cut and assigned where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hf_datamap.data.dataset import with_table
from hf_datamap.datamap.assign import Assigner
from hf_datamap.datamap.points import PointReader, Points, narrow_columns
from hf_datamap.scoring.job import PartReport
from hf_datamap.scoring.ray.cluster import call_all

if TYPE_CHECKING:
    import ray.data


@dataclass(frozen=True)
class StoredBlock:
    """A block in Ray's object store, as a reader of its points (`hf_datamap.datamap.points.PointReader`)."""

    ref: Any
    rows: int
    first_row: int
    correct_noise: bool

    def __call__(self) -> Points:
        """Fetch the block, and take its points."""
        import ray

        return self.points_of(ray.get(self.ref))

    def points_of(self, table: pa.Table) -> Points:
        """The points of the block, which is given."""
        return Points.of(table, self.first_row, correct_noise=self.correct_noise)


def stored_blocks(ds: ray.data.Dataset, *, correct_noise: bool) -> list[StoredBlock]:
    """The blocks of a materialised dataset that have rows, in order."""
    refs = ds.get_internal_block_refs()
    blocks: list[StoredBlock] = []
    first_row = 0
    for ref, rows in zip(refs, call_all(len, [(ref,) for ref in refs]), strict=True):
        if rows:
            blocks.append(StoredBlock(ref, rows, first_row, correct_noise))
        first_row += rows
    return blocks


def for_each_stored(work: Callable[[Points], Any], readers: Sequence[PointReader]) -> Iterator[Any]:
    """Do some work on points where the blocks are (`hf_datamap.datamap.fit.ForEachBlock`)."""
    blocks = [reader for reader in readers if isinstance(reader, StoredBlock)]
    # Ray hands a block over in place of a reference to it, if that is an argument by itself.
    calls = [(block.ref, replace(block, ref=None)) for block in blocks]
    return call_all(partial(_work_on_points, work=work), calls)


def _work_on_points(table: pa.Table, block: StoredBlock, work: Callable[[Points], Any]) -> Any:  # noqa: ANN401
    return work(block.points_of(table))


def narrow_block(table: pa.Table, correct_noise: bool) -> pa.Table:
    """The columns of a block that a map is made of."""
    return table.select(narrow_columns(table.column_names, correct_noise=correct_noise))


def report_on_block(table: pa.Table, number: int) -> PartReport:
    """What is told of a scored block."""
    return PartReport.of(number, table)


def assign_block(table: pa.Table, assigner: Assigner, first_row: int) -> pa.Table:
    """A block with its regions."""
    return with_table(table, assigner(table, first_row))

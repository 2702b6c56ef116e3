"""`ColumnScorer`: alignment scores that ship with the data."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.data import EACH, Layout, number, parse_path, parse_paths, read_paths
from hf_datamap.engine.task import JSON
from hf_datamap.errors import LayoutError, ScorerError
from hf_datamap.scorers.base import Scorer, Way

_FLOATS: Final = pa.list_(pa.float64())


class ColumnScorer(Scorer):
    """Reads the scores that a dataset carries; in the map paper the judge's scores are exactly these.

    Args:
        path: where they are: one path of a list (``completions[].overall_score``, ``rating``) or one path per response
            (``score_chosen,score_rejected``); by default where the layout knows them.

    Raises:
        ScorerError: the path is malformed.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        try:
            self._paths = parse_paths(path)
        except LayoutError as error:
            raise ScorerError(f"columns:{path} - {error}") from None

    @property
    def identity(self) -> dict[str, JSON]:
        """The path."""
        return {"kind": "columns", "path": self.path}

    @property
    def way(self) -> Way:
        """From the columns of the data: no text is read."""
        return Way.COLUMNS

    def score_table(self, table: pa.Table, layout: Layout | None) -> pa.ListArray:
        """Return the scores of every row of an Arrow table: lists of float64, null where there is no number.

        Raises:
            ScorerError: no path was given and the layout knows none, or the table lacks the column.
        """
        paths = self.score_paths(layout)
        for path in paths:
            if (name := str(parse_path(path)[0])) not in table.column_names:
                raise ScorerError(
                    f"columns:{self.path or path} - there is no column {name!r} among {', '.join(table.column_names)}"
                )
            _check_fields(table.schema.field(name).type, path)
        return scores_at(table, paths)

    def score_paths(self, layout: Layout | None) -> tuple[str, ...]:
        """The paths that are read.

        Raises:
            ScorerError: none was given, and the layout knows none.
        """
        paths = self._paths or parse_paths(layout.scores if layout else None)
        if not paths:
            raise ScorerError(
                "this dataset ships no scores that are known; name them, for example "
                "ColumnScorer('completions[].score') or --scorer columns:score_chosen,score_rejected"
            )
        return paths


def _check_fields(kind: pa.DataType, path: str) -> None:
    """Refuse a path whose fields a typed column lacks; what JSON strings hold is seen row by row.

    Raises:
        ScorerError: a struct on the way has no such field.
    """
    for step in parse_path(path)[1:]:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        if isinstance(step, str) and pa.types.is_struct(kind):
            names = [kind.field(place).name for place in range(kind.num_fields)]
            if step not in names:
                raise ScorerError(f"columns:{path} - there is no field {step!r} among {', '.join(names)}")
            kind = kind.field(step).type


def scores_at(table: pa.Table, paths: tuple[str, ...]) -> pa.ListArray:
    """Return one list of numbers per row (float64, null where no number is): a list path, or one path per element."""
    if len(paths) == 1:
        return _list_at(table, paths[0])
    matrix = np.column_stack([_numbers(_leaf(table, path), len(table)) for path in paths])
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel(), from_pandas=True))


def _list_at(table: pa.Table, path: str) -> pa.ListArray:
    """The lists at one path; a list column needs no ``[]`` at its end."""
    steps = parse_path(path)
    array: Any = table.column(str(steps[0])).combine_chunks()
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    lists: pa.ListArray | None = None
    for step in (*steps[1:], EACH):
        if step is EACH and lists is None and pa.types.is_list(array.type):
            lists, array = array, array.flatten()
        elif isinstance(step, str) and pa.types.is_struct(array.type) and array.type.get_field_index(step) >= 0:
            array = pc.struct_field(array, step)
        elif not (step is EACH and lists is not None):
            return _slow_lists(table, path)
    if lists is None or not _is_numeric(array.type):
        return _slow_lists(table, path)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, _finite(array))


def _slow_lists(table: pa.Table, path: str) -> pa.ListArray:
    """The same through Python objects: JSON strings, numbers as text, lists in lists."""
    values = read_paths(table, (path,))[path]
    rows = [[number(item) for item in value] if isinstance(value, list | tuple) else [] for value in values]
    return pa.array(rows, _FLOATS)


def _leaf(table: pa.Table, path: str) -> list[Any] | pa.Array:
    steps = parse_path(path)
    column = table.column(str(steps[0])).combine_chunks()
    if len(steps) == 1 and isinstance(column, pa.Array) and _is_numeric(column.type):
        return column
    return list(read_paths(table, (path,))[path])


def _numbers(values: list[Any] | pa.Array, rows: int) -> np.ndarray:
    if isinstance(values, pa.Array):
        return np.asarray(_finite(values).to_numpy(zero_copy_only=False), dtype=np.float64)
    numbers = (number(value) for value in values)
    return np.fromiter((np.nan if value is None else value for value in numbers), np.float64, count=rows)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _finite(array: pa.Array) -> pa.Array:
    """As float64, null where not finite: NaN is no score."""
    array = array.cast(pa.float64(), safe=False)
    values = array.to_numpy(zero_copy_only=False)
    return (
        array
        if np.isfinite(values).all()
        else pa.array(np.where(np.isfinite(values), values, np.nan), from_pandas=True)
    )

"""`DatasetView`: a dataset as arrays (scores, annotations, groups) and its texts in batches, read once from Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from hf_datamap.data import columns
from hf_datamap.data.detect import detect_layout
from hf_datamap.data.example import Example
from hf_datamap.data.independence import has_order, same_values
from hf_datamap.data.labels import NEEDS_TEXTS, RULES
from hf_datamap.data.layout import Layout
from hf_datamap.data.paths import parse_path, parse_paths
from hf_datamap.errors import LayoutError, MapError, RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

#: Columns that say where a row is from, by kind of grouping; compared in lower case.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "source": ("source", "dataset", "subset", "domain", "category", "origin", "dataset_name", "data_source"),
    "language": ("language", "lang", "locale"),
    "annotator": ("annotator", "annotator_id", "worker", "worker_id", "judge", "judge_model", "rater"),
}
_MODELS: Final = ("models[]", "completions[].model", "generations[].model", "answers[].model", "model_names[]")
_MODEL_PAIRS: Final = (
    ("chosen_model", "rejected_model"),
    ("chosen-model", "rejected-model"),
    ("model_a", "model_b"),
    ("model_1", "model_2"),
    ("generator_1", "generator_2"),
)
_MOST_GROUPS: Final = 1000
_ANNOTATOR_NAME: Final = re.compile(r"annotator|labell?er|\brater|worker|reviewer|evaluator|\bjudge(?:_|\b|\d)|crowd")
_PERSON: Final = re.compile(
    r"(?i)(?:annotator|labell?er|rater|worker|reviewer|user|judge|person|anno?t?|[awrj])[-_ #]?\d{1,6}"
)
_MOST_PEOPLE: Final = 500
_LEAST_EACH: Final = 5  # rows per person, on average
BATCH: Final = 1500  # texts that are looked at together: few enough for the processor's cache


@dataclass(frozen=True)
class Group:
    """A column that divides the rows.

    Attributes:
        name: the column.
        kind: a key of `GROUPS`.
        codes: int per row, index into ``values``; -1 where null.
        values: the groups' names.
    """

    name: str
    kind: str
    codes: np.ndarray
    values: tuple[str, ...]


class DatasetView:
    """A dataset as arrays: shape (rows,) or (rows, responses), float64 with NaN where a value is missing.

    Args:
        ds: a dataset, or splits; the rows of several splits are counted through.
        layout: how to read it; None detects it.

    Raises:
        MapError: not a `Dataset` or `DatasetDict`, or without rows.
    """

    def __init__(self, ds: Dataset | DatasetDict, layout: Layout | None = None) -> None:
        from datasets import Dataset, DatasetDict

        if not isinstance(ds, Dataset | DatasetDict):
            raise MapError(
                f"this needs the whole dataset at hand, a Dataset or DatasetDict, not {type(ds).__name__}; "
                "a streaming one becomes such with Dataset.from_generator or by writing it to Parquet first"
            )
        splits = ds if isinstance(ds, DatasetDict) else {str(ds.split or "train"): ds}
        self.splits: dict[str, Dataset] = {name: part.with_format("arrow") for name, part in splits.items()}
        self.rows = sum(len(part) for part in self.splits.values())
        self.starts = np.cumsum([0, *(len(part) for part in self.splits.values())])
        self.names = list(dict.fromkeys(name for part in self.splits.values() for name in part.column_names))
        if not self.rows:
            raise MapError("the dataset has no rows: nothing to audit")
        self.layout, self.layout_error = layout, ""
        if layout is None:
            try:
                first = next(iter(splits.values()))
                self.layout = detect_layout(ds, sample=first.select(range(min(8, len(first)))).to_list())
            except LayoutError as error:
                self.layout_error = str(error)

    def __repr__(self) -> str:
        layout = self.layout.name if self.layout else "no layout"
        return f"DatasetView({self.rows:,} rows, {', '.join(self.splits)}, {layout})"

    def where(self, row: int) -> tuple[str, int]:
        """The split of a row, and its index in there."""
        place = int(np.searchsorted(self.starts, row, "right")) - 1
        return list(self.splits)[place], int(row - self.starts[place])

    def column(self, name: str) -> pa.ChunkedArray | None:
        """One column of all splits, or None when a split lacks it."""
        if any(name not in part.column_names for part in self.splits.values()):
            return None
        tables = [part.select_columns([name])[:] for part in self.splits.values()]
        chunks = [chunk for table in tables for chunk in table[name].chunks]
        kinds = {chunk.type for chunk in chunks}
        return pa.chunked_array(chunks) if len(kinds) == 1 else None

    def floats(self, name: str) -> np.ndarray | None:
        """A numeric column as float64, NaN for nulls; None when it is not there or not numeric."""
        column = self.column(name)
        if column is None or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            return None
        return np.asarray(column.cast(pa.float64()).to_numpy())

    def padded(self, name: str) -> np.ndarray | None:
        """A column of lists of numbers as a matrix, NaN padded."""
        column = self.column(name)
        return None if column is None or not _is_list(column.type) else columns.padded(column)

    @cached_property
    def scores(self) -> np.ndarray | None:
        """Alignment scores, shape (rows, responses), float64 with NaN; None when the dataset is not scored."""
        scores = self.padded(columns.SCORES)
        return None if scores is None or not np.isfinite(scores).any() else scores

    @cached_property
    def region(self) -> np.ndarray | None:
        """Index into `columns.REGIONS` of each row, from ``datamap_region``; None without that column."""
        names = self.column(columns.REGION)
        if names is None:
            return None
        codes = pc.index_in(names, pa.array(columns.REGIONS)).fill_null(len(columns.REGIONS) - 1)
        return np.asarray(codes.to_numpy())

    @cached_property
    def groups(self) -> list[Group]:
        """The columns that say where a row is from or who judged it, with at most a thousand values.

        Known by name; annotators also by names like ``labeler`` or ``annotator1``, and by values that look like ids of
        people (``A7``, ``worker_12``) and come back again and again.
        """
        named = {name: kind for kind, names in GROUPS.items() for name in self.names if name.lower() in names}
        used = set(self.layout.columns) if self.layout else set()
        for name in self.names:
            if name in named or name in used or name.startswith("datamap_"):
                continue
            if _ANNOTATOR_NAME.search(name.lower()) or _people(self.column(name)):
                named[name] = "annotator"
        candidates = [_group(name, kind, self.column(name)) for name, kind in named.items()]
        return [group for group in candidates if group is not None and len(group.values) > 1]

    @cached_property
    def models(self) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """Which model wrote each response: codes of shape (rows, responses), -1 unknown, and the models' names."""
        for pair in _MODEL_PAIRS:
            sides = [self.column(name) for name in pair]
            if all(side is not None and _is_text(side.type) for side in sides):
                flat = pa.concat_arrays([chunk for side in sides if side is not None for chunk in side.chunks])
                codes, names = _encode(flat)
                return codes.reshape(2, -1).T, names
        for path in _MODELS:
            if (lists := self._lists(path)) is not None and _is_text(lists.type.value_type):
                codes, names = _encode(lists.flatten())
                whole = pa.ListArray.from_arrays(_offsets(lists), pa.array(codes, pa.int64()))
                return np.nan_to_num(columns.padded(whole), nan=-1.0).astype(np.int64), names
        return None

    def _lists(self, path: str) -> pa.ListArray | None:
        """The list that a path like ``a[].b`` names, one array over all rows; None when Arrow has no such thing."""
        steps = parse_path(path)
        column = self.column(str(steps[0]))
        if column is None or not _is_list(column.type):
            return None
        inside = [_inside(chunk, steps[2:]) for chunk in column.chunks]  # chunk by chunk: texts beside it may be huge
        lists = [part for part in inside if part is not None]
        return pa.concat_arrays(lists) if lists and len(lists) == len(inside) else None

    @cached_property
    def annotations(self) -> np.ndarray | None:
        """What ships with the responses, higher is better: shape (rows, responses), NaN where missing; or None.

        Read as columns where they are numbers or names; only nested or spelled-out labels are read row by row.
        """
        layout = self.layout
        if layout is None or not (layout.annotations or layout.label == "order"):
            return None
        # What the number of a class means, and which text is repeated, is seen row by row only.
        by_row = bool(layout.classes) or layout.label in NEEDS_TEXTS
        matrix = None if by_row else self._columnar(layout)
        if matrix is None:
            lists = [
                example.annotations if isinstance(example, Example) else None
                for _, batch in self.batches()
                for example in batch
            ]
            matrix = columns.padded(pa.array(lists, pa.list_(pa.float64())))
        return matrix if np.isfinite(matrix).any() else None

    @cached_property
    def preferences(self) -> np.ndarray | None:
        """What says which response is better, shape (rows, responses): annotations, else the order of the columns.

        Where the scores are the annotations, a chosen and a rejected column have the first word: they are independent.
        """
        if self.annotations is None:
            return self.order
        if self.order is not None and self.scores is not None and same_values(self.scores, self.annotations):
            return self.order
        return self.annotations

    @cached_property
    def own_scores(self) -> np.ndarray | None:
        """Scores that ship with the responses (`Layout.scores`), shape (rows, responses); None without any."""
        paths = parse_paths(self.layout.scores) if self.layout else ()
        if len(paths) == 1 and "[]" in paths[0]:
            lists = self._lists(paths[0])
            return columns.padded(lists) if lists is not None and _is_number(lists.type.value_type) else None
        cells = [self._field(path) for path in paths]
        if len(cells) < 2 or any(cell is None or not _is_number(cell.type) for cell in cells):
            return None
        return np.column_stack([np.asarray(cell.cast(pa.float64()).to_numpy()) for cell in cells])

    @cached_property
    def response_lengths(self) -> np.ndarray:
        """Characters of each response, shape (rows, responses), NaN where there is none.

        Counted in the columns where responses are plain texts; only nested ones are read row by row.
        """
        paths = self.layout.responses if self.layout else ()
        if len(paths) == 1 and "[]" in paths[0]:
            lists = self._lists(paths[0])
            if lists is not None and _is_text(lists.type.value_type):
                lengths = pc.utf8_length(lists.flatten()).cast(pa.float64())
                return columns.padded(pa.ListArray.from_arrays(_offsets(lists), lengths))
        cells = [self._field(path) for path in paths if "[]" not in path]
        if cells and len(cells) == len(paths) and all(cell is not None and _is_text(cell.type) for cell in cells):
            return np.column_stack([pc.utf8_length(cell).cast(pa.float64()).to_numpy() for cell in cells])
        rows = [
            [None if text is None else len(text) for text in example.responses]
            if isinstance(example, Example)
            else None
            for _, batch in self.batches()
            for example in batch
        ]
        return columns.padded(pa.array(rows, pa.list_(pa.float64()))) if rows else np.full((self.rows, 0), np.nan)

    @cached_property
    def constraint_counts(self) -> np.ndarray | None:
        """How many verifiable constraints each prompt has; None when the dataset has none."""
        paths = self.layout.constraints if self.layout else None
        lists = self.column(paths[0]) if paths and len(parse_path(paths[0])) == 1 else None
        if lists is None or not _is_list(lists.type):
            return None
        return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy())

    @cached_property
    def order(self) -> np.ndarray | None:
        """1 for the chosen and 0 for the rejected column, when that is what the responses are; else None."""
        return np.tile([1.0, 0.0], (self.rows, 1)) if has_order(self.layout) else None

    def _columnar(self, layout: Layout) -> np.ndarray | None:
        """The annotations without reading a row, None when they are too nested for that."""
        sign = -1.0 if layout.label == "ranks" else 1.0
        numeric = layout.label in {"scores", "ranks"}
        paths, count = layout.annotations or (), len(layout.responses)
        if any("[]" in path for path in layout.responses):
            lists = self._lists(paths[0]) if numeric and len(paths) == 1 and "[]" in paths[0] else None
            return None if lists is None or not _is_number(lists.type.value_type) else sign * columns.padded(lists)
        if layout.label == "order":
            return np.tile([1.0] + [0.0] * (count - 1), (self.rows, 1))
        cells = [self._field(path) for path in paths]
        if any(cell is None for cell in cells):
            return None
        if numeric:
            if len(cells) != count or not all(_is_number(cell.type) for cell in cells):
                return None
            return sign * np.column_stack([np.asarray(cell.cast(pa.float64()).to_numpy()) for cell in cells])
        return _by_value(cells, layout, count)

    def _field(self, path: str) -> Any:
        """The column of plain values that a path like ``a`` or ``a.b`` names; None when Arrow has no such thing."""
        first, *rest = parse_path(path)
        column = self.column(str(first))
        for step in rest:
            if column is None or not isinstance(step, str) or not pa.types.is_struct(column.type):
                return None
            column = pc.struct_field(column, step) if column.type.get_field_index(step) >= 0 else None
        return None if column is None or pa.types.is_nested(column.type) else column

    def content_hashes(self, rows: np.ndarray) -> np.ndarray:
        """Hashes (uint64) of what ships with some rows, ascending: this package's own columns do not count."""
        hashes: list[int] = []
        for part, first in zip(self.splits.values(), self.starts, strict=False):
            in_part = rows[(rows >= first) & (rows < first + len(part))] - first
            own = part.select_columns([name for name in part.column_names if not name.startswith("datamap_")])
            if not own.column_names:  # columns of the map alone: nothing tells such rows apart but their order
                hashes += [0] * len(in_part)
                continue
            for start in range(0, len(in_part), BATCH):
                table = own.select(in_part[start : start + BATCH])[:]
                hashes += [xxhash.xxh3_64_intdigest(repr(row).encode("utf-8", "replace")) for row in table.to_pylist()]
        return np.array(hashes, np.uint64)

    def example(self, row: int) -> Example | None:
        """One row as an example, None when it cannot be read."""
        if self.layout is None:
            return None
        split, index = self.where(row)
        example = self.layout.read_batch(self.splits[split][index : index + 1])[0]
        return example if isinstance(example, Example) else None

    def examples(self, rows: np.ndarray) -> Iterator[tuple[int, Example | RowError]]:
        """Some rows (ascending) as examples, each with its number; nothing without a layout."""
        if self.layout is None:
            return
        for part, first in zip(self.splits.values(), self.starts, strict=False):
            mine = rows[(rows >= first) & (rows < first + len(part))]
            narrow = part.select_columns([name for name in self.layout.columns if name in part.column_names])
            for start in range(0, len(mine), BATCH):
                some = mine[start : start + BATCH]
                yield from zip(some.tolist(), self.layout.read_batch(narrow.select(some - first)[:]), strict=True)

    def batches(self) -> Iterator[tuple[int, list[Example | RowError]]]:
        """The rows as examples, batch by batch, each with the number of its first row; nothing without a layout."""
        if self.layout is None:
            return
        for (_, part), first in zip(self.splits.items(), self.starts, strict=False):
            narrow = part.select_columns([name for name in self.layout.columns if name in part.column_names])
            at, size = 0, 64
            while at < len(part):
                batch = self.layout.read_batch(narrow[at : at + size])
                yield int(first) + at, batch
                at += size
                texts = sum(1 + len(example.responses) for example in batch if isinstance(example, Example))
                size = min(4 * size, max(16, int(BATCH * len(batch) / max(texts, 1))))


def _by_value(cells: list[Any], layout: Layout, count: int) -> np.ndarray:
    """Labels of few different values: the rule is asked once per combination of values, not once per row."""
    table = pa.table({str(place): cell for place, cell in enumerate(cells)})
    codes = np.zeros(len(table), np.int64)
    for cell in table.columns:
        encoded = (
            cell.combine_chunks().dictionary_encode() if len(cell.chunks) != 1 else cell.chunk(0).dictionary_encode()
        )
        # A number in a mixed radix: one digit per column, 0 for null.
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
    _, first, back = np.unique(codes, return_index=True, return_inverse=True)
    distinct = table.take(first).to_pydict()
    rule, choices = RULES[layout.label], dict(layout.choices)
    known = np.full((len(first), count), np.nan)
    for place, values in enumerate(zip(*distinct.values(), strict=True)):
        try:
            label = rule(values, count, choices)
        except RowError:
            label = None
        if label is not None:
            known[place] = [np.nan if value is None else value for value in label]
    return np.asarray(known[back])


def _people(column: pa.ChunkedArray | None) -> bool:
    """Whether a column of texts holds ids of people: few, like one another, with a number, each in many rows."""
    if column is None or not _is_text(column.type):
        return False
    values = pc.unique(column.slice(0, 20_000)).drop_null().to_pylist()
    if not 2 <= len(values) <= _MOST_PEOPLE or len(values) * _LEAST_EACH > len(column):
        return False
    return all(_PERSON.fullmatch(value.strip()) for value in values)


def _group(name: str, kind: str, column: pa.ChunkedArray | None) -> Group | None:
    if column is None or not (_is_text(column.type) or pa.types.is_integer(column.type)):
        return None
    if len(pc.unique(column.slice(0, 20_000))) > _MOST_GROUPS:
        return None
    codes, values = _encode(pa.concat_arrays(column.chunks))
    return Group(name, kind, codes, values) if len(values) <= _MOST_GROUPS else None


def _encode(flat: pa.Array) -> tuple[np.ndarray, tuple[str, ...]]:
    encoded = flat.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, tuple(re.sub(r"\s+", " ", str(value)) for value in encoded.dictionary.to_pylist())


def _inside(lists: pa.ListArray, steps: Sequence[Any]) -> pa.ListArray | None:
    """The same lists of what the steps name inside each element; None when a step is no field."""
    values = lists.flatten()
    for step in steps:
        kind = values.type
        if not isinstance(step, str) or not pa.types.is_struct(kind) or kind.get_field_index(step) < 0:
            return None
        values = pc.struct_field(values, step)
    return pa.ListArray.from_arrays(_offsets(lists), values)


def _offsets(lists: pa.ListArray) -> pa.Array:
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))

"""What detection looks at: the kinds of the columns, and a few rows to check every guess against."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_datamap.data.column_types import (
    Kind,
    ListOf,
    is_side,
    is_texts,
    kind_of_cells,
    kind_of_feature,
    lookup,
    refined,
)
from hf_datamap.data.decode import decoded, to_python
from hf_datamap.data.paths import EACH, Path, format_path, read_path
from hf_datamap.errors import LayoutError, RowError

_HEAD = 8  # rows from the beginning, and
_SPREAD = 24  # rows from all over a dataset that is at hand


@dataclass(frozen=True)
class Sample:
    """Columns and sample rows of a dataset.

    Attributes:
        kinds: what each column holds; text that encodes lists or structs counts as these.
        rows: sample rows, perhaps none.
        texts: columns that hold text physically, whatever it encodes.
        classes: names of the classes (``ClassLabel``) by path.
    """

    kinds: Mapping[str, Kind]
    rows: Sequence[Mapping[str, Any]] = ()
    texts: frozenset[str] = frozenset()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_side(self, name: str) -> bool:
        """Tell whether a column can be one response or a prompt."""
        return name in self.kinds and (name in self.texts or is_side(self.kinds[name]))

    def is_sides(self, name: str) -> bool:
        """Tell whether a column can be a response or a list of them, numbers (of numeric answers) included."""
        kind = self.kinds.get(name)
        return self.is_side(name) or is_texts(kind) or kind in ("number", "flag") or self.is_list_of_sides(name)

    def is_list_of_sides(self, name: str) -> bool:
        """Tell whether a column is a list of texts or of conversations."""
        kind = self.kinds.get(name)
        return isinstance(kind, ListOf) and not is_side(kind) and is_side(kind.of)

    def values(self, path: str) -> list[Any]:
        """Return what a path leads to in the sample rows, without nulls; class numbers as names."""
        names = self.classes.get(path)
        cells: list[Any] = []
        for row in self.rows:
            try:
                value = read_path(row, path)
            except RowError:
                continue
            if value is not None:
                cells.append(names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value)
        return cells

    def has(self, path: str) -> bool:
        """Tell whether a path leads somewhere."""
        return lookup(self.kinds, path) is not None


def take_sample(source: Any, rows: Sequence[Mapping[str, Any]] = ()) -> Sample:
    """Return the columns of a dataset and sample rows.

    Args:
        source: ``Features``, a ``Dataset``, an ``IterableDataset`` (which is not consumed), or one row as a mapping.
        rows: sample rows; taken from the source when there are none.

    Raises:
        LayoutError: there are no columns.
    """
    features = getattr(source, "features", source)
    if hasattr(source, "features") and not rows:
        rows = _head(source)
    if isinstance(features, Mapping) and not _are_features(features):
        rows = rows or [features]
        features = None
    declared = {str(name): kind_of_feature(feature) for name, feature in (features or {}).items()}
    names = list(declared or dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if not name.startswith("datamap_")]  # what a map has added is not read again
    if not names:
        raise LayoutError("the dataset has no columns")
    if features and any(map(_has_json, features.values())):
        rows = [{name: _without_json_text(features.get(name), cell) for name, cell in row.items()} for row in rows]
    kinds: dict[str, Kind] = {}
    for name in names:
        observed = kind_of_cells(row.get(name) for row in rows)
        kinds[name] = refined(declared[name], observed) if name in declared else observed
    texts = [
        name
        for name in names
        if declared.get(name) == "text"
        or (name not in declared and all(isinstance(row.get(name), (str, type(None))) for row in rows))
    ]
    classes = {format_path(path): class_names for path, class_names in _class_names(features or {})}
    return Sample(kinds, rows, frozenset(name for name in texts if kinds[name] != "null"), classes)


def _has_json(feature: Any) -> bool:
    if isinstance(feature, Mapping):
        return any(map(_has_json, feature.values()))
    return type(feature).__name__ == "Json" or (hasattr(feature, "feature") and _has_json(feature.feature))


def _without_json_text(feature: Any, cell: Any) -> Any:
    """Return a cell whose ``Json`` values are decoded; a row straight from Arrow has their text."""
    if type(feature).__name__ == "Json":
        return decoded(cell)
    if isinstance(feature, Mapping) and isinstance(cell, Mapping):
        return {key: _without_json_text(feature.get(key), item) for key, item in cell.items()}
    if hasattr(feature, "feature") and isinstance(cell, (list, tuple)):
        return [_without_json_text(feature.feature, item) for item in cell]
    return cell


def _are_features(features: Mapping[str, Any]) -> bool:
    leaves = _leaves(features)
    return any(type(value).__module__.startswith("datasets.") for value in leaves)


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return itertools.chain.from_iterable(map(_leaves, value.values()))
    return itertools.chain.from_iterable(map(_leaves, value)) if isinstance(value, (list, tuple)) else (value,)


def _head(source: Any) -> list[Mapping[str, Any]]:
    """Return sample rows of a dataset: the first, and of one that is at hand some from all over it."""
    if not hasattr(source, "num_rows"):
        return list(itertools.islice(iter(source.take(_HEAD + _SPREAD)), _HEAD + _SPREAD))
    count = int(source.num_rows)
    if not count:
        return []
    # Images and sound would be decoded for nothing: their features say enough.
    names = [name for name, feature in source.features.items() if kind_of_feature(feature) != "media"]
    places = dict.fromkeys([*range(min(_HEAD, count)), *(place * count // _SPREAD for place in range(_SPREAD))])
    table = source.with_format("arrow").select_columns(names).select(sorted(places))[:] if names else None
    if table is None:
        return [{} for _ in places]
    columns = {name: _chunks(table.column(name)) for name in table.column_names}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _chunks(column: Any) -> list[Any]:
    return [value for chunk in column.chunks for value in to_python(chunk)]


def _class_names(feature: Any, path: Path = ()) -> Iterable[tuple[Path, tuple[str, ...]]]:
    """Yield where class numbers stand, and the names of the classes."""
    if type(feature).__name__ == "ClassLabel":
        yield path, tuple(map(str, feature.names or ()))
    elif isinstance(feature, Mapping):
        for name, inner in feature.items():
            yield from _class_names(inner, (*path, str(name)))
    elif hasattr(feature, "feature"):
        yield from _class_names(feature.feature, (*path, EACH))
    elif isinstance(feature, (list, tuple)) and feature:
        yield from _class_names(feature[0], (*path, EACH))

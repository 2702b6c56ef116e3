"""Grouping: from one response (or one pair) per row to one row per prompt. Asked for, counted, never silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_datamap.data.column_types import kind_of_feature, lookup, shown
from hf_datamap.data.known_groupings import GROUPINGS, Grouping
from hf_datamap.data.messages import message_of, text_of
from hf_datamap.data.paths import arrow_walk, column_of, parse_path, parse_paths
from hf_datamap.data.values import mean, number
from hf_datamap.errors import LayoutError, RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from numpy.typing import NDArray

    AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict)

_log = logging.getLogger(__name__)
#: Nested columns that belong to a prompt and are kept.
_OF_THE_PROMPT = ("instruction_id_list", "kwargs", "references", "reference")
_ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class GroupReport:
    """What grouping did.

    Attributes:
        grouping: the name of the known grouping, or ``custom``.
        rows: rows that came in.
        groups: rows (prompts) that came out.
        responses: responses that came out, and the least and most per prompt.
        dropped: how many rows, responses or prompts were left out, by reason.
    """

    grouping: str
    rows: int
    groups: int
    responses: tuple[int, int, int]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the report in one line."""
        total, least, most = self.responses
        left_out = "; ".join(f"{count:,} {reason}" for reason, count in self.dropped.items() if count)
        return (
            f"grouped ({self.grouping}): {self.rows:,} rows -> {self.groups:,} prompts with {total:,} responses "
            f"({least} to {most} per prompt)" + (f"; left out: {left_out}" if left_out else "")
        )


def _warn(report: GroupReport) -> None:
    _log.warning(report.to_text())


def group_rows(
    ds: AnyDataset,
    *,
    grouping: str | None = None,
    by: str | Sequence[str] | None = None,
    response: str | Sequence[str] | None = None,
    prompt: str | None = None,
    annotations: str | Sequence[str] | None = None,
    model: str | None = None,
    min_responses: int = 2,
    on_report: Callable[[GroupReport], None] = _warn,
) -> AnyDataset:
    """Turn a dataset with one response (or pair) per row into one with a row per prompt.

    The result has ``prompt``, ``responses``, ``annotations`` (higher is better), ``models`` where known, every column
    that is the same within each group, and numbers that are not as lists parallel to the responses; `detect_layout`
    reads it. Groups and responses keep the order in which they first appear. Of pairs, a response that recurs within
    its group is kept once.

    Args:
        ds: a ``Dataset``, or a ``DatasetDict`` whose splits are grouped one by one.
        grouping: a known grouping by name; left out, it is found by the columns.
        by: columns whose equal values make a group (together with `response`, for groupings of your own).
        response: path of the response, or several for pairs.
        prompt: column of the prompt; the first of `by` when left out.
        annotations: paths of one number per response of a row; with one response per row, several are averaged.
        model: column that names who wrote the response.
        min_responses: prompts with fewer are left out (and counted): below two there is no variance.
        on_report: receives the `GroupReport`; the log by default.

    Raises:
        LayoutError: nothing to group by, a streaming dataset, or no prompt with enough responses.
    """
    if isinstance(ds, Mapping):
        given = {"by": by, "response": response, "prompt": prompt, "annotations": annotations, "model": model}
        options: dict[str, Any] = {**given, "grouping": grouping, "min_responses": min_responses}
        kind: Any = type(ds)
        return kind({name: group_rows(split, **options, on_report=on_report) for name, split in ds.items()})
    if not hasattr(ds, "num_rows"):
        raise LayoutError("grouping needs all rows at once: load the dataset without streaming")
    own = None
    if by or response:
        if not (by and response):
            raise LayoutError("a grouping of your own needs both by= (columns) and response= (a path)")
        keys = (by,) if isinstance(by, str) else tuple(by)
        own = Grouping(
            "custom",
            "given by the user",
            keys,
            keys,
            prompt or keys[0],
            parse_paths(response),
            parse_paths(annotations),
            model,
        )
    spec = own or _find(ds, grouping)
    grouped, report = _group(ds, spec, min_responses)
    on_report(report)
    return grouped


def _find(ds: Dataset, name: str | None) -> Grouping:
    columns = {column: kind_of_feature(feature) for column, feature in ds.features.items()}
    for spec in GROUPINGS:
        missing = [path for path in spec.needs if lookup(columns, path) is None]
        if name == spec.name and missing:
            raise LayoutError(f"grouping {name!r} needs {', '.join(missing)}\ncolumns: {shown(columns)}")
        if name == spec.name or (name is None and not missing):
            return spec
    known = ", ".join(spec.name for spec in GROUPINGS)
    wrong = f"unknown grouping {name!r}" if name else "no known grouping fits"
    raise LayoutError(
        f"{wrong}; known: {known}. Name the columns: group_rows(ds, by='prompt', response='response')"
        f"\ncolumns: {shown(columns)}"
    )


@dataclass
class _Long:
    """One entry per response, in order of appearance.

    Attributes:
        key: what makes a group; null for entries that belong to none.
        row: the row of the table each entry stands in.
        response: the responses.
        prompt: gives the prompts of some rows.
        annotation: their annotations, or None.
        dropped: what was left out on the way.
    """

    key: pa.Array
    row: NDArray[np.int64]
    response: pa.Array
    prompt: Callable[[NDArray[np.int64]], pa.Array]
    annotation: pa.Array | None = None
    dropped: dict[str, int] = field(default_factory=dict)


def _group(ds: Dataset, spec: Grouping, least: int) -> tuple[Dataset, GroupReport]:
    from datasets import Dataset

    for path in (*spec.by, spec.prompt, *spec.responses, *spec.annotations, *([spec.model] if spec.model else [])):
        if column_of(path) not in ds.column_names and path not in {spec.model, "rank"}:
            raise LayoutError(
                f"there is no column {column_of(path)!r} to group; there are: {', '.join(ds.column_names)}"
            )
    table = ds.with_format("arrow")[:]
    long = {"rows": _rows, "tree": _tree, "chat": _chat}[spec.kind](table, spec)
    codes = np.asarray(pc.fill_null(pc.dictionary_encode(long.key).indices, -1), dtype=np.int64)
    long.dropped["rows without a group"] = int((codes < 0).sum())
    order = np.argsort(codes, kind="stable")[long.dropped["rows without a group"] :]
    sizes = np.bincount(codes[order]) if len(order) else np.zeros(0, dtype=np.int64)
    long.dropped[f"prompts with fewer than {least} responses"] = int((sizes < least).sum())
    order = order[sizes[codes[order]] >= least]
    if not len(order):
        most = int(sizes.max(initial=0))
        raise LayoutError(
            f"no prompt has {least} responses: {len(sizes):,} groups by {', '.join(spec.by)}, at most {most} in "
            "one (K = 1 data cannot be mapped; sample more responses to each prompt)"
        )
    kept = sizes[sizes >= least]
    offsets = np.concatenate([[0], np.cumsum(kept)])
    out = _columns_out(table, spec, long, order, offsets)
    grouped = Dataset(pa.table(out), split=ds.split)
    report = GroupReport(
        spec.name, ds.num_rows, len(kept), (len(order), int(kept.min()), int(kept.max())), dict(long.dropped)
    )
    return grouped, report


def _columns_out(
    table: pa.Table, spec: Grouping, long: _Long, order: NDArray[np.int64], offsets: NDArray[np.int64]
) -> dict[str, pa.Array]:
    def listed(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(order)))

    rows = long.row[order]
    first = rows[offsets[:-1]]
    out = {"prompt": long.prompt(first), "responses": listed(long.response)}
    if long.annotation is not None:
        out["annotations"] = listed(long.annotation)
    if spec.model and spec.model in table.column_names:
        out["models"] = listed(_joined(table.column(spec.model)).take(pa.array(long.row)))
    used = {column_of(path) for path in (spec.prompt, *spec.responses, *spec.annotations)}
    for name in table.column_names:
        if name in used or name in out:
            continue
        column = _joined(table.column(name))
        if name in spec.by or _constant(column, rows, offsets, nested=name in {*_OF_THE_PROMPT, spec.references}):
            out["references" if name == spec.references else name] = column.take(pa.array(first))
        elif len(spec.responses) == 1 and _is_number(column.type):
            out[name] = listed(column.take(pa.array(long.row)))
    return out


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _constant(column: pa.Array, rows: NDArray[np.int64], offsets: NDArray[np.int64], *, nested: bool) -> bool:
    """Tell whether a column says the same within every group, so that it belongs to the prompt."""
    if pa.types.is_nested(column.type) and not nested:
        return False
    codes = np.asarray(pc.fill_null(pc.dictionary_encode(_hashable(column)).indices, -1), dtype=np.int64)[rows]
    return bool((codes == np.repeat(codes[offsets[:-1]], np.diff(offsets))).all())


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, with wide offsets where its text would not fit narrow ones."""
    if isinstance(column.type, pa.ExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_string(column.type) and column.nbytes > 2**29:
        column = column.cast(pa.large_string())
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _hashable(column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type) or isinstance(column, pa.ExtensionArray):
        return pa.array([None if v is None else json.dumps(v, sort_keys=True, default=str) for v in column.to_pylist()])
    return column


def _keys(table: pa.Table, by: Sequence[str]) -> pa.Array:
    """Return one key per row; null where any of its parts is null."""
    columns = [_hashable(_joined(table.column(name))) for name in by]
    if len(columns) == 1:
        return columns[0]
    combined = np.zeros(table.num_rows, dtype=np.int64)
    missing = np.zeros(table.num_rows, dtype=bool)
    for column in columns:
        codes = np.asarray(pc.fill_null(pc.dictionary_encode(column).indices, -1), dtype=np.int64)
        missing |= codes < 0
        _, combined = np.unique(combined * (codes.max(initial=0) + 2) + codes, return_inverse=True)
    return pa.array(combined, mask=missing)


def _numbers(table: pa.Table, path: str) -> list[float | None]:
    steps = parse_path(path)
    column = table.column(str(steps[0]))
    return [number(value) for chunk in column.chunks for value in arrow_walk(chunk, steps[1:])]


def _take(table: pa.Table, name: str) -> Callable[[NDArray[np.int64]], pa.Array]:
    column = _joined(table.column(name))
    return lambda rows: column.take(pa.array(rows))


# --- the three kinds --------------------------------------------------------------------------------------------------


def _rows(table: pa.Table, spec: Grouping) -> _Long:
    key, count, sides = _keys(table, spec.by), table.num_rows, len(spec.responses)
    rows = np.arange(count, dtype=np.int64)
    if sides == 1:
        response = _joined(_column(table, spec.responses[0]))
        return _Long(key, rows, response, _take(table, spec.prompt), _annotation(table, spec))
    annotated = [_numbers(table, path) for path in spec.annotations]
    if annotated and len(annotated) != sides:
        raise LayoutError(f"{sides} responses per row need {sides} annotations, not {len(annotated)}")
    # Row by row, side by side: entry row * sides + side.
    place = np.arange(count * sides) % sides * count + np.arange(count * sides) // sides
    texts = pa.concat_arrays([_joined(_column(table, path)) for path in spec.responses]).take(pa.array(place))
    keys = pa.concat_arrays([key] * sides).take(pa.array(place))
    numbers = pa.array([value for values in annotated for value in values], pa.float64()) if annotated else None
    first = _first_of_each(keys, texts)
    return _Long(
        keys.take(pa.array(first)),
        np.repeat(rows, sides)[first],
        texts.take(pa.array(first)),
        _take(table, spec.prompt),
        None if numbers is None else numbers.take(pa.array(place)).take(pa.array(first)),
        {"repeated responses": len(keys) - len(first)},
    )


def _annotation(table: pa.Table, spec: Grouping) -> pa.Array | None:
    """Return one annotation per row: flags as they are, numbers as the mean of their columns."""
    if not spec.annotations:
        return None
    if len(spec.annotations) == 1 and pa.types.is_boolean((only := _column(table, spec.annotations[0])).type):
        return _joined(only)
    columns = [_numbers(table, path) for path in spec.annotations]
    return pa.array([mean(list(values)) for values in zip(*columns, strict=True)], pa.float64())


def _column(table: pa.Table, path: str) -> pa.ChunkedArray:
    steps = parse_path(path)
    column = table.column(str(steps[0]))
    if len(steps) == 1:
        return column
    return pa.chunked_array([pa.array([v for chunk in column.chunks for v in arrow_walk(chunk, steps[1:])])])


def _first_of_each(keys: pa.Array, texts: pa.Array) -> NDArray[np.int64]:
    """Return the entries at which a response first appears within its group, in order."""
    codes = [
        np.asarray(pc.fill_null(pc.dictionary_encode(c).indices, -1), dtype=np.int64) for c in (keys, _hashable(texts))
    ]
    _, first = np.unique(codes[0] * (codes[1].max(initial=0) + 2) + codes[1], return_index=True)
    return np.sort(first)


def _chat(table: pa.Table, spec: Grouping) -> _Long:
    """Unpaired conversations: the prompt is everything before the last turn."""
    prompts: list[list[dict[str, str]] | None] = []
    responses: list[str | None] = []
    bad = 0
    for value in table.column(spec.prompt).to_pylist():
        try:
            turns = [message_of(item, "a conversation") for item in value or ()]
        except RowError:
            turns = []
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            bad += 1
            prompts.append(None)
            responses.append(None)
        else:
            prompts.append([{"role": turn["role"], "content": turn["content"]} for turn in turns[:-1]])
            responses.append(turns[-1]["content"])
    key = pa.array([None if prompt is None else json.dumps(prompt, sort_keys=True) for prompt in prompts], pa.string())
    return _Long(
        key,
        np.arange(table.num_rows, dtype=np.int64),
        pa.array(responses, pa.string()),
        lambda rows: pa.array([prompts[row] for row in rows]),
        _annotation(table, spec),
        {"conversations that do not end with an assistant turn": bad},
    )


def _tree(table: pa.Table, spec: Grouping) -> _Long:
    """Message trees: the siblings below a message are the responses to the path that leads to it."""
    names = ["message_id", "parent_id", "text", "role"]
    ids, parents, texts, roles = (table.column(name).to_pylist() for name in names)
    flags = table.column("deleted").to_pylist() if "deleted" in table.column_names else [None] * len(ids)
    where = {name: row for row, name in enumerate(ids) if name is not None}
    dropped = {"deleted messages": 0, "messages whose path to the root is broken": 0}
    paths: dict[Any, list[dict[str, str]] | None] = {}

    def path_to(name: Any) -> list[dict[str, str]] | None:
        """Return the messages from the root down to one, None when one of them is missing, deleted or in a circle."""
        if name not in paths:
            chain: dict[int, None] = {}
            at = name
            while at is not None and at in where and where[at] not in chain:
                chain[where[at]] = None
                at = parents[where[at]]
            ok = at is None and all(not flags[row] and roles[row] in _ROLES and texts[row] is not None for row in chain)
            turns = (
                [{"role": _ROLES[roles[row]], "content": str(texts[row])} for row in reversed(chain)] if ok else None
            )
            paths[name] = turns
        return paths[name]

    rows = []
    for row, (parent, role) in enumerate(zip(parents, roles, strict=True)):
        if role != "assistant" or parent is None:
            continue
        if flags[row]:
            dropped["deleted messages"] += 1
        elif not path_to(parent):
            dropped["messages whose path to the root is broken"] += 1
        else:
            rows.append(row)
    index = np.array(rows, dtype=np.int64)
    ranks = _numbers(table, spec.annotations[0]) if column_of(spec.annotations[0]) in table.column_names else None
    signed = (
        None if ranks is None else pa.array([None if (r := ranks[row]) is None else -r for row in rows], pa.float64())
    )
    return _Long(
        pa.array([parents[row] for row in rows]),
        index,
        pa.array([text_of(texts[row], "a message") for row in rows], pa.string()),
        lambda first: pa.array([path_to(parents[row]) for row in first]),
        signed,
        dropped,
    )

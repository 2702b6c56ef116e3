"""The current selection as Python, as SQL, as a file, and as a dataset of the visitor's own account."""

# ruff: noqa: S608 - this SQL is shown to people, never run here

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hf_datamap.data import columns
from mapspace.errors import SpaceError
from mapspace.sessions import Session

MAX_ROWS: Final = 200_000
MAX_BYTES: Final = 512 << 20
MAX_LISTED: Final = 2_000
_BATCH: Final = 512


@dataclass(frozen=True)
class Code:
    """The selection of one split, to be run elsewhere.

    Attributes:
        python: with ``datasets``.
        sql: for DuckDB and the Hub's SQL console.
    """

    python: str
    sql: str


def code(session: Session) -> Code:
    """Return Python and SQL that give exactly the selected rows, split by split.

    Conditions on published columns are written as such. What they cannot say (a lasso, a text search, other classes)
    is written as row numbers; beyond 2,000 of them as a list to download.
    """
    mask, index = session.selected(), session.map.index
    conditions = _conditions(session)
    python, sql = ["from datasets import load_dataset", ""], []
    for number, split in enumerate(index.split.names):
        rows = np.sort(index.row[mask & (index.split.codes == number)])
        if not len(rows):
            continue
        total = int((index.split.codes == number).sum())
        python.extend(_python(session, split, rows, total, conditions))
        sql.extend(_sql(session, split, rows, total, conditions))
    if not sql:
        return Code("# no row is selected\n", "-- no row is selected\n")
    return Code("\n".join(python) + "\n", "\n".join(sql) + "\n")


@dataclass(frozen=True)
class _Condition:
    columns: tuple[str, ...]
    python: str
    sql: str


def _conditions(session: Session) -> list[_Condition] | None:
    """The filters as conditions on published columns; None when they cannot all be said so."""
    filters = session.filters
    others = any(codes for name, codes in filters.hidden.items() if name != "region")
    published = session.map.columns
    if others or filters.only or filters.polygon or filters.sources:
        return None
    conditions = []
    if filters.hidden.get("region"):
        shown = filters.regions()
        quoted = ", ".join(f"'{name}'" for name in shown)
        conditions.append(
            _Condition((columns.REGION,), f"{columns.REGION} in {list(shown)!r}", f"{columns.REGION} IN ({quoted})")
        )
    for name, (low, high) in ((columns.MEAN, filters.mean), (columns.VARIANCE, filters.variance)):
        for sign, limit in ((">=", low), ("<=", high)):
            if limit is not None:
                exact = repr(float(np.float32(limit)))
                test = f"{name} {sign} {exact}"
                conditions.append(
                    _Condition((name,), f"{name} is not None and {test}", f"{name} {sign} CAST({exact} AS FLOAT)")
                )
    if filters.suspects:
        conditions.append(_Condition((columns.SUSPECT,), f"{columns.SUSPECT} is True", columns.SUSPECT))
    return conditions if all(name in published for item in conditions for name in item.columns) else None


def _python(
    session: Session, split: str, rows: np.ndarray, total: int, conditions: list[_Condition] | None
) -> list[str]:
    opened = session.map
    if opened.dataset:
        config = "" if opened.config == "default" else f", {opened.config!r}"
        lines = [f"ds = load_dataset({opened.dataset!r}{config}, split={split!r}, revision={opened.revision!r})"]
    else:
        files = [shard.path for shard in opened.splits.get(split, ())]
        lines = [f"ds = load_dataset('parquet', data_files={{{split!r}: {files!r}}}, split={split!r})"]
    if len(rows) == total:
        return lines
    if conditions is not None:
        names = list(dict.fromkeys(name for item in conditions for name in item.columns))
        body = " and ".join(item.python for item in conditions)
        return [*lines, f"ds = ds.filter(lambda {', '.join(names)}: {body}, input_columns={names!r})"]
    if len(rows) <= MAX_LISTED:
        return [*lines, f"ds = ds.select({rows.tolist()!r})"]
    return [
        *lines,
        "import pyarrow.parquet as pq  # selection.parquet: 'Row numbers' among the downloads",
        f"rows = pq.read_table('selection.parquet', filters=[('split', '=', {split!r})])['row']",
        "ds = ds.select(rows.to_pylist())",
    ]


def _sql(session: Session, split: str, rows: np.ndarray, total: int, conditions: list[_Condition] | None) -> list[str]:
    opened = session.map
    where = f"hf://datasets/{opened.dataset}@{opened.revision}/" if opened.dataset else ""
    paths = [
        shard.path.partition("@")[2].partition("/")[2] if where else shard.path
        for shard in opened.splits.get(split, ())
    ]
    files = ", ".join("'" + f"{where}{path}".replace("'", "''") + "'" for path in paths)
    source, comment = f"read_parquet([{files}])", f"-- split {json.dumps(split)}, {len(rows):,} rows"
    if len(rows) == total:
        return [comment, f"SELECT * FROM {source};"]
    if conditions is not None:
        return [comment, f"SELECT * FROM {source}", "WHERE " + " AND ".join(item.sql for item in conditions) + ";"]
    numbered = f"(SELECT *, row_number() OVER () - 1 AS row FROM {source})"
    if len(rows) <= MAX_LISTED:
        listed = ", ".join(map(str, rows.tolist()))
    else:
        listed = f"SELECT row FROM 'selection.parquet' WHERE split = '{split}'"
    return [comment, f"SELECT * EXCLUDE (row) FROM {numbered}", f"WHERE row IN ({listed}) ORDER BY row;"]


def write(session: Session, kind: str, folder: Path) -> Path:
    """Write the selection to a file.

    Args:
        session: the visitor's view.
        kind: "parquet", "jsonl", or "rows" for split, row number and map columns alone.
        folder: where to; one of its own.

    Raises:
        SpaceError: nothing or too much is selected, or the rows cannot be read.
    """
    mask = session.selected()
    count = int(mask.sum())
    if not count:
        raise SpaceError("no row is selected")
    name = session.map.title.rpartition("/")[2]
    if kind == "rows":
        path = folder / "selection.parquet"
        pq.write_table(session.map.index.table(mask), path)
        return path
    if count > MAX_ROWS:
        raise SpaceError(f"{count:,} rows are selected; downloads hold up to {MAX_ROWS:,}: narrow it, or run the code")
    path = folder / f"{name}-selection.{kind}"
    return session.map.guard(lambda: _written(batches(session, mask), path, kind))


def batches(session: Session, mask: np.ndarray) -> Iterator[pa.Table]:
    """Yield the selected rows in order, with their texts, a few at a time; only row groups that hold some are read."""
    index = session.map.index
    for number, split in enumerate(index.split.names):
        rows = np.sort(index.row[mask & (index.split.codes == number)])
        if len(rows):
            yield from session.map.texts(split).rows(rows, _BATCH)


def _written(tables: Iterator[pa.Table], path: Path, kind: str) -> Path:
    try:
        _write_parquet(tables, path) if kind == "parquet" else _write_lines(tables, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _write_parquet(tables: Iterator[pa.Table], path: Path) -> None:
    writer, size = None, 0
    try:
        for table in tables:
            size = _count(size, table)
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema) if table.schema != writer.schema else table)
    finally:
        if writer is not None:
            writer.close()


def _write_lines(tables: Iterator[pa.Table], path: Path) -> None:
    size = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for table in tables:
            size = _count(size, table)
            for row in table.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _count(size: int, table: pa.Table) -> int:
    size += int(table.nbytes)
    if size > MAX_BYTES:
        raise SpaceError(f"the selection has more than {MAX_BYTES >> 20} MB; narrow it, or run the code")
    return size

"""A damaged score store: it is kept beside, and read as far as that goes. Paid answers are not thrown away."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_RANGES: Final = [bytes([first]) for first in range(256)]


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is broken, rather than busy, full or not writable."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGE  # the low byte is the kind, the rest the detail


def set_aside(path: Path) -> tuple[Path | None, list[tuple[Any, ...]]]:
    """Rename a damaged store, and return its new name with the rows that can be read.

    Returns:
        None and no rows where another process has done it meanwhile.
    """
    from filelock import FileLock

    with FileLock(f"{path}.lock"):
        if not _is_damaged(path):
            return None, []
        damaged = _free_name(path)
        for suffix in ("-wal", "-shm", ""):  # the file itself last: SQLite takes the others by its name
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{damaged}{suffix}")
        return damaged, list(_readable_rows(damaged))


def _is_damaged(path: Path) -> bool:
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return is_damage(error)
        return bool(verdict[0] != "ok")


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in range(10_000))
    return next(name for name in names if not name.exists())


def _readable_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """The rows outside of the damaged pages: each range of keys is read from both ends, up to the damage."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        for number, first in enumerate(_RANGES):
            bounds: tuple[bytes, ...] = (first,)
            condition = "key >= ?"
            if number + 1 < len(_RANGES):
                bounds, condition = (first, _RANGES[number + 1]), "key >= ? AND key < ?"
            for order in ("ASC", "DESC"):
                query = f"SELECT * FROM answers WHERE {condition} ORDER BY key {order}"  # noqa: S608 - fixed words
                try:
                    yield from (row for row in db.execute(query, bounds) if _is_row(row))
                except sqlite3.DatabaseError:
                    continue
                break  # all of the range was read


def _is_row(row: tuple[Any, ...]) -> bool:
    kinds = (bytes, str, int, int, int)
    return len(row) == len(kinds) and all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))

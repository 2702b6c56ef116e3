"""The score store: answers already paid for, addressed by what they depend on.

One SQLite file, shared by every process of a user. What was asked is kept as a digest only; of the answers the score is
kept, and the text where it is what was asked for (references, samples).

Processes that work on the same rows claim a key before they buy its answer, so that it is bought once. A claim holds as
long as its process shows that it is alive (`Store.beat`), so that one that was killed keeps nobody waiting for long.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from hf_datamap.engine import config
from hf_datamap.engine.store_repair import is_damage, set_aside
from hf_datamap.engine.task import JSON, Answer
from hf_datamap.errors import StoreError

_SCHEMA_VERSION = 1
_PATIENCE = 60.0  # seconds that another process may hold the file
_LOOKUP = 500  # keys per query; SQLite allows more, longer statements gain nothing
_CLAIM_SECONDS = 15.0  # how long the claims of a process hold that gives no sign of life
_COLUMNS = ("key", "value", "input_tokens", "output_tokens", "created")

log = logging.getLogger(__name__)
T = TypeVar("T")


# Made once: `json.dumps` with options makes an encoder for every call.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _spelled(value: JSON) -> str:
    """JSON with one spelling per value; pure ASCII, so lone surrogates pass."""
    return _ENCODER.encode(value)


def canonical(value: JSON) -> bytes:
    """JSON with one spelling per value, as bytes."""
    return _spelled(value).encode("ascii")


class Keys:
    """Makes the keys of one scorer's answers.

    Args:
        identity: what the scorer's answers depend on besides the content of a task.
    """

    def __init__(self, identity: Mapping[str, JSON]) -> None:
        self._root = hashlib.blake2b(canonical(identity), digest_size=32).digest()

    def of(self, content: JSON) -> bytes:
        """Return the key of the answer to ``content``."""
        return hashlib.blake2b(canonical(content), digest_size=20, key=self._root).digest()


@dataclass(frozen=True, slots=True)
class Lookup:
    """What `Answers.claim` found.

    Attributes:
        answers: the answers there are already.
        granted: keys whose answers the caller may buy. The other keys are being bought by another process.
    """

    answers: dict[bytes, Answer] = field(default_factory=dict)
    granted: frozenset[bytes] = frozenset()


class Answers(Protocol):
    """Where answers are kept."""

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the answers there are among ``keys``."""
        ...

    def claim(self, keys: Sequence[bytes]) -> Lookup:
        """Look keys up, and claim those that have no answer and that no other process has claimed."""
        ...

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        ...

    def release(self, keys: Iterable[bytes]) -> None:
        """Give claims up: the answers are kept, or will not be bought."""
        ...

    def beat(self) -> None:
        """Show that this process is alive, so that its claims hold."""
        ...


class Store:
    """Content-addressed answers on disk. Use one instance per thread.

    A put is visible to other processes, and safe from ``kill -9`` of this one, when it returns. A damaged file is set
    aside (``scores.sqlite3.damaged``), and what can be read of it goes into a new one.

    Args:
        folder: where the file lives; ``HF_DATAMAP_CACHE`` by default.
        claim_seconds: how long the claims of a process hold that gives no sign of life.

    Raises:
        StoreError: the file cannot be opened or written, or belongs to another program.
    """

    def __init__(self, folder: Path | None = None, *, claim_seconds: float = _CLAIM_SECONDS) -> None:
        self.path = (folder or config.cache_dir()) / "scores.sqlite3"
        self._claim_seconds = claim_seconds
        self._owner = secrets.token_hex(8)
        with self._named_errors("open"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._repair()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @contextlib.contextmanager
    def _named_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"cannot {doing} the score store {self.path}: {error}. Nothing more is asked, since answers could not "
                "be kept. Free some space, or set HF_DATAMAP_CACHE to a folder that can be written."
            ) from error

    def _connect(self) -> None:
        # Autocommit: each put is its own transaction, so that nothing paid for waits in memory.
        self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        self._prepare()

    def _repair(self) -> None:
        """Set the damaged file aside, and go on with what can be read of it."""
        with contextlib.suppress(sqlite3.Error, AttributeError):
            self._db.close()
        damaged, rows = set_aside(self.path)
        self._connect()
        if damaged is None:  # another process was quicker
            return
        with self._transaction():
            for row in rows:
                self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)
        log.warning(
            "the score store %s was damaged: it is kept as %s, and the %d answers that can be read are in a new one",
            self.path,
            damaged.name,
            len(self),
        )

    def _prepare(self) -> None:
        """Set the file up; again where another process is doing the same."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._set_up()
            except sqlite3.OperationalError as error:
                # A switch to WAL that meets another one is refused at once, whatever the timeout.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def _set_up(self) -> None:
        self._check_ours()
        # WAL with synchronous=NORMAL: no fsync per answer; a process may die at any time, the file stays whole.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=16000")  # the fsync of a checkpoint would hold up requests
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value TEXT NOT NULL, "
            "input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS claimers (owner TEXT PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID")
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def _check_ours(self) -> None:
        """Refuse a file that is not ours to write."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer hf_datamap (schema {version})")
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = tuple(row[1] for row in self._db.execute("PRAGMA table_info(answers)"))
        if (tables and "answers" not in tables and not tables <= {"claims", "claimers"}) or (
            columns and columns != _COLUMNS
        ):
            raise sqlite3.DatabaseError(f"it holds the tables of another program ({', '.join(sorted(tables))[:80]})")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _repairing(self, doing: str, work: Callable[[], T]) -> T:
        """Do some work on the file; once more after a repair, where the file turns out to be damaged."""
        with self._named_errors(doing):
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._repair()
                return work()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the answers there are among ``keys``."""
        requested_keys = list(keys)
        return self._repairing("read", lambda: self._get(requested_keys))

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        answers: dict[bytes, Answer] = {}
        for part, marks in _portions(keys):
            query = f"SELECT key, value, input_tokens, output_tokens FROM answers WHERE key IN ({marks})"  # noqa: S608 - only marks
            for key, value, sent, received in self._db.execute(query, part):
                if (answer := _read_answer(value, sent, received)) is not None:
                    answers[key] = answer
        return answers

    def claim(self, keys: Sequence[bytes]) -> Lookup:
        """Look keys up, and claim those that have no answer and that no other process has claimed."""
        return self._repairing("write", lambda: self._claim(keys))

    def _claim(self, keys: Sequence[bytes]) -> Lookup:
        now = time.time()
        # One transaction: between a look and a claim another process might buy the answer and give its claim up.
        with self._transaction():
            answers = self._get(keys)
            missing_keys = [key for key in keys if key not in answers]
            claimed_keys: set[bytes] = set()
            alive_since = now - self._claim_seconds
            for part, marks in _portions(missing_keys):
                query = (
                    f"SELECT key FROM claims JOIN claimers USING (owner) WHERE key IN ({marks}) "  # noqa: S608 - only marks
                    "AND owner != ? AND seen > ?"
                )
                claimed_keys.update(key for (key,) in self._db.execute(query, (*part, self._owner, alive_since)))
            granted = frozenset(missing_keys) - claimed_keys
            if granted:
                self._db.execute("INSERT OR REPLACE INTO claimers VALUES (?, ?)", (self._owner, now))
                claims = [(key, self._owner) for key in granted]
                self._db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?)", claims)
        return Lookup(answers, granted)

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        row = (key, _spelled(answer.value), answer.input_tokens, answer.output_tokens, int(time.time()))
        # The connection is looked up when the work is done: a repair opens another.
        self._repairing("write", lambda: self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row))

    def release(self, keys: Iterable[bytes]) -> None:
        """Give claims up. One that cannot be given up runs out by itself."""
        with contextlib.suppress(sqlite3.Error), self._transaction():
            self._db.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", [(key, self._owner) for key in keys])

    def beat(self) -> None:
        """Show that this process is alive; claims of processes that died are removed on the way."""
        now = time.time()
        with contextlib.suppress(sqlite3.Error), self._transaction():
            self._db.execute("UPDATE claimers SET seen = ? WHERE owner = ?", (now, self._owner))
            silent_since = now - self._claim_seconds
            dead = list(self._db.execute("SELECT owner FROM claimers WHERE seen < ?", (silent_since,)))
            self._db.executemany("DELETE FROM claims WHERE owner = ?", dead)
            self._db.executemany("DELETE FROM claimers WHERE owner = ?", dead)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file; claims that are left are given up."""
        with contextlib.suppress(sqlite3.Error), self._transaction():
            self._db.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
            self._db.execute("DELETE FROM claimers WHERE owner = ?", (self._owner,))
        self._db.close()


def _portions(keys: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], str]]:
    """Keys, as many at a time as a query takes, each with the marks for the query."""
    for start in range(0, len(keys), _LOOKUP):
        part = keys[start : start + _LOOKUP]
        yield part, ",".join("?" * len(part))


def _read_answer(value: object, input_tokens: object, output_tokens: object) -> Answer | None:
    """An answer as it was stored; None for what no answer can look like, which is then bought again."""
    if not isinstance(value, str) or not isinstance(input_tokens, int) or not isinstance(output_tokens, int):
        return None
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return None
    # Numbers are written with few digits; only what has an exponent or a name can be beyond all numbers.
    if ("e" in value or "N" in value or "I" in value) and not _is_finite(decoded):
        return None
    return Answer(decoded, input_tokens, output_tokens)


def _is_finite(value: JSON) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return all(_is_finite(item) for item in value.values()) if isinstance(value, dict) else True

"""The score store: answers already paid for, addressed by what they depend on.

One SQLite file, shared by every process of a user. What was asked is kept as a digest only; of the answers the score is
kept, and the text where it is what was asked for (references, samples).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from hf_datamap.engine import config
from hf_datamap.engine.task import JSON, Answer
from hf_datamap.errors import DataMapError

_SCHEMA_VERSION = 1
_PATIENCE = 60.0  # seconds that another process may hold the file
_LOOKUP = 500  # keys per query; SQLite allows more, longer statements gain nothing


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


class Answers(Protocol):
    """Where answers are kept."""

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the answers there are among ``keys``."""
        ...

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        ...


class Store:
    """Content-addressed answers on disk. Use one instance per thread.

    A put is visible to other processes, and safe from ``kill -9`` of this one, when it returns.

    Args:
        folder: where the file lives; ``HF_DATAMAP_CACHE`` by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or config.cache_dir()) / "scores.sqlite3"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: each put is its own transaction, so that nothing paid for waits in memory.
            self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise DataMapError(
                f"cannot open the score store {self.path}: {error}. Set HF_DATAMAP_CACHE to a writable folder, "
                "or move the file away if it is damaged."
            ) from error

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
        # WAL with synchronous=NORMAL: no fsync per answer; a process may die at any time, the file stays whole.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=16000")  # the fsync of a checkpoint would hold up requests
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"written by a newer hf_datamap (schema {version})")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value TEXT NOT NULL, "
            "input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Answer]:
        """Return the answers there are among ``keys``."""
        wanted = list(keys)
        found: dict[bytes, Answer] = {}
        for start in range(0, len(wanted), _LOOKUP):
            part = wanted[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, value, input_tokens, output_tokens FROM answers WHERE key IN ({marks})"  # noqa: S608 - only marks
            for key, value, sent, received in self._db.execute(query, part):
                found[key] = Answer(json.loads(value), sent, received)
        return found

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, _spelled(answer.value), answer.input_tokens, answer.output_tokens, int(time.time())),
        )

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

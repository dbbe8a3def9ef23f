"""What a supervisor remembers of its tasks, in SQLite; see `Journal` in model/seams.py.

`synchronous=NORMAL`: a record survives `kill -9` of the supervisor. It may miss the last moments
before a power cut, which no instance survives either. A disk that fails stops nothing: what could
not be written is kept and tried again with every later write, and the trouble is logged once.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from warren.model.decode import DecodeError, from_json, to_json
from warren.model.errors import WarrenError
from warren.model.identity import TaskId
from warren.model.task import TaskRecord

SCHEMA_VERSION = 1
_SCHEMA = "CREATE TABLE tasks (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT"
_log = logging.getLogger("warren.store")


class JournalError(WarrenError):
    """The journal cannot be opened or read. `str()` says which file and why."""


class SqliteJournal:
    """A `Journal` in one SQLite file. Close it when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, bytes | None] = {}
        self._is_failing = False
        with self._explained():
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            try:
                path.chmod(0o600)  # it has the tasks' environments; SQLite's other files follow
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._migrate()
            except BaseException:
                self._db.close()
                raise

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path} {len(self._pending)} unwritten>"

    def load(self) -> list[TaskRecord]:
        """Every record, oldest task first. Raises JournalError."""
        with self._explained():
            rows = self._db.execute("SELECT id, record FROM tasks").fetchall()
            return sorted((from_json(row, TaskRecord) for _, row in rows), key=lambda r: r.id)

    def save(self, record: TaskRecord) -> None:
        """Write a task's record."""
        self._pending[str(record.id)] = to_json(record)
        self._flush()

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self._pending[str(task)] = None
        self._flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._db.close()

    def _flush(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for key, record in self._pending.items():
                if record is None:
                    self._db.execute("DELETE FROM tasks WHERE id = ?", (key,))
                else:
                    self._db.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?)", (key, record))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_failure(error)
            return
        self._pending.clear()
        if self._is_failing:
            self._is_failing = False
            _log.warning("%s can be written again", self._path)

    def _note_failure(self, error: sqlite3.Error) -> None:
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        if not self._is_failing:
            self._is_failing = True
            _log.error("%s cannot be written (%s); tasks go on", self._path, error)

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            said = f"is of version {version}; this Warren knows up to {SCHEMA_VERSION}"
            raise JournalError(f"{self._path}: {said}")
        if version == 0:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, msgspec.DecodeError, DecodeError) as error:
            raise JournalError(f"{self._path}: {error}") from None


class MemoryJournal:
    """A `Journal` that lives as long as its process: for simulations and throw-away supervisors."""

    def __init__(self) -> None:
        self.records: dict[TaskId, TaskRecord] = {}

    def load(self) -> list[TaskRecord]:
        """Every record, oldest task first."""
        return [self.records[task] for task in sorted(self.records)]

    def save(self, record: TaskRecord) -> None:
        """Keep a task's record."""
        self.records[record.id] = record

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self.records.pop(task, None)

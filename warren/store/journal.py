"""What a supervisor remembers of its tasks, in SQLite; see `Journal` in model/seams.py.

`synchronous=NORMAL`: a record survives `kill -9` of the supervisor. It may miss the last moments
before a power cut, which no instance survives either. A disk that fails stops nothing: what could
not be written is kept and tried again with every later write, and the trouble is logged once.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import msgspec

from warren.model.decode import DecodeError, from_json, to_json
from warren.model.identity import TaskId
from warren.model.task import TaskRecord
from warren.store.database import Schema, open_database, roll_back
from warren.store.errors import StoreError

JOURNAL = Schema(
    application_id=0x57526A6C,  # "WRjl"
    migrations=(
        ("CREATE TABLE tasks (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT",),
        (
            "PRAGMA application_id=0x57526A6C",
            """CREATE TABLE node (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                id TEXT NOT NULL
            ) STRICT""",
        ),
    ),
    unmarked=1,
)
_log = logging.getLogger("warren.store")


class JournalError(StoreError):
    """The journal cannot be opened or read. `str()` says which file and why."""


class SqliteJournal:
    """A `Journal` in one SQLite file. Close it when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, bytes | None] = {}
        self._node_id: str | None = None
        self._is_id_written = False
        self._is_failing = False
        with self._explained():
            self._db = open_database(path, JOURNAL, synchronous="NORMAL")

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path} {len(self._pending)} unwritten>"

    def load(self) -> list[TaskRecord]:
        """Every record, oldest task first. Raises JournalError."""
        with self._explained():
            rows = self._db.execute("SELECT id, record FROM tasks").fetchall()
            return sorted((from_json(row, TaskRecord) for _, row in rows), key=lambda r: r.id)

    def save(self, record: TaskRecord) -> None:
        """Write a task's record."""
        self.save_all([record])

    def save_all(self, records: Iterable[TaskRecord]) -> None:
        """Write the records of many tasks at once."""
        self._pending.update((str(record.id), to_json(record)) for record in records)
        self._flush()

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self._pending[str(task)] = None
        self._flush()

    def node_id(self) -> str:
        """This data directory's own name, made once: 32 hex digits."""
        if self._node_id is None:
            self._node_id = self._written_id() or uuid.uuid4().hex
            self._flush()
        return self._node_id

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._db.close()

    def _written_id(self) -> str | None:
        try:
            row = self._db.execute("SELECT id FROM node").fetchone()
        except sqlite3.Error as error:
            self._note_failure(error)
            return None
        self._is_id_written = row is not None
        return row and row[0]

    def _flush(self) -> None:
        is_id_due = self._node_id is not None and not self._is_id_written
        if not self._pending and not is_id_due:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if is_id_due:
                self._db.execute("INSERT OR REPLACE INTO node VALUES (1, ?)", (self._node_id,))
            self._write_pending()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_failure(error)
            return
        self._pending.clear()
        self._is_id_written |= is_id_due
        if self._is_failing:
            self._is_failing = False
            _log.warning("%s can be written again", self._path)

    def _write_pending(self) -> None:
        kept = [(key, record) for key, record in self._pending.items() if record is not None]
        gone = [(key,) for key, record in self._pending.items() if record is None]
        self._db.executemany("INSERT OR REPLACE INTO tasks VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM tasks WHERE id = ?", gone)

    def _note_failure(self, error: sqlite3.Error) -> None:
        roll_back(self._db)
        if not self._is_failing:
            self._is_failing = True
            _log.error("%s cannot be written (%s); tasks go on", self._path, error)

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except StoreError as error:
            raise JournalError(str(error)) from None
        except (sqlite3.Error, msgspec.DecodeError, DecodeError) as error:
            raise JournalError(f"{self._path}: {error}") from None


class MemoryJournal:
    """A `Journal` that lives as long as its process: for simulations and throw-away supervisors."""

    def __init__(self) -> None:
        self.records: dict[TaskId, TaskRecord] = {}
        self._node_id = uuid.uuid4().hex

    def load(self) -> list[TaskRecord]:
        """Every record, oldest task first."""
        return [self.records[task] for task in sorted(self.records)]

    def save(self, record: TaskRecord) -> None:
        """Keep a task's record."""
        self.records[record.id] = record

    def save_all(self, records: Iterable[TaskRecord]) -> None:
        """Keep the records of many tasks."""
        for record in records:
            self.save(record)

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self.records.pop(task, None)

    def node_id(self) -> str:
        """This journal's own name: 32 hex digits."""
        return self._node_id

"""What a supervisor remembers of its tasks, in SQLite; see `Journal` in model/seams.py.

A record survives `kill -9` of the supervisor. It may miss the last moments before a power cut,
which no instance survives either: nobody waits for the disk (`log.py`). A disk that fails stops
nothing: what could not be written is kept and tried again with every later write, and the trouble
is logged once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from warren.model.decode import DecodeError, from_json, to_json
from warren.model.identity import TaskId
from warren.model.task import TaskRecord
from warren.store.database import INDEX, LOG, Schema, beside, open_database, roll_back, version_of
from warren.store.errors import DamagedError, StoreError, explained
from warren.store.log import Log
from warren.store.text import decoded, raw, readable

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
        (
            "ALTER TABLE node ADD COLUMN manager TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE node ADD COLUMN place TEXT NOT NULL DEFAULT ''",
        ),
    ),
    unmarked=1,
)
_VERSION_WITH_MANAGER = 3
_PUT_NODE = "INSERT OR REPLACE INTO node (only, id, manager, place) VALUES (1, ?, ?, ?)"
_IF_DAMAGED = (
    ". Nothing was started, and what runs was left alone; want the file moved away (with -wal and"
    " -shm): the node then begins anew, as one that has no tasks: what runs of it is ended, and"
    " started again where the manager wants it"
)
_log = logging.getLogger("warren.store")


class JournalError(StoreError):
    """The journal cannot be opened or read. `str()` says which file and why."""


class _Node(msgspec.Struct, frozen=True):
    """What is written down of the node itself. Empty: not known."""

    id: str
    manager: str = ""
    place: str = ""


class SqliteJournal:
    """A `Journal` in one SQLite file. Close it when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, bytes | None] = {}
        self._aside: dict[TaskId, str] = {}
        self._told = set[str]()
        self._node: _Node | None = None
        self._is_node_due = False
        self._trouble: str | None = None
        self._is_open = False
        with _explained(path, _IF_DAMAGED):
            self._open()

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path} {len(self._pending)} unwritten>"

    def load(self) -> list[TaskRecord]:
        """Every record that can be read, oldest task first. Raises JournalError."""
        with _explained(self._path, _IF_DAMAGED):
            rows = self._db.execute("SELECT CAST(id AS BLOB), record FROM tasks").fetchall()
        rows = [(decoded(key), text) for key, text in rows]
        sound = {key for key, _ in rows if raw(key) is key}
        found = [self._read(key, text, sound) for key, text in rows]
        return sorted((record for record in found if record is not None), key=lambda r: r.id)

    def set_aside(self) -> Mapping[TaskId, str]:
        """The tasks whose rows cannot be read, and which field is wrong."""
        return self._aside

    def save(self, record: TaskRecord) -> None:
        """Write a task's record."""
        self.save_all([record])

    def save_all(self, records: Iterable[TaskRecord]) -> None:
        """Write the records of many tasks at once."""
        for record in records:
            self._pending[str(record.id)] = to_json(record)
            self._aside.pop(record.id, None)
        self._flush()

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self._pending[str(task)] = None
        self._aside.pop(task, None)
        self._flush()

    def node_id(self) -> str:
        """This data directory's own name, made once: 32 hex digits. Raises JournalError."""
        return self._self().id

    def manager_id(self) -> str:
        """The manager this node belongs to; empty where it has met none. Raises JournalError."""
        return self._self().manager

    def note_manager(self, manager: str) -> None:
        """From now on it belongs to this one."""
        self._change(manager=manager)

    async def settle(self) -> None:
        """Wait until what was saved is written, or until the disk takes too long."""
        await self.log.settle()

    @property
    def trouble(self) -> str | None:
        return self._trouble or self.log.trouble()

    def recheck(self) -> None:
        """Write what could not be written, if anything."""
        if self._trouble is not None:
            self._is_node_due |= self._node is not None and not self._pending
            self._flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._close()

    def refuse_copy(self) -> None:
        """Remember where this is, so that a copy of it is known for one: with it would come the
        node's id, and tasks that another supervisor has. Moved is moved: what was is not there.

        Raises JournalError for a copy whose original is still there.
        """
        before = self._self().place
        if (
            before
            and before != str(self._path)
            and _is_twin(Path(before), self._path, self.node_id())
        ):
            said = f"is a copy of {before}: they are one node, and the tasks in it are run there"
            wanted = (
                f"want {self._path.name} (with -wal and -shm) removed here, to make this a node"
            )
            raise JournalError(
                f"{self._path}: {said}; {wanted} of its own, or the original removed"
            )
        self._change(place=str(self._path))

    def look(self) -> None:
        """Write the file anew, with all that was in it, where it or its log has been removed or
        replaced.

        What had taken its place is kept beside it. Raises JournalError while it cannot be written.
        """
        if self._is_open and self._is_there():
            return
        with _explained(self._path):
            if self._is_open:
                self._write_anew()
            self._open()
        self._is_node_due |= self._node is not None  # it may have been removed again meanwhile
        _log.error("%s was removed or replaced; it has been written anew", self._path)
        self._flush()

    def _is_there(self) -> bool:
        log = _identity(beside(self._path, LOG))  # which has what is not in the file yet
        return (_identity(self._path), log) == (self._file, self._log)

    def _write_anew(self) -> None:
        new = beside(self._path, f".{os.getpid()}.new")
        new.unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as copy:
            new.chmod(0o600)
            self._db.backup(copy)  # the old file is still there for us, though it has no name
        self._move_aside()
        new.replace(self._path)  # until here the old one is written, and all of this can fail
        self._is_open = False
        self._close()  # before the new one is opened: SQLite removes its log by name

    def _move_aside(self) -> None:
        """Keep what is in its place, with its log, where that is not ours."""
        kept, log = beside(self._path, ".replaced"), beside(self._path, LOG)
        if _identity(self._path) not in (None, self._file):
            self._path.replace(kept)
            for side in (LOG, INDEX):  # of one that was kept before
                beside(kept, side).unlink(missing_ok=True)
            if _identity(log) not in (None, self._log):
                log.replace(beside(kept, LOG))
        for side in (LOG, INDEX):
            beside(self._path, side).unlink(missing_ok=True)

    def _open(self) -> None:
        self._db = open_database(self._path, JOURNAL, synchronous="NORMAL")
        self._file, self._log = _identity(self._path), _identity(beside(self._path, LOG))
        self.log = Log(self._path, self._db, self._flush)
        self._is_open = True

    def _close(self) -> None:
        self.log.close()
        self._db.close()

    def _read(self, key: str, text: bytes, sound: set[str]) -> TaskRecord | None:
        """A row; None where it cannot be read: it stays in the file, and the others go on. Of
        those that can, one whose key is none of the `sound` goes where there is a newer one."""
        try:
            record = from_json(text, TaskRecord)
        except DecodeError as error:
            said = str(error.named("record"))
        else:
            if raw(key) is key:
                return record
            self._pending = {key: None, **self._pending}
            if (name := str(record.id)) in sound:  # saved after the damage
                return None
            sound.add(name)
            self._pending = {name: text, **self._pending}
            return record  # which says itself of which task it is
        if key not in self._told:
            self._told.add(key)
            _log.error("%s: task %s: its row cannot be read: %s", self._path, readable(key), said)
        with suppress(ValueError):
            self._aside[TaskId.parse(key)] = said
        return None

    def _self(self) -> _Node:
        if self._node is None:
            found = self._written_node()
            self._node = found or _Node(uuid.uuid4().hex)
            self._is_node_due = found is None
            self._flush()
        return self._node

    def _change(self, **fields: str) -> None:
        before = self._self()
        self._node = msgspec.structs.replace(before, **fields)
        self._is_node_due |= self._node != before
        self._flush()

    def _written_node(self) -> _Node | None:
        # No row is a new node; a failure is none, and it may have a manager.
        with _explained(self._path, _IF_DAMAGED):
            row = self._db.execute("SELECT id, manager, place FROM node").fetchone()
        return row and _Node(*row)

    def _flush(self) -> None:
        if self.log.is_held or not (self._pending or self._is_node_due):
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if self._is_node_due and self._node is not None:
                row = msgspec.structs.astuple(self._node)
                self._db.execute(_PUT_NODE, row)
            self._write_pending()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_failure(error)
            return
        self._pending.clear()
        self._is_node_due = False
        if self._trouble is not None:
            self._trouble = None
            _log.warning("%s can be written again", self._path)

    def _write_pending(self) -> None:
        kept = [(key, record) for key, record in self._pending.items() if record is not None]
        gone = [(raw(key),) for key, record in self._pending.items() if record is None]
        self._db.executemany("INSERT OR REPLACE INTO tasks VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM tasks WHERE id = CAST(? AS TEXT)", gone)

    def _note_failure(self, error: sqlite3.Error) -> None:
        roll_back(self._db)
        if self._trouble is None:
            self._trouble = f"the journal cannot be written ({error}); tasks go on"
            _log.error("%s cannot be written (%s); tasks go on", self._path, error)


class MemoryJournal:
    """A `Journal` that lives as long as its process: for simulations and throw-away supervisors."""

    def __init__(self) -> None:
        self.records: dict[TaskId, TaskRecord] = {}
        self._node_id = uuid.uuid4().hex
        self._manager = ""

    def load(self) -> list[TaskRecord]:
        """Every record, oldest task first."""
        return [self.records[task] for task in sorted(self.records)]

    def set_aside(self) -> Mapping[TaskId, str]:
        """None: there is nothing to misread."""
        return {}

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

    async def settle(self) -> None:
        """Nothing survives anyway."""

    def node_id(self) -> str:
        """This journal's own name: 32 hex digits."""
        return self._node_id

    def manager_id(self) -> str:
        """The manager this node belongs to."""
        return self._manager

    def note_manager(self, manager: str) -> None:
        """From now on it belongs to this one."""
        self._manager = manager

    def recheck(self) -> None:
        """There is never any."""

    @property
    def trouble(self) -> str | None:
        return None


def known_manager(path: Path) -> str:
    """Which manager a journal's node belongs to; empty where it has met none, and where there is
    no journal yet. Nothing is made or changed. Raises JournalError."""
    node = _node_of(path)
    return "" if node is None else node.manager


def _node_of(path: Path) -> _Node | None:
    if not path.exists():
        return None
    # Not `mode=ro`: after a crash SQLite has to play its log back.
    uri = f"file:{quote(str(path))}?mode=rw"
    with (
        _explained(path, _IF_DAMAGED),
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db,
    ):
        if version_of(db, JOURNAL, path) < _VERSION_WITH_MANAGER:
            return None
        row = db.execute("SELECT id, manager, place FROM node").fetchone()
        return row and _Node(*row)


@contextmanager
def _explained(path: Path, if_damaged: str = "") -> Generator[None, None, None]:
    try:
        with explained(path):
            yield
    except DamagedError as error:
        raise JournalError(f"{error}{if_damaged}") from None
    except StoreError as error:
        raise JournalError(str(error)) from None


def _is_twin(other: Path, own: Path, node: str) -> bool:
    """Whether another file is a journal of the same node."""
    try:
        if other.samefile(own):  # mounted in two places
            return False
        found = _node_of(other)
    except (OSError, JournalError):
        return False
    return found is not None and found.id == node


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

"""What a supervisor remembers of its tasks, in SQLite; see `Journal` in model/interfaces.py.

A record survives `kill -9` of the supervisor. It may miss the last moments before a power cut,
which no instance survives either: no caller waits for the disk (`wal.py`). A disk that fails stops
nothing: what could not be written is kept and tried again with every later write, and the trouble
is logged once. All of it is in memory as well, and written anew where the file is lost.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from warren.model.decode import DecodeError, from_json, to_json
from warren.model.identity import TaskId
from warren.model.task import TaskRecord
from warren.store.database import open_database, roll_back, version_of
from warren.store.errors import DamagedError, StoreError, explained
from warren.store.journaltables import (
    JOURNAL,
    VERSION_WITH_MANAGER,
    NodeRow,
    make_beside,
    read_node,
    read_tasks,
    write,
)
from warren.store.presence import CUT, Presence
from warren.store.text import raw, readable
from warren.store.wal import WriteAheadLog

_IF_DAMAGED = (
    ". Nothing was started, and what runs was left alone; want the file moved away (with -wal and"
    " -shm): the node then begins anew, as one that has no tasks: what runs of it is ended, and"
    " started again where the manager wants it"
)
_log = logging.getLogger("warren.store")
T = TypeVar("T")


class JournalError(StoreError):
    """The journal cannot be opened or read. `str()` says which file and why."""


class SqliteJournal:
    """A `Journal` in one SQLite file. Close it when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, bytes | None] = {}
        self._aside: dict[TaskId, str] = {}
        self._told = set[str]()
        self._node: NodeRow | None = None
        self._is_node_due = False
        self._trouble: str | None = None
        self._lost: str | None = None
        self._is_open = False
        # All that the file has; of loaded rows, the records that the supervisor has anyway.
        self._rows: dict[str, bytes | TaskRecord] = {}
        self._node_row: NodeRow | None = None
        with _explained(path, _IF_DAMAGED):
            self._open()
        with suppress(sqlite3.DatabaseError):  # damage is for `load` to tell
            self._rows.update(read_tasks(self._db))
            self._node_row = read_node(self._db)

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path} {len(self._pending)} unwritten>"

    def load(self) -> list[TaskRecord]:
        """Every readable record, oldest task first. Raises JournalError."""
        with _explained(self._path, _IF_DAMAGED):
            rows = read_tasks(self._db)
        self._rows = dict(rows) | self._rows
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
            self._rows[str(record.id)] = record
            self._aside.pop(record.id, None)
        self._flush()

    def forget(self, task: TaskId) -> None:
        """Drop a task's record."""
        self._pending[str(task)] = None
        self._rows.pop(str(task), None)
        self._aside.pop(task, None)
        self._flush()

    def node_id(self) -> str:
        """This data directory's own name, made once: 32 hex digits. Raises JournalError."""
        return self._self().id

    def manager_id(self) -> str:
        """The manager this node belongs to; empty where it has had none. Raises JournalError."""
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
        """Record where this is, so that a copy is recognised: it would bring the node's id, and
        tasks that another supervisor has. When it was moved, the original is not there.

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
        """Write the file anew, with all that was in it, where it or its log has been removed,
        replaced or cut short.

        What had taken its place is kept beside it. Raises JournalError while it cannot be written.
        """
        if self._is_open:
            if self.log.is_held:  # and not yet in its final form
                return
            self._lost = self._presence.lost()
            if self._lost is None:
                return
        with _explained(self._path):
            if self._is_open:
                self._write_anew()
            self._open()
        self._is_node_due |= self._node is not None  # it may have been removed again meanwhile
        _log.error("%s %s; it has been written anew", self._path, self._lost)
        self._flush()

    def _write_anew(self) -> None:
        tasks = {
            key: row if isinstance(row, bytes) else to_json(row) for key, row in self._rows.items()
        }
        new = make_beside(self._path, self._node or self._node_row, tasks)
        self._presence.move_aside()
        new.replace(self._path)  # until here all of this can fail, and is done again
        self._is_open = False
        self._close()  # before the new one is opened: SQLite removes its log by name

    def _open(self) -> None:
        self._db = open_database(self._path, JOURNAL, synchronous="NORMAL")
        self.log = WriteAheadLog(self._path, self._db, self._go_on)
        self._presence = Presence(self._path)
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
                if key not in self._pending:
                    self._rows[key] = record
                return record
            self._rows.pop(key, None)
            self._pending = {key: None, **self._pending}
            if (name := str(record.id)) in sound:  # saved after the damage
                return None
            sound.add(name)
            self._pending = {name: text, **self._pending}
            self._rows.setdefault(name, record)
            return record  # which says itself of which task it is
        if key not in self._told:
            self._told.add(key)
            _log.error("%s: task %s: its row cannot be read: %s", self._path, readable(key), said)
        with suppress(ValueError):
            self._aside[TaskId.parse(key)] = said
        return None

    def _self(self) -> NodeRow:
        if self._node is None:
            found = self._written_node()
            self._node = found or NodeRow(uuid.uuid4().hex)
            self._is_node_due = found is None
            self._flush()
        return self._node

    def _change(self, **fields: str) -> None:
        before = self._self()
        self._node = msgspec.structs.replace(before, **fields)
        self._is_node_due |= self._node != before
        self._flush()

    def _written_node(self) -> NodeRow | None:
        # No row means a new node; a failure does not: the node may have a manager.
        with _explained(self._path, _IF_DAMAGED):
            return read_node(self._db)

    def _go_on(self) -> None:
        self._presence.began_anew()
        self._flush()

    def _flush(self) -> None:
        if self.log.is_held or not (self._pending or self._is_node_due):
            return
        if self._is_open and self._presence.lost(is_quick=True) == CUT:
            return  # the rest would only be damaged further; it is written anew with all of this
        try:
            write(self._db, self._node if self._is_node_due else None, self._pending)
        except sqlite3.Error as error:
            self._note_failure(error)
            return
        self._presence.wrote()
        self._pending.clear()
        self._is_node_due = False
        if self._trouble is not None:
            self._trouble = None
            _log.warning("%s can be written again", self._path)

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
        """None: there is nothing to read."""
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
    """Which manager a journal's node belongs to; empty where it has had none, and where there is
    no journal yet. Nothing is made or changed. Raises JournalError."""
    node = _node_of(path)
    return "" if node is None else node.manager


def recorded(path: Path) -> tuple[str, Mapping[str, TaskRecord | None]]:
    """The id of a journal's node, empty where it has none yet, and its records by task; None for
    one that cannot be read. Nothing is made or changed. Raises JournalError."""

    def read(db: sqlite3.Connection) -> tuple[str, Mapping[str, TaskRecord | None]]:
        node = read_node(db)
        rows = {readable(key): _record_of(text) for key, text in read_tasks(db)}
        return "" if node is None else node.id, rows

    return _read(path, read) or ("", {})


def _record_of(text: bytes) -> TaskRecord | None:
    try:
        return from_json(text, TaskRecord)
    except DecodeError:
        return None


def _node_of(path: Path) -> NodeRow | None:
    return _read(path, read_node)


def _read(path: Path, read: Callable[[sqlite3.Connection], T]) -> T | None:
    """What is read from a journal as it is; None where there is none, or an early one."""
    if not path.exists():
        return None
    # Not `mode=ro`: after a crash SQLite has to replay its log.
    uri = f"file:{quote(str(path))}?mode=rw"
    with (
        _explained(path, _IF_DAMAGED),
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db,
    ):
        return None if version_of(db, JOURNAL, path) < VERSION_WITH_MANAGER else read(db)


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

"""The manager's state on disk: a journal of the state in memory (docs/architecture.md), in SQLite.

A commit is one transaction and one generation; when it returns, it survives `kill -9`, and once it
is settled, power cuts too (S22). One that failed has changed nothing, and the next one works as
soon as the disk does. Call it from one thread.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from warren.model.cluster import AddEvent, Change, Entry, Snapshot
from warren.model.errors import UnavailableError
from warren.model.service import ServiceSpec
from warren.store.database import open_database, roll_back
from warren.store.errors import StaleError, StoreError, explained, named, why
from warren.store.log_sync import LogSync
from warren.store.presence import CUT, Presence
from warren.store.rows import EVENTS, Columns, cost_of, entry_of, snapshot_of
from warren.store.schema import STATE
from warren.store.text import decoded
from warren.store.wal import WriteAheadLog
from warren.store.writer import ChangeWriter

KEEP_EVENTS = 100_000
KEEP_EVENTS_FOR = 30 * 86400.0  # seconds
EVENT_BYTES = 8 << 20  # of text that events answers with at once: a message takes some times that
ROOM = 256 * 2**10  # bytes: a disk that has them again is not full
_ANEW = "start the manager anew"
_WANTED = "end the manager and put a backup back (`warren db restore FILE`)"
_NEXT_GENERATION = "UPDATE meta SET generation = generation + 1, run = ? WHERE generation = ?"
_EVENTS = f"SELECT seq, {EVENTS} FROM events WHERE seq > ? AND at >= ?"  # noqa: S608
_ABOUT = " AND (service = ? OR subject = ?)"
_IN_ORDER = " ORDER BY seq LIMIT ?"
_LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
_LAST_NUMBER = "SELECT coalesce(max(last), 0) FROM numbers WHERE service = ?"


class StoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Since it was opened: `commits`, and the `rows_written` by them.

    `trouble` is why the last commit could not be written; None when it could. `size` is bytes on
    disk, SQLite's log included.
    """

    commits: int
    rows_written: int
    trouble: str | None
    size: int


class StateStore:
    """Open it with `open`, and close it when done.

    `generation` is that of the last commit; `last_seq` the greatest number an event ever had;
    `manager_id` is 32 hex digits, the same in every copy of the file; `run` is this opening's own
    word, and `last_run` that of the one that has made the last commit before it.
    """

    def __init__(
        self, path: Path | None, db: sqlite3.Connection, keep_events: int, keep_events_for: float
    ) -> None:
        self._path = path
        self._db = db
        self._keep_events = keep_events
        self._keep_events_for = keep_events_for
        self._commits = 0
        self._rows_written = 0
        self._specs_written: dict[tuple[str, int], ServiceSpec] = {}
        self._trouble: str | None = None
        self.generation: int = self._one("SELECT generation FROM meta")
        self.last_seq: int = self._one(_LAST_SEQ)
        self.manager_id: str = self._one("SELECT manager FROM meta")
        self.run = secrets.token_hex(4)
        self.last_run: str = self._one("SELECT run FROM meta")
        self.log: WriteAheadLog | None = None
        self._presence: Presence | None = None
        if path is not None:
            self.log = WriteAheadLog(path, db, self._note_begun_anew)
            self._sync = LogSync(path, self.log.renew)
            self._presence = Presence(path)

    def __repr__(self) -> str:
        trouble = f", {self._trouble}" if self._trouble else ""
        return f"<StateStore {named(self._path)} at {self.generation}{trouble}>"

    @classmethod
    def open(
        cls,
        path: Path | None,
        *,
        keep_events: int = KEEP_EVENTS,
        keep_events_for: float = KEEP_EVENTS_FOR,
    ) -> StateStore:
        """Open a file, made if need be and brought to this version; None is in memory.

        Events are kept up to a number and up to an age in seconds. Raises StoreError for a file
        that is none of ours, is damaged, is of a newer version or cannot be written.
        """
        db = open_database(path, STATE, synchronous="NORMAL")
        try:
            with explained(path):
                return cls(path, db, keep_events, keep_events_for)
        except BaseException:
            db.close()
            raise

    def load(self) -> Snapshot:
        """All rows that can be read, and what is wrong with others. Tasks of one revision share
        their spec. Raises StoreError."""
        with explained(self._path):
            return snapshot_of(self._db, self.generation)

    def commit(self, changes: Sequence[Change], *, based_on: int | None = None, now: float) -> int:
        """Write all changes, in their order, or none; returns the generation after them.

        `now` is wall time, against which events grow old. No changes are no commit. Raises
        StaleError if `based_on` is given and is not the last generation, and UnavailableError
        while the disk is full, read-only or failing.
        """
        if based_on is not None and based_on != self.generation:
            raise StaleError(f"made from generation {based_on}; the last is {self.generation}")
        if not changes:
            return self.generation
        before = self._db.total_changes
        with self._available():
            last_seq = self._write(changes, now)
        if self.log is not None:
            self._sync.note_written()
        self.last_seq = last_seq
        self.generation += 1
        self._commits += 1
        self._rows_written += self._db.total_changes - before
        return self.generation

    async def ready(self) -> None:
        """A checkpoint, and a wait while a commit would have to wait for the disk."""
        await trio.lowlevel.checkpoint()
        if self.log is not None:
            await self.log.settle()

    async def settle(self) -> None:
        """Wait until what was committed by now survives a power cut. Raises UnavailableError where
        the disk fails: it stands, and survives this process."""
        if self.log is None:
            return
        if (error := await self._sync.settle()) is not None:
            stands = "what was changed is in effect, but not safe from a power cut yet"
            raise UnavailableError(f"{self._unsynced(error)}; {stands}")

    def events(
        self, *, after: int = 0, since: float = 0.0, about: str = "", limit: int = 1000
    ) -> list[Entry]:
        """Events in order: those numbered above `after`, not older than the wall time `since`,
        and with `about` of that service, task or node alone. They are fewer than `limit`, but one
        at least, where more would be too much for a message.

        The last hundred are those after `last_seq - 100`. Raises StoreError.
        """
        query, values = _EVENTS, [after, since]
        if about:
            query, values = query + _ABOUT, [*values, about, about]
        self._db.text_factory = decoded
        values.append(limit)
        with explained(self._path), closing(self._db.execute(query + _IN_ORDER, values)) as found:
            return [entry_of(row) for row in _fitting(found)]

    def last_number(self, service: str) -> int:
        """The greatest number a task of this name ever had, before a removal too; 0 for none."""
        with explained(self._path):
            return self._one(_LAST_NUMBER, service)

    @property
    def trouble(self) -> str | None:
        """Why the last commit could not be written or synced; None when it could."""
        error = self._sync.trouble if self.log is not None else None
        return self._trouble or (error and self._unsynced(error))

    def recheck(self) -> None:
        """Where the last commit could not be written, find out whether one could be written now;
        and whether the file is still there, and whole."""
        if self._trouble is None:
            with suppress(UnavailableError), self._available():
                pass
        if self._trouble is not None and self._has_room():
            with suppress(UnavailableError), self._available():
                self._touch()

    def statistics(self) -> StoreStatistics:
        """Its counters, its state and its size."""
        return StoreStatistics(
            commits=self._commits,
            rows_written=self._rows_written,
            trouble=self.trouble,
            size=self._size(),
        )

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self.log is not None:
            self.log.close()
        self._db.close()

    def _write(self, changes: Sequence[Change], now: float) -> int:
        """The transaction; returns the last event's number."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            self._count()
            ChangeWriter(db, self._specs_written).write(changes)
            last_seq = self.last_seq
            if any(isinstance(change, AddEvent) for change in changes):
                last_seq = self._one(_LAST_SEQ)
                self._prune(last_seq, now)
            self._end_transaction()
        except BaseException:
            self._specs_written.clear()
            roll_back(db)
            raise
        return last_seq

    def _end_transaction(self) -> None:
        self._db.execute("COMMIT")
        if self._presence:
            self._presence.wrote()

    def _has_room(self) -> bool:
        """One page would suffice for `_touch`, but not for a commit."""
        if self._path is None:
            return True
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize >= ROOM

    def _touch(self) -> None:
        """Write something that changes nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE meta SET generation = generation")
            self._end_transaction()
        except BaseException:
            roll_back(self._db)
            raise

    def _count(self) -> None:
        if self._db.execute(_NEXT_GENERATION, (self.run, self.generation)).rowcount != 1:
            said = "was changed by another program; start the manager anew"
            raise StoreError(f"{named(self._path)} {said}")

    def _prune(self, last_seq: int, now: float) -> None:
        # Two seeks where there is nothing to delete: cheap enough for every commit with events.
        self._db.execute("DELETE FROM events WHERE seq <= ?", (last_seq - self._keep_events,))
        self._db.execute("DELETE FROM events WHERE at < ?", (now - self._keep_events_for,))

    @contextmanager
    def _available(self) -> Generator[None, None, None]:
        """Turn errors of the disk into UnavailableError; other errors pass unchanged."""
        try:
            if self._presence and not self._is_held() and (lost := self._presence.lost()):
                # Else the commit would succeed, into a file that no process can open again.
                raise self._unavailable(f"it {lost}; {_WANTED if lost == CUT else _ANEW}")
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise self._unavailable(why(error)) from None
        self._trouble = None

    def _is_held(self) -> bool:
        """Whether the log is being begun anew, and is neither the old one nor the new one."""
        return self.log is not None and self.log.is_held

    def _note_begun_anew(self) -> None:
        if self._presence is not None:
            self._presence.began_anew()

    def _unsynced(self, reason: str) -> str:
        return f"{named(self._path)} cannot be synced: {reason}"

    def _unavailable(self, reason: str) -> UnavailableError:
        self._trouble = f"{named(self._path)} cannot be written: {reason}"
        return UnavailableError(self._trouble)

    def _one(self, query: str, *values: str) -> Any:
        (value,) = self._db.execute(query, values).fetchone()
        return value

    def _size(self) -> int:
        if self._presence is None:
            return self._one("PRAGMA page_count") * self._one("PRAGMA page_size")
        return self._presence.size()


def _fitting(rows: Iterable[Columns]) -> Iterator[Columns]:
    """The first rows, as many as a message has room for; at least one."""
    room = EVENT_BYTES
    for row in rows:
        cost = cost_of(row)
        if cost > room < EVENT_BYTES:
            return
        room -= cost
        yield row

"""SQLite's log, copied into its file beside the event loop, which never waits for the disk.

    written, nothing synced --> long --> copied, in a thread --> held: begun anew, in a thread
              ^                          (written meanwhile)                |
              `--------------- what was held back is written ---------------'

SQLite itself does all of it within one commit out of many, which then waits for the disk four
times. The copy is most of the work and blocks no writer; for the short rest nothing can be written.
Changes to the journal then stay in memory, and a caller that starts a program by them, or reports
them, waits until they are settled; changes of the manager's state wait themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import trio

from warren.store import log_sync
from warren.store.database import LOG, beside

LONG = 2**20  # bytes
_LONGEST = 2**14  # pages: where this cannot be done SQLite does it
PATIENCE = 5.0  # seconds that a caller waits for a disk
_IS_READ = "another program reads the file, and its log cannot be copied into it"
_HANGS = "the journal waits for the disk, and keeps in memory what is to be written; tasks go on"


class WriteAheadLog:
    """The log of a database that one connection writes to; it has another, used in threads. Close
    it first. `write` is called when what was held back may be written."""

    def __init__(self, path: Path, db: sqlite3.Connection, write: Callable[[], None]) -> None:
        self._path = path
        self._db = db
        self._other = sqlite3.connect(
            path, isolation_level=None, timeout=0, check_same_thread=False
        )
        # Which opens its files: later there may be no descriptors.
        self._other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._write = write
        self._limiter = trio.CapacityLimiter(1)  # of the other connection
        self._held: trio.Event | None = None
        self._held_since = 0.0

    def __repr__(self) -> str:
        return f"<WriteAheadLog of {self._path}{' held' if self.is_held else ''}>"

    @property
    def is_held(self) -> bool:
        """Whether nothing can be written at present."""
        return self._held is not None

    def trouble(self) -> str | None:
        """What is wrong where it takes long."""
        is_long = self._held is not None and trio.current_time() > self._held_since + PATIENCE
        return _HANGS if is_long else None

    async def settle(self) -> None:
        """Wait until nothing is held back, or for PATIENCE."""
        if self._held is not None:
            with trio.move_on_after(PATIENCE):
                await self._held.wait()

    async def take_in(self) -> None:
        """Copy it if it is long. Raises sqlite3.Error and OSError; nothing is lost then. If a
        reader prevents it nothing is done. A cancellation does not cut it short."""
        if beside(self._path, LOG).stat().st_size < LONG:
            return
        self._db.execute(f"PRAGMA wal_autocheckpoint={_LONGEST}")  # from now on this class does it
        if not await trio.to_thread.run_sync(self.copy, limiter=self._limiter):
            return
        release = self._hold()
        try:
            await trio.to_thread.run_sync(self._begin_anew, limiter=self._limiter)
        finally:
            release()

    async def renew(self) -> None:
        """Copy it now, and begin it anew: whatever its length, so that nothing of it is left to
        sync. Nothing can be written meanwhile. Raises sqlite3.Error, and OSError where a reader
        prevents it. A cancellation leaves it to its thread."""
        release, token = self._hold(), trio.lowlevel.current_trio_token()
        has_begun = False

        def work() -> None:
            nonlocal has_begun
            has_begun = True
            try:
                if not self.copy():
                    raise OSError(_IS_READ)
                self._begin_anew()
            finally:
                token.run_sync_soon(release)

        try:
            await log_sync.in_thread(work, self._limiter)
        finally:
            if not has_begun:
                release()

    def _hold(self) -> Callable[[], None]:
        """Nothing can be written until what is returned is called."""
        mine = trio.Event()
        self._held, self._held_since = mine, trio.current_time()

        def release() -> None:
            mine.set()
            if self._held is mine:
                self._held = None
                self._write()

        return release

    def copy(self) -> bool:
        """Copy it now, waiting for the disk; False where a reader or writer prevents it. Raises
        sqlite3.Error."""
        found = self._other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        is_busy, length, copied = found
        return not is_busy and length == copied

    def close(self) -> None:
        """Before the database is."""
        self._other.close()

    def _begin_anew(self) -> None:
        is_busy, *_ = self._other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            # Its first page has a head with it, which is synced.
            (version,) = self._other.execute("PRAGMA user_version").fetchone()
            self._other.execute(f"PRAGMA user_version={version}")

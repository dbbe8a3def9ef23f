"""Commits made durable beside the event loop: SQLite writes its log, and a thread syncs that.

    written (in the file: it survives this process) -> synced, in a thread -> acknowledged

To wait for a disk takes a millisecond or a second, and everything else would wait with it. All that
wait at one time share a sync: it covers what was written before it began. The kernel may forget
what a failed sync has left, and call the next one a success; so after a failure the log is copied
into the file, which writes and syncs all of it once more, and begun anew.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from warren.store.database import LOG, beside
from warren.store.errors import why

PATIENCE = 5.0  # seconds that a caller waits for a disk
_HANGS = "the disk does not answer"


class _Sync:
    """One of them, and what came of it. It covers what was `written` by then."""

    def __init__(self, written: int) -> None:
        self.written = written
        self.is_done = trio.Event()
        self.error: str | None = None


class LogSync:
    """For the log of an open database in WAL mode. `renew` copies the log into the file, synced,
    and begins it anew; it raises OSError or sqlite3.Error where it cannot."""

    def __init__(self, path: Path, renew: Callable[[], Awaitable[None]]) -> None:
        self._log = beside(path, LOG)
        self._renew = renew
        self._written = self._synced = 0
        self._under_way: _Sync | None = None
        self._error: str | None = None
        self._hangs = False
        self._has_failed = False  # set in the thread: nobody may wait for it any more
        self._limiter = trio.CapacityLimiter(1)  # a place of its own: others may be used up

    def __repr__(self) -> str:
        return f"<LogSync {self._written - self._synced} commits not synced>"

    @property
    def trouble(self) -> str | None:
        """Why the last sync has failed, or does not end."""
        return _HANGS if self._hangs else self._error

    def note_written(self) -> None:
        """There is a commit more to sync."""
        self._written += 1

    async def settle(self) -> str | None:
        """Wait until all that was written by now is synced, for PATIENCE at most. Returns what went
        wrong, or None."""
        wanted = self._written
        with trio.move_on_after(PATIENCE) as scope:
            while self._synced < wanted:
                sync = self._under_way
                if sync is None:
                    sync = await self._sync()
                else:
                    await sync.is_done.wait()
                if sync.error is not None and sync.written >= wanted:
                    return sync.error
        self._hangs |= scope.cancelled_caught
        return _HANGS if scope.cancelled_caught else None

    async def _sync(self) -> _Sync:
        sync = self._under_way = _Sync(self._written)
        try:
            await self._write_out()
        except (OSError, sqlite3.Error) as error:
            said = why(error) if isinstance(error, sqlite3.Error) else error.strerror or str(error)
            self._error = sync.error = said
        else:
            self._synced, self._error, self._hangs = sync.written, None, False
        finally:
            self._under_way = None
            sync.is_done.set()
        return sync

    async def _write_out(self) -> None:
        if not self._has_failed:
            await in_thread(self._sync_log, self._limiter)
        if self._has_failed:
            await self._renew()
            self._has_failed = False

    def _sync_log(self) -> None:
        """In the thread. Where there is no descriptor left for it, it is to be renewed."""
        if self._has_failed:  # that nobody waited for, just before
            return
        try:
            file = os.open(self._log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fdatasync(file)
            finally:
                os.close(file)
        except OSError as error:
            self._has_failed = True
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise


async def in_thread(function: Callable[[], None], limiter: trio.CapacityLimiter) -> None:
    """Call it in a thread; a cancellation leaves it to that, and the next one waits for its end.
    Where no thread can be had it is called here."""
    try:
        await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=limiter)
    except RuntimeError:  # no processes left
        function()

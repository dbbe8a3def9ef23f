"""Whether the files under an open database are still those that it writes to, and whole.

SQLite keeps its files open and notices nothing when they are removed, replaced, also by a link, or
cut short by others; what is committed then is lost with the process. Looked at with `lstat` and
one read of the log: SQLite's locks on a file end when this process closes it anywhere else, but
the log has none.

No false alarm: the file never gets shorter, as Warren never vacuums. The log does when it is copied
into the file (`wal.py`, which reports it), and in a commit, down to WAL_KEPT. Anything else may
still be another program's checkpoint or VACUUM, which begins the log anew with another head: then
the file on disk is read in full before it is reported.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from warren.store.database import INDEX, LOG, WAL_KEPT, beside

REPLACED = "was removed or replaced"
CUT = "was cut short from outside"
_LEAST = 512  # bytes: SQLite takes a file without a page for a new one, and removes its log
_HEADS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # what a log begins with
_HEAD = 32  # bytes; its salts are others whenever the log is begun anew
_NO_HEAD = b"\0"  # something else stands there
_NOT_WHOLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ)


class Presence:
    """Create it when the database is open, and report every commit to it (`wrote`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = beside(path, LOG)
        file, log = _stat(path), _stat(self._log)
        self._identities = _identity(file), _identity(log)
        self._file_size, self._log_size = _size(file), _size(log)
        head = self._read_head()
        self._head = b"" if head == _NO_HEAD else head  # SQLite has skipped what was left there
        self._is_cut = False

    def lost(self, *, is_quick: bool = False) -> str | None:
        """REPLACED, CUT or None. Cut stays cut: what SQLite knows of the file is wrong now.

        Quick reads only where one is shorter: what was cut in the moment of a commit is seen later.
        """
        file, log = _stat(self._path), _stat(self._log)
        if (_identity(file), _identity(log)) != self._identities:
            return REPLACED
        if log and log.st_size and self._head and not is_quick:
            self._is_cut |= self._read_head() == _NO_HEAD  # cut to nothing, written to further on
        self._is_cut = self._is_cut or self._is_short(_size(file), _size(log))
        return CUT if self._is_cut else None

    def wrote(self) -> None:
        """A commit is done: it may have lengthened both, and cut the log, but not below
        WAL_KEPT."""
        if self._is_cut:
            return
        size, head = _size(_stat(self._log)), self._read_head()
        is_new = head not in (b"", _NO_HEAD, self._head)
        if is_new:
            self._head = head
        if is_new or size >= min(self._log_size, WAL_KEPT):
            self._log_size = size
        self._file_size = max(self._file_size, _size(_stat(self._path)))

    def began_anew(self) -> None:
        """The log was emptied by ourselves."""
        self._log_size, self._head = _size(_stat(self._log)), b""

    def size(self) -> int:
        """Bytes on disk, of both."""
        return sum(_size(_stat(path)) for path in (self._path, self._log))

    def move_aside(self) -> None:
        """Keep what is in the file's place, with its log, where that is not ours."""
        kept = beside(self._path, ".replaced")
        if _identity(_stat(self._path)) not in (None, self._identities[0]):
            self._path.replace(kept)
            for side in (LOG, INDEX):  # of one that was kept before
                beside(kept, side).unlink(missing_ok=True)
            if _identity(_stat(self._log)) not in (None, self._identities[1]):
                self._log.replace(beside(kept, LOG))
        for side in (LOG, INDEX):
            beside(self._path, side).unlink(missing_ok=True)

    def _is_short(self, file: int, log: int) -> bool:
        if file < _LEAST:
            return True
        if file >= self._file_size and log >= self._log_size:
            return False
        if 0 < log < self._log_size and self._head and self._read_head() == self._head:
            return True  # who empties it in order begins it with another head
        is_whole = self._is_whole_on_disk()
        if is_whole:  # so all of ours is in the file
            self._file_size, self._log_size = file, 0
        return is_whole is False  # None is not known yet: asked again

    def _read_head(self) -> bytes:
        """The log's head; empty where nothing is known of it: no log, or no descriptors."""
        try:
            log = os.open(self._log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                head = os.read(log, _HEAD)
            finally:
                os.close(log)
        except OSError:
            return b""
        return head if not head or head[: len(_HEADS[0])] in _HEADS else _NO_HEAD

    def _is_whole_on_disk(self) -> bool | None:
        """Whether another connection finds all pages; None where it cannot look."""
        uri = f"file:{quote(str(self._path.absolute()))}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)) as db:
                return db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            return False if code in _NOT_WHOLE or code & 0xFF in _NOT_WHOLE else None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return found and (found.st_dev, found.st_ino)


def _size(found: os.stat_result | None) -> int:
    return 0 if found is None else found.st_size

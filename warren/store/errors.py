"""Failures of the disk, in words; SQLite's own exceptions do not leave this package."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from warren.model.decode import DecodeError
from warren.model.errors import WarrenError


class StoreError(WarrenError):
    """A file of Warren's cannot be used as it is. `str()` is one line: which file, and why."""


class DamagedError(StoreError):
    """The file's content is not, or no longer, Warren's."""


class StaleError(WarrenError):
    """The changes were made from another generation than the last. Make them anew."""


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WHY = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_BUSY: "another program is writing to it",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
}


def why(error: sqlite3.Error) -> str:
    """The reason, for people; SQLite's term follows where it says more."""
    code = _code(error)
    if code == sqlite3.SQLITE_IOERR:
        return f"the disk failed ({error.sqlite_errorname})"
    return _WHY.get(code, str(error))


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the detail


@contextmanager
def explained(path: Path | None) -> Generator[None, None, None]:
    """Turn what the disk, SQLite and a row that cannot be read raise into a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        kind = DamagedError if _code(error) in _DAMAGED else StoreError
        raise kind(f"{named(path)}: {why(error)}") from None
    except DecodeError as error:
        raise StoreError(f"{named(path)}: {error.named()}") from None
    except OSError as error:
        raise StoreError(f"{named(path)}: {error.strerror or error}") from None


def named(path: Path | None) -> str:
    """A database's name in a message; None is the one in memory."""
    return "the state in memory" if path is None else str(path)

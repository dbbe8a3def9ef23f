"""Maintain the manager's state file: check it, copy it while it is written, put a copy back.

A copy is whole or not there: it is made under another name, checked, and renamed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from warren.store.database import BUSY_TIMEOUT, INDEX, LOG, beside, open_database, version_of
from warren.store.errors import StoreError, explained, why
from warren.store.lock import locked
from warren.store.rows import snapshot_of
from warren.store.schema import STATE

_FAULTS_SHOWN = 100
_STOPPED = "stop it first: its state is replaced"
_MAGIC = b"SQLite format 3\0"


def check(path: Path) -> list[str]:
    """What is wrong with a state file, in sentences; empty when it is well. Changes nothing.

    A manager may be writing to it meanwhile.
    """
    try:
        with _opened(path) as db:
            db.execute("BEGIN")  # one moment for all questions
            version = version_of(db, STATE, path)
            if version == 0:
                return [f"{path}: is empty"]
            damage = [row[0] for row in db.execute(f"PRAGMA integrity_check({_FAULTS_SHOWN})")]
            if damage != ["ok"]:
                return [f"{path}: is damaged: {said}" for said in damage]
            # Rows of an older version are for the migration to read.
            faults = [*_dangling(db), *(_unreadable(db) if version == STATE.version else ())]
            return [f"{path}: {fault}" for fault in faults]
    except sqlite3.Error as error:
        return [f"{path}: {why(error)}"]
    except (StoreError, OSError) as error:
        return [str(error)]


def backup(path: Path, target: Path) -> None:
    """Copy a state file to `target`, as of one moment, with mode 0600.

    A manager may be writing to it meanwhile, and is not held up. Raises StoreError, also where
    there is a file at `target` already, which then stays as it is.
    """
    _refuse_existing(target)
    with _copied(path, target) as copy, explained(target):
        _refuse_existing(target)
        copy.rename(target)
        _sync_directory(target.parent)


def restore(path: Path, source: Path) -> Path | None:
    """Put `source`, a backup, in the place of a state file; returns where the old one is now.

    Raises StoreError if `source` is not well, and DataDirectoryError while a manager runs.
    """
    with (
        locked(path.parent, role="manager", wanted=_STOPPED),
        _copied(source, path) as copy,
        explained(path),
    ):
        _inherit(copy, path)
        kept = _set_aside(path)
        copy.rename(path)  # from here on it is the new one
        _sync_directory(path.parent)
        return kept


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection that makes no file. Raises StoreError where there is none."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file")
    # Not `mode=ro`: after a crash the log has to be replayed, and stays behind if it cannot be.
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)
    with closing(db):
        yield db


def _dangling(db: sqlite3.Connection) -> Generator[str, None, None]:
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"a row of {table} ({row}) refers to no row of {parent}"


def _unreadable(db: sqlite3.Connection) -> list[str]:
    return [str(fault) for fault in snapshot_of(db, 0).faults[:_FAULTS_SHOWN]]


@contextmanager
def _copied(source: Path, target: Path) -> Generator[Path, None, None]:
    """A checked copy of `source` in one file beside `target`, gone afterwards unless renamed."""
    copy = beside(target, f".{os.getpid()}.partial")
    try:
        with explained(source), _opened(source) as db:
            if version_of(db, STATE, source) == 0:
                raise StoreError(f"{source}: is empty")
            _copy(db, copy, target)
        if faults := check(copy):
            raise StoreError(faults[0].replace(str(copy), str(source), 1))
        _sync(copy)
        yield copy
    finally:
        for side in ("", LOG, INDEX, "-journal"):
            beside(copy, side).unlink(missing_ok=True)


def copy_of(path: Path, target: Path) -> None:
    """Copy a state file to a new file, as it is and as of one moment. Raises StoreError."""
    with explained(path), _opened(path) as db:
        _copy(db, target, target)


def _copy(db: sqlite3.Connection, copy: Path, target: Path) -> None:
    with explained(target):
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(copy, isolation_level=None)) as into:
            db.backup(into)  # all pages in one step: as of one moment, and no writer waits
            # One file, which can be read where nothing can be written.
            into.execute("PRAGMA journal_mode=DELETE")


def _inherit(copy: Path, path: Path) -> None:
    """A backup from before managers had ids is of the manager whose place it takes."""
    with _opened(copy) as db:
        if version_of(db, STATE, copy) > 1:
            return
    manager = ""
    with suppress(sqlite3.Error, StoreError), _opened(path) as db:
        (manager,) = db.execute("SELECT manager FROM meta").fetchone()
    if not manager:
        return
    with closing(open_database(copy, STATE, synchronous="FULL")) as db:
        db.execute("UPDATE meta SET manager = ?", (manager,))
        db.execute("PRAGMA journal_mode=DELETE")
    _sync(copy)


def _set_aside(path: Path) -> Path | None:
    """Keep the old file under another name; none of its log may be replayed into the new one."""
    if not path.exists():
        return None
    _play_back(path)
    kept = free_name(path, ".before-restore")
    if beside(path, LOG).exists():
        beside(path, LOG).rename(beside(kept, LOG))
    beside(path, INDEX).unlink(missing_ok=True)
    os.link(path, kept)  # a second name, so that `path` names one of the two at every moment
    return kept


def _play_back(path: Path) -> None:
    """Put the log of a manager that was killed into its file, where that is a database."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return  # SQLite would throw the log away
    with suppress(sqlite3.Error), _opened(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def free_name(path: Path, side: str) -> Path:
    """A name beside a file that nothing has yet: with `side`, and a number where that is taken."""
    kept, number = beside(path, side), 1
    while kept.exists():
        number += 1
        kept = beside(path, f"{side}-{number}")
    return kept


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise StoreError(f"{target}: exists already; want a new file")


def _sync(path: Path) -> None:
    with explained(path), path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

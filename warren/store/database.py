"""A SQLite file of Warren's: recognised, brought to the newest version, and private.

`user_version` counts the migrations a file has had. All that are missing run in one transaction,
so that a file is of the old version or of the new one, whatever happens. The application id
keeps Warren from writing into another program's database.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec

from warren.store.errors import StoreError, explained, named

BUSY_TIMEOUT = 0.5  # seconds; the caller is an event loop
WAL_KEPT = 16 * 2**20  # bytes; a longer log, after one large transaction, is cut again
LOG, INDEX = "-wal", "-shm"  # SQLite's own files, beside a database


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """`migrations[n]` are the statements that make version n + 1 of version n.

    To change a schema, add one. Versions up to `unmarked` have no application id yet. Foreign
    keys are off while migrations run and are checked before they are committed.
    """

    application_id: int
    migrations: tuple[tuple[str, ...], ...]
    unmarked: int = 0

    @property
    def version(self) -> int:
        """The newest."""
        return len(self.migrations)


def open_database(path: Path | None, schema: Schema, *, synchronous: str) -> sqlite3.Connection:
    """A connection in autocommit mode, its file of the newest version and of mode 0600.

    `synchronous` is FULL or NORMAL; None for a path is memory. Raises StoreError.
    """
    with explained(path):
        if path is not None:
            _refuse_links(path)
            _create(path)
        db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=BUSY_TIMEOUT)
        try:
            version_of(db, schema, path)  # before anything is written into another program's file
            if path is not None:
                path.chmod(0o600)  # SQLite's other files follow
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={synchronous}")
            db.execute(f"PRAGMA journal_size_limit={WAL_KEPT}")
            _migrate(db, schema, path)
            db.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            db.close()
            raise
    return db


def version_of(db: sqlite3.Connection, schema: Schema, path: Path | None) -> int:
    """The file's version, 0 for an empty one. Raises StoreError if it is not for this schema."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (mark,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version > schema.version and mark in (0, schema.application_id):
        said = f"is of version {version}; this Warren knows up to {schema.version}"
        raise StoreError(f"{named(path)}: {said}")
    is_fresh = not version and not tables
    is_ours = version and mark == (schema.application_id if version > schema.unmarked else 0)
    if not is_fresh and not is_ours:
        raise StoreError(f"{named(path)}: is another program's database")
    return version


def beside(path: Path, side: str) -> Path:
    """A file that goes with a database, such as its LOG."""
    return path.with_name(path.name + side)


def roll_back(db: sqlite3.Connection) -> None:
    """End a transaction that failed; SQLite may have done so itself."""
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def _refuse_links(path: Path) -> None:
    """SQLite follows them."""
    for side in ("", LOG, INDEX):
        if (named_file := beside(path, side)).is_symlink():
            raise StoreError(f"{named_file}: is a symbolic link; want a file")


def _create(path: Path) -> None:
    """Make the file if there is none, private from its first moment."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))


def _migrate(db: sqlite3.Connection, schema: Schema, path: Path | None) -> None:
    """In one transaction; where it fails, closing the connection undoes it."""
    db.execute("BEGIN IMMEDIATE")  # also where nothing is missing: a lack of write access shows now
    version = version_of(db, schema, path)
    for migration in schema.migrations[version:]:
        for statement in migration:
            db.execute(statement)
    if version < schema.version:
        _refuse_dangling(db, path)
        db.execute(f"PRAGMA user_version={schema.version}")
    db.execute("COMMIT")


def _refuse_dangling(db: sqlite3.Connection, path: Path | None) -> None:
    if found := db.execute("PRAGMA foreign_key_check").fetchone():
        raise StoreError(f"{named(path)}: a row of {found[0]} refers to no row of {found[2]}")

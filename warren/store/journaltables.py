"""The tables of a supervisor's journal, and what is read from them and written into them.

The key of a row is text that may not be UTF-8 (see `text.py`); no byte of it is lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from warren.store.database import Schema, beside, open_database
from warren.store.text import decoded, raw

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
VERSION_WITH_MANAGER = 3
_PUT_NODE = "INSERT OR REPLACE INTO node (only, id, manager, place) VALUES (1, ?, ?, ?)"


class NodeRow(msgspec.Struct, frozen=True):
    """What is recorded of the node itself. Empty: unknown."""

    id: str
    manager: str = ""
    place: str = ""


def read_tasks(db: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """The rows of all tasks, as they are."""
    rows = db.execute("SELECT CAST(id AS BLOB), record FROM tasks").fetchall()
    return [(decoded(key), text) for key, text in rows]


def read_node(db: sqlite3.Connection) -> NodeRow | None:
    """The node's row, where there is one."""
    row = db.execute("SELECT id, manager, place FROM node").fetchone()
    return row and NodeRow(*row)


def write(db: sqlite3.Connection, node: NodeRow | None, tasks: Mapping[str, bytes | None]) -> None:
    """In one transaction: the node's row where given, and those of tasks; None drops one."""
    kept = [(raw(key), text) for key, text in tasks.items() if text is not None]
    gone = [(raw(key),) for key, text in tasks.items() if text is None]
    db.execute("BEGIN IMMEDIATE")
    if node is not None:
        db.execute(_PUT_NODE, msgspec.structs.astuple(node))
    db.executemany("INSERT OR REPLACE INTO tasks VALUES (CAST(? AS TEXT), ?)", kept)
    db.executemany("DELETE FROM tasks WHERE id = CAST(? AS TEXT)", gone)
    db.execute("COMMIT")


def make_beside(path: Path, node: NodeRow | None, tasks: Mapping[str, bytes]) -> Path:
    """A whole journal in one new file beside another, to take its place; returns where."""
    new = beside(path, f".{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with closing(open_database(new, JOURNAL, synchronous="NORMAL")) as db:
        write(db, node, tasks)
        db.execute("PRAGMA journal_mode=DELETE")  # no log has a part of it
    return new

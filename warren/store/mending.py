"""Make a state file usable again that has rows which no manager can read or deal with.

Nothing is guessed: what cannot be read is forgotten, in one transaction, after the file was copied.
What runs of a task that is forgotten is ended by its node at the next start of the manager, and its
slot gets a new task. The caller holds the manager's lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from warren.model.cluster import RowFault
from warren.store.database import open_database
from warren.store.errors import explained
from warren.store.rows import node_columns, snapshot_of
from warren.store.schema import STATE
from warren.store.upkeep import copy_of, free_name
from warren.store.writing import PUT_NODE

# No id is used again, though the tasks that had it are forgotten.
_NEXT_NUMBER = """
    UPDATE services SET first_number = max(first_number, 1 + coalesce(
        (SELECT last FROM numbers WHERE numbers.service = services.name), 0))
    WHERE name = ? AND typeof(first_number) = 'integer'
"""
_UNUSED_SPECS = """
    DELETE FROM specs WHERE service = ? AND NOT EXISTS (
        SELECT 1 FROM tasks
        WHERE tasks.service = specs.service AND tasks.revision = specs.revision
    )
"""


def keep(path: Path) -> Path:
    """Copy a state file as it is, beside it; returns where. Raises StoreError."""
    kept = free_name(path, ".before-mend")
    copy_of(path, kept)
    return kept


def mend_rows(path: Path) -> list[str]:
    """Forget the rows that cannot be read; what was done, in sentences. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db:
        found = snapshot_of(db, 0)
        nodes = {row.name: row for row in found.nodes}
        with db:
            db.execute("BEGIN IMMEDIATE")
            done = [said for fault in found.faults for said in _mend(db, fault)]
            for fault in found.faults:
                if fault.table == "nodes":
                    db.execute(PUT_NODE, node_columns(nodes[fault.owner]))
            db.execute("COMMIT")
        return done


def forget_tasks(path: Path, service: str) -> None:
    """Forget all tasks of a service, which gets new ones. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db, db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM tasks WHERE service = ?", (service,))
        db.execute(_UNUSED_SPECS, (service,))
        db.execute(_NEXT_NUMBER, (service,))
        db.execute("COMMIT")


def forget_service(path: Path, service: str) -> None:
    """Forget a service and its tasks. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db, db:
        db.execute("BEGIN IMMEDIATE")
        _forget_service(db, service)
        db.execute("COMMIT")


def _mend(db: sqlite3.Connection, fault: RowFault) -> Iterator[str]:
    if fault.table == "services":
        _forget_service(db, fault.owner)
        yield f"service {fault.owner}: forgotten, with its tasks; create it anew"
    elif fault.table == "nodes":
        yield f"node {fault.owner}: taken for lost until it enrols"
    else:
        where = "service = ? AND revision = ?"
        if fault.table == "tasks":
            where = "service = ? AND slot = ? AND number = ?"
        columns = fault.columns
        count = db.execute(f"DELETE FROM tasks WHERE {where}", columns).rowcount  # noqa: S608
        db.execute(_UNUSED_SPECS, (fault.owner,))
        db.execute(_NEXT_NUMBER, (fault.owner,))
        tasks = f"{count} task{'' if count == 1 else 's'}"
        yield f"{fault.table}: {fault.key}: {tasks} forgotten, the slot gets a new one"


def _forget_service(db: sqlite3.Connection, service: str) -> None:
    db.execute("DELETE FROM services WHERE name = ?", (service,))
    db.execute("DELETE FROM tasks WHERE service = ?", (service,))
    db.execute("DELETE FROM specs WHERE service = ?", (service,))

"""Make a state file usable again that has rows which no manager can read or deal with.

Nothing is guessed: unreadable rows are dropped, in one transaction, after the file was copied.
The processes of a dropped task are ended by its node at the next start of the manager, and its
slot gets a new task. The caller holds the manager's lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from warren.model.cluster import RowFault
from warren.store.backup import copy_of, free_name
from warren.store.database import open_database
from warren.store.errors import explained
from warren.store.rows import node_columns, snapshot_of
from warren.store.schema import STATE
from warren.store.writer import DROP_UNUSED_SPECS, PUT_NODE

# A name may be bytes that are no UTF-8, hence the CAST: else it would equal no text.
# No id is used again, though its tasks are dropped. Where their service is unknown this is done for
# every service.
_NEXT_NUMBER = """
    UPDATE services SET first_number = max(first_number, 1 + coalesce(
        (SELECT last FROM numbers WHERE numbers.service = services.name), 0))
    WHERE (name = CAST(?1 AS TEXT) OR typeof(?1) = 'blob') AND typeof(first_number) = 'integer'
"""


def keep(path: Path) -> Path:
    """Copy a state file as it is, beside it; returns where. Raises StoreError."""
    kept = free_name(path, ".before-mend")
    copy_of(path, kept)
    return kept


def mend_rows(path: Path) -> list[str]:
    """Drop the rows that cannot be read; returns what was done, in sentences. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db:
        found = snapshot_of(db, 0)
        with db:
            db.execute("BEGIN IMMEDIATE")
            done = [said for fault in found.faults for said in _mend(db, fault)]
            for row in found.nodes:
                if not row.id:  # taken for lost
                    db.execute(PUT_NODE, node_columns(row))
            db.execute("COMMIT")
        return done


def forget_tasks(path: Path, service: str) -> None:
    """Forget all tasks of a service, which gets new ones. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db, db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM tasks WHERE service = ?", (service,))
        db.execute(DROP_UNUSED_SPECS, (service,))
        db.execute(_NEXT_NUMBER, (service,))
        db.execute("COMMIT")


def forget_service(path: Path, service: str) -> None:
    """Forget a service and its tasks. Raises StoreError."""
    with explained(path), closing(open_database(path, STATE, synchronous="FULL")) as db, db:
        db.execute("BEGIN IMMEDIATE")
        _forget_service(db, service)
        db.execute("COMMIT")


def _mend(db: sqlite3.Connection, fault: RowFault) -> Iterator[str]:
    columns = fault.columns
    if fault.table == "services":
        _forget_service(db, columns[0])
        yield f"service {fault.owner}: forgotten, with its tasks; create it anew"
    elif fault.table == "nodes":
        db.execute("DELETE FROM nodes WHERE name = CAST(? AS TEXT)", columns)
        yield f"node {fault.owner}: taken for lost until it enrols"
    else:
        where = "service = CAST(? AS TEXT) AND revision = ?"
        if fault.table == "tasks":
            where = "service = CAST(? AS TEXT) AND slot = ? AND number = ?"
        count = db.execute(f"DELETE FROM tasks WHERE {where}", columns).rowcount  # noqa: S608
        db.execute(DROP_UNUSED_SPECS, columns[:1])
        db.execute(_NEXT_NUMBER, columns[:1])
        tasks = f"{count} task{'' if count == 1 else 's'}"
        yield f"{fault.table}: {fault.key}: {tasks} forgotten, the slot gets a new one"


def _forget_service(db: sqlite3.Connection, service: str | int | bytes) -> None:
    db.execute("DELETE FROM services WHERE name = CAST(? AS TEXT)", (service,))
    db.execute("DELETE FROM tasks WHERE service = CAST(? AS TEXT)", (service,))
    db.execute("DELETE FROM specs WHERE service = CAST(? AS TEXT)", (service,))

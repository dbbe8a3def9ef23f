"""Changes as SQL, in their order, inside a transaction that the caller opens and ends."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import cast

from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    DropService,
    DropTask,
    PutNode,
    PutService,
    PutTask,
    TaskRow,
)
from warren.model.decode import from_json
from warren.model.service import ServiceSpec
from warren.store import rows


def _put(table: str, columns: str, key: str) -> str:
    """An upsert: unlike REPLACE it leaves alone the index entries that stay as they are."""
    names = columns.split(", ")
    marks = ", ".join("?" for _ in names)
    sets = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key.split(", "))
    into = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    return f"{into} ON CONFLICT ({key}) DO UPDATE SET {sets}"


_PUT_SERVICE = _put("services", rows.SERVICES, "name")
_PUT_TASK = _put("tasks", rows.TASKS, "service, slot, number")
PUT_NODE = _put("nodes", rows.NODES, "name")
_ADD_EVENT = f"INSERT INTO events ({rows.EVENTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_NOTE_NUMBER = """
    INSERT INTO numbers VALUES (?, ?)
    ON CONFLICT (service) DO UPDATE SET last = excluded.last WHERE excluded.last > last
"""
_DROP_TASK = "DELETE FROM tasks WHERE service = ? AND slot = ? AND number = ?"
_PURGE = (
    "DELETE FROM services WHERE name = ?",
    "DELETE FROM tasks WHERE service = ?",
    "DELETE FROM specs WHERE service = ?",
)
DROP_UNUSED_SPECS = """
    DELETE FROM specs WHERE service = CAST(? AS TEXT) AND NOT EXISTS (
        SELECT 1 FROM tasks
        WHERE tasks.service = specs.service AND tasks.revision = specs.revision
    )
"""


class ChangeWriter:
    """Writes the changes of one transaction. `written` has the specs that are known to stand in the
    file, by service and revision; it is kept from one to the next, and is emptied by the caller
    where a transaction was not committed."""

    def __init__(self, db: sqlite3.Connection, written: dict[tuple[str, int], ServiceSpec]) -> None:
        self._db = db
        self._written = written
        self._services: set[str] = set()  # those whose tasks have changed

    def write(self, changes: Sequence[Change]) -> None:
        """Write all of them. Raises ValueError for a task whose spec is not its revision's."""
        for kind, run in itertools.groupby(changes, key=type):
            self._write_run(kind, list(run))
        names = [(name,) for name in self._services]
        if self._db.executemany(DROP_UNUSED_SPECS, names).rowcount > 0:
            self._written.clear()

    def _write_run(self, kind: type[Change], run: list[Change]) -> None:
        many = self._db.executemany
        if kind is PutService:
            puts = cast("list[PutService]", run)
            many(_PUT_SERVICE, [rows.service_columns(put.row) for put in puts])
        elif kind is DropService:
            self._purge(cast("list[DropService]", run))
        elif kind is PutTask:
            self._put_tasks([put.row for put in cast("list[PutTask]", run)])
        elif kind is DropTask:
            ids = [drop.id for drop in cast("list[DropTask]", run)]
            many(_DROP_TASK, [(task.service, task.slot, task.number) for task in ids])
            self._services.update(task.service for task in ids)
        elif kind is PutNode:
            nodes = cast("list[PutNode]", run)
            many(PUT_NODE, [rows.node_columns(put.row) for put in nodes])
        elif kind is DropNode:
            names = cast("list[DropNode]", run)
            many("DELETE FROM nodes WHERE name = ?", [(drop.name,) for drop in names])
        else:
            events = cast("list[AddEvent]", run)
            many(_ADD_EVENT, [rows.event_columns(add.entry) for add in events])

    def _purge(self, drops: Iterable[DropService]) -> None:
        for drop, statement in itertools.product(drops, _PURGE):
            self._db.execute(statement, (drop.name,))
        self._written.clear()

    def _put_tasks(self, tasks: list[TaskRow]) -> None:
        for task in tasks:
            self._put_spec(task)
        self._db.executemany(_PUT_TASK, [rows.task_columns(task) for task in tasks])
        numbers: dict[str, int] = {}
        for task in tasks:
            numbers[task.id.service] = max(task.id.number, numbers.get(task.id.service, 0))
        self._db.executemany(_NOTE_NUMBER, numbers.items())
        self._services.update(numbers)

    def _put_spec(self, task: TaskRow) -> None:
        key = (task.id.service, task.revision)
        if self._written.get(key) is task.spec:
            return
        spec = rows.bare(task.spec)
        text = rows.json_of(spec)
        found = self._db.execute(
            "SELECT spec FROM specs WHERE service = ? AND revision = ?", key
        ).fetchone()
        if found is None:
            self._db.execute("INSERT INTO specs VALUES (?, ?, ?)", (*key, text))
        elif found[0] != text and from_json(found[0], ServiceSpec) != spec:
            raise ValueError(f"{task.id}: its spec is not that of revision {task.revision}")
        self._written[key] = task.spec

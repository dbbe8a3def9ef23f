"""The manager's rows as SQLite's, and back, without loss. What cannot be read is named.

Text that is no UTF-8 is a fault of its row alone (store/text.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec

from warren.model.cluster import Desired, Entry, NodeRow, RowFault, ServiceRow, Snapshot, TaskRow
from warren.model.decode import DecodeError, from_json, to_json
from warren.model.event import EventFacts, kind_named, word_of
from warren.model.event_bounds import bounded
from warren.model.identity import TaskId
from warren.model.node_description import UNDESCRIBED, NodeDescription
from warren.model.service import ServiceSpec
from warren.model.task import MOST_COUNTED, TaskStatus
from warren.store.text import check_text, decoded, raw, readable

T = TypeVar("T")
LARGEST = 2**53  # of a count or a time: what every reader of JSON can hold
Columns = tuple[Any, ...]

SERVICES = (
    "name, version, revision, created_at, updated_at, is_removing, first_number, spec,"
    " restarts_asked"
)
TASKS = (
    "service, slot, number, revision, replicas, node, desired, stop_reason, created_at,"
    " not_before, failed_before, epoch, status, restarts_before, restarts_asked"
)
NODES = "name, id, epoch, joined_at, lost_at, warren, has_stopped, description"
EVENTS = "at, kind, subject, service, reason, message, principal, facts"
_SERVICES = f"SELECT {SERVICES} FROM services ORDER BY name"  # noqa: S608
_TASKS = f"SELECT {TASKS} FROM tasks ORDER BY service, slot, number"  # noqa: S608
_NODES = f"SELECT {NODES} FROM nodes ORDER BY name"  # noqa: S608

LONGEST_MESSAGE = 16_000  # characters: what a peer receives of an event; older ones may be longer


class RowReader:
    """Reads a database's rows. A spec is decoded once and shared by the tasks made of it.

    A row that cannot be read is left out, and stands in `faults`.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        db.text_factory = decoded
        self._db = db
        self.faults: list[RowFault] = []
        self._specs: dict[tuple[str, int, int | None], ServiceSpec] = {}

    def services(self) -> tuple[ServiceRow, ...]:
        """By name."""
        rows = self._db.execute(_SERVICES)
        return tuple(self._each("services", rows, 1, "{}".format, _service))

    def tasks(self) -> tuple[TaskRow, ...]:
        """By service, slot and number."""
        specs = self._db.execute("SELECT service, revision, spec FROM specs")
        for (*place, _), spec in self._each("specs", specs, 2, "{} at revision {}".format, _spec):
            self._specs[place[0], place[1], None] = spec
        rows = self._db.execute(_TASKS)
        return tuple(self._each("tasks", rows, 3, "{}.{}#{}".format, self._task))

    def nodes(self) -> tuple[NodeRow, ...]:
        """By name."""
        rows = self._db.execute(_NODES)
        return tuple(self._each("nodes", rows, 1, "{}".format, _node))

    def _each(
        self,
        table: str,
        rows: sqlite3.Cursor,
        keys: int,
        key: Callable[..., str],
        read: Callable[[Columns], T],
    ) -> Iterator[T]:
        names = [column[0] for column in rows.description]
        for row in rows:
            try:
                check_text(names, row)
                yield read(row)
            except (DecodeError, ValueError, LookupError) as error:
                said = str(error.named() if isinstance(error, DecodeError) else error)
                shown = [readable(value) for value in row[:keys]]
                self.faults.append(
                    RowFault(
                        table=table,
                        owner=str(shown[0]),
                        key=key(*shown),
                        columns=tuple(raw(value) for value in row[:keys]),
                        said=said,
                    )
                )

    def _task(self, row: Columns) -> TaskRow:
        service, slot, number, revision, replicas, node, desired, *rest = row
        stop_reason, created_at, not_before, failed_before, epoch, status, *counts = rest
        restarts_before, restarts_asked = counts
        _check(
            number=number,
            created_at=created_at,
            not_before=not_before,
            failed_before=failed_before,
            restarts_before=restarts_before,
            restarts_asked=restarts_asked,
            epoch=epoch,
        )
        return TaskRow(
            id=TaskId(service, slot, number),
            revision=revision,
            spec=self._shared(service, revision, replicas),
            status=_checked_json(status, TaskStatus),
            created_at=created_at,
            node=node,
            desired=Desired(desired),
            stop_reason=stop_reason,
            not_before=not_before,
            failed_before=failed_before,
            restarts_before=restarts_before,
            restarts_asked=restarts_asked,
            epoch=epoch,
        )

    def _shared(self, service: str, revision: int, replicas: int) -> ServiceSpec:
        key = (service, revision, replicas)
        if key not in self._specs:
            bare = self._specs.get((service, revision, None))
            if bare is None:
                raise ValueError(f"its spec, revision {revision}, is not there or not readable")
            self._specs[key] = msgspec.structs.replace(bare, replicas=replicas)
        return self._specs[key]


def snapshot_of(db: sqlite3.Connection, generation: int) -> Snapshot:
    """All rows, except those of services with an unreadable row; a node whose row cannot be read
    counts as lost, with an epoch that none of its tasks exceeds."""
    reader = RowReader(db)
    services, tasks, nodes = reader.services(), reader.tasks(), reader.nodes()
    faults = [*reader.faults, *_nameless(reader.faults, services, tasks)]
    unread = {fault.owner for fault in faults if fault.table != "nodes"}
    return Snapshot(
        generation=generation,
        services=tuple(row for row in services if row.name not in unread),
        tasks=tuple(row for row in tasks if row.id.service not in unread),
        nodes=(*nodes, *(_lost_node(name, tasks) for name in _lost(faults, nodes, tasks))),
        faults=tuple(faults),
    )


def _nameless(
    faults: Sequence[RowFault], services: Iterable[ServiceRow], tasks: Iterable[TaskRow]
) -> Iterator[RowFault]:
    """A service whose name cannot be read is one that tasks belong to: otherwise these tasks would
    be ended, as tasks of a service that does not exist."""
    if not any(_is_nameless(fault, "services") for fault in faults):
        return
    there = {*(row.name for row in services), *(fault.owner for fault in faults)}
    for name in sorted({row.id.service for row in tasks} - there):
        said = "its row is not there, or is one whose name cannot be read"
        yield RowFault(table="services", owner=name, key=name, columns=(name,), said=said)


def _lost(
    faults: Sequence[RowFault], nodes: Iterable[NodeRow], tasks: Iterable[TaskRow]
) -> list[str]:
    """Nodes with tasks whose own rows cannot be read, also where the name cannot."""
    here = [fault for fault in faults if fault.table == "nodes"]
    names = {fault.owner for fault in here if not _is_nameless(fault, "nodes")}
    if len(names) < len(here):
        names |= {row.node for row in tasks if row.node is not None} - {row.name for row in nodes}
    return sorted(names)


def _is_nameless(fault: RowFault, table: str) -> bool:
    return fault.table == table and isinstance(fault.columns[0], bytes)


def _lost_node(name: str, tasks: Iterable[TaskRow]) -> NodeRow:
    epoch = max((row.epoch for row in tasks if row.node == name), default=0)
    return NodeRow(name=name, id="", epoch=epoch, joined_at=0.0)


def bare(spec: ServiceSpec) -> ServiceSpec:
    """A spec as `specs` keeps it: without the number of replicas, which tasks have a column for."""
    return msgspec.structs.replace(spec, replicas=1)


def json_of(value: object) -> str:
    """A value as it stands in a column: text, so that SQLite's own tools can read it."""
    return to_json(value).decode()


def service_columns(row: ServiceRow) -> Columns:
    """In the order of SERVICES."""
    return (
        row.name,
        row.version,
        row.revision,
        row.created_at,
        row.updated_at,
        row.is_removing,
        row.first_number,
        json_of(row.spec),
        row.restarts_asked,
    )


def task_columns(row: TaskRow) -> Columns:
    """In the order of TASKS."""
    return (
        row.id.service,
        row.id.slot,
        row.id.number,
        row.revision,
        row.spec.replicas,
        row.node,
        row.desired.value,
        row.stop_reason,
        row.created_at,
        row.not_before,
        row.failed_before,
        row.epoch,
        json_of(row.status),
        row.restarts_before,
        row.restarts_asked,
    )


def node_columns(row: NodeRow) -> Columns:
    """In the order of NODES."""
    about = (row.name, row.id, row.epoch, row.joined_at, row.lost_at, row.warren)
    described = "" if row.description == UNDESCRIBED else json_of(row.description)
    return (*about, int(row.has_stopped), described)


def event_columns(entry: Entry) -> Columns:
    """In the order of EVENTS."""
    about = (entry.at, word_of(entry.kind, entry.word), entry.subject, entry.service)
    facts = "" if entry.facts is None else json_of(entry.facts)
    return (*about, entry.reason, entry.message, entry.by, facts)


def entry_of(row: Columns) -> Entry:
    """An event from `seq` and the columns of EVENTS, as far as it can be read."""
    seq, at, said, subject, service, reason, message, by, facts = map(readable, row)
    kind, word = kind_named(said)
    return Entry(
        seq=seq,
        at=at,
        kind=kind,
        word=word,
        subject=subject,
        service=service,
        reason=reason,
        message=message[:LONGEST_MESSAGE],
        by=by,
        facts=_facts(facts),
    )


def _facts(text: str) -> EventFacts | None:
    """None where they cannot be read, or are more than a reader takes: the rest of the event can
    be read."""
    try:
        facts = from_json(text, EventFacts) if text else None
    except DecodeError:
        return None
    return facts if facts is None or bounded(facts) == facts else None


def cost_of(row: Columns) -> int:
    """At most how many bytes the text of an event's columns takes."""
    texts = (value for value in row if isinstance(value, str | bytes))
    return sum(len(text) if text.isascii() else 4 * len(text) for text in texts)


def _service(row: Columns) -> ServiceRow:
    _, version, revision, created_at, updated_at, is_removing, *rest = row
    first_number, spec, restarts_asked = rest
    _check(
        version=version,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
        first_number=first_number,
        restarts_asked=restarts_asked,
    )
    return ServiceRow(
        spec=from_json(spec, ServiceSpec),
        version=version,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
        is_removing=bool(is_removing),
        first_number=first_number,
        restarts_asked=restarts_asked,
    )


def _spec(row: Columns) -> tuple[Columns, ServiceSpec]:
    return row, from_json(row[2], ServiceSpec)


def _node(row: Columns) -> NodeRow:
    name, identity, epoch, joined_at, lost_at, warren, has_stopped, described = row
    _check(epoch=epoch, joined_at=joined_at, lost_at=lost_at)
    return NodeRow(
        name=name,
        id=identity,
        epoch=epoch,
        joined_at=joined_at,
        lost_at=lost_at,
        warren=warren,
        has_stopped=bool(has_stopped),
        description=from_json(described, NodeDescription) if described else UNDESCRIBED,
    )


def _check(most: int = LARGEST, **columns: int | float | None) -> None:
    """Refuse what no manager has written: it would overflow, or compare wrongly."""
    for name, value in columns.items():
        if value is not None and not abs(value) <= most:  # NaN too
            raise ValueError(f"{name}: {value}: want a number of at most {most}")


def _checked_json(text: str, kind: type[T]) -> T:
    value = from_json(text, kind)
    _check_within(msgspec.to_builtins(value, enc_hook=str), "status")
    return value


_COUNTED = ("status.failed_before", "status.restarts")


def _check_within(data: object, place: str) -> None:
    if isinstance(data, dict):
        for name, value in cast("dict[object, object]", data).items():
            _check_within(value, f"{place}.{name}")
    elif isinstance(data, list):
        for value in cast("list[object]", data):
            _check_within(value, place)
    elif isinstance(data, int | float):
        _check(MOST_COUNTED if place in _COUNTED else LARGEST, **{place: data})

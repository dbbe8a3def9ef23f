"""The state of the cluster: all rows in memory, with their indexes. Only `apply` changes it.

    snapshot --of--> ClusterState --apply(changes)--> Touched: what a commit has touched

A change costs the same however many rows there are, but for a new revision of a service, which
looks at the service's slots once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    DropService,
    DropTask,
    NodeRow,
    PutNode,
    PutService,
    PutTask,
    ServiceRow,
    Snapshot,
    TaskRow,
)
from warren.model.identity import TaskId
from warren.rules.health import is_over
from warren.state.node_usage import NodeUsage
from warren.state.pending import PendingTasks
from warren.state.slot_index import SlotIndex

_NO_SLOTS = SlotIndex()  # of a service that has none; never changed


@dataclass(eq=True)
class Touched:
    """The rows that commits have touched; two of them are merged by `|=`.

    `slots`: the slots of each service to look at again; an empty set: its row, so how many there
    are; None: all of it. `nodes`: nodes that have changed, or what is on them. `assigned`: the
    tasks of each node whose assignment to it has begun, changed or ended; a status alone changes
    none. `services`: rows that were put or dropped.
    """

    slots: dict[str, set[int] | None] = field(default_factory=dict[str, set[int] | None])
    nodes: set[str] = field(default_factory=set[str])
    assigned: dict[str, set[TaskId]] = field(default_factory=dict[str, set[TaskId]])
    services: set[str] = field(default_factory=set[str])

    @classmethod
    def everything(cls, cluster: ClusterState) -> Touched:
        """Everything: a manager begins with it."""
        return cls(
            slots=dict.fromkeys(cluster.services),
            nodes=set(cluster.nodes),
            assigned={node: set(cluster.on_node(node)) for node in cluster.nodes},
            services=set(cluster.services),
        )

    def __ior__(self, other: Touched) -> Touched:
        for service, slots in other.slots.items():
            self._add(service, slots)
        self.nodes |= other.nodes
        for node, tasks in other.assigned.items():
            self.assigned.setdefault(node, set()).update(tasks)
        self.services |= other.services
        return self

    def add_task(self, task: TaskId) -> None:
        """A task's row was put or dropped."""
        self._add(task.service, (task.slot,))

    def add_assignment(self, task: TaskId, *rows: TaskRow | None) -> None:
        """A task's assignment has changed between these rows."""
        for row in rows:
            if row is not None and row.node is not None:
                self.assigned.setdefault(row.node, set()).add(task)

    def add_service(self, service: str, *, whole: bool) -> None:
        """A service's row was put or dropped; `whole`: that concerns every slot."""
        self.services.add(service)
        self._add(service, None if whole else ())

    def _add(self, service: str, slots: Iterable[int] | None) -> None:
        known = self.slots.setdefault(service, set())
        if slots is None:
            self.slots[service] = None
        elif known is not None:
            known.update(slots)


class ClusterState:
    """All services, tasks and nodes at one generation."""

    def __init__(self) -> None:
        self.generation = 0
        self._services: dict[str, ServiceRow] = {}
        self._tasks: dict[TaskId, TaskRow] = {}
        self._nodes: dict[str, NodeRow] = {}
        self._slots: dict[str, SlotIndex] = {}
        self._usage = NodeUsage()
        self._waiting = PendingTasks()
        self._absent = set[str]()
        self._changing = set[str]()

    @classmethod
    def of(cls, snapshot: Snapshot) -> ClusterState:
        """The state that these rows are."""
        cluster = cls()
        changes: list[Change] = [PutNode(row) for row in snapshot.nodes]
        changes += [PutService(row) for row in snapshot.services]
        changes += [PutTask(row) for row in snapshot.tasks]
        cluster.apply(changes, snapshot.generation)
        return cluster

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.statistics().items())
        return f"<ClusterState at {self.generation}: {counts}>"

    def statistics(self) -> dict[str, int]:
        """The number of rows of each kind."""
        return {
            "services": len(self._services),
            "tasks": len(self._tasks),
            "alive": sum(slots.alive for slots in self._slots.values()),
            "unplaced": len(self._waiting),
            "nodes": len(self._nodes),
        }

    # Rows

    @property
    def services(self) -> Mapping[str, ServiceRow]:
        """By name."""
        return self._services

    @property
    def tasks(self) -> Mapping[TaskId, TaskRow]:
        """All that are kept, ended ones too."""
        return self._tasks

    @property
    def nodes(self) -> Mapping[str, NodeRow]:
        """By name."""
        return self._nodes

    @property
    def absent(self) -> Collection[str]:
        """Nodes that have lost their session, and unknown ones that have tasks."""
        return self._absent

    @property
    def changing(self) -> Collection[str]:
        """Services that have outdated slots."""
        return self._changing

    @property
    def waiting(self) -> PendingTasks:
        """The tasks that are not placed."""
        return self._waiting

    def slots(self, service: str) -> SlotIndex:
        """A service's slots, indexed."""
        return self._slots.get(service, _NO_SLOTS)

    def current(self, service: str) -> list[TaskRow]:
        """The current task of every slot that is the service's or not empty yet, in the order of
        slots."""
        slots = self.slots(service)
        return [slots.chain(slot)[-1] for slot in sorted(slots.shown)]

    def is_over(self, service: str) -> bool:
        """Whether it is gone, or nothing follows the tasks that it has; see `rules.health`."""
        row = self._services.get(service)
        if row is None:
            return True
        is_changing = row.is_removing or bool(self.slots(service).outdated)
        current = [task.status for task in self.current(service)]
        return is_over(row.spec, current, is_changing=is_changing)

    def slot(self, service: str, slot: int) -> Sequence[TaskRow]:
        """The kept tasks of a slot, oldest first."""
        return self.slots(service).chain(slot)

    def of_service(self, service: str) -> list[TaskRow]:
        """All kept tasks of a service, ended ones too, by id."""
        slots = self.slots(service)
        return [row for slot in slots.numbers() for row in slots.chain(slot)]

    def on_node(self, node: str) -> Collection[TaskId]:
        """The tasks that are placed there and have not ended."""
        return self._usage.on(node)

    def count_on(self, node: str, service: str | None = None) -> int:
        """How many `on_node` has, of one service or all."""
        return self._usage.count(node, service)

    def holder(self, node: str, port: int) -> TaskId | None:
        """The task that holds a fixed port of a node."""
        return self._usage.holder(node, port)

    # Changes

    def apply(self, changes: Iterable[Change], generation: int) -> Touched:
        """Apply the changes committed as this generation."""
        touched = Touched()
        for change in changes:
            self._apply(change, touched)
        self.generation = generation
        return touched

    def _apply(self, change: Change, touched: Touched) -> None:
        match change:
            case PutTask(row):
                self._change_task(row.id, row, touched)
            case DropTask(task):
                self._change_task(task, None, touched)
            case PutService(row):
                self._put_service(row, touched)
            case DropService(name):
                self._drop_service(name, touched)
            case PutNode(row):
                self._nodes[row.name] = row
                self._note_node(row.name, touched)
            case DropNode(name):
                self._nodes.pop(name, None)
                self._note_node(name, touched)
            case AddEvent():
                pass

    def _put_service(self, row: ServiceRow, touched: Touched) -> None:
        before = self._services.get(row.name)
        self._services[row.name] = row
        self._slots.setdefault(row.name, SlotIndex()).set_service(row)
        self._note_slots(row.name)
        is_resized = before is not None and _but_for_size(before) == _but_for_size(row)
        touched.add_service(row.name, whole=not is_resized)

    def _drop_service(self, name: str, touched: Touched) -> None:
        for row in self.of_service(name):
            self._change_task(row.id, None, touched)
        self._services.pop(name, None)
        self._slots.pop(name, None)
        self._changing.discard(name)
        touched.add_service(name, whole=True)

    def _change_task(self, task: TaskId, row: TaskRow | None, touched: Touched) -> None:
        before = self._tasks.pop(task, None)
        if row is not None:
            self._tasks[task] = row
            if task.service not in self._slots:
                self._slots[task.service] = SlotIndex()
            self._slots[task.service].put(row)
        elif before is not None:
            self._slots[task.service].drop(before)
        self._note_slots(task.service)
        touched.add_task(task)
        if _assigned(before) != _assigned(row):
            touched.add_assignment(task, before, row)
        if _standing(before) != _standing(row):
            self._settle(before, row, touched)

    def _settle(self, before: TaskRow | None, row: TaskRow | None, touched: Touched) -> None:
        """A task's node has changed, or what is wanted of it there."""
        for old in _alive(before):
            if old.node is None:
                self._waiting.remove(old)
            else:
                self._usage.remove(old, old.node)
                self._note_node(old.node, touched)
        for new in _alive(row):
            if new.node is None:
                self._waiting.add(new)
            else:
                self._usage.add(new, new.node)
                self._note_node(new.node, touched)

    def _note_slots(self, service: str) -> None:
        if self.slots(service).outdated:
            self._changing.add(service)
        else:
            self._changing.discard(service)

    def _note_node(self, name: str, touched: Touched) -> None:
        touched.nodes.add(name)
        row = self._nodes.get(name)
        if row.lost_at is not None if row is not None else self._usage.on(name):
            self._absent.add(name)
        else:
            self._absent.discard(name)


def _alive(row: TaskRow | None) -> Iterator[TaskRow]:
    """The task, if there is one and it has not ended."""
    if row is not None and not row.has_ended:
        yield row


def _standing(row: TaskRow | None) -> tuple[object, ...] | None:
    """What the nodes' indexes depend on."""
    if row is None or row.has_ended:
        return None
    return (row.node, row.not_before, row.desired)


def _assigned(row: TaskRow | None) -> tuple[object, ...] | None:
    """What a node is sent of it: a session sends it again where this has changed."""
    if row is None or row.has_ended or row.node is None:
        return None
    return (row.node, row.desired, row.revision)


def _but_for_size(row: ServiceRow) -> tuple[int, bool]:
    return (row.revision, row.is_removing)

"""A plan being built: the cluster as it will be, the rows for that, and the events.

The state itself is not changed; what the builder does not have is read from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from warren.model.cluster import (
    AddEvent,
    Change,
    Desired,
    DropService,
    DropTask,
    Entry,
    NodeRow,
    PutTask,
    ServiceRow,
    TaskRow,
)
from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.scheduler.placement import PlacementRequest, Refusal, SpreadRanking, explain
from warren.state.cluster_state import ClusterState
from warren.state.node_usage import fixed_ports
from warren.state.slot_index import restarts_in

MESSAGE_LIMIT = 4000  # characters of an event: a node's message of an end may be longer


class PlanBuilder:
    """Implements `Places`. `now` is wall time, `lease` is in seconds; see `plan` for `aside` and
    `most`."""

    def __init__(
        self,
        cluster: ClusterState,
        *,
        now: float,
        connected: Collection[str],
        lease: float,
        aside: Collection[str] = (),
        most: int | None = None,
    ) -> None:
        self.now = now
        self.aside = aside
        self._most = most
        self._cluster = cluster
        self._connected = connected
        self._lease = lease
        self._rows: dict[TaskId, TaskRow] = {}
        self._created: dict[str, dict[int, TaskId]] = {}  # service -> slot -> its new task
        self._touched: dict[str, set[int]] = {}  # service -> slots
        self._ended: dict[str, int] = {}  # service -> how many tasks
        self._dropped: list[TaskId] = []
        self._purged: list[str] = []
        self._entries: list[Entry] = []
        self._counts: dict[tuple[str, str | None], int] = {}
        self._holders: dict[tuple[str, int], TaskId] = {}
        self._spreads: dict[str, SpreadRanking] = {}
        self._refusals: dict[str, Refusal] = {}

    def __repr__(self) -> str:
        return f"<PlanBuilder on {self._cluster.generation}: {len(self._rows)} tasks>"

    @property
    def is_full(self) -> bool:
        """Whether it has as many tasks as one plan is to change."""
        return self._most is not None and len(self._rows) >= self._most

    def changes(self) -> tuple[Change, ...]:
        """Rows first; events last, as a service's removal purges those before it."""
        return (
            *(PutTask(row) for row in self._rows.values()),
            *(DropTask(task) for task in self._dropped),
            *(DropService(name) for name in self._purged),
            *(AddEvent(entry) for entry in self._entries),
        )

    # The cluster as it will be

    @property
    def nodes(self) -> Mapping[str, NodeRow]:
        return self._cluster.nodes

    def count_on(self, node: str, service: str | None = None) -> int:
        return self._cluster.count_on(node, service) + self._counts.get((node, service), 0)

    def holder(self, node: str, port: int) -> TaskId | None:
        return self._holders.get((node, port)) or self._cluster.holder(node, port)

    def is_down(self, node: str | None) -> bool:
        """Whether it has lost its session, and its lease has run out (S20)."""
        if node is None or node in self._connected:
            return False
        row = self._cluster.nodes.get(node)
        if row is None:
            return True
        return row.lost_at is not None and self.now >= row.lost_at + self._lease

    def service(self, name: str) -> ServiceRow | None:
        """A service to be planned for; None where there is none, or it is aside."""
        return None if name in self.aside else self._cluster.services.get(name)

    def row(self, task: TaskId) -> TaskRow:
        """A task as it will be."""
        return self._rows.get(task) or self._cluster.tasks[task]

    def chain(self, service: str, slot: int) -> list[TaskRow]:
        """The tasks of a slot, oldest first."""
        rows = [self.row(row.id) for row in self._cluster.slot(service, slot)]
        created = self._created.get(service, {}).get(slot)
        return rows if created is None else [*rows, self.row(created)]

    def created(self) -> list[TaskRow]:
        """The new tasks."""
        return [self.row(task) for made in self._created.values() for task in made.values()]

    def touched(self) -> Mapping[str, set[int]]:
        """The slots, by service, that have a task that is new or changed."""
        return self._touched

    def alive(self, service: str) -> int:
        """How many tasks of a service that gets no new ones have not ended."""
        return self._cluster.slots(service).alive - self._ended.get(service, 0)

    # Changes

    def put(self, row: TaskRow) -> None:
        """A task's row is to be this."""
        if row.has_ended and not self.row(row.id).has_ended:
            service = row.id.service
            self._ended[service] = self._ended.get(service, 0) + 1
        self._write(row)

    def create(
        self,
        service: ServiceRow,
        slot: int,
        *,
        failed_before: int = 0,
        last_end: End | None = None,
        not_before: float | None = None,
        reason: str | None = None,
    ) -> TaskRow:
        """A new task in a slot, of the service's present spec; not placed yet."""
        chain = self.chain(service.name, slot)
        number = max(service.first_number, chain[-1].id.number + 1 if chain else 1)
        task = TaskId(service.name, slot, number)
        row = TaskRow(
            id=task,
            revision=service.revision,
            spec=service.spec,
            status=TaskStatus(
                id=task,
                phase=Phase.PENDING,
                failed_before=failed_before,
                last_end=last_end,
                pending_reason=reason,
                restart_at=not_before,
            ),
            created_at=self.now,
            not_before=not_before,
            failed_before=failed_before,
            restarts_before=restarts_in(chain),
            restarts_asked=service.restarts_asked,
        )
        self._created.setdefault(service.name, {})[slot] = task
        self._write(row)
        return row

    def stop(self, row: TaskRow, reason: str) -> None:
        """A task is to end. One without a node, or whose node is down, has ended."""
        row = self.to_stop(row, reason)
        is_lost = self.is_down(row.node)
        if row.has_ended or not (row.node is None or is_lost):
            self.put(row)
        else:
            self.end(row, Phase.STOPPED, self.loss(row) if is_lost else row.status.last_end)

    def end(self, row: TaskRow, phase: Phase, end: End | None) -> None:
        """Declare a task's end."""
        status = msgspec.structs.replace(
            row.status,
            phase=phase,
            ready=False,
            last_end=end,
            pending_reason=None,
            restart_at=None,
            probes={},
        )
        self.put(msgspec.structs.replace(row, status=status))

    def to_stop(self, row: TaskRow, reason: str) -> TaskRow:
        """The row of a task that is to stop."""
        return msgspec.structs.replace(row, desired=Desired.STOP, stop_reason=reason)

    def loss(self, row: TaskRow) -> End:
        """The end of a task whose node is down."""
        what = "is down" if row.node in self._cluster.nodes else "was removed"
        return End(reason=Reason.LOST, message=f"node {row.node} {what}", at=self.now)

    def drop(self, task: TaskId) -> None:
        """Forget a task that has ended."""
        self._dropped.append(task)

    def purge(self, service: str) -> None:
        """Forget a service and everything of it."""
        self._purged.append(service)
        self.say(EventKind.REMOVED, service, f"service {service} is removed", service=service)

    def _write(self, row: TaskRow) -> None:
        self._rows[row.id] = row
        self._touched.setdefault(row.id.service, set()).add(row.id.slot)

    # Places

    def is_connected(self, node: str | None) -> bool:
        """Whether it has a session."""
        return node in self._connected

    def choose(self, service: ServiceRow) -> str | Refusal:
        """A node for a task of this service's present spec."""
        spread = self._spreads.get(service.name)
        if spread is None:
            spread = SpreadRanking(self._request(service))
            self._spreads[service.name] = spread
        best = spread.best()
        return self._refusal(service) if best is None else best

    def assign(self, row: TaskRow, node: str) -> None:
        """Place a task."""
        status = msgspec.structs.replace(
            row.status, phase=Phase.ASSIGNED, pending_reason=None, restart_at=None
        )
        self.put(msgspec.structs.replace(row, node=node, status=status))
        for key in ((node, None), (node, row.id.service)):
            self._counts[key] = self._counts.get(key, 0) + 1
        for port in fixed_ports(row.spec).values():
            self._holders[node, port] = row.id
        self.tell(row, EventKind.PLACED, f"placed on {node}", facts=EventFacts(node=node))

    def hold_back(self, row: TaskRow, reason: str) -> bool:
        """Say why a task is not placed; whether that is news."""
        status = row.status
        if status.pending_reason == reason:
            return False
        status = msgspec.structs.replace(status, pending_reason=reason, restart_at=None)
        self.put(msgspec.structs.replace(row, status=status))
        return True

    def _refusal(self, service: ServiceRow) -> Refusal:
        if service.name not in self._refusals:
            self._refusals[service.name] = explain(self._request(service))
        return self._refusals[service.name]

    def _request(self, service: ServiceRow) -> PlacementRequest:
        return PlacementRequest(self, service.spec, self._connected, self.is_down)

    # Events

    def tell(
        self,
        row: TaskRow,
        kind: EventKind,
        message: str,
        *,
        reason: str = "",
        facts: EventFacts | None = None,
    ) -> None:
        """An event about a task."""
        self.say(kind, str(row.id), message, reason=reason, service=row.id.service, facts=facts)

    def say(
        self,
        kind: EventKind,
        subject: str,
        message: str,
        *,
        reason: str = "",
        service: str,
        facts: EventFacts | None = None,
    ) -> None:
        """Keep an event. Its message is one line, whatever ended a task."""
        entry = Entry(
            at=self.now,
            kind=kind,
            subject=subject,
            message=" ".join(message.split())[:MESSAGE_LIMIT],
            reason=reason,
            service=service,
            facts=facts,
        )
        self._entries.append(entry)

    # Time

    def wake_at(self) -> float | None:
        """When there is something to plan even if nothing changes."""
        return min(self._deadlines(), default=None)

    def _deadlines(self) -> Iterator[float]:
        for name in self._cluster.absent:
            row = self._cluster.nodes.get(name)
            if row is None or self.is_connected(name) or self.is_down(name):
                continue
            if row.lost_at is not None:
                yield row.lost_at + self._lease
        for not_before, task in self._cluster.waiting.later(self.now):
            if not self.row(task).has_ended:
                yield not_before
                break
        for row in self.created():
            if row.node is None and row.not_before is not None and not row.has_ended:
                yield row.not_before

"""A world that is planned for step by step, with every promise of a plan checked on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from warren.model.check import Argv
from warren.model.cluster import (
    AddEvent,
    Change,
    Entry,
    NodeRow,
    Plan,
    PutNode,
    PutService,
    PutTask,
    ServiceRow,
    Snapshot,
    TaskRow,
)
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.rules.merge import merge
from warren.scheduler.plan_lint import lint
from warren.scheduler.planner import plan
from warren.state.cluster_state import ClusterState, Touched

LEASE = 30.0  # seconds
START = 1_000_000.0  # wall time


def tid(text: str) -> TaskId:
    return TaskId.parse(text)


def spec(name: str = "web", replicas: int = 1, **fields: Any) -> ServiceSpec:
    return ServiceSpec(name=name, command=Argv(["run"]), replicas=replicas, **fields)


def failure(message: str = "exit code 1") -> End:
    return End(reason=Reason.EXITED, message=message, at=START, exit_code=1)


def service_row(wanted: ServiceSpec, **fields: Any) -> ServiceRow:
    given: dict[str, Any] = {"version": 1, "revision": 1, "created_at": START, "updated_at": START}
    return ServiceRow(spec=wanted, **(given | fields))


def node_row(name: str, **fields: Any) -> NodeRow:
    given: dict[str, Any] = {"id": f"id-{name}", "epoch": 1, "joined_at": START}
    return NodeRow(name=name, **(given | fields))


def task_row(text: str, wanted: ServiceSpec | None = None, **fields: Any) -> TaskRow:
    """A task's row; `phase` and `ready` go to its status."""
    task = tid(text)
    status = TaskStatus(
        id=task,
        phase=fields.pop("phase", Phase.RUNNING),
        ready=fields.pop("ready", False),
        pending_reason=fields.pop("pending_reason", None),
        sequence=fields.pop("sequence", 0),
    )
    given: dict[str, Any] = {"revision": 1, "created_at": START, "status": status}
    return TaskRow(id=task, spec=wanted or spec(task.service), **(given | fields))


def snapshot_of(world: ClusterState) -> Snapshot:
    return Snapshot(
        generation=world.generation,
        services=tuple(world.services.values()),
        tasks=tuple(world.tasks.values()),
        nodes=tuple(world.nodes.values()),
    )


def indexes(thing: object) -> object:
    """Everything in a world, to be compared: whatever it has, by whatever name."""
    if isinstance(thing, dict):
        return {key: indexes(value) for key, value in thing.items()}  # pyright: ignore
    if type(thing).__module__.startswith(("warren.rules", "warren.state", "warren.scheduler")):
        return indexes(vars(thing))
    return thing


class Planned:
    """A cluster without anything that runs: tests are its nodes and its users."""

    def __init__(self, *nodes: str) -> None:
        self.cluster = ClusterState.of(Snapshot())
        self.touched = Touched()
        self.now = START
        self.connected = set[str]()
        self.events: list[Entry] = []
        self.last = Plan(based_on=0)
        for name in nodes:
            self.join(name)

    # Users

    def create(self, wanted: ServiceSpec, **fields: Any) -> None:
        self.commit([PutService(service_row(wanted, created_at=self.now, **fields))])

    def edit(self, name: str, **fields: Any) -> None:
        """A change of spec, or of the number of replicas alone."""
        row = self.cluster.services[name]
        new = msgspec.structs.replace(row.spec, **fields)
        revision = row.revision if fields.keys() == {"replicas"} else row.version + 1
        self._put_service(row, spec=new, revision=revision)

    def scale(self, name: str, replicas: int) -> None:
        self.edit(name, replicas=replicas)

    def update(self, name: str, **fields: Any) -> None:
        self.edit(name, **(fields or {"env": {"V": str(self.cluster.services[name].version)}}))

    def restart(self, name: str) -> None:
        row = self.cluster.services[name]
        again = row.restarts_asked + 1
        self._put_service(row, revision=row.version + 1, restarts_asked=again)

    def remove(self, name: str) -> None:
        self._put_service(self.cluster.services[name], is_removing=True)

    def _put_service(self, row: ServiceRow, **fields: Any) -> None:
        new = msgspec.structs.replace(row, version=row.version + 1, **fields)
        self.commit([PutService(new)])

    # Nodes

    def join(self, name: str, **fields: Any) -> None:
        row = self.cluster.nodes.get(name)
        epoch = 1 if row is None else row.epoch + 1
        self.connected.add(name)
        self.commit([PutNode(node_row(name, epoch=epoch, **fields))])

    def lose(self, name: str) -> None:
        self.connected.discard(name)
        row = msgspec.structs.replace(self.cluster.nodes[name], lost_at=self.now)
        self.commit([PutNode(row)])

    def report(self, task: str | TaskId, phase: Phase, **fields: Any) -> None:
        """What a task's node says of it, later than anything before."""
        row = self.cluster.tasks[tid(task) if isinstance(task, str) else task]
        status = msgspec.structs.replace(
            row.status, phase=phase, sequence=row.status.sequence + 1, **({"ready": False} | fields)
        )
        merged = merge(row, status, epoch=row.epoch)
        self.commit([PutTask(merged)] if merged is not None else [])

    def ready(self, *tasks: str) -> None:
        for task in tasks:
            self.report(task, Phase.RUNNING, ready=True)

    def fail(self, task: str | TaskId, message: str = "exit code 1", **fields: Any) -> None:
        self.report(task, Phase.FAILED, last_end=failure(message), **fields)

    # The manager

    def commit(self, changes: Iterable[Change], based_on: int | None = None) -> None:
        assert based_on in (None, self.cluster.generation)
        changes = list(changes)
        if not changes:
            return
        self.touched |= self.cluster.apply(changes, self.cluster.generation + 1)
        self.events += [change.entry for change in changes if isinstance(change, AddEvent)]
        assert indexes(self.cluster) == indexes(ClusterState.of(snapshot_of(self.cluster)))

    def made(self, touched: Touched) -> Plan:
        return plan(self.cluster, touched, now=self.now, connected=self.connected, lease=LEASE)

    def settle(self, seconds: float = 0.0) -> Plan:
        """Let time pass, plan, and commit; the plan must be fit and leave nothing to do."""
        self.now += seconds
        touched, self.touched = self.touched, Touched()
        made = self.last = self.made(touched)
        assert self.made(touched) == made, "a plan is not a function of the world"
        assert lint(self.cluster, made, connected=self.connected) == []
        self.commit(made.changes, made.based_on)
        again = self.made(Touched.everything(self.cluster))
        assert again.changes == (), "something is left to do"
        assert again.wake_at == made.wake_at
        assert made.wake_at is None or made.wake_at > self.now
        for task in self.cluster.waiting.due(self.now):
            assert self.cluster.tasks[task].status.pending_reason, "S26"
        return made

    # What is

    def row(self, task: str) -> TaskRow:
        return self.cluster.tasks[tid(task)]

    def current(self, service: str = "web") -> list[str]:
        return [str(row.id) for row in self.cluster.current(service)]

    def nodes(self, service: str = "web") -> dict[str, str | None]:
        return {str(row.id): row.node for row in self.cluster.current(service)}

    def told(self, kind: str) -> list[str]:
        return [entry.message for entry in self.events if entry.kind.value == kind]


def running(replicas: int = 1, *nodes: str, **fields: Any) -> Planned:
    """A service `web` whose tasks are all ready."""
    planned = Planned(*(nodes or ("n1",)))
    planned.create(spec(replicas=replicas, **fields))
    planned.settle()
    planned.ready(*planned.current())
    planned.settle()
    return planned


def in_pieces(planned: Planned, most: int) -> int:
    """Plan and commit until there is nothing left; gives the most tasks of one plan."""
    touched, planned.touched = planned.touched, Touched()
    largest = 0
    while True:
        made = plan(
            planned.cluster, touched, now=planned.now, connected=planned.connected, lease=LEASE,
            most=most,
        )  # fmt: skip
        if not made.changes:
            return largest
        largest = max(largest, sum(isinstance(change, PutTask) for change in made.changes))
        assert lint(planned.cluster, made, connected=planned.connected) == []
        planned.commit(made.changes)


def chain(planned: Planned, slot: int = 1) -> list[str]:
    rows = planned.cluster.slot("web", slot)
    return [f"{row.id} {row.desired.value} {row.phase.name}" for row in rows]

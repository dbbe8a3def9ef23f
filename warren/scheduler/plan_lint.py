"""The rules that every plan must keep. Independent of the planner: it catches the planner's bugs
before they are committed.

Its cost grows with the plan, not with the cluster.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from warren.model.cluster import (
    AddEvent,
    Change,
    Desired,
    DropService,
    DropTask,
    Entry,
    Plan,
    PutTask,
    ServiceRow,
    TaskRow,
)
from warren.model.identity import TaskId
from warren.model.service import PROBES
from warren.rules.requirements import lack
from warren.state.cluster_state import ClusterState


def lint(cluster: ClusterState, plan: Plan, *, connected: Collection[str]) -> list[str]:
    """What is wrong with a plan, as sentences; none where it is fit to be committed."""
    if plan.based_on != cluster.generation:
        return [f"it is based on generation {plan.based_on}, and this is {cluster.generation}"]
    review = _Review(cluster, connected)
    problems = [said for change in plan.changes for said in review.take(change)]
    return problems + list(review.conclude())


class _Review:
    """Reads a plan change by change, and then checks the result."""

    def __init__(self, cluster: ClusterState, connected: Collection[str]) -> None:
        self._cluster = cluster
        self._connected = connected
        self._rows: dict[TaskId, TaskRow] = {}
        self._dropped = set[TaskId]()
        self._in_slot: dict[tuple[str, int], dict[TaskId, TaskRow]] = {}
        self._placed: dict[TaskId, TaskRow] = {}

    def take(self, change: Change) -> Iterable[str]:
        """What is wrong with one change."""
        match change:
            case PutTask(row):
                return self._take_task(row)
            case DropTask(task):
                return self._take_drop(task)
            case DropService(name):
                return self._take_removal(name)
            case AddEvent(entry):
                return _event_problems(entry)
            case _:
                return [f"{type(change).__name__} is not a plan's business"]

    def conclude(self) -> Iterator[str]:
        """What is wrong with the whole."""
        slots: dict[str, set[int]] = {}
        for task in (*self._rows, *self._dropped):
            slots.setdefault(task.service, set()).add(task.slot)
        for service, numbers in slots.items():
            for slot in sorted(numbers):
                yield from self._slot_problems(service, slot)
            yield from self._size_problems(service, numbers)
        yield from self._port_problems()

    # Change by change

    def _take_task(self, row: TaskRow) -> Iterator[str]:
        if row.id in self._rows:
            yield f"{row.id} is changed twice"
        before = self._cluster.tasks.get(row.id)
        yield from self._new_problems(row) if before is None else self._edit_problems(before, row)
        if row.node is not None and (before is None or before.node is None):
            self._placed[row.id] = row
            yield from self._place_problems(row)
        if row.node is None and not row.has_ended and not row.status.pending_reason:
            yield f"{row.id} is pending without a reason"
        self._rows[row.id] = row
        self._in_slot.setdefault((row.id.service, row.id.slot), {})[row.id] = row

    def _new_problems(self, row: TaskRow) -> Iterator[str]:
        service = self._cluster.services.get(row.id.service)
        if service is None:
            yield f"{row.id} is of no service"
            return
        others = self._after(row.id.service, row.id.slot)
        if any(row.id.number <= other.id.number for other in others):
            yield f"{row.id} is not the newest of its slot"
        if row.id.number < service.first_number:
            yield f"{row.id} uses a number below {service.first_number}, the service's first"
        if service.is_removing:
            yield f"{row.id} is new, and its service is being removed"
        made = (row.revision, row.spec, row.restarts_asked)
        if made != (service.revision, service.spec, service.restarts_asked):
            yield f"{row.id} is new, and not of its service's revision {service.revision}"
        if row.has_ended or row.desired is not Desired.RUN:
            yield f"{row.id} is new, and not to run"

    def _edit_problems(self, before: TaskRow, row: TaskRow) -> Iterator[str]:
        if not self._only_probes_change(before, row):
            if _origin(before) != _origin(row):
                yield f"{row.id} becomes another task"
            if before.spec != row.spec:
                yield f"{row.id} gets another spec"
        elif before.spec != row.spec:
            yield from self._need_problems(row)
        if before.node is not None and row.node != before.node:
            yield f"{row.id} moves from {before.node} to {row.node}"
        if before.has_ended and not row.has_ended:
            yield f"{row.id} comes back from its end"
        elif row.phase < before.phase or (before.has_ended and row.phase != before.phase):
            yield f"{row.id} goes from {before.phase.name} to {row.phase.name}"
        if before.desired is Desired.STOP and row.desired is Desired.RUN:
            yield f"{row.id} was to stop and is to run again"
        if before.node is not None and before.status != row.status:
            yield from self._foreign_problems(before, row)

    def _only_probes_change(self, before: TaskRow, row: TaskRow) -> bool:
        """A task that runs may get the probes of its service's present spec, and nothing else."""
        service = self._cluster.services.get(row.id.service)
        if service is None or before.node is None or before.has_ended:
            return False
        same = set(row.spec.__struct_fields__) - {"replicas", *PROBES}
        return (
            (row.revision, row.spec) == (service.revision, service.spec)
            and _origin(before)[1:] == _origin(row)[1:]
            and all(getattr(before.spec, name) == getattr(row.spec, name) for name in same)
        )

    def _foreign_problems(self, before: TaskRow, row: TaskRow) -> Iterator[str]:
        """The status of a placed task is its node's, but for an end where the node is gone."""
        if before.has_ended or not row.has_ended:
            yield f"{row.id} is on {before.node}, which alone says how it fares"
        elif before.node in self._connected:
            yield f"{row.id} is declared ended, and its node {before.node} is there"

    def _place_problems(self, row: TaskRow) -> Iterator[str]:
        if row.node not in self._cluster.nodes:
            yield f"{row.id} is placed on {row.node}, which is no node"
        elif row.node not in self._connected:
            yield f"{row.id} is placed on {row.node}, which is not there"
        yield from self._need_problems(row)

    def _need_problems(self, row: TaskRow) -> Iterator[str]:
        """No task is given to a node that cannot do what its spec says."""
        node = None if row.node is None else self._cluster.nodes.get(row.node)
        lacking = None if node is None else lack(node.description, row.spec)
        if lacking is not None:
            yield f"{row.id} is on {row.node}, which {lacking}"

    def _take_drop(self, task: TaskId) -> Iterator[str]:
        row = self._rows.get(task) or self._cluster.tasks.get(task)
        if row is None or task in self._dropped:
            yield f"{task} is dropped, and there is no such task"
        elif not row.has_ended:
            yield f"{task} is dropped, and has not ended"
        self._dropped.add(task)

    def _take_removal(self, name: str) -> Iterator[str]:
        service = self._cluster.services.get(name)
        if service is None or not service.is_removing:
            yield f"service {name} is dropped, and that was not asked for"
        new = (row for row in self._rows.values() if row.id.service == name)
        for row in {row.id: row for row in (*self._cluster.of_service(name), *new)}.values():
            if not row.has_ended:
                yield f"service {name} is dropped, and {row.id} has not ended"

    # The whole

    def _after(self, service: str, slot: int) -> list[TaskRow]:
        """A slot's tasks as they will be, oldest first."""
        rows = {row.id: row for row in self._cluster.slot(service, slot)}
        rows.update(self._in_slot.get((service, slot), {}))
        return [rows[task] for task in sorted(rows) if task not in self._dropped]

    def _slot_problems(self, service: str, slot: int) -> Iterator[str]:
        after = self._after(service, slot)
        alive = [row for row in after if not row.has_ended]
        running = [str(row.id) for row in alive if row.desired is Desired.RUN]
        if len(running) > 1:
            yield f"{' and '.join(running)} are both to run in one slot"
        newest = self._cluster.slot(service, slot)[-1:]
        if newest and newest[0].id in self._dropped and (not after or after[-1].id < newest[0].id):
            yield f"{newest[0].id} is dropped, and its number could be used again"
        yield from self._needless_problems(service, after)
        for row in after:
            if row.id in self._placed and alive and alive[0].id < row.id:
                yield f"{row.id} is placed before {alive[0].id} has ended"

    def _needless_problems(self, name: str, after: Sequence[TaskRow]) -> Iterator[str]:
        """No task that is as wanted is replaced by an equal one."""
        service = self._cluster.services.get(name)
        for old, new in itertools.pairwise(after):
            before = self._cluster.tasks.get(old.id)
            if new.id in self._cluster.tasks or service is None or before is None or old.has_ended:
                continue
            if before.desired is Desired.STOP:  # a slot that was dropped, and is wanted again
                continue
            same = msgspec.structs.replace(old.spec, replicas=new.spec.replicas) == new.spec
            if same and old.restarts_asked == new.restarts_asked:
                yield f"{new.id} replaces {old.id}, which is as it is wanted"

    def _size_problems(self, service: str, slots: Iterable[int]) -> Iterator[str]:
        """No more slots than are wanted; an existing excess may shrink step by step."""
        row = self._cluster.services.get(service)
        before = len(self._cluster.slots(service).held)
        after = before
        for slot in slots:
            after += _is_held(self._after(service, slot))
            after -= _is_held(self._cluster.slot(service, slot))
        wanted = _wanted(row)
        if after > max(wanted, before):
            yield f"service {service} gets {after} slots, and {wanted} are wanted"

    def _port_problems(self) -> Iterator[str]:
        held: dict[tuple[str | None, int], TaskId] = {}
        for row in self._placed.values():
            numbers = () if row.spec.has_own_address else row.spec.ports.values()
            for number in filter(None, numbers):
                other = held.get((row.node, number)) or self._holder(row.node, number)
                if other is not None:
                    yield f"{row.id} and {other} both get port {number} of {row.node}"
                held[row.node, number] = row.id

    def _holder(self, node: str | None, port: int) -> TaskId | None:
        task = None if node is None else self._cluster.holder(node, port)
        return None if task in self._rows and self._rows[task].has_ended else task


def _origin(row: TaskRow) -> tuple[int, int, float]:
    return (row.revision, row.restarts_asked, row.created_at)


def _is_held(chain: Sequence[TaskRow]) -> bool:
    return bool(chain) and chain[-1].desired is Desired.RUN


def _wanted(service: ServiceRow | None) -> int:
    return 0 if service is None or service.is_removing else service.spec.replicas


def _event_problems(entry: Entry) -> Iterator[str]:
    if not entry.message or len(entry.message.splitlines()) > 1:
        yield f"an event's message is not one line: {entry.message!r}"

"""Which changes bring the actual state nearer to the desired one: pure, and without memory.

    removal -> size -> lost nodes -> ended and outdated -> placing -> rolling change -> history

Each step sees what those before it have done, so that a plan is complete: planned again, with
nothing else changed, there is nothing left to do. It looks at touched rows, at tasks that wait
for a place, and at tasks of lost nodes; a plan costs as much as has changed.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from warren.model.cluster import Desired, Plan, ServiceRow, TaskRow
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.task import Phase
from warren.scheduler.placement import Refusal
from warren.scheduler.plan_builder import PlanBuilder
from warren.scheduler.replacement import replace_slot, roll, succeed
from warren.state.cluster_state import ClusterState, Touched
from warren.state.pending import is_due

HISTORY = 5  # ended tasks kept of a slot, besides its current one


def plan(
    cluster: ClusterState,
    touched: Touched,
    *,
    now: float,
    connected: Collection[str],
    lease: float,
    aside: Collection[str] = (),
    most: int | None = None,
) -> Plan:
    """The plan for touched rows, at wall time `now`; leases and waits move along if that jumps.
    `connected` names the nodes that have a session; `lease` is in seconds (S20). Services
    that are `aside` are skipped: they do not change. A plan stops at about `most` tasks,
    whatever step it is at: with the same touched, the next goes on where it stopped.
    """
    builder = PlanBuilder(
        cluster, now=now, connected=connected, lease=lease, aside=aside, most=most
    )
    lost = list(_settle_lost(builder, cluster))
    names = sorted({*touched.slots, *builder.touched()})
    services = [row for row in map(builder.service, names) if row is not None]
    kept = [service for service in services if not service.is_removing]
    for service in services:
        if service.is_removing:
            _remove(builder, cluster, service)
        else:
            _resize(builder, cluster, service)
    _move_lost(builder, cluster, lost)
    for service in kept:
        for slot in _slots(cluster, touched, service.name):
            if builder.is_full:
                break
            succeed(builder, service, slot)
    _place_waiting(builder, cluster)
    _roll(builder, cluster)
    _forget_old(builder, cluster, touched)
    return Plan(based_on=cluster.generation, changes=builder.changes(), wake_at=builder.wake_at())


def _settle_lost(builder: PlanBuilder, cluster: ClusterState) -> Iterator[TaskId]:
    """Tasks that were to stop on a node that is down have stopped. Returns those to run."""
    for node in sorted(cluster.absent):
        if not builder.is_down(node):
            continue
        for task in sorted(cluster.on_node(node)):
            row = cluster.tasks[task]
            if builder.is_full:
                return
            if task.service in builder.aside:
                continue
            if row.desired is Desired.RUN:
                yield task
            else:
                builder.end(row, Phase.STOPPED, builder.loss(row))


def _remove(builder: PlanBuilder, cluster: ClusterState, service: ServiceRow) -> None:
    slots = cluster.slots(service.name)
    for slot in sorted(slots.held):
        if builder.is_full:
            return
        builder.stop(slots.chain(slot)[-1], "removed")
    if not builder.alive(service.name):
        builder.purge(service.name)


def _resize(builder: PlanBuilder, cluster: ClusterState, service: ServiceRow) -> None:
    """As many slots as are wanted: the lowest free ones are added; if there are too many, unready
    ones are dropped first, then the newest."""
    slots = cluster.slots(service.name)
    wanted = service.spec.replicas
    missing = wanted - len(slots.held)
    for slot in slots.free(max(0, missing)):
        if builder.is_full:
            return
        builder.create(service, slot)
    current = (slots.chain(slot)[-1] for slot in slots.held) if missing < 0 else ()
    for row in heapq.nsmallest(-missing, current, key=_expendable):
        if builder.is_full:
            return
        builder.stop(row, f"scaled down to {wanted}")


def _expendable(row: TaskRow) -> tuple[bool, float, int]:
    return (row.status.ready, -row.created_at, -row.id.slot)


def _move_lost(builder: PlanBuilder, cluster: ClusterState, lost: Iterable[TaskId]) -> None:
    """Replace tasks of nodes that are down, as far as another can take them now; the rest is left
    where it is, in case the node comes back (S20)."""
    for task in lost:
        if builder.is_full:
            return
        row = builder.row(task)
        service = builder.service(task.service)
        if row.has_ended or service is None or service.is_removing:
            continue
        node = builder.choose(service)
        if not isinstance(node, Refusal):
            builder.assign(replace_slot(builder, service, row), node)
        elif row.node not in cluster.nodes:  # it was removed, and will not return
            replace_slot(builder, service, row)


def _place_waiting(builder: PlanBuilder, cluster: ClusterState) -> None:
    """Place tasks that are due and have their slot to themselves; record why the rest wait (S26).
    Tasks that the plan itself has made are placed in it, however full it is."""
    new = {row.id for row in builder.created() if is_due(row.not_before, builder.now)}
    for task in sorted({*cluster.waiting.due(builder.now), *new}):
        if builder.is_full and task not in new:
            continue
        row = builder.row(task)
        service = builder.service(task.service)
        if row.node is None and not row.has_ended and service is not None:
            _place(builder, service, row)


def _place(builder: PlanBuilder, service: ServiceRow, row: TaskRow) -> None:
    earlier = [r for r in builder.chain(service.name, row.id.slot) if r.id < row.id]
    held_by = next((r.id for r in earlier if not r.has_ended), None)
    if held_by is not None:
        builder.hold_back(row, f"waits for {held_by} to end")
        return
    node = builder.choose(service)
    if not isinstance(node, Refusal):
        builder.assign(row, node)
    elif builder.hold_back(row, str(node)):
        builder.tell(row, EventKind.PENDING, f"pending: {node}")


def _roll(builder: PlanBuilder, cluster: ClusterState) -> None:
    """Go on with changes of spec, as far as that can be done now."""
    for name in sorted(cluster.changing):
        service = builder.service(name)
        while service is not None and not service.is_removing and not builder.is_full:
            new = roll(builder, service, cluster.slots(name))
            if new is None:
                break
            if new.node is None:
                _place(builder, service, new)


def _forget_old(builder: PlanBuilder, cluster: ClusterState, touched: Touched) -> None:
    """Drop tasks that ended long ago. A full plan looks only at the slots it has changed itself,
    and leaves the others to the last plan: ten thousand are not walked for every piece."""
    seen = Touched() if builder.is_full else touched
    for name in sorted({*seen.slots, *builder.touched()}):
        service = builder.service(name)
        if service is not None and not service.is_removing:
            changed = builder.touched().get(name, ())
            for slot in sorted({*_slots(cluster, seen, name), *changed}):
                if len(cluster.slot(name, slot)) <= HISTORY:
                    continue  # none of them, as the plan adds at most one
                ended = [row for row in builder.chain(name, slot)[:-1] if row.has_ended]
                for row in ended[:-HISTORY]:
                    builder.drop(row.id)


def _slots(cluster: ClusterState, touched: Touched, service: str) -> list[int]:
    """The slots of a service that were touched, in order."""
    slots = touched.slots.get(service, ())
    return cluster.slots(service).numbers() if slots is None else sorted(slots)

"""What is to be changed so that what is comes nearer to what is wanted: pure, and without memory.

    removal -> size -> lost nodes -> ended and outdated -> placing -> rolling change -> history

Each step sees what those before it have done, so that a plan is complete: planned again, with
nothing else changed, there is nothing left to do. What is looked at is what was touched, the tasks
that wait for a place, and what lost nodes hold; a plan costs as much as has changed.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from warren.model.cluster import Desired, Plan, ServiceRow, TaskRow
from warren.model.identity import TaskId
from warren.model.task import Phase
from warren.rules.draft import Draft
from warren.rules.placement import Refusal
from warren.rules.succession import replace_slot, roll, succeed
from warren.rules.waiting import is_due
from warren.rules.world import Touched, World

HISTORY = 5  # ended tasks kept of a slot, besides its current one


def plan(
    world: World,
    touched: Touched,
    *,
    now: float,
    connected: Collection[str],
    lease: float,
    aside: Collection[str] = (),
    most: int | None = None,
) -> Plan:
    """What follows from what was touched, at wall time `now`; leases and waits move along if that
    jumps. `connected` names the nodes that have a session; `lease` is in seconds (S20). Services
    that are `aside` are not looked at: nothing of them changes. A plan stops at about `most` tasks,
    whatever step it is at: with the same touched, the next goes on where it stopped.
    """
    draft = Draft(world, now=now, connected=connected, lease=lease, aside=aside, most=most)
    lost = list(_settle_lost(draft, world))
    names = sorted({*touched.slots, *draft.touched()})
    services = [row for row in map(draft.service, names) if row is not None]
    kept = [service for service in services if not service.is_removing]
    for service in services:
        if service.is_removing:
            _remove(draft, world, service)
        else:
            _resize(draft, world, service)
    _move_lost(draft, world, lost)
    for service in kept:
        for slot in _slots(world, touched, service.name):
            if draft.is_full:
                break
            succeed(draft, service, slot)
    _place_waiting(draft, world)
    _roll(draft, world)
    _forget_old(draft, world, touched)
    return Plan(based_on=world.generation, changes=draft.changes(), wake_at=draft.wake_at())


def _settle_lost(draft: Draft, world: World) -> Iterator[TaskId]:
    """What was to stop on a node that is down has stopped. Gives what was to run there."""
    for node in sorted(world.absent):
        if not draft.is_down(node):
            continue
        for task in sorted(world.on_node(node)):
            row = world.tasks[task]
            if draft.is_full:
                return
            if task.service in draft.aside:
                continue
            if row.desired is Desired.RUN:
                yield task
            else:
                draft.end(row, Phase.STOPPED, draft.loss(row))


def _remove(draft: Draft, world: World, service: ServiceRow) -> None:
    slots = world.slots(service.name)
    for slot in sorted(slots.held):
        if draft.is_full:
            return
        draft.stop(slots.chain(slot)[-1], "removed")
    if not draft.alive(service.name):
        draft.purge(service.name)


def _resize(draft: Draft, world: World, service: ServiceRow) -> None:
    """As many slots as are wanted: the lowest free ones are added; of too many, those that are
    not ready go first, then the newest."""
    slots = world.slots(service.name)
    wanted = service.spec.replicas
    missing = wanted - len(slots.held)
    for slot in slots.free(max(0, missing)):
        if draft.is_full:
            return
        draft.create(service, slot)
    current = (slots.chain(slot)[-1] for slot in slots.held) if missing < 0 else ()
    for row in heapq.nsmallest(-missing, current, key=_expendable):
        if draft.is_full:
            return
        draft.stop(row, f"scaled down to {wanted}")


def _expendable(row: TaskRow) -> tuple[bool, float, int]:
    return (row.status.ready, -row.created_at, -row.id.slot)


def _move_lost(draft: Draft, world: World, lost: Iterable[TaskId]) -> None:
    """Replace tasks of nodes that are down, as far as another can take them now; the rest is left
    where it is, in case the node comes back (S20)."""
    for task in lost:
        if draft.is_full:
            return
        row = draft.row(task)
        service = draft.service(task.service)
        if row.has_ended or service is None or service.is_removing:
            continue
        node = draft.choose(service)
        if not isinstance(node, Refusal):
            draft.assign(replace_slot(draft, service, row), node)
        elif row.node not in world.nodes:  # it was removed, and will not come back
            replace_slot(draft, service, row)


def _place_waiting(draft: Draft, world: World) -> None:
    """Place what is due and has its slot to itself; say of the rest why it waits (S26). What the
    plan has made itself is placed in it, however full it is."""
    new = {row.id for row in draft.created() if is_due(row.not_before, draft.now)}
    for task in sorted({*world.waiting.due(draft.now), *new}):
        if draft.is_full and task not in new:
            continue
        row = draft.row(task)
        service = draft.service(task.service)
        if row.node is None and not row.has_ended and service is not None:
            _place(draft, service, row)


def _place(draft: Draft, service: ServiceRow, row: TaskRow) -> None:
    earlier = [r for r in draft.chain(service.name, row.id.slot) if r.id < row.id]
    held_by = next((r.id for r in earlier if not r.has_ended), None)
    if held_by is not None:
        draft.hold_back(row, f"waits for {held_by} to end")
        return
    node = draft.choose(service)
    if not isinstance(node, Refusal):
        draft.assign(row, node)
    elif draft.hold_back(row, str(node)):
        draft.tell(row, "pending", str(node))


def _roll(draft: Draft, world: World) -> None:
    """Go on with changes of spec, as far as that can be done now."""
    for name in sorted(world.changing):
        service = draft.service(name)
        while service is not None and not service.is_removing and not draft.is_full:
            new = roll(draft, service, world.slots(name))
            if new is None:
                break
            if new.node is None:
                _place(draft, service, new)


def _forget_old(draft: Draft, world: World, touched: Touched) -> None:
    """Drop what has ended long ago. A plan that is full looks at the slots it has changed itself,
    and leaves the others to the last of its kind: ten thousand are not walked for every piece."""
    seen = Touched() if draft.is_full else touched
    for name in sorted({*seen.slots, *draft.touched()}):
        service = draft.service(name)
        if service is not None and not service.is_removing:
            changed = draft.touched().get(name, ())
            for slot in sorted({*_slots(world, seen, name), *changed}):
                ended = [row for row in draft.chain(name, slot)[:-1] if row.has_ended]
                for row in ended[:-HISTORY]:
                    draft.drop(row.id)


def _slots(world: World, touched: Touched, service: str) -> list[int]:
    """The slots of a service that were touched, in order."""
    slots = touched.slots.get(service, ())
    return world.slots(service).numbers() if slots is None else sorted(slots)

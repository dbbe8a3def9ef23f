"""What is to be changed so that what is comes nearer to what is wanted: pure, and without memory.

    removal -> size -> lost nodes -> ended and outdated -> rolling change -> placing -> history

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
_Dirty = dict[str, set[int] | None]


def plan(
    world: World, touched: Touched, *, now: float, connected: Collection[str], lease: float
) -> Plan:
    """What follows from what was touched, at wall time `now`, which must not jump while the
    process lives. `connected` names the nodes that have a session; `lease` is in seconds (S20).
    """
    draft = Draft(world, now=now, connected=connected, lease=lease)
    dirty: _Dirty = {
        name: None if slots is None else set(slots)
        for name, slots in sorted(touched.slots.items())
        if name in world.services
    }
    lost = list(_settle_lost(draft, world, dirty))
    for name in dirty:
        service = world.services[name]
        if service.is_removing:
            _remove(draft, world, service)
        else:
            _resize(draft, world, service)
    _move_lost(draft, world, lost, dirty)
    for name, slots in dirty.items():
        service = world.services[name]
        if not service.is_removing:
            for slot in _in_order(world, name, slots):
                succeed(draft, service, slot)
            roll(draft, service, world.slots(name))
    _place_waiting(draft, world)
    _forget_old(draft, world, dirty)
    return Plan(based_on=world.generation, changes=draft.changes(), wake_at=draft.wake_at())


def _settle_lost(draft: Draft, world: World, dirty: _Dirty) -> Iterator[TaskId]:
    """What was to stop on a node that is down has stopped. Gives what was to run there."""
    for node in sorted(world.absent):
        if not draft.is_down(node):
            continue
        for task in sorted(world.on_node(node)):
            row = world.tasks[task]
            if row.desired is Desired.RUN:
                yield task
            else:
                draft.end(row, Phase.STOPPED, draft.loss(row))
                _add(dirty, world, task)


def _remove(draft: Draft, world: World, service: ServiceRow) -> None:
    slots = world.slots(service.name)
    for slot in sorted(slots.held):
        draft.give_up(slots.chain(slot)[-1], "removed")
    if not draft.alive(service.name):
        draft.purge(service.name)


def _resize(draft: Draft, world: World, service: ServiceRow) -> None:
    """As many slots as are wanted: the lowest free ones are added; of too many, those that are
    not ready go first, then the newest."""
    slots = world.slots(service.name)
    wanted = service.spec.replicas
    missing = wanted - len(slots.held)
    for slot in slots.free(max(0, missing)):
        draft.create(service, slot)
    current = (slots.chain(slot)[-1] for slot in slots.held) if missing < 0 else ()
    for row in heapq.nsmallest(-missing, current, key=_expendable):
        draft.give_up(row, f"scaled down to {wanted}")


def _expendable(row: TaskRow) -> tuple[bool, float, int]:
    return (row.status.ready, -row.created_at, -row.id.slot)


def _move_lost(draft: Draft, world: World, lost: Iterable[TaskId], dirty: _Dirty) -> None:
    """Replace tasks of nodes that are down, as far as another can take them now; the rest is left
    where it is, in case the node comes back (S20)."""
    for task in lost:
        row = draft.row(task)
        service = world.services.get(task.service)
        if row.has_ended or service is None or service.is_removing:
            continue
        node = draft.choose(service)
        if not isinstance(node, Refusal):
            draft.assign(replace_slot(draft, service, row), node)
            _add(dirty, world, task)


def _place_waiting(draft: Draft, world: World) -> None:
    """Place what is due and has its slot to itself; say of the rest why it waits (S26)."""
    new = (row.id for row in draft.created() if is_due(row.not_before, draft.now))
    for task in sorted({*world.waiting.due(draft.now), *new}):
        row = draft.row(task)
        service = world.services.get(task.service)
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


def _forget_old(draft: Draft, world: World, dirty: _Dirty) -> None:
    for name, slots in dirty.items():
        if not world.services[name].is_removing:
            new = {row.id.slot for row in draft.created(name)}
            for slot in sorted(new.union(_in_order(world, name, slots))):
                ended = [row for row in draft.chain(name, slot)[:-1] if row.has_ended]
                for row in ended[:-HISTORY]:
                    draft.drop(row.id)


def _in_order(world: World, service: str, slots: set[int] | None) -> list[int]:
    return world.slots(service).numbers() if slots is None else sorted(slots)


def _add(dirty: _Dirty, world: World, task: TaskId) -> None:
    slots = dirty.setdefault(task.service, set()) if task.service in world.services else None
    if slots is not None:
        slots.add(task.slot)

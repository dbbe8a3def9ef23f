"""Which task follows another in its slot, and when (S17); changes of spec, slot by slot.

current task              as wanted                             outdated
COMPLETE                  stays                                 replaced
FAILED, CRASHED           with backoff; `never`: stays          replaced
STOPPED, not asked for    with backoff                          replaced
not placed yet            stays                                 replaced
on a node                 stays                                 one slot at a time, next when ready;
                                                                keeps its instance where nothing but
                                                                probes has changed

A task is as wanted if it has the wanted spec (except for the replicas) and the restarts asked for:
when a spec is changed and changed back, the slots that have it already are left alone.

A successor is made at once, in the same plan, and waits for the end of the one before it: so a slot
whose current task is to run is the service's, and one whose current task is to stop is dropped.
"""

from __future__ import annotations

import msgspec

from warren.model.cluster import Desired, ServiceRow, TaskRow
from warren.model.duration import format_duration
from warren.model.event import NO_FACTS, EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.service import has_same_tasks
from warren.model.task import MOST_COUNTED, Phase
from warren.rules.probe_timing import phase
from warren.rules.requirements import lack
from warren.rules.restart import replacement_delay
from warren.scheduler.plan_builder import PlanBuilder
from warren.state.node_usage import fixed_ports
from warren.state.slot_index import (
    RUN_AGAIN,
    SlotIndex,
    can_keep,
    is_as_wanted,
    is_final,
    is_stuck,
    is_unsettled,
)

CHANGED = "the spec has changed"
ASKED = "restart asked"


def succeed(builder: PlanBuilder, service: ServiceRow, slot: int) -> None:
    """Give a slot a new task where its current one has ended, or never began and is outdated."""
    chain = builder.chain(service.name, slot)
    row = chain[-1] if chain else None
    if row is None or row.desired is Desired.STOP:
        return
    if not is_as_wanted(row, service):
        if row.has_ended or row.node is None:
            _renew(builder, service, row)
    elif row.has_ended and not is_final(row):
        _retry(builder, service, row)


def roll(builder: PlanBuilder, service: ServiceRow, slots: SlotIndex) -> TaskRow | None:
    """Take the next slot of a change of spec, unless one is under way: those that are not ready
    first, then the lowest. Returns the slot's task as it will be.

    A task that no node accepts does not block the rest for ever. But from then on only slots are
    taken whose present place fits the new task: a spec that fits nowhere costs one slot.
    """
    touched = builder.touched().get(service.name, set[int]())
    outdated = slots.outdated - touched
    chains = [builder.chain(service.name, slot) for slot in touched]
    fresh = [chain for chain in chains if _is_fresh(chain[-1], service)]
    if not outdated or slots.unsettled - touched or any(is_unsettled(c) for c in fresh):
        return None
    next_slot: int | None = min(outdated - slots.ready or outdated)
    if slots.stuck - touched or any(is_stuck(c) for c in fresh):
        ranked = sorted(outdated, key=lambda slot: (slot in slots.ready, slot))
        rows = (slots.chain(slot)[-1] for slot in ranked)
        next_slot = next((row.id.slot for row in rows if _makes_room(builder, service, row)), None)
    return None if next_slot is None else _change(builder, service, slots.chain(next_slot)[-1])


def _is_fresh(row: TaskRow, service: ServiceRow) -> bool:
    return row.desired is Desired.RUN and is_as_wanted(row, service)


def _makes_room(builder: PlanBuilder, service: ServiceRow, row: TaskRow) -> bool:
    """Whether the new spec could be where this task is."""
    if row.node is None or not builder.is_connected(row.node):
        return False
    if lack(builder.nodes[row.node].description, service.spec) is not None:
        return False
    holders = (builder.holder(row.node, port) for port in fixed_ports(service.spec).values())
    return all(holder in (None, row.id) for holder in holders)


def replace_slot(builder: PlanBuilder, service: ServiceRow, lost: TaskRow) -> TaskRow:
    """The successor of a task whose node is down. That is not the task's failure."""
    loss = builder.loss(lost)
    builder.end(builder.to_stop(lost, loss.message), Phase.FAILED, loss)
    new = builder.create(
        service, lost.id.slot, failed_before=lost.status.failed_before, last_end=loss
    )
    facts = EventFacts(node=lost.node, reason=loss.reason)
    _tell(builder, new, lost, loss.message, "lost", facts)
    return new


def _change(builder: PlanBuilder, service: ServiceRow, old: TaskRow) -> TaskRow:
    """The same task with other probes, or a new one: also where its node cannot do the new ones."""
    node = None if old.node is None else builder.nodes.get(old.node)
    is_lacking = node is not None and lack(node.description, service.spec) is not None
    if is_lacking or not can_keep(old, service):
        return _renew(builder, service, old)
    new = msgspec.structs.replace(old, spec=service.spec, revision=service.revision)
    builder.put(new)
    facts = EventFacts(node=old.node)
    builder.tell(new, EventKind.PROBES_CHANGED, f"probes changed: {CHANGED}", facts=facts)
    return new


def _renew(builder: PlanBuilder, service: ServiceRow, old: TaskRow) -> TaskRow:
    """A task of the new revision, without earlier failures."""
    why = ASKED if has_same_tasks(old.spec, service.spec) else CHANGED
    if old.stop_reason == RUN_AGAIN:
        why = RUN_AGAIN
    if not old.has_ended:
        builder.stop(old, why)
    new = builder.create(service, old.id.slot)
    _tell(builder, new, old, why, "outdated", NO_FACTS)
    return new


def _retry(builder: PlanBuilder, service: ServiceRow, old: TaskRow) -> None:
    """The same again, after a delay if it is not the first time."""
    slot, failed_before = old.id.slot, old.status.failed_before
    next_id = TaskId(service.name, slot, old.id.number + 1)
    delay = replacement_delay(failed_before, jitter=phase(str(next_id)))
    word = str(old.phase)
    wait = format_duration(round(delay))
    new = builder.create(
        service,
        slot,
        failed_before=min(failed_before + 1, MOST_COUNTED),
        last_end=old.status.last_end,
        not_before=builder.now + delay if delay else None,
        reason=f"{old.id} {word}" if delay else None,  # and `restart_at` says until when
    )
    end = old.status.last_end
    why = word if end is None else end.message
    facts = EventFacts(
        reason=end and end.reason,
        exit_code=end and end.exit_code,
        signal=end and end.signal,
        phase=old.phase,
        restart_in=delay or None,
    )
    _tell(builder, new, old, f"{why}; starts in {wait}" if delay else why, word, facts)


def _tell(
    builder: PlanBuilder, new: TaskRow, old: TaskRow, why: str, reason: str, facts: EventFacts
) -> None:
    facts = msgspec.structs.replace(facts, replaces=old.id)
    said = f"{new.id} replaces {old.id}: {why}"
    builder.tell(new, EventKind.REPLACED, said, reason=reason, facts=facts)

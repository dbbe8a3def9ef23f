"""One service's slots, indexed so that a change costs the same however many there are.

A slot's current task is the one with the highest number. **A slot is the service's while its
current task is to run**: a task that is replaced gets its successor in the same plan, which then
waits for its end, so a slot whose current task is to stop is dropped. Slots have
unique numbers, survivors of a scale-down keep theirs, and a new slot takes the lowest free one.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence

from warren.model.cluster import Desired, ServiceRow, TaskRow
from warren.model.service import has_same_instances, has_same_tasks
from warren.model.task import MOST_COUNTED
from warren.rules.health import has_ended_for_good

RUN_AGAIN = "it runs again"  # the `stop_reason` of a task that has ended and is to be followed


class SlotIndex:
    """The kept tasks of one service, by slot. `held` has the slots that are the service's; of
    these `ready`, `outdated` (not as wanted), `stuck` and `unsettled` (see below; as wanted).
    `shown` has those that are held or not empty yet, and `alive` counts the tasks that
    have not ended."""

    def __init__(self) -> None:
        self.held = set[int]()
        self.shown = set[int]()
        self.ready = set[int]()
        self.outdated = set[int]()
        self.stuck = set[int]()
        self.unsettled = set[int]()
        self.alive = 0
        self._service: ServiceRow | None = None
        self._chains: dict[int, list[TaskRow]] = {}
        self._top = 0  # the highest slot that has tasks
        self._free = set[int]()  # slots up to it that are not held

    def __repr__(self) -> str:
        return f"<SlotIndex {len(self.held)} held, {self.alive} alive>"

    def __len__(self) -> int:
        return len(self._chains)

    def chain(self, slot: int) -> Sequence[TaskRow]:
        """The kept tasks of a slot, oldest first."""
        return self._chains.get(slot, ())

    def numbers(self) -> list[int]:
        """The slots that have tasks, in order."""
        return sorted(self._chains)

    def free(self, count: int) -> list[int]:
        """The lowest free slots, in order."""
        found = heapq.nsmallest(count, self._free)
        return found + list(range(self._top + 1, self._top + 1 + count - len(found)))

    def set_service(self, row: ServiceRow) -> None:
        """The service as it is wanted now."""
        before, self._service = self._service, row
        if before is None or before.revision != row.revision:
            for slot in self._chains:
                self._index(slot)

    def put(self, row: TaskRow) -> None:
        """A task is new or has changed."""
        slot = row.id.slot
        chain = self._chains.setdefault(slot, [])
        at = bisect.bisect_left(chain, row.id.number, key=_number)
        if at < len(chain) and chain[at].id == row.id:
            self.alive -= not chain[at].has_ended
            chain[at] = row
        else:
            chain.insert(at, row)
        self.alive += not row.has_ended
        self._index(slot)

    def drop(self, row: TaskRow) -> None:
        """A task was dropped."""
        chain = self._chains[row.id.slot]
        del chain[bisect.bisect_left(chain, row.id.number, key=_number)]
        self.alive -= not row.has_ended
        self._index(row.id.slot)
        if not chain:
            del self._chains[row.id.slot]
            self._lower_top()

    def _has_wanted(self, row: TaskRow) -> bool:
        return self._service is not None and is_as_wanted(row, self._service)

    def _lower_top(self) -> None:
        if self._top not in self._chains:
            self._top = max(self._chains, default=0)
            self._free = {slot for slot in self._free if slot <= self._top}

    def _index(self, slot: int) -> None:
        chain = self._chains[slot]
        current = chain[-1] if chain else None
        held = current is not None and current.desired is Desired.RUN
        ready = held and current is not None and current.status.ready
        outdated = held and current is not None and not self._has_wanted(current)
        fresh = held and not outdated
        _mark(self.held, slot, held)
        _mark(self.ready, slot, ready)
        _mark(self.outdated, slot, outdated)
        _mark(self.stuck, slot, fresh and is_stuck(chain))
        _mark(self.unsettled, slot, fresh and is_unsettled(chain))
        _mark(self.shown, slot, held or (current is not None and not current.has_ended))
        self._free.update(range(self._top + 1, slot + 1))
        self._top = max(self._top, slot)
        _mark(self._free, slot, not held)


def is_as_wanted(row: TaskRow, service: ServiceRow) -> bool:
    """Whether a task is of the spec that is wanted, and has had the restarts that were asked for;
    of whichever revision it is. One that has ended and is to run again is not."""
    if row.stop_reason == RUN_AGAIN:
        return False
    if row.revision == service.revision:
        return True
    return row.restarts_asked == service.restarts_asked and has_same_tasks(row.spec, service.spec)


def restarts_in(chain: Sequence[TaskRow]) -> int:
    """The restarts of a slot, of these tasks and of those before them."""
    before = chain[0].restarts_before if chain else 0
    return min(before + sum(row.status.restarts for row in chain), MOST_COUNTED)


def is_final(row: TaskRow) -> bool:
    """Whether the task has ended and only a new spec leads to another (S17)."""
    return has_ended_for_good(row.spec, row.status)


def is_stuck(chain: Sequence[TaskRow]) -> bool:
    """Whether the current task is due and has its slot to itself, but no node accepts it."""
    current = chain[-1]
    waits = current.node is None and not current.has_ended and current.status.restart_at is None
    return waits and all(row.has_ended for row in chain[:-1])


def is_unsettled(chain: Sequence[TaskRow]) -> bool:
    """Whether the current task is on its way to being ready, or its new probes to their verdict:
    what a change of spec waits for."""
    current = chain[-1]
    is_good = current.status.ready and not is_proving(current)
    return not (is_good or is_final(current) or is_stuck(chain))


def is_proving(row: TaskRow) -> bool:
    """Whether a task that got other probes does not use them yet, or has no verdict."""
    status = row.status
    return status.is_proving or status.revision not in (0, row.revision)


def can_keep(row: TaskRow, service: ServiceRow) -> bool:
    """Whether the task's instance can go on with the service's spec: only probes have changed, it
    runs, and its node supports that."""
    return (
        not row.has_ended
        and row.status.instance is not None
        and row.status.revision != 0
        and row.restarts_asked == service.restarts_asked
        and has_same_instances(row.spec, service.spec)
    )


def _number(row: TaskRow) -> int:
    return row.id.number


def _mark(members: set[int], slot: int, belongs: bool) -> None:
    if belongs:
        members.add(slot)
    else:
        members.discard(slot)

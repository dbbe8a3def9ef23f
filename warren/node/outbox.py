"""What the manager has not acknowledged yet: each task's latest status, and its events.

Kept until acknowledged: whatever is on its way when a link is lost is sent again, and the manager
keeps it once, by its sequence. Statuses are latest values, so they are as many as there are tasks.
Events are bounded: the oldest are dropped, and counted, where too many wait.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable

import trio

from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.model.task import TaskStatus

EVENTS_KEPT = 50_000
AT_ONCE = 400  # statuses, and events, of one report
# Tasks with news at once, from which on a report waits longer: each costs the manager a transaction
# and a plan, and by then most of these tasks have further news, which makes the first needless.
MUCH = 8
LONGER = 5
_log = logging.getLogger("warren.node")


def halves(report: Report) -> tuple[Report, ...]:
    """The report in two, in the same order: events, then statuses, then that it was the whole. None
    where there is but one thing in it."""
    events, statuses = report.events, report.statuses
    count = len(events) + len(statuses)
    if count + report.is_whole < 2:
        return ()
    middle = (count + 1) // 2
    rest = max(0, middle - len(events))
    return (
        Report(events=events[:middle], statuses=statuses[:rest]),
        Report(events=events[middle:], statuses=statuses[rest:], is_whole=report.is_whole),
    )


class Outbox:
    """Latest statuses and events, waiting for the manager."""

    def __init__(self, *, events_kept: int = EVENTS_KEPT) -> None:
        self._statuses: dict[TaskId, TaskStatus] = {}
        self._events = deque[Told]()
        self._events_kept = events_kept
        self._some = trio.Event()
        self._enough = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self._has_end = False  # a task's, not in a batch yet
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Outbox {len(self._statuses)} statuses, {len(self._events)} events>"

    def note(self, status: TaskStatus, event: TaskEvent | None = None) -> None:
        """A task has changed."""
        self._statuses[status.id] = status
        self._has_end |= status.phase.is_end
        if event is not None:
            self._add(status.sequence, event)
        self._note_more()

    def note_event(self, sequence: int, event: TaskEvent) -> None:
        """An event of a task whose status is not reported."""
        self._add(sequence, event)
        self._note_more()

    def forget(self, task: TaskId) -> None:
        """This task is not reported any more."""
        self._statuses.pop(task, None)
        self._note_room()

    def has_events(self) -> bool:
        """Whether there are events that were not reported."""
        return bool(self._events)

    def whole(self, statuses: Iterable[TaskStatus]) -> list[Report]:
        """All tasks, in pieces: what a session begins with, once the events are sent. Tasks with
        later events are sent with those."""
        late = {told.event.task for told in self._events}
        left = [status for status in statuses if status.id not in late]
        pieces = [tuple(left[i : i + AT_ONCE]) for i in range(0, len(left), AT_ONCE)] or [()]
        last = len(pieces) - 1
        return [Report(statuses=p, is_whole=i == last) for i, p in enumerate(pieces)]

    def batch(self) -> Report:
        """What waits now, bounded as a message is. A task's status is sent with the last of its
        events and not before: the manager takes events that are no newer than a status it has
        for repeated."""
        events = tuple(itertools.islice(self._events, AT_ONCE))
        late = {told.event.task for told in itertools.islice(self._events, AT_ONCE, None)}
        ripe = (status for status in self._statuses.values() if status.id not in late)
        return Report(statuses=tuple(itertools.islice(ripe, AT_ONCE)), events=events)

    def acknowledge(self, report: Report) -> None:
        """The manager has recorded this."""
        for status in report.statuses:
            if self._statuses.get(status.id) is status:
                del self._statuses[status.id]
        for told in report.events:
            if self._events and self._events[0] is told:  # else it was dropped meanwhile
                self._events.popleft()
        self._note_room()

    async def wait(self) -> None:
        """Wait until there is something to report."""
        while not (self._statuses or self._events):
            self._some = trio.Event()
            await self._some.wait()

    async def gather(self, seconds: float) -> None:
        """Wait for so long for more to report, and for `LONGER` times as long where there is much;
        but not once a task has ended: what comes after its end is up to the manager."""
        await self._gather(seconds)
        if len(self._statuses) >= MUCH:
            await self._gather((LONGER - 1) * seconds)
        self._has_end = False

    async def _gather(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not self._has_enough():
                self._enough = trio.Event()
                await self._enough.wait()

    async def wait_empty(self) -> None:
        """Wait until everything has been acknowledged."""
        await self._empty.wait()

    def _add(self, sequence: int, event: TaskEvent) -> None:
        self._events.append(Told(sequence, event))
        while len(self._events) > self._events_kept:
            self._give_up()

    def _has_enough(self) -> bool:
        return self._has_end or len(self._statuses) >= AT_ONCE

    def _note_more(self) -> None:
        if self._empty.is_set():
            self._empty = trio.Event()
        self._some.set()
        if self._has_enough():
            self._enough.set()

    def _note_room(self) -> None:
        if not self._statuses and not self._events:
            self._empty.set()

    def _give_up(self) -> None:
        self._events.popleft()
        if self.lost == 0:
            _log.warning("more events wait for the manager than are kept: the oldest are dropped")
        self.lost += 1

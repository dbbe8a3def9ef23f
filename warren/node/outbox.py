"""What the manager has not been told yet: the latest status of each task, and what happened.

Kept until acknowledged: whatever is on its way when a link is lost is told again, and the manager
keeps it once, by its sequence. Statuses are latest values, so they are as many as there are tasks.
Events are bounded: the oldest are given up, and counted, where too many wait.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import trio

from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.model.task import TaskEvent, TaskStatus

EVENTS_KEPT = 50_000
_log = logging.getLogger("warren.node")


class Outbox:
    """Latest statuses and news, waiting for the manager."""

    def __init__(self, *, events_kept: int = EVENTS_KEPT) -> None:
        self._statuses: dict[TaskId, TaskStatus] = {}
        self._events = deque[Told]()
        self._events_kept = events_kept
        self._wake = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self.lost = 0

    def __repr__(self) -> str:
        return f"<Outbox {len(self._statuses)} statuses, {len(self._events)} events>"

    def note(self, status: TaskStatus, event: TaskEvent | None = None) -> None:
        """Something of a task has changed."""
        self._statuses[status.id] = status
        if event is not None:
            self._events.append(Told(status.sequence, event))
            while len(self._events) > self._events_kept:
                self._give_up()
        self._empty = trio.Event()
        self._wake.set()

    def forget(self, task: TaskId) -> None:
        """Nobody wants to know of this task any more."""
        self._statuses.pop(task, None)
        self._note_room()

    def whole(self, statuses: Iterable[TaskStatus]) -> Report:
        """Everything: what a session begins with."""
        return Report(statuses=tuple(statuses), events=tuple(self._events), is_whole=True)

    def batch(self) -> Report:
        """All that waits now. A task's status never goes without its events: the manager takes
        those that are no newer than a status it has for told before."""
        return Report(statuses=tuple(self._statuses.values()), events=tuple(self._events))

    def acknowledge(self, report: Report) -> None:
        """The manager has written this down."""
        for status in report.statuses:
            if self._statuses.get(status.id) is status:
                del self._statuses[status.id]
        for told in report.events:
            if self._events and self._events[0] is told:  # else it was given up meanwhile
                self._events.popleft()
        self._note_room()

    async def wait(self) -> None:
        """Wait until there is something to tell."""
        while not (self._statuses or self._events):
            self._wake = trio.Event()
            await self._wake.wait()

    async def wait_empty(self) -> None:
        """Wait until everything has been acknowledged."""
        await self._empty.wait()

    def _note_room(self) -> None:
        if not self._statuses and not self._events:
            self._empty.set()

    def _give_up(self) -> None:
        self._events.popleft()
        if self.lost == 0:
            _log.warning("more events wait for the manager than are kept: the oldest go")
        self.lost += 1

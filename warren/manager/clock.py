"""The manager's time: wall time that runs by the process's own clock, and never goes back.

    wall clock ahead by over a minute -> leases and waits move by as much, on disk -> time moves

Otherwise, after a machine has slept, or its clock was set right after the manager's start, reports
of nodes would be taken for wrong until the manager starts anew. A wait of ten seconds still lasts
ten seconds, as both of its ends move.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import NoReturn

import trio

from warren.manager.commit_log import CommitLog
from warren.manager.dispatcher import Dispatcher
from warren.model.cluster import Change, PutTask
from warren.model.errors import UnavailableError
from warren.resilience.boundary import Boundary
from warren.state.pending import moved

TOLERATED = 60.0  # seconds that the wall clock may be ahead
LOOK_EVERY = 2.0


class ManagerClock:
    """`wall` returns seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._since = wall() - trio.current_time()

    def __repr__(self) -> str:
        return f"<ManagerClock {self.now():.0f}>"

    def now(self) -> float:
        """The manager's time."""
        return self._since + trio.current_time()

    def behind(self) -> float:
        """By how many seconds it has to move; 0 where it is near enough, or ahead."""
        behind = self._wall() - self.now()
        return behind if behind > TOLERATED else 0.0

    @contextmanager
    def moving(self, by: float) -> Generator[None, None, None]:
        """Move it, and back again if what has to move along fails."""
        before = self._since
        self._since += by
        try:
            yield
        except BaseException:
            self._since = before
            raise


class ClockFollower:
    """Moves the clock, and with it everything that waits for a time."""

    def __init__(self, clock: ManagerClock, commit_log: CommitLog, dispatcher: Dispatcher) -> None:
        self._clock = clock
        self._commit_log = commit_log
        self._dispatcher = dispatcher

    def __repr__(self) -> str:
        return f"<ClockFollower of {self._clock!r}>"

    def look(self) -> None:
        """Follow the wall clock if it is ahead; later, where that cannot be written now."""
        with suppress(UnavailableError):
            self._follow()

    async def serve(self, boundary: Boundary) -> NoReturn:
        """Look, for ever."""
        while True:
            await trio.sleep(LOOK_EVERY)
            async with boundary:
                self._follow()

    def _follow(self) -> None:
        by = self._clock.behind()
        if not by:
            return
        now, commit_log = self._clock.now(), self._commit_log
        changes: list[Change] = [*self._dispatcher.leases_moved(by)]
        for row in commit_log.cluster.tasks.values():
            # Nothing changes for services that are set aside; their rows may not be writable.
            new = None if row.id.service in commit_log.quarantine.services else moved(row, now, by)
            if new is not None:
                changes.append(PutTask(new))
        with self._clock.moving(by):
            commit_log.commit(changes)
        self._dispatcher.note_moved(by)

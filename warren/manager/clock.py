"""The manager's time: wall time that runs by the process's own clock, and never goes back.

    wall clock ahead by over a minute -> leases and waits move by as much, on disk -> time moves

A machine that has slept, or whose clock is set right after the manager has started, would else
have what nodes tell taken for wrong until the manager starts anew. What was to last ten seconds
lasts them all the same, as both ends of it move.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import NoReturn

import trio

from warren.manager.books import Books
from warren.manager.desk import Desk
from warren.model.cluster import Change, PutTask
from warren.model.errors import UnavailableError
from warren.rules.waiting import moved
from warren.watch.boundary import Boundary

TOLERATED = 60.0  # seconds that the wall clock may be ahead
LOOK_EVERY = 2.0


class Clock:
    """`wall` gives seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._since = wall() - trio.current_time()

    def __repr__(self) -> str:
        return f"<Clock {self.now():.0f}>"

    def now(self) -> float:
        """The manager's time."""
        return self._since + trio.current_time()

    def behind(self) -> float:
        """By how many seconds it is to move; 0 where it is near enough, or ahead."""
        behind = self._wall() - self.now()
        return behind if behind > TOLERATED else 0.0

    @contextmanager
    def moving(self, by: float) -> Generator[None, None, None]:
        """Move it, and back again where what goes along cannot be done."""
        before = self._since
        self._since += by
        try:
            yield
        except BaseException:
            self._since = before
            raise


class Following:
    """Moves the clock, and with it all that waits for a time."""

    def __init__(self, clock: Clock, books: Books, desk: Desk) -> None:
        self._clock = clock
        self._books = books
        self._desk = desk

    def __repr__(self) -> str:
        return f"<Following of {self._clock!r}>"

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
        now, books = self._clock.now(), self._books
        changes: list[Change] = [*self._desk.leases_moved(by)]
        for row in books.world.tasks.values():
            # Of what is set aside nothing changes, and who knows what can be written of it.
            new = None if row.id.service in books.quarantine.services else moved(row, now, by)
            if new is not None:
                changes.append(PutTask(new))
        with self._clock.moving(by):
            books.commit(changes)
        self._desk.note_moved(by)

"""The node checks itself now and then, and reports what is not well as conditions.

One timer for all of it; what it reads is counted anyway. Checks that wait for a place report so
themselves (checks/concurrency.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

from warren.nursery.dependencies import Dependencies
from warren.resilience.boundary import Boundary
from warren.resilience.loop_delay import WINDOW, note_lateness
from warren.resilience.loop_lag import LoopLag

LOOK_EVERY = 2.0  # seconds
WAITS_LONG = 5.0  # seconds: shorter waits are no trouble


class SelfMonitor:
    """`tasks` returns how many tasks are held."""

    def __init__(self, around: Dependencies, tasks: Callable[[], int]) -> None:
        self._around = around
        self._tasks = tasks

    async def serve(self) -> NoReturn:
        """Look, for ever."""
        boundary = Boundary("watching ourselves", self._around.conditions)
        lag = LoopLag.current()
        while True:
            await trio.sleep(LOOK_EVERY)
            async with boundary:
                self._around.starts.grant()
                note_lateness(self._around.conditions, lag.recent(WINDOW))
                self.look()

    def look(self) -> None:
        """Set and clear the conditions that are counted here."""
        hold = self._around.conditions.hold
        hold("starts wait", self._waiting_starts())
        hold("shortage", self._around.starts.short_of())
        hold("descriptors", self._around.lacking(self._tasks()))
        self._around.journal.recheck()
        hold("disk", self._around.journal.trouble)

    def _waiting_starts(self) -> str | None:
        starts = self._around.starts
        longest = starts.longest_wait()
        if longest < WAITS_LONG:
            return None
        return f"{starts.waiting:,} tasks wait for their turn to start, one for {longest:.0f} s"

"""The lag of our own event loop: was it the service that was late, or we ourselves?

One pass of Trio's loop runs every ready task, then asks the kernel what happened. While a pass
lasts, or while the kernel's answer comes later than asked for (a stopped process, a paused
machine), no check sees its answer. Passes over `NOTICEABLE` are kept as stalls.

Invariant: between two checkpoints of the loop at most one stall is added, so a healthy loop keeps
nothing; cost is two clock readings per pass, not per attempt. Rejected: a ticker task, which adds
wakeups to an idle loop and is itself late by chance.

Real time, not Trio's: under a virtual clock a jump is no stall.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import trio

NOTICEABLE = 0.010  # seconds; shorter passes delay nobody by much
BLAMED_PART = 0.25  # of the timeout: from here on a late answer is our error, not their fail
KEPT = 4096  # stalls


class Stall(NamedTuple):
    start: float
    end: float


class LoopLag(trio.abc.Instrument):
    """Keeps the recent stalls of the Trio run it is an instrument of. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._stalls: deque[Stall] = deque(maxlen=KEPT)
        self._due = clock()  # when the loop ought to take its next step

    @classmethod
    def current(cls) -> LoopLag:
        """The monitor of this Trio run, installed at the first call."""
        try:
            return _current.get()
        except LookupError:
            lag = cls()
            trio.lowlevel.add_instrument(lag)
            _current.set(lag)
            return lag

    def before_io_wait(self, timeout: float) -> None:
        now = self.clock()
        if now - self._due > NOTICEABLE:
            self._stalls.append(Stall(self._due, now))
        self._due = now + timeout

    def after_io_wait(self, timeout: float) -> None:
        self.before_io_wait(0.0)

    def spent(self) -> float:
        """Seconds that the present pass has lasted."""
        return self.clock() - self._due

    def recent(self, seconds: float) -> list[tuple[float, float]]:
        """The stalls of the last so many seconds: how long each was, and how long ago it ended."""
        now = self.clock()
        kept = (stall for stall in self._stalls if stall.end > now - seconds)
        return [(stall.end - stall.start, now - stall.end) for stall in kept]

    def blamed(self, start: float, end: float) -> float | None:
        """Seconds our loop stalled if that took a large part of `start` to `end`, else None.

        The seconds are those of the whole stalls, also where they reach beyond `end`.
        """
        touching = [stall for stall in self._stalls if stall.end > start and stall.start < end]
        within = sum(min(stall.end, end) - max(stall.start, start) for stall in touching)
        if within < (end - start) * BLAMED_PART:
            return None
        return sum(stall.end - stall.start for stall in touching)

    def __repr__(self) -> str:
        longest = max((stall.end - stall.start for stall in self._stalls), default=0.0)
        return f"<LoopLag stalls={len(self._stalls)} longest={longest:.3f}s>"


_current: trio.lowlevel.RunVar[LoopLag] = trio.lowlevel.RunVar("warren.checks.lag")

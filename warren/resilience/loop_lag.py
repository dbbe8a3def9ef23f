"""The lag of our own event loop: was the service late, or we ourselves?

One pass of Trio's loop runs every ready task, then asks the kernel what happened. While a pass
lasts, or while the kernel's answer comes later than asked for (a stopped process, a paused
machine), no check sees its answer. Passes over `NOTICEABLE` are kept as stalls.

How late an answer of the kernel is can be measured only if the loop wakes often: so while attempts
are in flight a task of the monitor's own wakes the loop every `TICK`. An idle loop is left to
sleep.

Invariant: between two checkpoints of the loop at most one stall is added, so a healthy loop keeps
nothing; cost is two clock readings per pass, and the ticks. Rejected: a task that measures how
late it is itself, as it cannot distinguish a long pass from many short ones.

Real time, not Trio's: under a virtual clock a jump is no stall.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import trio

NOTICEABLE = 0.010  # seconds; shorter passes delay no task by much
BLAMED_PART = 0.25  # of an attempt: from here on a bad end is our error, not their fail
ENOUGH = 0.5  # seconds: no server gives up sooner, so a shorter stall breaks nothing, unless it
# is a large part of the timeout: on a busy machine a refusal is to stay a refusal
TICK = 0.05  # seconds
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
        self._is_watching = False  # whether the loop's steps are reported to us
        self._begun = 0  # attempts, ever
        self._in_flight = 0
        self._parked: trio.Event | None = None  # what the ticker waits for

    @classmethod
    def current(cls) -> LoopLag:
        """The monitor of this Trio run, installed at the first call."""
        try:
            return _current.get()
        except LookupError:
            lag = cls()
            trio.lowlevel.add_instrument(lag)
            trio.lowlevel.spawn_system_task(lag._tick)
            _current.set(lag)
            return lag

    @property
    def is_idle(self) -> bool:
        """Whether the loop is left to sleep, as there are no attempts."""
        return self._parked is not None

    def begin(self) -> float:
        """An attempt begins: the time by this clock."""
        self._begun += 1
        self._in_flight += 1
        if self._parked is not None:
            self._parked.set()
            self._parked = None
        return self.clock()

    def finish(self) -> None:
        """An attempt is over."""
        self._in_flight -= 1

    def before_io_wait(self, timeout: float) -> None:
        self._is_watching = True
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
        """The stalls of the last `seconds`: how long each was, and how long ago it ended."""
        now = self.clock()
        kept = (stall for stall in self._stalls if stall.end > now - seconds)
        return [(stall.end - stall.start, now - stall.end) for stall in kept]

    def blamed(self, start: float, end: float, *, timeout: float | None = None) -> float | None:
        """Seconds our loop stalled if that took a large part of `start` to `end`, else None.

        Of an attempt that was over sooner than its `timeout` a short stall is a large part too:
        it is blamed only where it could have broken something. The seconds are those of the whole
        stalls, also where they reach beyond `end`; the pass that is not over yet counts.
        """
        touching = [stall for stall in self._known() if stall.end > start and stall.start < end]
        within = sum(min(stall.end, end) - max(stall.start, start) for stall in touching)
        needed = (end - start) * BLAMED_PART
        if timeout is not None:
            needed = max(needed, min(timeout * BLAMED_PART, ENOUGH))
        if within < needed or not touching:
            return None
        return sum(stall.end - stall.start for stall in touching)

    def _known(self) -> Iterator[Stall]:
        yield from self._stalls
        if self._is_watching and self.clock() - self._due > NOTICEABLE:
            yield Stall(self._due, self.clock())

    async def _tick(self) -> None:
        while True:
            begun = self._begun
            await trio.sleep(TICK)
            if not self._in_flight and self._begun == begun:
                self._parked = trio.Event()
                await self._parked.wait()

    def __repr__(self) -> str:
        longest = max((stall.end - stall.start for stall in self._stalls), default=0.0)
        return f"<LoopLag stalls={len(self._stalls)} longest={longest:.3f}s>"


_current: trio.lowlevel.RunVar[LoopLag] = trio.lowlevel.RunVar("warren.resilience.loop_lag")

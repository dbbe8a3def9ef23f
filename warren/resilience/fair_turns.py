"""Turns: the work that thousands of tasks have at once is spread over many passes of the loop.

One pass of Trio's loop runs everything that is ready, and no probe sees its answer while it lasts.
A task with work to do takes a turn first. Early in a pass that costs nothing; once the pass has
lasted for `BUDGET`, later tasks wait for another pass, in order.

Invariant: while any task waits, at least one of the waiting is scheduled (`_woken`): each that goes
ahead or gives up lets the next ones follow. So nothing else has to run, and no task is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

BUDGET = 0.010  # seconds of a pass after which work waits for the next one
AT_ONCE = 12  # tasks woken for one pass, which then go ahead in that or the next


class FairTurns:
    """`spent` returns how many seconds the present pass of the loop has lasted."""

    def __init__(self, spent: Callable[[], float]) -> None:
        self._spent = spent
        self._waiting = deque[trio.Event]()
        self._woken = 0

    def __repr__(self) -> str:
        return f"<FairTurns {len(self._waiting)} waiting>"

    @property
    def is_free(self) -> bool:
        """Whether one that takes a turn now would not wait."""
        return not self._woken and self._spent() < BUDGET

    async def take(self) -> None:
        """Wait for a pass that has room. No checkpoint where this one has."""
        if self.is_free:
            return
        is_first = not self._woken
        if is_first:
            self._woken += 1
        else:
            await self._park()  # until another pass
        try:
            if is_first:
                await trio.lowlevel.checkpoint()
            if self._spent() >= BUDGET:  # once: on a busy machine every pass may seem long
                await trio.lowlevel.checkpoint()
        finally:
            self._woken -= 1
            self._wake()

    async def _park(self) -> None:
        """Wait to be woken, and be counted as woken."""
        mine = trio.Event()
        self._waiting.append(mine)
        try:
            await mine.wait()
        except trio.Cancelled:
            if mine.is_set():
                self._woken -= 1
                self._wake()
            else:
                mine.set()  # passed over when its time comes
            raise

    def _wake(self) -> None:
        if self._woken:
            return
        while self._waiting and self._woken < AT_ONCE:
            event = self._waiting.popleft()
            if not event.is_set():
                event.set()
                self._woken += 1

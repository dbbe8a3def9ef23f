"""Starts: how many tasks of a node may be starting at once, and whose turn is next.

A start holds a place from before its first write until its program runs (not until it is ready), so
that thousands that are due at once come one after another. Places go to the waiting services in
turn: ten thousand starts of one delay another by one start. Exec checks have places of their own.

`shortage` is called before each: while it returns a reason (no descriptors, say), starts wait
instead of failing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

STARTS_AT_ONCE = 8
SHORT_FOR = 5.0  # seconds that a shortage is shown after it was met


START_WAITS = "waits for its turn to start: many start at once on this node"


@dataclass(eq=False)
class _Waiter:
    since: float
    turn: trio.Event = field(default_factory=trio.Event)


class StartLimit:
    """Places for starts. `shortage` returns why nothing more can be started now, None if it can."""

    def __init__(
        self, cap: int = STARTS_AT_ONCE, *, shortage: Callable[[], str | None] = lambda: None
    ) -> None:
        self._cap = cap
        self._free = cap
        self._shortage = shortage
        # By service, the next one first. Ordered, as a waiter that gives up may be at any place.
        self._queues: dict[str, OrderedDict[_Waiter, None]] = {}
        self._waiting = 0
        self._short = (0.0, "")

    def __repr__(self) -> str:
        return f"<StartLimit {self._cap - self._free}/{self._cap}, {self._waiting} waiting>"

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._waiting

    def longest_wait(self) -> float:
        """Seconds that the longest waiter has waited by now."""
        heads = (next(iter(queue)).since for queue in self._queues.values())
        return trio.current_time() - min(heads, default=trio.current_time())

    def note_short(self, message: str) -> None:
        """A start has failed for a shortage: shown for a while, as the next may not fail."""
        self._short = (trio.current_time(), message)

    def short_of(self) -> str | None:
        """What was short recently, None for nothing."""
        at, message = self._short
        return message if message and trio.current_time() - at < SHORT_FOR else None

    def _is_short(self) -> bool:
        message = self._shortage()
        if message is not None:
            self.note_short(message)
        return message is not None

    def take_nowait(self) -> bool:
        """Take a place if one is free and no start waits; whether it did."""
        if self._queues or not self._free or self._is_short():
            return False
        self._free -= 1
        return True

    async def take(self, service: str) -> None:
        """Wait for a place, in turn with other services."""
        waiter = _Waiter(trio.current_time())
        self._queues.setdefault(service, OrderedDict())[waiter] = None
        self._waiting += 1
        self.grant()
        try:
            await waiter.turn.wait()
        except trio.Cancelled:
            if waiter.turn.is_set():
                self.give_back()
            else:
                self._remove(service, waiter)
            raise

    def _remove(self, service: str, waiter: _Waiter) -> None:
        del self._queues[service][waiter]
        if not self._queues[service]:
            del self._queues[service]
        self._waiting -= 1

    def give_back(self) -> None:
        """Release a place: its program runs, or never will."""
        self._free += 1
        self.grant()

    def grant(self) -> None:
        """Grant the free places. Also to be called regularly: the end of a shortage is not
        announced."""
        while self._free and self._queues:
            if self._is_short():
                return
            service = next(iter(self._queues))
            queue = self._queues.pop(service)
            waiter, _ = queue.popitem(last=False)
            if queue:
                self._queues[service] = queue
            self._waiting -= 1
            self._free -= 1
            waiter.turn.set()


class StartPermit:
    """One task's place among the starts: taken before each start, released after it."""

    def __init__(self, starts: StartLimit, service: str) -> None:
        self._starts = starts
        self._service = service
        self._is_waiting = False
        self._is_held = False

    def why_waiting(self) -> str | None:
        """What its task is pending for; None where it does not wait for a place."""
        if not self._is_waiting:
            return None
        short = self._starts.short_of()
        return START_WAITS if short is None else f"waits for its turn to start: {short}"

    def take_nowait(self) -> bool:
        """Take it if one is free and no start waits."""
        self._is_held = self._is_held or self._starts.take_nowait()
        return self._is_held

    async def take(self) -> None:
        """Wait for it. No checkpoint where one is free."""
        if not self.take_nowait():
            self._is_waiting = True
            try:
                await self._starts.take(self._service)
            finally:
                self._is_waiting = False
        self._is_held = True

    def give_back(self) -> None:
        """The start is over, if one was under way."""
        if self._is_held:
            self._is_held = False
            self._starts.give_back()

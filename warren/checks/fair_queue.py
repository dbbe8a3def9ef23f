"""Places: which attempt is next, fairly over services (S10).

    asked for -> free, and the service may have one more -> taken
       `-------> waiting, in order within its service ----^

Invariants: while another service asks too, none is given more than half of the places, so that one
whose checks hang leaves room; a service asks if it waits, holds a place, or has asked within
`RECENT`, as its next probe comes soon. Of the services that wait, the one that holds the fewest is
next, and of equals the one whose turn was the longest ago. Taking a free place is no checkpoint: a
check has its own, and another here would double what an attempt costs the scheduler.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import msgspec
import trio

from warren.model.interfaces import PlaceWait

RECENT = 60.0  # seconds
LATE = 1.0  # seconds of waiting that are worth a condition
CALM = 30.0  # seconds without such a wait, and it is over


class CapStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One cap. `waits` counts attempts that had to wait, cancelled ones too; waits in seconds.

    `asking` counts services: those that wait, hold a place, or have asked lately.
    """

    cap: int
    in_flight: int
    waiting: int
    asking: int
    waits: int
    longest_wait: float  # those that wait still too
    total_wait: float


class _Waiter:
    __slots__ = ("event", "has_place", "since")

    def __init__(self) -> None:
        self.since = trio.current_time()
        self.event = trio.Event()
        self.has_place = False


class FairQueue:
    """`cap` places, taken and released by the name of a service. `is_crowded` is whether attempts
    have waited for over `LATE` seconds lately; `tell` is called when that changes."""

    def __init__(self, cap: int, *, tell: Callable[[], None]) -> None:
        if cap < 1:
            raise ValueError(f"cap: {cap}: want at least 1, or no check ever runs")
        self.cap = cap
        self.is_crowded = False
        self._late = 0
        self._late_at = 0.0
        self._tell = tell
        self._free = cap
        self._held = dict[str, int]()
        self._queues = dict[str, deque[_Waiter]]()  # of services that wait: none is empty
        self._asked = OrderedDict[str, float]()  # when last, the latest at the end
        self._turns = dict[str, int]()
        self._turn = 0
        self._waits = 0
        self._longest = 0.0
        self._total = 0.0

    async def take(self, service: str, waiting: PlaceWait | None = None) -> float:
        """Take a place as soon as one is available; returns the seconds until then. `waiting` is
        notified where none is available at once."""
        self._asked[service] = trio.current_time()
        self._asked.move_to_end(service)
        self._forget_old()
        self._note_calm()
        if self._free and service not in self._queues and self._may_have(service):
            self._grant(service)
            return 0.0
        start = trio.current_time()
        if waiting is not None:
            waiting.begin()
        try:
            await self._wait(service)
        finally:
            if waiting is not None:
                waiting.end()
        return trio.current_time() - start

    def give_back(self, service: str) -> None:
        """Release it: a waiting attempt may have it."""
        self._free += 1
        self._held[service] -= 1
        if not self._held[service]:
            del self._held[service]
            self._forget_turn(service)
        self._serve()
        self._note_calm()

    def statistics(self) -> CapStatistics:
        return CapStatistics(
            cap=self.cap,
            in_flight=self.cap - self._free,
            waiting=sum(len(queue) for queue in self._queues.values()),
            asking=len({*self._queues, *self._held, *self._asked, *self._turns}),
            waits=self._waits,
            longest_wait=max(self._longest, self._present()),
            total_wait=self._total,
        )

    def _present(self) -> float:
        """Seconds that the longest waiter has waited by now."""
        oldest = [queue[0].since for queue in self._queues.values()]
        return trio.current_time() - min(oldest) if oldest else 0.0

    def __repr__(self) -> str:
        return f"{self.cap - self._free}/{self.cap}"

    def _may_have(self, service: str) -> bool:
        held = self._held.get(service, 0)
        return held < self.cap // 2 or held == 0 or not self._has_others(service)

    def _has_others(self, service: str) -> bool:
        if len(self._held) > (service in self._held) or len(self._queues) > (
            service in self._queues
        ):
            return True
        self._forget_old()
        return len(self._asked) > (service in self._asked)

    def _forget_old(self) -> None:
        oldest = trio.current_time() - RECENT
        while self._asked and next(iter(self._asked.values())) < oldest:
            self._forget_turn(self._asked.popitem(last=False)[0])

    def _forget_turn(self, service: str) -> None:
        """Keep nothing of a service that holds no place and has not asked recently."""
        if service not in self._held and service not in self._asked:
            self._turns.pop(service, None)

    def _grant(self, service: str) -> None:
        self._free -= 1
        self._held[service] = self._held.get(service, 0) + 1
        self._turn += 1
        self._turns[service] = self._turn

    def _serve(self) -> None:
        while self._free:
            waiting = [service for service in self._queues if self._may_have(service)]
            if not waiting:
                return
            service = min(waiting, key=lambda s: (self._held.get(s, 0), self._turns.get(s, 0)))
            waiter = self._queues[service].popleft()
            if not self._queues[service]:
                del self._queues[service]
            self._grant(service)
            waiter.has_place = True
            waiter.event.set()

    async def _wait(self, service: str) -> None:
        waiter = _Waiter()
        self._queues.setdefault(service, deque()).append(waiter)
        try:
            with trio.move_on_after(LATE):
                await waiter.event.wait()
            if not waiter.has_place:
                await self._wait_longer(waiter)
        except BaseException:
            self._leave(service, waiter)
            raise
        finally:
            waited = trio.current_time() - waiter.since
            self._waits += 1
            self._total += waited
            self._longest = max(self._longest, waited)

    async def _wait_longer(self, waiter: _Waiter) -> None:
        self._late += 1
        if not self.is_crowded:
            self.is_crowded = True
            self._tell()
        try:
            await waiter.event.wait()
        finally:
            self._late -= 1
            self._late_at = trio.current_time()

    def _note_calm(self) -> None:
        if not self.is_crowded or self._late:
            return
        if self._free == self.cap or trio.current_time() >= self._late_at + CALM:
            self.is_crowded = False
            self._tell()

    def _leave(self, service: str, waiter: _Waiter) -> None:
        if waiter.has_place:
            self.give_back(service)
            return
        self._queues[service].remove(waiter)
        if not self._queues[service]:
            del self._queues[service]
        self._serve()  # with one waiter less, a service may be the only one

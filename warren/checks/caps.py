"""Caps: how many attempts are in flight on a node at once (S10).

A `RunCheck` around a `RunCheck`. Invariants: places are given in the order asked for; waiting for
one is outside the timeout and is measured; a place is given back however the attempt ends.
"""

from __future__ import annotations

import os

import msgspec
import trio

from warren.model.check import Check, ExecCheck, Outcome
from warren.model.seams import RunCheck, Target

NETWORK_CAP = 256
EXEC_CAP_PER_CORE = 2


class CapStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One cap. `waits` counts attempts that had to wait, cancelled ones too; waits in seconds."""

    cap: int
    in_flight: int
    waiting: int
    waits: int
    longest_wait: float
    total_wait: float


class CapsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    network: CapStatistics
    exec: CapStatistics


def default_exec_cap() -> int:
    """Two exec checks at once per core that we may use."""
    return EXEC_CAP_PER_CORE * len(os.sched_getaffinity(0))


class Caps:
    """Runs checks through `run`, at most `network` and `exec` of them at once, each at least 1."""

    def __init__(
        self,
        run: RunCheck,
        *,
        network: int = NETWORK_CAP,
        exec: int | None = None,  # noqa: A002 - the kind's name, as in a probe
    ) -> None:
        self._run = run
        self._network = _Places(network)
        self._exec = _Places(default_exec_cap() if exec is None else exec)

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        places = self._exec if isinstance(check, ExecCheck) else self._network
        await places.take()
        try:
            return await self._run(check, target, timeout=timeout)
        finally:
            places.give_back()

    def statistics(self) -> CapsStatistics:
        """What is in flight and waiting now, and how long was waited so far."""
        return CapsStatistics(network=self._network.statistics(), exec=self._exec.statistics())

    def __repr__(self) -> str:
        return f"<Caps network={self._network!r} exec={self._exec!r}>"


class _Places:
    # A semaphore hands a place to who waited longest. Taking a free one is no checkpoint:
    # a check has its own, and another here would double what an attempt costs the scheduler.

    def __init__(self, cap: int) -> None:
        if cap < 1:
            raise ValueError(f"cap: {cap}: want at least 1, or no check ever runs")
        self._cap = cap
        self._free = trio.Semaphore(cap)
        self._waits = 0
        self._longest = 0.0
        self._total = 0.0

    async def take(self) -> None:
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            await self._wait()

    def give_back(self) -> None:
        self._free.release()

    def statistics(self) -> CapStatistics:
        return CapStatistics(
            cap=self._cap,
            in_flight=self._cap - self._free.value,
            waiting=self._free.statistics().tasks_waiting,
            waits=self._waits,
            longest_wait=self._longest,
            total_wait=self._total,
        )

    def __repr__(self) -> str:
        return f"{self._cap - self._free.value}/{self._cap}"

    async def _wait(self) -> None:
        start = trio.current_time()
        try:
            await self._free.acquire()
        finally:
            waited = trio.current_time() - start
            self._waits += 1
            self._total += waited
            self._longest = max(self._longest, waited)

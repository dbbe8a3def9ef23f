"""Caps: how many attempts are in flight on a node at once (S10).

A `RunCheck` around a `RunCheck`. Waiting for a place is outside the timeout and is measured; a
place is released however the attempt ends. `fair_queue.py` decides which attempt gets one. Where
attempts wait for long, that is a condition of the node.
"""

from __future__ import annotations

import os

import msgspec

from warren.checks.fair_queue import LATE, CapStatistics, FairQueue
from warren.model.check import Check, Outcome
from warren.model.check_kinds import Cap, kind_of
from warren.model.check_places import CheckPlaces
from warren.model.interfaces import RunCheck, Target
from warren.resilience.conditions import Conditions

NETWORK_CAP = 256
EXEC_CAP_PER_CORE = 2


class CapsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    network: CapStatistics
    exec: CapStatistics


def default_exec_cap() -> int:
    """Two exec checks at once per core that we may use."""
    return EXEC_CAP_PER_CORE * len(os.sched_getaffinity(0))


class ConcurrencyCaps:
    """Runs checks through `run`, at most `network` and `exec` of them at once, each at least 1."""

    def __init__(
        self,
        run: RunCheck,
        *,
        network: int = NETWORK_CAP,
        exec: int | None = None,  # noqa: A002 - the kind's name, as in a probe
        conditions: Conditions | None = None,
    ) -> None:
        self._run = run
        self._conditions = conditions or Conditions()
        caps = {Cap.NETWORK: network, Cap.EXEC: default_exec_cap() if exec is None else exec}
        self._queues = {
            group: FairQueue(cap, tell=self._note_waiting) for group, cap in caps.items()
        }

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        places = self._queues[kind_of(check).cap]
        waited = await places.take(target.service, target.waiting)
        try:
            outcome = await self._run(check, target, timeout=timeout)
        finally:
            places.give_back(target.service)
        return msgspec.structs.replace(outcome, waited=waited) if waited else outcome

    def statistics(self) -> CapsStatistics:
        """What is in flight and waiting now, and how long was waited so far."""
        return CapsStatistics(
            network=self._queues[Cap.NETWORK].statistics(),
            exec=self._queues[Cap.EXEC].statistics(),
        )

    def places(self) -> tuple[CheckPlaces, ...]:
        """The same for every kind, for the node's status."""
        return tuple(_told(cap.value, queue.statistics()) for cap, queue in self._queues.items())

    def __repr__(self) -> str:
        queues = " ".join(f"{cap.value}={queue!r}" for cap, queue in self._queues.items())
        return f"<ConcurrencyCaps {queues}>"

    def _note_waiting(self) -> None:
        for cap, places in self._queues.items():
            kind = cap.value
            if places.is_crowded:
                said = f"{kind} checks wait over {LATE:.0f}s for one of {places.cap} places"
                said = f"{said}; --{kind}-checks raises the cap"
                self._conditions.set(f"{kind} checks wait", said)
            else:
                self._conditions.clear(f"{kind} checks wait")


def _told(kind: str, counted: CapStatistics) -> CheckPlaces:
    return CheckPlaces(
        kind=kind,
        cap=counted.cap,
        in_flight=counted.in_flight,
        waiting=counted.waiting,
        longest_wait=counted.longest_wait,
    )

"""What the node tells of itself."""

from __future__ import annotations

import dataclasses
from functools import partial

import trio
from node_kit import Ground
from trio.testing import MockClock

from warren.checks import ConcurrencyCaps
from warren.model.check import Check, Outcome, Result, TcpCheck
from warren.model.interfaces import Target
from warren.node.self_monitor import SelfMonitor
from warren.resilience.conditions import Conditions


async def test_selfwatch_checks_that_wait_are_told_of_once(autojump_clock: MockClock) -> None:
    async def hang(check: Check, target: Target, *, timeout: float) -> Outcome:
        await trio.sleep(timeout)
        return Outcome(Result.FAIL, "")

    conditions = Conditions()
    caps = ConcurrencyCaps(hang, network=1, conditions=conditions)
    around = dataclasses.replace(Ground().dependencies(), check=caps, conditions=conditions)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SelfMonitor(around, lambda: 0).serve)
        for _ in range(2):
            nursery.start_soon(partial(caps, TcpCheck(80), Target(), timeout=30))
        await trio.sleep(20)  # virtual
        told = [(one.kind, one.message) for one in conditions.current()]
        nursery.cancel_scope.cancel()
    said = "network checks wait over 1s for one of 1 places; --network-checks raises the cap"
    assert told == [("network checks wait", said)]  # S10

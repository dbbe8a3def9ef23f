"""How long a probe has waited for a place is known while it waits, and afterwards (S10)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.nursery.conftest import HeldService, World, spec
from tests.scripted import ScriptedCheck
from warren.checks.concurrency import ConcurrencyCaps
from warren.model.probe import ProbeKind

HTTP = {"http": {"port": 80}, "interval": "1s", "timeout": "60s"}


def waits_of(service: HeldService) -> tuple[float, float]:
    status = service.statuses()[0].probes[ProbeKind.READINESS]
    return status.waited, status.longest_wait


async def test_wait_is_shown_as_it_grows_and_the_longest_stays(
    world: World, autojump_clock: MockClock
) -> None:
    check = ScriptedCheck(takes=5.0)
    async with world.open(check=ConcurrencyCaps(check, network=1)) as node:
        first = await node.start(spec(name="a", readiness=HTTP))
        await trio.sleep(1)  # virtual
        second = await node.start(spec(name="b", readiness=HTTP))
        await trio.sleep(1)
        assert waits_of(first) == (0.0, 0.0)
        assert waits_of(second) == pytest.approx((1.0, 1.0))
        await trio.sleep(2)
        assert waits_of(second) == pytest.approx((3.0, 3.0))
        check.takes = 0.0
        await second.wait_ready()
        await trio.sleep(10)
        assert waits_of(second) == pytest.approx((0.0, 4.0))
        await node.stop("a")


async def test_wait_ends_with_the_instance(world: World, autojump_clock: MockClock) -> None:
    caps = ConcurrencyCaps(ScriptedCheck(takes=100.0), network=1)
    async with world.open(check=caps) as node:
        await node.start(spec(name="a", readiness=HTTP))
        await trio.sleep(1)  # virtual
        second = await node.start(spec(name="b", readiness=HTTP))
        await trio.sleep(2)
        assert waits_of(second) == pytest.approx((2.0, 2.0))
        world.runtime.started[1].script.ignores_signal = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.stop, "b")
            await trio.sleep(5)  # virtual: it is being stopped
            assert waits_of(second) == pytest.approx((0.0, 2.0))

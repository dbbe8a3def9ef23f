"""Whenever it is cancelled, nothing of a task is left (S15)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import FAIL, PASS, Script, ScriptedCheck, ScriptedRuntime
from tests.sweep import cancel_at_every_step
from warren.model.check import Check, Outcome
from warren.model.event import EventKind
from warren.model.interfaces import Launch, Target

HTTP = {"http": {"port": 80}, "interval": "1s"}


@pytest.mark.parametrize("stubborn", [False, True])
async def test_cancelled_at_every_step_of_a_life_nothing_is_left(
    world: World, autojump_clock: MockClock, stubborn: bool
) -> None:
    def scripts(launch: Launch, number: int) -> Script:
        return Script(start_delay=0.1, ignores_signal=stubborn)

    def answer(check: Check, target: Target) -> Outcome:
        return FAIL if trio.current_time() % 10 > 5 else PASS

    async def a_life() -> None:
        world.runtime = ScriptedRuntime(scripts)
        world.check = ScriptedCheck(answer, takes=0.1)
        world.events.clear()
        for record in world.journal.load():
            world.journal.forget(record.id)
        async with world.open() as node:
            probes = {"startup": HTTP, "liveness": HTTP, "readiness": HTTP}
            await node.start(spec(**probes, replicas=2))
            await world.wait_for(EventKind.STARTED, 3)
            await node.stop("web")

    def nothing_is_left(step: int) -> None:
        assert world.runtime.alive == {}, f"cancelled at step {step}"
        assert world.check.in_flight == 0
        assert world.ports.claims == {}
        assert all(record.instance is None for record in world.journal.load())

    cancelled = await cancel_at_every_step(a_life, check=nothing_is_left)
    assert cancelled > 50

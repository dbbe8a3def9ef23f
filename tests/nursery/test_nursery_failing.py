"""A failed probe, or a stop, is followed through by the next supervisor too (S16, S18, S21)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import FAIL, PASS, Script, ScriptedCheck, ScriptedInstance, ScriptedRuntime
from warren.model.event import EventKind
from warren.model.task import Phase, TaskRecord

PROBE = {"http": {"port": 80}, "interval": "1s", "retries": 2}
GRACE = 5.0
FAILED = {
    "liveness": "liveness probe failed 2 times: HTTP 500",
    "startup": "startup probe failed 2 times: HTTP 500",
}


def revive(
    world: World,
    records: Iterable[TaskRecord],
    alive: Mapping[str, ScriptedInstance],
    **script: Any,
) -> None:
    """As another supervisor finds it: these records, and these instances, which do that now."""
    for record in records:
        world.journal.save(record)
    world.runtime = ScriptedRuntime()
    for one in alive.values():
        again = ScriptedInstance(one.instance, Script(**script), [], world.runtime)
        world.runtime.alive[one.instance.id] = again
    world.events.clear()


async def killed_while_it_stops(
    world: World, probe: str, *, stubborn: bool, lives: bool = True
) -> None:
    """As after a `kill -9` of the supervisor, 2 s after the probe has failed. It passes again."""
    world.check = ScriptedCheck(FAIL)
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    fields = {probe: PROBE, "stop": {"grace": "60s", "failure_grace": f"{GRACE:g}s"}}
    records, alive = list[TaskRecord](), dict[str, ScriptedInstance]()
    with trio.CancelScope() as scope:
        async with world.open() as node:
            await node.start(spec(restart={"condition": "on-failure"}, **fields))
            await world.wait_for(EventKind.PROBE_FAILED)
            await trio.sleep(2)
            records, alive = world.journal.load(), dict(world.runtime.alive)
            scope.cancel()
    revive(world, records, alive if lives else {}, ignores_signal=stubborn)
    world.check = ScriptedCheck(PASS)


@pytest.mark.parametrize("probe", ["liveness", "startup"])
@pytest.mark.parametrize("stubborn", [True, False])
async def test_the_next_supervisor_goes_on_with_the_stop(
    world: World, autojump_clock: MockClock, probe: str, stubborn: bool
) -> None:
    await killed_while_it_stops(world, probe, stubborn=stubborn)
    (left,) = world.runtime.alive.values()
    (failing,) = (record.failing for record in world.journal.load())
    assert failing is not None
    async with world.open():
        await world.wait_for(EventKind.ADOPTED)
        assert not world.events[-1][1].ready  # S15
        await world.wait_for(EventKind.RESTARTING)
        over = world.runtime.wall()
        assert world.check.asked == []  # S6
        assert left.log == ["signal 15", "kill"]
        assert world.kinds() == [EventKind.ADOPTED, EventKind.RESTARTING]  # the failure was told
        _, status, event = world.events[-1]
        assert event.reason == "probe failed"  # whatever its exit code
        assert event.message.startswith(FAILED[probe])
        assert status.restarts == 1
        await world.wait_for(EventKind.READY)
        (record,) = world.journal.load()
        assert record.failing is None
    if stubborn:  # of the grace what is left
        assert over == pytest.approx(failing.at + GRACE, abs=0.01)
    else:
        assert over == pytest.approx(failing.at + 2, abs=0.01)


async def test_grace_that_is_over_is_not_begun_again(
    world: World, autojump_clock: MockClock
) -> None:
    await killed_while_it_stops(world, "liveness", stubborn=True)
    await trio.sleep(60)
    begun = trio.current_time()
    async with world.open():
        await world.wait_for(EventKind.RESTARTING)
        assert trio.current_time() - begun < 0.1


async def test_instance_that_was_gone_by_then_has_failed_by_its_probe(
    world: World, autojump_clock: MockClock
) -> None:
    await killed_while_it_stops(world, "liveness", stubborn=False, lives=False)
    async with world.open():
        await world.wait_for(EventKind.RESTARTING)
        _, status, event = world.events[-1]
        assert (event.reason, status.restarts) == ("probe failed", 1)  # S18
        assert event.message.startswith(FAILED["liveness"])
        assert status.phase is not Phase.COMPLETE


async def test_failure_is_one_where_the_supervisor_stops_its_tasks_meanwhile(
    world: World, autojump_clock: MockClock
) -> None:
    world.check = ScriptedCheck(FAIL)
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    job = spec(liveness=PROBE, restart={"condition": "never"}, stop={"failure_grace": "5s"})
    async with world.open() as node:
        await node.start(job)
        await world.wait_for(EventKind.PROBE_FAILED)
    assert world.runtime.alive == {}
    revive(world, world.journal.load(), {})
    async with world.open():
        await world.wait_for(EventKind.FINISHED)
        _, status, event = world.events[-1]
        assert (status.phase, event.reason) == (Phase.FAILED, "probe failed")  # S17, S18
        assert event.message.startswith("failed: " + FAILED["liveness"])
        assert world.runtime.starts == []


@pytest.mark.parametrize("lives", [True, False])
async def test_stop_that_was_asked_for_is_one_after_a_kill_of_the_supervisor(
    world: World, autojump_clock: MockClock, lives: bool
) -> None:
    world.runtime = ScriptedRuntime(Script(ignores_signal=True))
    records, alive = list[TaskRecord](), dict[str, ScriptedInstance]()
    with trio.CancelScope() as scope:
        async with world.open() as node, trio.open_nursery() as nursery:
            await node.start(spec())
            await world.wait_for(EventKind.STARTED)
            nursery.start_soon(node.stop, "web")
            await world.wait_for(EventKind.STOPPING)
            records, alive = world.journal.load(), dict(world.runtime.alive)
            scope.cancel()
    revive(world, records, alive if lives else {})
    left = list(world.runtime.alive.values())
    async with world.open():  # its manager is not there yet
        await world.wait_for(EventKind.FINISHED)
        _, status, event = world.events[-1]
        assert (status.phase, event.reason) == (Phase.STOPPED, "stop asked")
        assert EventKind.RESTARTING not in world.kinds()
        assert world.runtime.starts == []
        assert [one.log for one in left] == [["signal 15", "kill"]] * lives

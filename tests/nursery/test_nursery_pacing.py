"""Starts are paced: so many in flight, fair over services, and whoever waits says so."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import trio
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import Script, ScriptedCheck, ScriptedPorts, ScriptedRuntime
from warren.model.check import Argv
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.interfaces import Launch, NotYetError, Record, RunningInstance, ShortageError
from warren.model.service import ServiceSpec
from warren.model.task import TaskRecord
from warren.nursery.dependencies import Dependencies
from warren.nursery.task_runner import TaskRunner
from warren.resilience.start_limit import START_WAITS, STARTS_AT_ONCE
from warren.store.journal import MemoryJournal


def around(runtime: ScriptedRuntime) -> Dependencies:
    return Dependencies(
        node="n1", runtime=runtime, check=ScriptedCheck(), ports=ScriptedPorts(),
        journal=MemoryJournal(), publish=lambda status, event: None, wall=runtime.wall,
        chance=random.Random(1),
    )  # fmt: skip


def task(dependencies: Dependencies, service: str, slot: int) -> TaskRunner:
    spec = ServiceSpec(name=service, command=Argv(("x",)))
    return TaskRunner(TaskRecord(id=TaskId(service, slot, 1), spec=spec), dependencies)


async def test_hundred_tasks_start_a_few_at_a_time_and_one_of_another_service_soon(
    autojump_clock: MockClock,
) -> None:
    runtime = ScriptedRuntime(Script(start_delay=1.0))
    dependencies = around(runtime)
    many = [task(dependencies, "many", slot) for slot in range(1, 101)]
    one = task(dependencies, "one", 1)
    async with trio.open_nursery() as nursery:
        for each in many:
            nursery.start_soon(each.run)
        await trio.sleep(0.5)
        waiting = [each for each in many if each.status().pending_reason == START_WAITS]
        assert len(waiting) == 100 - STARTS_AT_ONCE
        nursery.start_soon(one.run)
        await trio.sleep(1.0)  # the next places go round
        assert one.status().pending_reason is None
        await trio.sleep(100 / STARTS_AT_ONCE + 2)
        assert max(Counter(runtime.starts).values()) == STARTS_AT_ONCE
        assert all(each.status().pending_reason is None for each in (*many, one))
        for each in (*many, one):
            each.stop()
    assert dependencies.starts.waiting == 0


async def test_places_come_back_from_starts_that_fail_and_tasks_that_are_stopped(
    autojump_clock: MockClock,
) -> None:
    def script(launch: Launch, number: int) -> Script:
        return Script(start_delay=1.0, start_error="it is missing" if number % 2 else None)

    runtime = ScriptedRuntime(script)
    dependencies = around(runtime)
    many = [task(dependencies, "many", slot) for slot in range(1, 41)]
    async with trio.open_nursery() as nursery:
        for each in many:
            nursery.start_soon(each.run)
        await trio.sleep(1.5)
        for each in many[::3]:  # some in their start, some that wait
            each.stop()
        await trio.sleep(60)
        for each in many:
            each.stop()
    assert dependencies.starts.waiting == 0
    places = [dependencies.starts.take_nowait() for _ in range(STARTS_AT_ONCE + 1)]
    assert places == [True] * STARTS_AT_ONCE + [False]


class Short(ScriptedRuntime):
    """A runtime that lacks something, for one reason after the other, round and round."""

    def __init__(self, *reasons: str) -> None:
        super().__init__()
        self.is_short = True
        self._reasons = itertools.cycle(reasons)

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        if self.is_short:
            raise ShortageError(next(self._reasons))
        return await super().start(launch, record=record)


async def test_shortage_is_told_once_as_what_its_task_waits_for(
    world: World, autojump_clock: MockClock
) -> None:  # S26
    runtime = world.runtime = Short("web: no processes left")
    async with world.open() as node:
        service = await node.start(spec())
        await world.wait_for(EventKind.PENDING)
        await trio.sleep(20)  # tried again and again
        assert world.messages(EventKind.PENDING) == ["pending: web: no processes left"]
        assert world.events[-1][1].pending_reason == "web: no processes left"
        runtime.is_short = False
        await service.wait_ready()
        assert service.statuses()[0].pending_reason is None


class Imageless(ScriptedRuntime):
    """A runtime whose engine has not pulled the image yet."""

    progress: str | None = "pulling image web"

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        if self.progress is not None:
            raise NotYetError(self.progress)
        return await super().start(launch, record=record)


async def test_what_is_not_there_yet_is_waited_for_and_is_no_restart(
    world: World, autojump_clock: MockClock
) -> None:  # S28
    runtime = world.runtime = Imageless()
    async with world.open() as node:
        service = await node.start(spec(restart={"max_attempts": 1}))
        await world.wait_for(EventKind.PENDING)
        runtime.progress = "pulling image web 43 %, 12 of 28 MB"
        await trio.sleep(3)
        assert service.statuses()[0].pending_reason == runtime.progress
        assert world.messages(EventKind.PENDING) == ["pending: pulling image web"]
        runtime.progress = None
        await service.wait_ready()
        (status,) = service.statuses()
        assert (status.restarts, status.pending_reason, status.last_end) == (0, None, None)


async def test_shortages_that_take_turns_are_told_once_a_minute(
    world: World, autojump_clock: MockClock
) -> None:
    runtime = world.runtime = Short("web: no memory left", "web: no processes left")
    async with world.open() as node:
        service = await node.start(spec())
        await trio.sleep(600)  # tried every second
        told = world.messages(EventKind.PENDING)
        assert set(told) == {"pending: web: no memory left", "pending: web: no processes left"}
        assert len(told) <= 11
        assert service.statuses()[0].pending_reason in {message[9:] for message in told}
        runtime.is_short = False
        await service.wait_ready()
        assert service.statuses()[0].pending_reason is None
        runtime.is_short = True
        count = len(told)
        await runtime.started[0].kill()
        await world.wait_for(EventKind.PENDING, count + 1)  # it waits anew, and says so at once

"""Faults that are none of the task's: a clock that jumps, a disk that fails, a lost instance."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import PASS, Script, ScriptedInstance, ScriptedRuntime
from warren.model.identity import TaskId
from warren.model.seams import Launch
from warren.model.task import EventKind, Instance, Phase, Reason, TaskRecord

HTTP = {"http": {"port": 80}, "interval": "1s"}


class JumpingRuntime(ScriptedRuntime):
    """Wall time that is off by `jump` seconds."""

    jump = 0.0

    def wall(self) -> float:
        """Wall time, as the jumped clock has it."""
        return super().wall() + self.jump


async def test_clock_that_jumps_changes_no_probe_and_no_backoff(
    world: World, autojump_clock: MockClock
) -> None:
    def scripts(launch: Launch, number: int) -> Script:
        return Script(exits_after=5.0, exit_code=1)

    world.runtime = runtime = JumpingRuntime(scripts)
    async with world.open() as supervisor:
        supervisor.start(spec(health=HTTP, restart={"max_attempts": 100}))
        await trio.sleep(1)
        for jump in (+86_400.0, -86_400.0):
            runtime.jump += jump
            starts = len(runtime.starts)
            await world.wait_for(EventKind.STARTED, starts + 1)
        gaps = [b - a for a, b in zip(runtime.starts, runtime.starts[1:], strict=False)]
        assert gaps[0] == 5.0  # at once; and a day of "good running" was not believed:
        assert 6.0 <= gaps[1] <= 6.2  # S17: the second waits 1 s
        assert {kind for kind in world.kinds() if kind is EventKind.PROBE_FAILED} == set()


async def test_instance_that_ended_unseen_is_a_counted_restart(
    world: World, autojump_clock: MockClock
) -> None:  # S21: known as ended
    world.journal.save(running_record(world))
    async with world.open() as supervisor:
        service = supervisor.start(spec())
        await service.wait_ready()
        status = service.statuses()[0]
        assert str(status.id) == "web.1#4"
        assert status.restarts == 1
        assert status.last_end is not None
        assert status.last_end.reason is Reason.LOST


async def test_task_of_a_changed_spec_is_stopped_and_gets_a_successor(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.open() as supervisor:
        await supervisor.start(spec(health=HTTP)).wait_ready()
    async with world.open() as supervisor:
        service = supervisor.start(spec(health=HTTP, env={"NEW": "1"}))
        await service.wait_ready()
        assert str(service.statuses()[0].id) == "web.1#2"
    assert [record.id.number for record in world.journal.load()] == [2]


async def test_what_is_no_longer_wanted_is_stopped_and_forgotten(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.open() as supervisor:
        await supervisor.start(spec(name="old")).wait_ready()
        await supervisor.start(spec(replicas=3)).wait_ready()
    async with world.open() as supervisor:
        await supervisor.start(spec(replicas=1)).wait_ready()
        supervisor.dismiss_unclaimed()
    assert [str(record.id) for record in world.journal.load()] == ["web.1#1"]


@pytest.mark.parametrize("way", ["gone from the file", "changed", "stopped", "cancelled"])
async def test_instance_to_adopt_is_ended_also_when_the_stop_comes_first(
    world: World, autojump_clock: MockClock, way: str
) -> None:  # S15, S21
    record = running_record(world)
    assert record.instance is not None
    world.journal.save(record)
    survivor = ScriptedInstance(record.instance, Script(), [], world.runtime)
    world.runtime.alive[record.instance.id] = survivor
    with trio.CancelScope() as scope:
        async with world.open() as supervisor:
            if way == "changed":
                await supervisor.start(spec(env={"NEW": "1"})).wait_ready()
            elif way == "gone from the file":
                supervisor.dismiss_unclaimed()
            else:
                service = supervisor.start(spec())
                if way == "stopped":
                    await service.stop()
                else:
                    scope.cancel()
    assert "kill" in survivor.log
    assert world.runtime.alive == {}


async def test_failed_task_found_in_the_journal_gets_its_successor(
    world: World, autojump_clock: MockClock
) -> None:
    failed = TaskRecord(id=TaskId("web", 1, 4), spec=spec(), phase=Phase.FAILED)
    world.journal.save(failed)
    async with world.open() as supervisor:
        service = supervisor.start(spec())
        await service.wait_ready()
        assert str(service.statuses()[0].id) == "web.1#5"


async def test_completed_task_found_in_the_journal_is_not_run_again(
    world: World, autojump_clock: MockClock
) -> None:
    once = spec(restart={"condition": "on-failure"})
    world.journal.save(TaskRecord(id=TaskId("web", 1, 1), spec=once, phase=Phase.COMPLETE))
    async with world.open() as supervisor:
        service = supervisor.start(once)
        with trio.move_on_after(100):
            await service.ended.wait()
        assert world.runtime.starts == []


async def test_stray_that_no_record_knows_is_ended(
    world: World, autojump_clock: MockClock
) -> None:  # S21
    async with world.open() as supervisor:
        await supervisor.start(spec()).wait_ready()
        alive = dict(world.runtime.alive)
    world.runtime.alive = alive
    async with world.open():
        assert world.runtime.alive == {}


async def test_watcher_that_lies_behind_loses_events_and_stops_nobody(
    world: World, autojump_clock: MockClock
) -> None:
    world.runtime = ScriptedRuntime(Script(exits_after=0.01, exit_code=1))
    world.check.answer = PASS
    async with world.open() as supervisor, supervisor.watch() as transitions:
        restart = {"max_attempts": 1_000_000, "delay": "10ms", "max_delay": "10ms"}
        supervisor.start(spec(restart=restart))
        await world.wait_for(EventKind.STARTED, 500)
        assert transitions.statistics().current_buffer_used == 1000


def running_record(world: World) -> TaskRecord:
    task = TaskId("web", 1, 4)
    instance = Instance(id="web.1-4.1-x", task=task, pid=1, started_at=0.0)
    return TaskRecord(id=task, spec=spec(), phase=Phase.RUNNING, instance=instance, starts=1)

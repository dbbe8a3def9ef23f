"""Faults that are none of the task's: a clock that jumps, a disk that fails, a lost instance."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.nursery.conftest import World, spec
from tests.scripted import Script, ScriptedInstance, ScriptedRuntime
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.interfaces import Launch
from warren.model.task import Instance, Phase, Reason, TaskRecord
from warren.nursery.task_runner import TaskRunner
from warren.resilience.fair_turns import FairTurns
from warren.store.journal import MemoryJournal

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
    async with world.open() as node:
        await node.start(spec(health=HTTP, restart={"max_attempts": 100}))
        for jump in (-86_400.0, +86_400.0):
            await trio.sleep(1)  # virtual: the instance is ready by then
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
    async with world.open() as node:
        service = await node.start(spec(), number=4)
        await service.wait_ready()
        status = service.statuses()[0]
        assert str(status.id) == "web.1#4"
        assert status.restarts == 1
        assert status.last_end is not None
        assert status.last_end.reason is Reason.LOST


async def test_what_is_no_longer_wanted_is_stopped_and_forgotten(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.open() as node:
        await (await node.start(spec(name="old"))).wait_ready()
        await (await node.start(spec(replicas=3))).wait_ready()
    async with world.open() as node:
        await (await node.start(spec(replicas=1))).wait_ready()
        await trio.testing.wait_all_tasks_blocked()
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
        async with world.open() as node:
            if way == "changed":
                await (await node.start(spec(env={"NEW": "1"}), number=4)).wait_ready()
            elif way == "gone from the file":
                await node.assign()
            else:
                service = await node.start(spec(), number=4)
                if way == "stopped":
                    await service.stop()
                else:
                    scope.cancel()
    assert "kill" in survivor.log
    assert world.runtime.alive == {}
    ended = {"changed": 2, "cancelled": 0}.get(way, 1)  # what has taken its place is ended, too
    assert world.kinds(EventKind.STOPPING) == [EventKind.STOPPING] * ended


async def test_completed_task_found_in_the_journal_is_not_run_again(
    world: World, autojump_clock: MockClock
) -> None:
    once = spec(restart={"condition": "on-failure"})
    world.journal.save(TaskRecord(id=TaskId("web", 1, 1), spec=once, phase=Phase.COMPLETE))
    async with world.open() as node:
        service = await node.start(once)
        with trio.move_on_after(100):
            await service.wait_ended()
        assert world.runtime.starts == []


async def test_stray_that_no_record_knows_is_ended(
    world: World, autojump_clock: MockClock
) -> None:  # S21
    async with world.open() as node:
        await (await node.start(spec())).wait_ready()
        alive = dict(world.runtime.alive)
    world.runtime.alive = alive
    async with world.open():
        assert world.runtime.alive == {}


def running_record(world: World) -> TaskRecord:
    task = TaskId("web", 1, 4)
    instance = Instance(id="web.1-4.1-x", task=task, pid=1, started_at=0.0)
    return TaskRecord(id=task, spec=spec(), phase=Phase.RUNNING, instance=instance, starts=1)


async def test_backoff_begun_by_an_earlier_supervisor_is_waited_out(
    world: World, autojump_clock: MockClock
) -> None:  # S17
    waiting = TaskRecord(
        id=TaskId("web", 1, 1),
        spec=spec(),
        phase=Phase.RUNNING,
        restart_at=1_000_020.0,
    )
    world.journal.save(waiting)
    async with world.open() as node:
        await (await node.start(spec())).wait_ready()
        assert world.runtime.starts == [20.0]


async def test_backoff_of_a_clock_that_was_ahead_is_bounded(
    world: World, autojump_clock: MockClock
) -> None:
    ahead = 1e15
    record = TaskRecord(id=TaskId("web", 1, 1), spec=spec(), restart_at=ahead)
    world.journal.save(record)
    async with world.open() as node:
        await (await node.start(spec())).wait_ready()
        assert world.runtime.starts[0] <= 330


def id_of(record: TaskRecord) -> str | None:
    return record.instance and record.instance.id


async def test_end_and_what_follows_are_one_write(world: World, autojump_clock: MockClock) -> None:
    journal = NotingJournal()
    world.journal = journal
    world.runtime = ScriptedRuntime(Script(exits_after=1.0, exit_code=1))
    async with world.open() as node:
        await node.start(spec(restart={"max_attempts": 1}))
        await world.wait_for(EventKind.FINISHED)
    saved = [record for record in journal.saved if record.id.number == 1]
    pairs = itertools.pairwise(saved)
    first, second = [new for old, new in pairs if id_of(old) and id_of(new) != id_of(old)]
    assert first.history.total == 1  # S21: no instant has the end without the restart
    assert second.phase is Phase.FAILED


async def test_node_that_nothing_is_asked_of_leaves_nothing_running(
    world: World, autojump_clock: MockClock
) -> None:
    record = running_record(world)
    assert record.instance is not None
    world.journal.save(record)
    world.runtime.alive[record.instance.id] = ScriptedInstance(
        record.instance, Script(), [], world.runtime
    )
    async with world.open() as node:
        await node.assign()
        await trio.testing.wait_all_tasks_blocked()
        assert world.journal.load() == []
    assert world.runtime.alive == {}


async def test_end_is_on_disk_soon_however_long_the_next_start_takes(
    world: World, autojump_clock: MockClock
) -> None:  # S21
    again = Script(start_delay=30.0)
    world.runtime = ScriptedRuntime(
        lambda _, number: Script(exits_after=1.0, exit_code=3) if number == 1 else again
    )
    async with world.open() as node:
        await node.start(spec())
        await world.wait_for(EventKind.RESTARTING)
        await trio.sleep(0.1)
        (record,) = world.journal.load()
        assert record.instance is None
        assert record.last_end is not None
        assert (record.last_end.exit_code, record.history.total) == (3, 1)


@pytest.mark.parametrize("turns", [0.0, 1.0], ids=["idle", "busy"])
async def test_task_that_was_to_stop_before_it_ran_starts_nothing(
    world: World, autojump_clock: MockClock, turns: float
) -> None:
    around = dataclasses.replace(world.dependencies(), turns=FairTurns(lambda: turns))
    tasks = [TaskRunner(TaskRecord(id=TaskId("web", n, 1), spec=spec()), around) for n in (1, 2)]
    async with trio.open_nursery() as nursery:
        for task in tasks:
            task.stop()
            nursery.start_soon(task.run)
    assert world.runtime.starts == []
    assert [task.status().phase for task in tasks] == [Phase.STOPPED] * 2


async def test_start_waits_until_its_record_is_settled(
    world: World, autojump_clock: MockClock
) -> None:  # S21
    world.journal = SlowJournal()
    async with world.open() as node:
        service = await node.start(spec())
        await trio.sleep(4.9)
        assert [record.phase for record in world.journal.load()] == [Phase.STARTING]
        assert service.statuses()[0].phase is Phase.STARTING
        await trio.sleep(0.2)
        assert service.statuses()[0].phase is Phase.RUNNING


class SlowJournal(MemoryJournal):
    """Its disk takes a while."""

    async def settle(self) -> None:
        """In five seconds."""
        await trio.sleep(5)


class NotingJournal(MemoryJournal):
    """Keeps every record that was ever written."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[TaskRecord] = []

    def save(self, record: TaskRecord) -> None:
        """Keep it."""
        self.saved.append(record)
        super().save(record)

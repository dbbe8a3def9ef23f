"""An adoption that a shortage holds up gives way to whoever ends the supervisor (S21)."""

from __future__ import annotations

import pytest
import trio
from node_kit import Ground, run, stop, until, whole
from trio.testing import MockClock

from tests.scripted import ScriptedRuntime
from warren.model.identity import TaskId
from warren.model.interfaces import RunningInstance
from warren.model.report import Assignments
from warren.model.task import End, Instance

WEB = TaskId("web", 1, 1)


class Short(ScriptedRuntime):
    """Adopts nothing while it is short, as the real one."""

    is_short = False

    async def adopt(self, instance: Instance) -> RunningInstance | End:
        while self.is_short:  # noqa: ASYNC110  # as the real one
            await trio.sleep(0.05)
        return await super().adopt(instance)


async def short_ground() -> tuple[Ground, Short, Instance]:
    """A node on which a task runs, whose next supervisor is short of something."""
    runtime = Short()
    ground = Ground(runtime=runtime)
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1")))
        await until(lambda: ground.runtime.alive)
        await agent.leave_all()
    (record,) = ground.journal.load()
    assert record.instance is not None
    runtime.is_short = True
    return ground, runtime, record.instance


@pytest.mark.parametrize("way", ["leave_all", "stop_all", "the second signal"])
async def test_adoption_in_a_shortage_gives_way_and_leaves_it_to_the_next_supervisor(
    autojump_clock: MockClock, way: str
) -> None:
    ground, runtime, instance = await short_ground()
    async with ground.agent() as agent:
        await trio.sleep(5)
        if way != "the second signal":
            with trio.fail_after(10):
                await (agent.leave_all() if way == "leave_all" else agent.stop_all("it ends"))
    assert list(runtime.alive) == [instance.id]
    (record,) = ground.journal.load()
    assert record.instance == instance
    assert not record.phase.is_end
    runtime.is_short = False
    async with ground.agent() as agent:
        await until(lambda: any(status.ready for status in agent.statuses()))
        assert list(runtime.alive) == [instance.id]
        assert len(runtime.started) == 1
        await agent.stop_all("it ends")  # and now it can be had
    assert not runtime.alive
    assert runtime.started[0].log == ["leave", "signal 15", "kill"]


async def test_task_that_is_stopped_for_good_in_a_shortage_is_ended_after_it(
    autojump_clock: MockClock,
) -> None:
    ground, runtime, instance = await short_ground()
    async with ground.agent() as agent:
        await agent.assign(Assignments(generation=6, base=0, tasks=(stop("web.1#1"),)))
        await trio.sleep(60)
        assert list(runtime.alive) == [instance.id]
        (record,) = ground.journal.load()
        assert record.instance == instance
        runtime.is_short = False
        await until(lambda: not runtime.alive)
        assert runtime.started[0].log == ["leave", "signal 15", "kill"]
        await until(lambda: ground.journal.load()[0].phase.is_end)


async def test_adoption_without_a_shortage_is_had_though_it_is_cancelled(
    autojump_clock: MockClock,
) -> None:  # S15
    ground, runtime, _ = await short_ground()
    runtime.is_short = False
    async with ground.agent():
        pass
    assert not runtime.alive
    assert runtime.started[0].log == ["leave", "kill"]

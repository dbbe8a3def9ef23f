"""What tasks use is asked of their nodes when somebody looks, and of nobody else (S27)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.manager.test_manager_dispatcher import WEB, FakeAgent, enroll, managed
from warren.model.errors import NotFoundError, UnavailableError
from warren.model.identity import TaskId
from warren.model.usage import TaskUsage, Usage

USED = Usage(processes=3)


class Teller(FakeAgent):
    """A node that also tells of a task that it was not asked for."""

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        told = await super().usage(tasks)
        return [*told, TaskUsage(task=TaskId("db", 1, 1), usage=USED)]


async def test_usage_is_that_of_the_tasks_that_were_asked_for(autojump_clock: MockClock) -> None:
    async with managed() as manager:
        await enroll(manager, Teller())
        assert await manager.operator.usage() == [TaskUsage(task=WEB, usage=USED)]
        assert (await manager.operator.task(WEB)).usage == USED
        with pytest.raises(NotFoundError, match="no such service: db"):
            await manager.operator.usage(service="db")


async def test_a_node_that_cannot_say_leaves_out_its_tasks_alone(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        agent, other = FakeAgent(), FakeAgent()
        await enroll(manager, agent)
        await enroll(manager, other, name="n2", of="b")
        await manager.operator.scale("web", 2)
        await trio.testing.wait_all_tasks_blocked()
        second = TaskId("web", 2, 1)
        assert [one.task for one in await manager.operator.usage()] == [WEB, second]
        agent.refusals = [UnavailableError("unimplemented"), UnavailableError("unimplemented")]
        assert [one.task for one in await manager.operator.usage(service="web")] == [second]
        assert (await manager.operator.task(second)).usage == USED
        agent.is_silent = True
        before = trio.current_time()
        assert [one.task for one in await manager.operator.usage()] == [second]
        detail = await manager.operator.task(WEB)
        assert trio.current_time() - before == pytest.approx(2.0)  # S24: a second each
        assert (detail.task.is_stale, detail.usage) == (True, None)

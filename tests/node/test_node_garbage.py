"""A task that is over and forgotten is freed at once: the collector would find it an hour later."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest
from node_kit import Ground, phase, run, spec, until, whole
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.scripted import FAIL, PASS, Script, ScriptedCheck, ScriptedRuntime
from warren.model.identity import TaskId
from warren.model.report import Assignments
from warren.model.task import Phase
from warren.nursery.task_runner import TaskRunner

WEB = TaskId("web", 1, 1)
ONCE = {"condition": "never"}
PROBE = {"tcp": {"port": 80}, "interval": "1s", "retries": 1}


@pytest.fixture(autouse=True)
def uncollected() -> Generator[None, None, None]:
    """No collection for as long as a test lasts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    """How many tasks there are in memory."""
    return sum(isinstance(each, TaskRunner) for each in gc.get_objects())


@pytest.mark.parametrize(
    ("script", "becomes"),
    [
        (Script(exits_after=0.5), Phase.COMPLETE),
        (Script(exits_after=5.0, exit_code=1), Phase.FAILED),
        (Script(start_error="no such program"), Phase.FAILED),
        (Script(), Phase.FAILED),  # by its probe
        (Script(ignores_signal=True), Phase.RUNNING),
    ],
)
async def test_task_that_is_forgotten_is_freed_at_once(
    autojump_clock: MockClock, script: Script, becomes: Phase
) -> None:
    ground = Ground(runtime=ScriptedRuntime(script))
    is_unwell = script == Script()
    ground.check = ScriptedCheck(FAIL if is_unwell else PASS)
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", spec(restart=ONCE, health=PROBE))))
        await until(lambda: phase(agent, "web.1#1") is becomes)
        assert alive() == 1
        await agent.assign(Assignments(generation=6, base=5, removed=(WEB,)))
        await until(lambda: agent.status(WEB) is None)
        await wait_all_tasks_blocked()
        assert alive() == 0

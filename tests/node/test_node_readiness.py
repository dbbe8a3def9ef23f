"""Readiness and verdicts outlive the supervisor: what is recorded, and what an adoption uses."""

from __future__ import annotations

import msgspec
import trio
from node_kit import Ground, run, spec, until, whole
from trio.testing import MockClock

from tests.scripted import FAIL, PASS, Script, ScriptedRuntime
from warren.model.check import Check, Outcome
from warren.model.identity import TaskId
from warren.model.interfaces import Launch, Target
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import TaskStatus
from warren.node.agent import NodeAgent

WEB = TaskId("web", 1, 1)


def probe(path: str) -> dict[str, object]:
    return {"http": {"path": path}, "interval": "1s", "timeout": "500ms"}


def status(agent: NodeAgent) -> TaskStatus:
    found = agent.status(WEB)
    assert found is not None
    return found


async def test_verdict_that_changes_no_readiness_is_recorded_too(
    autojump_clock: MockClock,
) -> None:  # S21
    def answer(check: Check, target: Target) -> Outcome:
        return PASS if getattr(check, "path", "") == "/live" else FAIL

    ground = Ground()
    ground.check.answer = answer
    web = spec(ports={"http": 80}, liveness=probe("/live"), readiness=probe("/ready"))
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", web)))
        await trio.sleep(10)
        assert not status(agent).ready
        assert ground.journal.load()[0].proven == {ProbeKind.LIVENESS: Verdict.HEALTHY}


async def test_good_running_before_an_adoption_counts_after_it(
    autojump_clock: MockClock,
) -> None:  # S17, S21
    def scripts(launch: Launch, number: int) -> Script:
        return Script(exits_after=0.1, exit_code=1) if number == 1 else Script()

    ground = Ground(runtime=ScriptedRuntime(scripts))
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", spec())))
        await trio.sleep(100)
        assert status(agent).restarts == 1
        await agent.leave_all()
    async with ground.agent() as agent:
        await until(lambda: agent.status(WEB) and status(agent).ready)
        at = trio.current_time()
        await ground.runtime.started[1].kill()
        await until(lambda: len(ground.runtime.started) == 3)
        assert ground.runtime.starts[2] - at < 0.1  # at once, as after any good running


async def test_adopted_instance_whose_recorded_readiness_is_not_proven_is_not_ready(
    autojump_clock: MockClock,
) -> None:  # S21: killed between a verdict and its record
    ground = Ground()
    web = spec(ports={"http": 80}, readiness=probe("/ready"))
    async with ground.agent() as agent:
        await agent.assign(whole(5, run("web.1#1", web)))
        await until(lambda: agent.status(WEB) and status(agent).ready)
        await agent.leave_all()
    (record,) = ground.journal.load()
    ground.journal.save(msgspec.structs.replace(record, proven={}))
    ground.check.answer = FAIL
    async with ground.agent() as agent:
        await trio.sleep(10)
        assert not status(agent).ready
        assert ground.news[-1] == "web.1#1 not ready: its probes have not passed"
        assert ground.journal.load()[0].ready_since is None
        ground.check.answer = PASS
        await until(lambda: status(agent).ready)
        assert len(ground.runtime.started) == 1

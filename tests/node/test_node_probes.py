"""A spec that is changed in nothing but its probes: the instance stays, and is judged anew."""

from __future__ import annotations

import msgspec
import pytest
import trio
from node_kit import Ground, run, spec, told, until, whole
from trio.testing import MockClock

from tests.scripted import FAIL, PASS, Script, ScriptedCheck, ScriptedRuntime
from warren.model.check import Check, Outcome
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.interfaces import Target
from warren.model.probe import ProbeKind, Verdict
from warren.model.report import Assignment
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.node.agent import NodeAgent

WEB = TaskId("web", 1, 1)
LIVE, READY, UP = ProbeKind.LIVENESS, ProbeKind.READINESS, ProbeKind.STARTUP


def probe(path: str, **fields: object) -> dict[str, object]:
    return {"http": {"path": path}, "interval": "1s", "timeout": "500ms", "retries": 3, **fields}


def probed(**probes: object) -> ServiceSpec:
    return spec(ports={"http": 80}, **probes)


def at(revision: int, of: ServiceSpec) -> Assignment:
    return msgspec.structs.replace(run("web.1#1", of), revision=revision)


class Service:
    """Answers by path: what is in `bad` fails."""

    def __init__(self, ground: Ground, *bad: str) -> None:
        self.bad = {*bad}
        self.asked: list[str] = []
        ground.check.answer = self

    def __call__(self, check: Check, target: Target) -> Outcome:
        path = getattr(check, "path", "")
        self.asked.append(path)
        return FAIL if path in self.bad else PASS


def status(agent: NodeAgent) -> TaskStatus:
    found = agent.status(WEB)
    assert found is not None
    return found


async def begin(agent: NodeAgent, of: ServiceSpec) -> None:
    await agent.assign(whole(5, at(1, of)))
    await until(lambda: agent.status(WEB) and status(agent).ready)
    assert status(agent).revision == 1


async def test_new_probes_keep_the_instance_and_the_old_readiness_until_their_verdict(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    service = Service(ground)
    old = probed(startup=probe("/up"), liveness=probe("/live"), readiness=probe("/a"))
    new = probed(startup=probe("/up2"), liveness=probe("/live"), readiness=probe("/b"))
    async with ground.agent() as agent:
        await begin(agent, old)
        pid = status(agent).instance
        service.bad = {"/b"}
        service.asked.clear()
        await agent.assign(whole(6, at(2, new)))
        now = status(agent)
        assert (now.revision, now.is_proving, now.ready, now.instance) == (2, True, True, pid)
        assert now.probes[UP].verdict is Verdict.HEALTHY  # what has passed stays passed
        await trio.sleep(1.5)  # two fails: no verdict yet
        assert status(agent).ready
        service.bad = set()
        await until(lambda: not status(agent).is_proving)
        assert status(agent).ready
        assert set(service.asked) == {"/live", "/b"}  # S5, and nobody asks the old one
        assert told(agent)["web.1#1"].is_proving is False
        assert len(ground.runtime.started) == 1
        assert ground.runtime.started[0].log == []
        assert [line for line in ground.news if "ready" in line] == ["web.1#1 ready"]  # S3
        assert ground.news[-2:] == [
            "web.1#1 probes changed; readiness to be proved",
            "web.1#1 probes changed: proved",
        ]


async def test_new_readiness_that_does_not_pass_makes_it_unready_and_ends_nothing(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    Service(ground, "/b")
    async with ground.agent() as agent:
        await begin(agent, probed(readiness=probe("/a")))
        await agent.assign(whole(6, at(2, probed(readiness=probe("/b")))))
        await until(lambda: not status(agent).ready)
        now = status(agent)
        assert (now.is_proving, now.probes[READY].verdict) == (False, Verdict.UNHEALTHY)
        assert now.probes[READY].consecutive_failures == 3  # S6: the full number of retries
        assert ground.news[-1] == "web.1#1 not ready: readiness probe failed 3 times: HTTP 500"
        await agent.assign(whole(7, at(3, probed(readiness=probe("/a")))))  # and back
        await until(lambda: status(agent).ready)
        assert len(ground.runtime.started) == 1


async def test_new_liveness_that_does_not_pass_ends_the_instance(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    service = Service(ground, "/b")
    async with ground.agent() as agent:
        await begin(agent, probed(liveness=probe("/a")))
        await agent.assign(whole(6, at(2, probed(liveness=probe("/b")))))
        await until(lambda: len(ground.runtime.started) == 2)
        assert status(agent).restarts == 1  # S16
        assert any("liveness probe failed 3 times" in line for line in ground.news)
        await until(lambda: status(agent).ready)
        assert status(agent).is_proving  # of the next instance too: no other slot follows
        service.bad = set()
        await until(lambda: not status(agent).is_proving)
        assert len(ground.runtime.started) == 2


async def test_probe_that_is_the_same_goes_on_with_its_counters(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    service = Service(ground)
    kept = probe("/live", retries=100)
    async with ground.agent() as agent:
        await begin(agent, probed(liveness=kept, readiness=probe("/a")))
        service.bad = {"/live"}
        await until(lambda: status(agent).probes[LIVE].consecutive_failures == 5)
        await agent.assign(whole(6, at(2, probed(liveness=kept, readiness=probe("/b")))))
        assert status(agent).probes[LIVE].consecutive_failures == 5
        samples = await agent.samples(WEB)
        assert len(samples[LIVE]) > 5
        await until(lambda: status(agent).probes[LIVE].consecutive_failures == 8)


@pytest.mark.parametrize("probes", [{}, {"health": probe("/b")}], ids=["none", "flat"])
async def test_probes_may_be_taken_away_and_take_another_form(
    autojump_clock: MockClock, probes: dict[str, object]
) -> None:
    ground = Ground()
    service = Service(ground, "/a")
    async with ground.agent() as agent:
        await agent.assign(whole(5, at(1, probed(liveness=probe("/l"), readiness=probe("/a")))))
        await until(lambda: agent.status(WEB) and status(agent).probes[READY].last)
        assert not status(agent).ready
        service.asked.clear()
        await agent.assign(whole(6, at(2, probed(**probes))))
        await until(lambda: status(agent).ready and not status(agent).is_proving)
        await trio.sleep(5)
        assert set(service.asked) == ({"/b"} if probes else set())
        assert len(ground.runtime.started) == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_kill_9_in_the_middle_goes_on_proving(
    autojump_clock: MockClock, answers: bool
) -> None:  # S21
    ground = Ground()
    service = Service(ground)
    async with ground.agent() as agent:
        await begin(agent, probed(startup=probe("/up"), readiness=probe("/a")))
        service.bad = {"/b"}
        new = at(2, probed(startup=probe("/up2"), readiness=probe("/b")))
        await agent.assign(whole(6, new))
        await agent.leave_all()
    assert ground.journal.load()[0].revision == 2
    service.asked.clear()
    async with ground.agent() as agent:
        await until(lambda: told(agent).get("web.1#1"))
        now = status(agent)
        assert (now.ready, now.is_proving, now.revision) == (True, True, 2)
        service.bad = set() if answers else {"/b"}
        await until(lambda: not status(agent).is_proving)
        assert status(agent).ready is answers
        assert set(service.asked) == {"/b"}
        assert len(ground.runtime.started) == 1


async def test_probes_that_change_before_an_instance_is_adopted_find_it_as_it_was(
    autojump_clock: MockClock,
) -> None:  # S21
    ground = Ground()
    service = Service(ground)
    async with ground.agent() as agent:
        await begin(agent, probed(startup=probe("/up"), readiness=probe("/a")))
        await agent.leave_all()
    service.asked.clear()
    async with ground.agent() as agent:
        new = probed(startup=probe("/up2"), readiness=probe("/b"))
        await agent.assign(whole(6, at(2, new)))  # before anything has run
        await until(lambda: status(agent).ready and not status(agent).is_proving)
        assert set(service.asked) == {"/b"}
        assert len(ground.runtime.started) == 1


async def test_probes_that_change_while_it_starts_are_asked_from_the_beginning(
    autojump_clock: MockClock,
) -> None:
    ground = Ground(runtime=ScriptedRuntime(Script(start_delay=1.0)))
    service = Service(ground)
    async with ground.agent() as agent:
        await agent.assign(whole(5, at(1, probed(readiness=probe("/a")))))
        await agent.assign(whole(6, at(2, probed(startup=probe("/up"), readiness=probe("/b")))))
        await until(lambda: status(agent).ready)
        assert set(service.asked) == {"/up", "/b"}
        assert len(ground.runtime.started) == 1


async def test_revision_of_the_same_spec_is_taken_over_in_silence(
    autojump_clock: MockClock,
) -> None:
    ground = Ground()
    Service(ground)
    async with ground.agent() as agent:
        await begin(agent, probed(readiness=probe("/a")))
        news = list(ground.news)
        await agent.assign(whole(6, at(7, probed(readiness=probe("/a")))))
        assert told(agent)["web.1#1"].revision == 7
        assert ground.news == news


async def test_any_other_change_of_a_known_task_makes_it_anew(autojump_clock: MockClock) -> None:
    ground = Ground()
    Service(ground)
    async with ground.agent() as agent:
        await begin(agent, probed(readiness=probe("/a")))
        await agent.assign(whole(6, at(2, probed(readiness=probe("/a"), env={"A": "b"}))))
        await until(lambda: len(ground.runtime.started) == 2)
        assert EventKind.PROBES_CHANGED.value not in " ".join(ground.news)


class LateAnswers(ScriptedCheck):
    """Liveness fails after half a second; readiness that is asked after that is in `late`."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = set[str]()
        self.late = list[str]()

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        if getattr(check, "path", "") != "/live":
            if target.service in self.failed:
                self.late.append(target.service)
            return await super().__call__(check, target, timeout=timeout)
        await trio.sleep(0.5)
        self.failed.add(target.service)
        return FAIL


async def test_probe_that_is_due_at_the_instant_of_a_failed_verdict_asks_no_more(
    autojump_clock: MockClock,
) -> None:  # S6
    # Whether the verdict or the other probe comes first in its pass of the loop is chance.
    check = LateAnswers()
    ground = Ground(check=check)
    live, ready = probe("/live", retries=1), probe("/ready", initial_delay="500ms")
    tasks = [
        run(
            f"s{number}.1#1",
            spec(
                name=f"s{number}",
                ports={"http": 80},
                liveness={**live, "timeout": "5s"},
                readiness=ready,
                restart={"condition": "never"},
            ),
        )
        for number in range(40)
    ]
    async with ground.agent() as agent:
        await agent.assign(whole(5, *tasks))
        await until(lambda: len(check.failed) == 40)
        await trio.sleep(5)
        assert check.late == []
        assert all(one.phase is Phase.FAILED for one in agent.statuses())

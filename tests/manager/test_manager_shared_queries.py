"""Asking a node how its tasks are: what is stale, who shares an answer, and who is alive (S24)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
import trio
import yaml
from trio.testing import MockClock, wait_all_tasks_blocked

from warren.manager.program import Manager, open_manager
from warren.manager.session import Session
from warren.manager.shared_queries import LOOK_WITHIN
from warren.manifest.service_file import load_text
from warren.model.check import Sample
from warren.model.errors import (
    ConflictError,
    LinkLostError,
    NotFoundError,
    OverloadedError,
    WarrenError,
)
from warren.model.identity import TaskId
from warren.model.principal import Principal, PrincipalKind
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report
from warren.model.rpc import Agent
from warren.model.task import Phase, TaskStatus
from warren.model.usage import TaskUsage
from warren.store.state import StateStore
from warren.transport.call_limits import OWN
from warren.transport.memory import memory_gate

HERE = Principal(PrincipalKind.EMBEDDED)


@dataclass
class Connection:
    """Plays the desk's `Connection`."""

    principal: Principal = HERE
    host: str = ""
    closed: trio.Event = field(default_factory=trio.Event)


@dataclass
class Looked:
    """Plays `Agent`. A look waits for `answers`, and then answers for what was assigned; `looks`
    has what was asked, `most` how many have waited at once."""

    answers: trio.Event = field(default_factory=trio.Event)
    takes: trio.Event = field(default_factory=trio.Event)  # assignments
    refusal: WarrenError | None = None
    held: set[TaskId] = field(default_factory=set[TaskId])
    queries: list[Sequence[TaskId]] = field(default_factory=list[Sequence[TaskId]])
    in_flight: int = 0
    most: int = 0

    async def assign(self, assignments: Assignments) -> None:
        await self.takes.wait()
        self.held |= {one.task for one in assignments.tasks}

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        await trio.lowlevel.checkpoint()
        return []

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        self.queries.append(tasks)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.answers.wait()
        finally:
            self.in_flight -= 1
        if self.refusal is not None:
            raise self.refusal
        return [
            TaskStatus(id=one, phase=Phase.RUNNING, sequence=9, ready=True)
            for one in tasks
            if one in self.held
        ]

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        await trio.lowlevel.checkpoint()
        raise NotFoundError(f"task {task} is not here")


@asynccontextmanager
async def managed(replicas: int) -> AsyncGenerator[Manager, None]:
    store = StateStore.open(None)
    async with open_manager(store, wall=lambda: 1_000_000.0) as manager:
        body = {"services": {"web": {"command": ["x"], "replicas": replicas}}}
        (spec,) = load_text(yaml.safe_dump(body))
        await manager.operator.create(spec)
        yield manager
    store.close()


async def enroll(manager: Manager, agent: Looked, *, epoch: int = 0) -> Session:
    hello = NodeHello(name="n1", id="a", epoch=epoch)
    session = await manager.gate(Connection()).enroll(hello, cast("Agent", agent))
    await session.report_task_health(Report(is_whole=True))
    await wait_all_tasks_blocked()
    return session


async def test_task_that_the_node_has_not_got_yet_is_not_stale(autojump_clock: MockClock) -> None:
    async with managed(2) as manager:
        agent = Looked()
        agent.answers.set()
        await enroll(manager, agent)  # it has been told to hold them, and has not said yes
        views = [
            *(await manager.operator.service("web")).tasks,
            *await manager.operator.tasks(),
            (await manager.operator.task(TaskId("web", 1, 1))).task,
        ]
        told = [(view.node, view.status.ready, view.is_stale) for view in views]
        assert told == [("n1", False, False)] * 5
        agent.takes.set()
        await wait_all_tasks_blocked()
        (view, _) = (await manager.operator.service("web")).tasks
        assert (view.status.ready, view.is_stale) == (True, False)


async def test_task_that_is_placed_while_others_are_asked_for_is_not_stale(
    autojump_clock: MockClock,
) -> None:
    async with managed(1) as manager:
        agent = Looked()
        agent.takes.set()
        await enroll(manager, agent)
        async with trio.open_nursery() as nursery:
            found = list[tuple[bool, ...]]()

            async def ask() -> None:
                view = await manager.operator.service("web")
                found.append(tuple(task.is_stale for task in view.tasks))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            await manager.operator.scale("web", 2)
            await wait_all_tasks_blocked()
            agent.answers.set()
        assert found == [(False, False)]


async def test_crowd_of_watchers_shares_its_looks(autojump_clock: MockClock) -> None:
    async with managed(2) as manager, memory_gate(manager.gate) as gate:
        agent = Looked()
        agent.takes.set()
        session = await gate.enroll(NodeHello(name="n1", id="a"), cast("Agent", agent))
        await session.report_task_health(Report(is_whole=True))
        await wait_all_tasks_blocked()
        told = list[list[bool]]()

        async def watch() -> None:
            view = await manager.operator.service("web")
            told.append([task.status.ready and not task.is_stale for task in view.tasks])

        async with trio.open_nursery() as nursery:
            for _ in range(3 * OWN):
                nursery.start_soon(watch)
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            agent.answers.set()
        assert told == [[True, True]] * 3 * OWN
        assert (agent.most, len(agent.queries)) == (1, 2)


async def test_look_that_is_shared_began_when_all_had_asked_and_each_is_told_of_its_own(
    autojump_clock: MockClock,
) -> None:
    one, two, three = (TaskId("web", slot, 1) for slot in (1, 2, 3))
    async with managed(3) as manager:
        agent = Looked()
        agent.takes.set()
        session = await enroll(manager, agent)
        told = dict[int, list[TaskId]]()
        left = trio.CancelScope()

        async def ask(number: int, *tasks: TaskId) -> None:
            told[number] = [*(await session.look(tasks) or {})]

        async def ask_and_leave() -> None:
            with left:
                await ask(9, one)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_and_leave)  # the look in flight is his
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, 1, one, two)
            nursery.start_soon(ask, 2, two, three)
            await wait_all_tasks_blocked()
            assert [*map(sorted, agent.queries)] == [[one]]
            left.cancel()
            await wait_all_tasks_blocked()
            agent.answers.set()
        assert told == {1: [one, two], 2: [two, three]}
        assert [*map(sorted, agent.queries)] == [[one], [one, two, three]]


async def test_everybody_waits_a_second_and_no_look_is_made_for_who_has_left(
    autojump_clock: MockClock,
) -> None:
    async with managed(1) as manager:
        agent = Looked()
        session = await enroll(manager, agent)
        waited = list[float]()

        async def ask(after: float) -> None:
            await trio.sleep(after)
            began = trio.current_time()
            assert await session.look([TaskId("web", 1, 1)]) is None
            waited.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for after in (0, 0.25, 0.75, 1.5):
                nursery.start_soon(ask, after)
        assert waited == [pytest.approx(LOOK_WITHIN)] * 4
        await trio.sleep(5 * LOOK_WITHIN)
        agent.answers.set()
        before = len(agent.queries)
        assert await session.look([]) == {}
        assert len(agent.queries) == before + 1


async def test_who_waits_for_a_node_that_loses_its_session_waits_no_longer(
    autojump_clock: MockClock,
) -> None:
    async with managed(1) as manager:
        session = await enroll(manager, Looked())
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await session.look([TaskId("web", 1, 1)]) is None

            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            before = trio.current_time()
            nursery.start_soon(session.leave)
        assert trio.current_time() == before
        assert await session.look([TaskId("web", 1, 1)]) is None
        assert trio.current_time() == before


@pytest.mark.parametrize(
    ("refusal", "is_alive"),
    [
        (None, True),
        (OverloadedError("100 calls of this connection are in flight already"), True),
        (WarrenError("look failed by a bug in Warren"), True),
        (LinkLostError("the peer has gone"), False),
    ],
)
async def test_who_refuses_is_alive_and_stays(
    autojump_clock: MockClock, refusal: WarrenError | None, is_alive: bool
) -> None:
    async with managed(1) as manager:
        agent = Looked(refusal=refusal)
        agent.answers.set()
        session = await enroll(manager, agent)
        if is_alive:
            with pytest.raises(ConflictError, match="has a session, and answers"):
                await enroll(manager, Looked())
        else:
            await enroll(manager, Looked())
        assert session.ended.is_set() is not is_alive


async def test_node_that_does_not_answer_gives_way_to_its_next_life(
    autojump_clock: MockClock,
) -> None:
    async with managed(1) as manager:
        session = await enroll(manager, Looked())
        await enroll(manager, Looked())
        assert session.ended.is_set()


async def test_crowd_of_watchers_lets_no_twin_in(autojump_clock: MockClock) -> None:
    async with managed(1) as manager, memory_gate(manager.gate) as gate:
        agent = Looked()
        await gate.enroll(NodeHello(name="n1", id="a"), cast("Agent", agent))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            for _ in range(2 * OWN):
                nursery.start_soon(manager.operator.service, "web")
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()

            async def come() -> None:
                with pytest.raises(ConflictError, match="has a session, and answers"):
                    await enroll(manager, Looked())

            nursery.start_soon(come)
            await wait_all_tasks_blocked()
            agent.answers.set()

"""Asking a node how its tasks are: what is stale, who shares an answer, and who is alive (S24)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
import yaml
from trio.testing import MockClock, wait_all_tasks_blocked

from warren.manager.program import Manager, open_manager
from warren.manager.session import Session
from warren.model.check import Sample
from warren.model.errors import NotFoundError, WarrenError
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report
from warren.model.specfile import load_text
from warren.model.task import Phase, TaskStatus
from warren.store.state import StateStore


@dataclass
class Connection:
    """Plays the desk's `Connection`."""

    closed: trio.Event = field(default_factory=trio.Event)


@dataclass
class Looked:
    """Plays `Agent`. A look waits for `answers`, and then answers for what was assigned; `looks`
    has what was asked, `most` how many have waited at once."""

    answers: trio.Event = field(default_factory=trio.Event)
    takes: trio.Event = field(default_factory=trio.Event)  # assignments
    refusal: WarrenError | None = None
    held: set[TaskId] = field(default_factory=set[TaskId])
    looks: list[Sequence[TaskId]] = field(default_factory=list[Sequence[TaskId]])
    in_flight: int = 0
    most: int = 0

    async def assign(self, assignments: Assignments) -> None:
        await self.takes.wait()
        self.held |= {one.task for one in assignments.tasks}

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        self.looks.append(tasks)
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
    session = await manager.gate(Connection()).enroll(hello, agent)  # type: ignore[arg-type]
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

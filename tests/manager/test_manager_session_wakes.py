"""A commit wakes the sessions of the nodes it concerns, and no other; and every node has, whatever
happens, what the state says it shall have, and the output of no service that is gone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.manager.test_manager_dispatcher import FakeAgent, FakeConnection, managed
from warren.manager.program import Manager
from warren.manager.session import Session
from warren.model.cluster import Change, Desired, DropService
from warren.model.errors import ConflictError, UnavailableError
from warren.model.identity import TaskId
from warren.model.report import Assignments, NodeHello, Report
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.state.cluster_state import ClusterState, Touched

NODES = ("n1", "n2", "n3", "n4")
NAMES = ("web", "a", "b", "c")
STEPS = 80
Held = dict[TaskId, tuple[Desired, int]]


class Node(FakeAgent):
    """A node: what it was sent, and of which services it has output."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.held: Held = {}
        self.written = set[str]()
        self.sequence = 0
        self.connection = FakeConnection()
        self.session: Session | None = None

    async def assign(self, assignments: Assignments) -> None:
        """Take it, unless it is refused."""
        await super().assign(assignments)
        if not assignments.base:
            kept = assignments.kept
            self.held = {task: held for task, held in self.held.items() if task.service in kept}
            self.written &= {*assignments.services, *assignments.kept}
        self.held.update({one.task: (one.desired, one.revision) for one in assignments.tasks})
        for task in assignments.removed:
            self.held.pop(task, None)  # not there, where what brought it was refused
        self.written -= set(assignments.purged)
        self.written |= {one.task.service for one in assignments.tasks}

    def status(self, task: TaskId, phase: Phase, *, ready: bool = False) -> TaskStatus:
        self.sequence += 1
        return TaskStatus(id=task, phase=phase, ready=ready, sequence=self.sequence)

    async def enroll(self, manager: Manager) -> None:
        """Begin a session, another one where there was one."""
        self.connection = FakeConnection()
        hello = NodeHello(name=self.name, id=f"id-{self.name}")
        self.session = await manager.gate(self.connection).enroll(hello, self)
        held = tuple(self.status(task, Phase.RUNNING) for task in self.held)
        await self.session.report_task_health(Report(statuses=held, is_whole=True))


class Witness:
    """What each commit meant for every node, from the whole state before and after it."""

    def __init__(self, manager: Manager) -> None:
        self.cluster = manager.commit_log.cluster
        self.concerned = set[str]()
        self._before = shares(self.cluster)
        manager.commit_log.on_commit.append(self._note)

    def _note(self, changes: Sequence[Change], touched: Touched) -> None:
        now = shares(self.cluster)
        self.concerned |= {node for node in NODES if now[node] != self._before[node]}
        if any(isinstance(change, DropService) for change in changes):
            self.concerned |= set(NODES)  # who may have output of it is told
        self._before = now


def shares(cluster: ClusterState) -> dict[str, Held]:
    """What every node shall hold."""
    held: dict[str, Held] = {node: {} for node in NODES}
    for row in cluster.tasks.values():
        if row.node is not None and not row.has_ended:
            held[row.node][row.id] = (row.desired, row.revision)
    return held


class Story:
    """Random acts of users and nodes."""

    def __init__(self, manager: Manager, seed: int) -> None:
        self.chance = random.Random(seed)
        self.manager = manager
        self.nodes = {name: Node(name) for name in NODES}
        self.wanted = manager.commit_log.cluster.services["web"].spec

    async def act(self) -> None:
        act = self.chance.choice(
            [self.edit, self.scale, self.restart, self.remove, self.link, self.refuse]
            + 6 * [self.report]
        )
        try:
            await act()
        except ConflictError:  # the service is being removed, say
            return

    def service(self) -> str | None:
        names = sorted(self.manager.commit_log.cluster.services)
        return self.chance.choice(names) if names else None

    async def edit(self) -> None:
        name, operator = self.chance.choice(NAMES), self.manager.operator
        wanted: ServiceSpec = msgspec.structs.replace(
            self.wanted,
            name=name,
            replicas=self.chance.randrange(5),
            env={"V": str(self.chance.randrange(3))},
        )
        known = name in self.manager.commit_log.cluster.services
        await (operator.update(wanted) if known else operator.create(wanted))

    async def scale(self) -> None:
        if name := self.service():
            await self.manager.operator.scale(name, self.chance.randrange(5))

    async def restart(self) -> None:
        if name := self.service():
            await self.manager.operator.restart(name)

    async def remove(self) -> None:
        if name := self.service():
            await self.manager.operator.remove(name)

    async def link(self) -> None:
        """A node comes, comes again or goes."""
        node = self.nodes[self.chance.choice(NODES)]
        if self.chance.random() < 0.3:
            node.connection.closed.set()
        else:
            await node.enroll(self.manager)

    async def refuse(self) -> None:
        await trio.lowlevel.checkpoint()
        said = [ConflictError("base"), UnavailableError("full")]
        self.nodes[self.chance.choice(NODES)].refusals.append(self.chance.choice(said))

    async def report(self) -> None:
        """Something has happened on a node."""
        node = self.nodes[self.chance.choice(NODES)]
        if not node.held or node.session is None:
            return
        for task in self.chance.sample(sorted(node.held), min(2, len(node.held))):
            desired, _ = node.held[task]
            phases = [Phase.RUNNING, Phase.RUNNING, Phase.FAILED, Phase.COMPLETE]
            if desired is Desired.STOP:
                phases = [Phase.STOPPED, Phase.STOPPING]
            phase = self.chance.choice(phases)
            ready = phase is Phase.RUNNING and self.chance.random() < 0.7
            statuses = (node.status(task, phase, ready=ready),)
            await node.session.report_task_health(Report(statuses=statuses))

    async def renew(self) -> None:
        """Every session that there is, so that none is silent for its lease."""
        for name in list(self.manager.dispatcher.connected()):
            session = self.nodes[name].session
            assert session is not None
            await session.renew()

    def check(self) -> None:
        """Every node that has a session has what it shall have."""
        cluster = self.manager.commit_log.cluster
        wanted = shares(cluster)
        for name in self.manager.dispatcher.connected():
            node = self.nodes[name]
            assert node.held == wanted[name], name
            assert node.written <= cluster.services.keys(), name


@pytest.mark.parametrize("seed", range(12))
async def test_session_is_woken_by_what_concerns_its_node_and_misses_nothing(
    autojump_clock: MockClock, seed: int
) -> None:
    async with managed() as manager:
        story, witness = Story(manager, seed), Witness(manager)
        for node in story.nodes.values():
            await node.enroll(manager)
        left_alone = 0
        for _ in range(STEPS):
            await story.renew()
            await trio.sleep(6)  # a refused assignment is tried again, the longest pause after it
            story.check()
            witness.concerned.clear()
            generation = manager.commit_log.cluster.generation
            before = {name: (s, s.pushes) for name in NODES if (s := _session(manager, name))}
            await story.act()
            await trio.testing.wait_all_tasks_blocked()
            for name, (session, pushes) in before.items():
                if name not in witness.concerned and _session(manager, name) is session:
                    assert session.pushes == pushes, f"{name} was woken for nothing"
                    left_alone += manager.commit_log.cluster.generation > generation
        assert left_alone > STEPS // 4


def _session(manager: Manager, node: str) -> Session | None:
    return manager.dispatcher.session(node)


async def test_sessions_are_not_woken_by_readiness(autojump_clock: MockClock) -> None:
    """The most frequent change of all changes no assignment."""
    async with managed() as manager:
        node = Node("n1")
        await node.enroll(manager)
        await trio.testing.wait_all_tasks_blocked()
        assert node.session is not None
        pushes = node.session.pushes
        (task,) = node.held
        for turn in range(10):
            status = node.status(task, Phase.RUNNING, ready=turn % 2 == 0)
            await node.session.report_task_health(Report(statuses=(status,)))
            await trio.testing.wait_all_tasks_blocked()
        assert node.session.pushes == pushes
        assert manager.commit_log.cluster.tasks[task].status.sequence == node.sequence


async def test_purge_reaches_the_nodes_that_may_have_output_and_no_other(
    autojump_clock: MockClock,
) -> None:
    async with managed() as manager:
        operator, cluster = manager.operator, manager.commit_log.cluster
        one, two = Node("n1"), Node("n2")
        await one.enroll(manager)
        await two.enroll(manager)
        await trio.testing.wait_all_tasks_blocked()
        await operator.create(msgspec.structs.replace(cluster.services["web"].spec, name="job"))
        await trio.sleep(1)
        (task,) = (task for task in cluster.tasks if task.service == "job")
        other, its = (one, two) if cluster.tasks[task].node == "n2" else (two, one)
        assert its.session is not None
        await operator.remove("job")
        await trio.sleep(1)
        sent = len(other.assigned)
        stopped = its.status(task, Phase.STOPPED)
        await its.session.report_task_health(Report(statuses=(stopped,)))
        await trio.sleep(1)
        assert "job" not in cluster.services
        assert its.assigned[-1].purged == ("job",)
        assert len(other.assigned) == sent  # it was never sent a task of it
        await operator.scale("web", 0)
        await trio.sleep(1)
        for node in (one, two):
            assert node.session is not None
            ends = [node.status(task, Phase.STOPPED) for task in node.held]
            await node.session.report_task_health(Report(statuses=tuple(ends)))
        await operator.remove("web")
        await trio.sleep(1)
        # It is older than their sessions: either may have output of it from before.
        assert [node.assigned[-1].purged for node in (one, two)] == [("web",), ("web",)]

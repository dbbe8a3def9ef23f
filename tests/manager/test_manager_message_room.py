"""Assignments that no message has room for come in several, and end nothing that runs; and a node
that takes none is told of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.manager.test_manager_dispatcher import FakeAgent, enroll, managed
from tests.manager.test_manager_session_wakes import NODES, Node, Story, shares
from tests.transport.wire_links import Played, serving
from warren.manager import message_room
from warren.manager.message_room import ROOM, MessageRoom
from warren.manager.program import Manager
from warren.manager.session import AT_ONCE, TRIES
from warren.model.cluster import Desired
from warren.model.errors import UnavailableError, WarrenError
from warren.model.identity import TaskId
from warren.model.report import Assignment, Assignments, NodeHello, Report
from warren.model.service import Argv, ServiceSpec

NARROW = 250  # bytes: one task
STEPS = 60


class Careful(Node):
    """A node that looks whether what it is told to end is no longer wanted on it."""

    def __init__(self, name: str, manager: Manager) -> None:
        super().__init__(name)
        self.manager = manager
        self.ended_wrongly = list[TaskId]()

    async def enroll(self, manager: Manager) -> None:
        """Its link is lost first, or it would be refused as a twin of itself."""
        self.connection.closed.set()
        await trio.testing.wait_all_tasks_blocked()
        await super().enroll(manager)

    async def assign(self, assignments: Assignments) -> None:
        before = set(self.held)
        await super().assign(assignments)
        wanted = shares(self.manager.commit_log.cluster)[self.name]
        self.ended_wrongly += (before - set(self.held)) & set(wanted)


def service(name: str, *, size: int = 0, replicas: int = 1) -> ServiceSpec:
    env = {"V": "v" * size} if size else {}
    return ServiceSpec(name=name, command=Argv(["x"]), env=env, replicas=replicas)


def assignment(task: str, spec: ServiceSpec, *, stop_reason: str = "") -> Assignment:
    return Assignment(task=TaskId.parse(task), spec=spec, stop_reason=stop_reason)


def test_room_counts_a_spec_once_and_takes_the_first_whatever_its_size() -> None:
    large, room = service("a", size=ROOM - 1000), MessageRoom()
    assert room.take(assignment("a.1#1", large))
    assert room.take(assignment("a.2#1", large))
    assert not room.take(assignment("b.1#1", service("b", size=1000)))
    assert not room.take(assignment("a.3#1", large))  # nothing does after one that did not
    assert MessageRoom().take(assignment("c.1#1", service("c", size=2 * ROOM)))


def test_room_counts_what_is_said_of_a_task() -> None:
    small, room = service("a"), MessageRoom()
    assert room.take(assignment("a.1#1", small, stop_reason="x" * (ROOM // 5)))
    assert not room.take(assignment("a.2#1", small, stop_reason="x" * (ROOM // 5)))
    assert room.is_full


@pytest.mark.parametrize("seed", range(12))
async def test_pieces_bring_everything_and_end_nothing_that_is_wanted(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:  # S19, S20
    monkeypatch.setattr(message_room, "ROOM", NARROW)
    async with managed() as manager:
        story = Story(manager, seed)
        nodes = {name: Careful(name, manager) for name in NODES}
        story.nodes.update(nodes)
        await manager.operator.create(service("many", replicas=12))
        for step in range(STEPS):
            if step % 10 in (0, 1):  # all of them begin anew, with what they have
                for node in story.nodes.values():
                    await node.enroll(manager)
            await story.renew()
            await trio.sleep(8)
            story.check()
            await story.act()
            await trio.testing.wait_all_tasks_blocked()
        assert not [task for node in nodes.values() for task in node.ended_wrongly]
        sent = [one for node in story.nodes.values() for one in node.assigned]
        assert any(not one.base and one.kept for one in sent)
        assert max(len(one.tasks) for one in sent) == 1


async def test_task_of_a_kept_service_that_is_no_longer_the_nodes_is_removed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:  # S20
    monkeypatch.setattr(message_room, "ROOM", 1)
    async with managed() as manager:
        await manager.operator.create(service("b", replicas=2))
        node = Node("n1")
        stale = TaskId("b", 1, 99)
        node.held[stale] = (Desired.RUN, 1)
        await node.enroll(manager)
        await trio.sleep(1)
        assert node.assigned[0].kept == ("b", "web")
        assert node.held == shares(manager.commit_log.cluster)["n1"]
        assert len(node.held) == 3
        assert [one.removed for one in node.assigned if one.removed] == [(stale,)]


async def test_node_that_takes_no_assignments_is_told_of_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with managed() as manager:
        agent = FakeAgent(refusals=[UnavailableError("full") for _ in range(TRIES + 2)])
        with caplog.at_level(logging.INFO, "warren.manager"):
            session, _ = await enroll(manager, agent)
            assert session.conditions == ()
            await trio.sleep(6)
            assert len(agent.refusals) == 1
            (condition,) = session.conditions
            assert condition.kind == "assignments not taken"
            assert condition.message.endswith("so changes do not reach it: full")
            (trouble,) = (await manager.operator.status()).trouble
            assert trouble == f"node n1: assignments not taken: {condition.message}"
            await session.renew()
            await trio.sleep(11)
        assert session.conditions == ()
        assert agent.assigned
        assert caplog.text.count("assignments not taken") == 1
        assert caplog.text.count("takes its assignments again") == 1


async def test_node_that_takes_the_whole_and_not_the_rest_is_told_of(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(Node):
        async def assign(self, assignments: Assignments) -> None:
            await super().assign(assignments)
            if assignments.base:
                raise WarrenError("assign failed by a bug in Warren")

    monkeypatch.setattr(message_room, "ROOM", 1)
    async with managed() as manager:
        await manager.operator.create(service("b"))
        node = Stubborn("n1")
        await node.enroll(manager)
        assert node.session is not None
        for _ in range(4):
            await trio.sleep(10)
            await node.session.renew()
        assert [one.kind for one in node.session.conditions] == ["assignments not taken"]
        assert len(node.assigned) < 40  # it waits longer and longer in between


async def test_more_than_a_message_holds_arrives_over_a_socket(tmp_path: Path) -> None:
    """Ninety services of 800 kB each: 72 MB, and a message has 64 MiB."""
    async with managed() as manager:
        env = {f"V{number}": "v" * 100_000 for number in range(8)}
        for number in range(90):
            spec = ServiceSpec(name=f"s{number}", command=Argv(["x"]), env=env)
            await manager.operator.create(spec)
        came, calls = set[TaskId](), list[int]()
        all_came = trio.Event()

        async def assign(assignments: Assignments) -> None:
            await trio.lowlevel.checkpoint()
            calls.append(len(assignments.tasks))
            came.update(one.task for one in assignments.tasks)
            if len(came) == 91:
                all_came.set()

        async with serving("unix", tmp_path, manager.gate) as (dial, _), dial() as gate:
            hello = NodeHello(name="n1", id="a")
            session = await gate.enroll(hello, Played(assign=assign))  # type: ignore[arg-type]
            await session.report_task_health(Report(is_whole=True))
            with trio.fail_after(60):
                await all_came.wait()
            assert max(calls) < AT_ONCE // 4

"""Nodes that are not what a manager hopes for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from sim_world import FarAgent, Link, Sim, open_sim, spec
from trio.testing import MockClock

from warren.manager import message_room
from warren.manager.program import LEASE
from warren.model.errors import ConflictError, WarrenError
from warren.model.identity import TaskId
from warren.model.report import Assignments, NodeHello
from warren.model.task import TaskStatus

STRANGER = NodeHello(name="n1", id="another data directory")


async def enroll(sim: Sim) -> None:
    assert sim.manager is not None
    assert sim.machines[0].node is not None
    link = Link(sim)
    await sim.manager.gate(link).enroll(STRANGER, FarAgent(link, sim.machines[0].node.agent))


async def test_node_with_a_bug_is_asked_again_and_ends_no_manager(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sim(1, nodes=1) as sim:
        await trio.sleep(1)
        node = sim.machines[0].node
        assert node is not None
        assign, sick = node.agent.assign, [True]

        async def fail(assignments: Assignments) -> None:
            if sick:
                raise WarrenError("assign failed by a bug in Warren")
            await assign(assignments)

        async def look(tasks: Sequence[TaskId]) -> list[TaskStatus]:
            raise WarrenError("look failed by a bug in Warren")

        monkeypatch.setattr(node.agent, "assign", fail)
        monkeypatch.setattr(node.agent, "look", look)
        await sim.operator.create(spec("web"))
        await trio.sleep(60)
        assert sim.manager is not None
        sick.clear()
        await trio.sleep(60)
        assert sim.machines[0].alive() == [TaskId("web", 1, 1)]
        (task,) = (await sim.operator.service("web")).tasks
        assert task.status.ready
        assert task.is_stale  # who does not answer in order has not answered


async def test_assignments_in_pieces_end_nothing_that_runs(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:  # S19
    """A manager that comes back has no room for all in its whole; what runs is not disturbed."""
    monkeypatch.setattr(message_room, "ROOM", 1)
    async with open_sim(1, nodes=1) as sim:
        for name in ("a", "b", "c"):
            await sim.operator.create(spec(name, replicas=2))
        await trio.sleep(60)
        (machine,) = sim.machines
        before = dict(machine.runtime.alive)
        assert len(before) == 6
        await sim.kill_manager()
        await trio.sleep(1)
        await sim.start_manager()
        await trio.sleep(60)
        assert machine.runtime.alive == before
        await sim.operator.scale("c", 1)
        await sim.operator.remove("b")
        await trio.sleep(60)
        assert [task.service for task in machine.alive()] == ["a", "a", "c"]


async def test_name_of_a_node_is_another_ones_only_when_that_is_down(
    autojump_clock: MockClock,
) -> None:
    async with open_sim(1, nodes=1) as sim:
        machine = sim.machines[0]
        await sim.operator.create(spec("web"))
        await trio.sleep(1)
        node = machine.node
        with pytest.raises(ConflictError, match="'n1': another supervisor of this name has a"):
            await enroll(sim)
        await machine.kill()
        machine.node = node
        await trio.sleep(LEASE - 1)
        with pytest.raises(ConflictError, match="less than 15 s ago; want another --name, or to"):
            await enroll(sim)
        assert machine.alive() == [TaskId("web", 1, 1)]  # which nobody runs a second time
        await trio.sleep(1)
        await enroll(sim)

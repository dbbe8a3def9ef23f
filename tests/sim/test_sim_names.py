"""Two supervisors of one name: the second gets it when the first is down, and not before (S20)."""

from __future__ import annotations

import pytest
import trio
from sim_world import FarAgent, Link, Sim, open_sim, spec
from trio.testing import MockClock

from warren.manager.program import LEASE
from warren.model.errors import ConflictError
from warren.model.identity import TaskId
from warren.model.report import NodeHello

STRANGER = NodeHello(name="n1", id="another data directory")


async def enroll(sim: Sim) -> None:
    assert sim.manager is not None
    assert sim.machines[0].node is not None
    link = Link(sim)
    await sim.manager.gate(link).enroll(STRANGER, FarAgent(link, sim.machines[0].node.agent))


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

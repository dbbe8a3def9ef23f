"""A change of nothing but probes, through the whole cluster, whoever dies on the way."""

from __future__ import annotations

import pytest
import trio
from sim_world import SICK_PORT, Sim, open_sim, spec
from test_sim_cluster import Story, invariants, unrest
from trio.testing import MockClock

from warren.model.event import EventKind
from warren.model.service import ServiceSpec


def web(retries: int) -> ServiceSpec:
    probe = {"tcp": {"port": 80}, "interval": "1s", "retries": retries}
    return spec("web", replicas=3, readiness=probe)


def instances(sim: Sim) -> set[str]:
    return {name for machine in sim.machines for name in machine.runtime.alive}


async def rest(story: Story) -> None:
    with trio.move_on_after(1000):
        while unrest(story):  # noqa: ASYNC110 - virtual time
            await trio.sleep(10)
    assert not unrest(story)


@pytest.mark.parametrize("dies", ["nobody", "manager", "node"])
async def test_change_of_probes_keeps_every_instance(autojump_clock: MockClock, dies: str) -> None:
    async with open_sim(3, nodes=2) as sim:
        story = Story(sim)
        story.wanted["web"] = web(2)
        await sim.operator.create(web(2))
        await rest(story)
        before = instances(sim)
        await sim.operator.update(web(5))
        story.wanted["web"] = web(5)
        if dies == "manager":
            await sim.kill_manager()
            await sim.start_manager()
        elif dies == "node":
            await sim.machines[0].kill()
            sim.start_node(sim.machines[0])
        await rest(story)
        assert sim.manager is not None
        world = sim.manager.commit_log.cluster
        with trio.fail_after(1000):
            while world.changing or world.slots("web").unsettled:  # noqa: ASYNC110 - virtual time
                await trio.sleep(1)
        assert instances(sim) == before
        rows = world.current("web")
        assert [str(row.id) for row in rows] == ["web.1#1", "web.2#1", "web.3#1"]
        assert all(row.spec == web(5) for row in rows)
        kinds = [entry.kind for entry in sim.store.events(limit=10_000)]
        assert EventKind.REPLACED not in kinds
        assert not invariants(story)


async def test_change_of_probes_stops_at_the_slot_where_they_do_not_pass(
    autojump_clock: MockClock,
) -> None:
    async with open_sim(3, nodes=2) as sim:
        story = Story(sim)
        story.wanted["web"] = web(2)
        await sim.operator.create(web(2))
        await rest(story)
        before = instances(sim)
        sick = spec("web", replicas=3, readiness={"tcp": {"port": SICK_PORT}, "interval": "1s"})
        await sim.operator.update(sick)
        await trio.sleep(300)
        assert sim.manager is not None
        rows = sim.manager.commit_log.cluster.current("web")
        assert [(row.spec == sick, row.status.ready) for row in rows] == [
            (True, False),
            (False, True),
            (False, True),
        ]
        await sim.operator.update(web(2))  # and back
        await rest(story)
        assert instances(sim) == before

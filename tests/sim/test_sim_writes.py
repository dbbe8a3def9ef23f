"""How often the manager writes: edges reach the disk, samples do not (docs/architecture.md)."""

from __future__ import annotations

import pytest
import trio
from sim_world import Sim, open_sim, spec
from trio.testing import MockClock

from tests.scripted import ScriptedCheck
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.model.task import Phase, TaskRecord, TaskStatus
from warren.resilience.collector import spread_collections

SERVICES, REPLICAS = 10, 1000
INTERVAL = 30.0
INTERVALS = 3
PROBE = {"tcp": {"port": 80}, "interval": INTERVAL}


def ready(sim: Sim) -> int:
    assert sim.manager is not None
    world = sim.manager.commit_log.cluster
    return sum(row.status.ready for name in world.services for row in world.current(name))


async def test_ten_thousand_healthy_tasks_write_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spread_collections():
        async with open_sim(1, nodes=2) as sim:
            for machine in sim.machines:
                monkeypatch.setattr(machine, "_check", ScriptedCheck())
            await sim.operator.apply(
                [spec(f"s{n}", replicas=REPLICAS, health=PROBE) for n in range(SERVICES)]
            )
            with trio.fail_after(100 * INTERVAL):
                while ready(sim) < SERVICES * REPLICAS:  # noqa: ASYNC110 - virtual time
                    await trio.sleep(1)
            saved = list[TaskRecord]()
            for machine in sim.machines:
                monkeypatch.setattr(machine.journal, "save", saved.append)
            before = sim.store.statistics()
            asked = attempts(sim)
            await trio.sleep(INTERVALS * INTERVAL)
            assert attempts(sim) - asked >= (INTERVALS - 1) * SERVICES * REPLICAS
            assert sim.store.statistics() == before
            assert saved == []  # nor does the node
            assert ready(sim) == SERVICES * REPLICAS


def attempts(sim: Sim) -> int:
    """How many passes in a row all tasks have, together."""
    agents = [machine.node.agent for machine in sim.machines if machine.node is not None]
    statuses = [status for agent in agents for status in agent.statuses()]
    return sum(p.consecutive_successes for status in statuses for p in status.probes.values())


async def test_reports_that_wait_are_one_transaction(autojump_clock: MockClock) -> None:
    count = 500
    async with open_sim(1, nodes=1) as sim:
        await sim.operator.create(spec("web", replicas=count, health=PROBE))
        with trio.fail_after(1000):
            while ready(sim) < count:  # noqa: ASYNC110 - virtual time
                await trio.sleep(1)
        assert sim.manager is not None
        commit_log = sim.manager.commit_log
        rows = commit_log.cluster.current("web")
        before = sim.store.statistics().commits
        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(commit_log.report, "n1", row.epoch, change(row.id, row.status))
        assert sim.store.statistics().commits == before + 1
        assert ready(sim) == 0


def change(task: TaskId, status: TaskStatus) -> Report:
    """It is not ready any more, and says so."""
    sequence = status.sequence + 1
    event = TaskEvent(at=1.0, task=task, kind=EventKind.UNREADY, message="not ready")
    told = TaskStatus(id=task, phase=Phase.RUNNING, sequence=sequence, instance=status.instance)
    return Report(statuses=(told,), events=(Told(sequence, event),))

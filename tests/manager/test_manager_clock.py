"""The manager's time where its machine's clock is set while it runs, or its machine has slept."""

from __future__ import annotations

from contextlib import closing

import pytest
import trio
from test_manager_commit_log import NOON, WEB, service_row, task_row
from test_manager_dispatcher import FakeAgent, FakeConnection, enroll
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.scheduler.planning_kit import spec
from warren.manager.clock import LOOK_EVERY
from warren.manager.program import open_manager
from warren.model.cluster import PutService, PutTask
from warren.model.errors import ConflictError, UnavailableError
from warren.model.event import EventKind, TaskEvent
from warren.model.report import NodeHello, Report, Told
from warren.model.task import Phase, TaskStatus
from warren.model.view import NodeState
from warren.store.state import StateStore

SLEPT = 7200.0  # seconds


class Wall:
    """A clock that can be set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return NOON + trio.current_time() + self.ahead


async def test_time_goes_on_from_the_clock_that_was_set_forward(autojump_clock: MockClock) -> None:
    wall = Wall()
    with closing(StateStore.open(None)) as store:
        async with open_manager(store, wall=wall) as manager:
            await manager.operator.create(spec("web"))
            session, _ = await enroll(manager, FakeAgent())
            wall.ahead = SLEPT
            event = TaskEvent(at=wall(), task=WEB, kind=EventKind.READY, message="ready")
            running = TaskStatus(id=WEB, phase=Phase.RUNNING, sequence=3)
            await session.report_task_health(Report(statuses=(running,), events=(Told(3, event),)))
            assert [e.message for e in await manager.operator.events(since=wall() - 600)] == [
                "ready"
            ]
            assert manager.commit_log.now() == pytest.approx(wall())
            (node,) = await manager.operator.nodes()
            assert (node.state, node.conditions) == (NodeState.READY, ())


@pytest.mark.parametrize("ahead", [-SLEPT, -90.0, 50.0])
async def test_time_goes_neither_back_nor_after_a_small_difference(
    autojump_clock: MockClock, ahead: float
) -> None:
    wall = Wall()
    with closing(StateStore.open(None)) as store:
        async with open_manager(store, wall=wall) as manager:
            wall.ahead = ahead
            await trio.sleep(2 * LOOK_EVERY)
            assert manager.commit_log.now() == pytest.approx(NOON + trio.current_time())


async def test_no_lease_and_no_delay_runs_out_because_the_clock_was_set(  # S17, S20
    autojump_clock: MockClock,
) -> None:
    wall = Wall()
    with closing(StateStore.open(None)) as store:
        waiting = task_row(node=None, not_before=NOON + 40.0)
        store.commit([PutService(service_row()), PutTask(waiting)], now=NOON)
        async with open_manager(store, wall=wall) as manager:
            _, connection = await enroll(manager, FakeAgent())
            connection.closed.set()
            await trio.sleep(5)
            wall.ahead = SLEPT
            await trio.sleep(2 * LOOK_EVERY)
            assert manager.commit_log.now() == pytest.approx(wall())
            left = NOON + 40.0 + SLEPT
            row = manager.commit_log.cluster.tasks[WEB]
            assert (row.not_before, row.status.restart_at) == (left, left)
            (node,) = await manager.operator.nodes()
            assert node.state is NodeState.UNREACHABLE
            await trio.sleep(manager.dispatcher.lease - 6)
            (node,) = await manager.operator.nodes()
            assert node.state is NodeState.DOWN
            lost_at = node.lost_at
            wall.ahead += SLEPT  # of what is down already the time stands
            await trio.sleep(2 * LOOK_EVERY)
            (node,) = await manager.operator.nodes()
            assert (node.state, node.lost_at) == (NodeState.DOWN, lost_at)
            await trio.sleep(39 - trio.current_time())
            assert manager.commit_log.cluster.tasks[WEB].status.pending_reason is None
            await trio.sleep(2)
            assert (
                manager.commit_log.cluster.tasks[WEB].status.pending_reason is not None
            )  # it was due


async def test_time_stands_until_what_depends_on_it_can_be_written(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise UnavailableError("the disk is full")

    wall = Wall()
    with closing(StateStore.open(None)) as store:
        async with open_manager(store, wall=wall) as manager:
            _, connection = await enroll(manager, FakeAgent())
            connection.closed.set()
            await trio.sleep(1)
            monkeypatch.setattr(store, "commit", full)
            wall.ahead = SLEPT
            await trio.sleep(2 * LOOK_EVERY)
            assert manager.commit_log.now() == pytest.approx(NOON + trio.current_time())
            assert manager.conditions.has("following the clock fails")
            monkeypatch.undo()
            await trio.sleep(20)
            assert manager.commit_log.now() == pytest.approx(wall())
            assert not manager.conditions.current()


async def test_what_is_not_on_disk_moves_with_the_clock(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise UnavailableError("the disk is full")

    wall = Wall()
    with closing(StateStore.open(None)) as store:
        async with open_manager(store, wall=wall) as manager:
            _, connection = await enroll(manager, FakeAgent())
            hello = NodeHello(name="far", id="b", manager="another")
            with pytest.raises(ConflictError):
                await manager.gate(FakeConnection()).enroll(hello, FakeAgent())
            monkeypatch.setattr(store, "commit", full)
            connection.closed.set()
            await wait_all_tasks_blocked()
            monkeypatch.undo()
            wall.ahead = SLEPT
            await trio.sleep(manager.dispatcher.lease - 4)
            states = {node.name: node.state for node in await manager.operator.nodes()}
            assert states == {"n1": NodeState.UNREACHABLE, "far": NodeState.REFUSING}
            await trio.sleep(5)
            states = {node.name: node.state for node in await manager.operator.nodes()}
            assert states == {"n1": NodeState.DOWN}

"""Nothing is acknowledged before it is durable, and nothing else waits for the disk (S22)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import closing

import msgspec
import pytest
import trio
from test_manager_dispatcher import FakeAgent, enroll, managed
from trio.testing import MockClock, wait_all_tasks_blocked

from warren.manager.program import Manager
from warren.manager.session import DURABLE_WITHIN
from warren.model.check import Argv
from warren.model.errors import UnavailableError
from warren.model.identity import TaskId
from warren.model.report import NodeHello, Report
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.store.state import StateStore

WEB = ServiceSpec(name="web", command=Argv(["x"]))
CHANGED = msgspec.structs.replace(WEB, env={"A": "1"})


class SlowStore(StateStore):
    """Its disk answers when `goes` is set, if it does not fail."""

    goes: trio.Event
    fails = False

    async def settle(self) -> None:
        await self.goes.wait()
        if self.fails:
            raise UnavailableError("the disk fails")


@pytest.fixture
def store() -> Generator[SlowStore]:
    """Its disk answers at once, until the test says otherwise."""
    with closing(SlowStore.open(None)) as store:
        assert isinstance(store, SlowStore)
        store.goes = trio.Event()
        store.goes.set()
        yield store


async def _enrol_another(manager: Manager) -> None:
    await enroll(manager, FakeAgent(), name="n2", of="b")


ASKED: dict[str, Callable[[Manager], Awaitable[object]]] = {
    "create": lambda m: m.operator.create(ServiceSpec(name="db", command=Argv(["x"]))),
    "update": lambda m: m.operator.update(CHANGED),
    "scale": lambda m: m.operator.scale("web", 2),
    "restart": lambda m: m.operator.restart("web"),
    "apply": lambda m: m.operator.apply([CHANGED]),
    "remove": lambda m: m.operator.remove("web"),
    "remove_node": lambda m: m.operator.remove_node("n1", force=True),
    "enroll": _enrol_another,
}


@pytest.mark.parametrize("what", ASKED)
async def test_edit_is_answered_once_it_is_durable(
    what: str, store: SlowStore, autojump_clock: MockClock
) -> None:
    async with managed(store) as manager:
        await enroll(manager, FakeAgent())
        before, store.goes = manager.commit_log.cluster.generation, trio.Event()
        answered = False

        async def ask() -> None:
            nonlocal answered
            await ASKED[what](manager)
            answered = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert manager.commit_log.cluster.generation > before
            assert not answered
            store.goes.set()
        assert answered
        store.goes, store.fails = trio.Event(), True
        store.goes.set()
        if what in ("scale", "restart", "update"):
            await manager.operator.services()  # what only reads does not ask the disk
            with pytest.raises(UnavailableError, match="the disk fails"):
                await manager.operator.scale("web", 5)
            assert manager.commit_log.cluster.services["web"].spec.replicas == 5


async def test_report_is_acknowledged_once_it_is_durable(
    store: SlowStore, autojump_clock: MockClock
) -> None:
    async with managed(store) as manager:
        session, _ = await enroll(manager, agent := FakeAgent())
        await wait_all_tasks_blocked()
        assert agent.assigned
        store.goes = trio.Event()
        status = TaskStatus(id=TaskId("web", 1, 1), phase=Phase.RUNNING, sequence=1, ready=True)
        with trio.move_on_after(1) as scope:
            await session.report_task_health(Report(statuses=(status,)))
        assert scope.cancelled_caught
        assert manager.commit_log.cluster.tasks[status.id].status.ready
        store.goes.set()
        await session.report_task_health(Report(statuses=(status,)))


async def test_assignment_is_sent_once_it_is_durable_and_a_disk_that_hangs_holds_up_none(
    store: SlowStore, autojump_clock: MockClock
) -> None:
    async with managed(store) as manager:
        await enroll(manager, agent := FakeAgent())
        await wait_all_tasks_blocked()
        assert agent.assigned
        for is_hanging, name in ((False, "one"), (True, "two")):
            spec = ServiceSpec(name=name, command=Argv(["x"]))
            sent, store.goes = len(agent.assigned), trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(manager.operator.create, spec)
                await trio.sleep(DURABLE_WITHIN / 2)
                assert len(agent.assigned) == sent
                if is_hanging:
                    await trio.sleep(DURABLE_WITHIN)
                    assert len(agent.assigned) == sent + 1
                store.goes.set()
            await wait_all_tasks_blocked()
            assert len(agent.assigned) == sent + 1


async def test_node_whose_enrolment_is_not_durable_has_no_session(
    store: SlowStore, autojump_clock: MockClock
) -> None:
    async with managed(store) as manager:
        store.fails = True
        with pytest.raises(UnavailableError, match="the disk fails"):
            await enroll(manager, FakeAgent())
        await wait_all_tasks_blocked()
        assert not manager.dispatcher.connected()
        store.fails = False
        hello = NodeHello(name="n1", id="a")
        await enroll(manager, FakeAgent(), name=hello.name, of=hello.id)
        assert manager.dispatcher.connected() == {"n1"}


async def test_status_waits_for_no_disk_that_hangs(
    store: SlowStore, autojump_clock: MockClock
) -> None:
    async with managed(store) as manager:
        store.goes = trio.Event()
        with trio.fail_after(1):
            await manager.operator.status()

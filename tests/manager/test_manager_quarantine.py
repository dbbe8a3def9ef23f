"""A row that cannot be dealt with stops no other, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.manager.test_manager_dispatcher import FakeAgent, enroll
from tests.scheduler.planning_kit import spec
from tests.transport.test_transport_codec import read, written
from warren.manager.program import Manager, open_manager
from warren.manager.quarantine import isolate
from warren.model.cluster import DropNode, DropTask, Plan
from warren.model.errors import ConflictError, UnavailableError
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.model.task import MOST_COUNTED, End, Phase, Reason, TaskStatus
from warren.scheduler.planner import plan
from warren.state.cluster_state import ClusterState, Touched
from warren.store.state import StateStore
from warren.transport.memory import memory_gate


@asynccontextmanager
async def managed(store: StateStore) -> AsyncGenerator[Manager, None]:
    async with open_manager(store, wall=lambda: 1_000_000.0) as manager:
        yield manager


def status(task: str, phase: Phase = Phase.RUNNING, **fields: Any) -> TaskStatus:
    given: dict[str, Any] = {"sequence": 5, **fields}
    return TaskStatus(id=TaskId.parse(task), phase=phase, **given)


def troubles(manager: Manager) -> list[str]:
    return list(manager.commit_log.quarantine.troubles())


async def test_service_that_cannot_be_planned_for_is_set_aside_and_the_others_go_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbling(
        world: ClusterState, touched: Touched, *, aside: Collection[str], **given: Any
    ) -> Plan:
        """Has a bug that a failed task of `bad` brings out."""
        rows = [] if "bad" in aside else world.of_service("bad")
        if any(row.phase is Phase.FAILED for row in rows):
            raise OverflowError("Python int too large")
        return plan(world, touched, aside=aside, **given)

    monkeypatch.setattr("warren.manager.reconciler.plan", stumbling)
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            for name in ("bad", "one", "two"):
                await manager.operator.create(spec(name))
            session, _ = await enroll(manager, FakeAgent())
            failed = [status(f"{name}.1#1", Phase.FAILED) for name in ("one", "bad", "two")]
            await session.report_task_health(Report(statuses=tuple(failed)))
            await wait_all_tasks_blocked()
            current = {str(row.id) for row in manager.commit_log.cluster.current("one")}
            assert current == {"one.1#2"}
            assert [str(row.id) for row in manager.commit_log.cluster.current("two")] == ["two.1#2"]
            assert list(manager.commit_log.quarantine.services) == ["bad"]
            (said,) = (await manager.operator.status()).trouble
            assert said.startswith("service bad is set aside, nothing of it changes until it is")
            assert "OverflowError" in said
            await manager.operator.scale("one", 2)
            await wait_all_tasks_blocked()
            assert len(manager.commit_log.cluster.current("one")) == 2
            monkeypatch.undo()
            await manager.operator.remove("bad")  # an edit has it tried again
            await wait_all_tasks_blocked()
            assert "bad" not in manager.commit_log.cluster.services
            assert troubles(manager) == []


async def test_report_that_cannot_be_written_is_acknowledged_and_told_of(
    autojump_clock: MockClock,
) -> None:
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            await manager.operator.create(spec("web", 2))
            session, _ = await enroll(manager, FakeAgent())
            web = TaskId("web", 1, 1)
            wrong = TaskEvent(at=1.0, task=web, kind=EventKind.STARTED, message="\ud800")
            report = Report(
                statuses=(status("web.1#1", ready=True), status("web.2#1", ready=True)),
                events=(Told(5, wrong),),
            )
            await session.report_task_health(report)
            assert [row.status.ready for row in manager.commit_log.cluster.current("web")] == [
                True,
                True,
            ]
            assert "UnicodeEncodeError" in troubles(manager)[0]
            await session.report_task_health(Report(statuses=(status("web.1#1", sequence=6),)))
            assert troubles(manager) == []


async def test_report_that_is_taken_in_a_batch_that_fails_is_trouble_no_more(
    autojump_clock: MockClock,
) -> None:
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            await manager.operator.create(spec("web", 2))
            session, _ = await enroll(manager, FakeAgent())
            for task in ("web.1#1", "web.2#1"):
                manager.commit_log.quarantine.add_report(task, "why")
            wrong = TaskEvent(
                at=1.0, task=TaskId("web", 1, 1), kind=EventKind.STARTED, message="\ud800"
            )
            statuses = (status("web.1#1", ready=True), status("web.2#1", ready=True))
            await session.report_task_health(Report(statuses=statuses, events=(Told(5, wrong),)))
            (said,) = troubles(manager)
            assert said.startswith("what is reported of web.1#1 is set aside: UnicodeEncodeError")


async def test_report_of_what_is_dropped_is_trouble_no_more(autojump_clock: MockClock) -> None:
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            await manager.operator.create(spec("web", 2))
            await manager.operator.create(spec("web-2"))
            await wait_all_tasks_blocked()
            for task in ("web.1#1", "web.2#1", "web-2.1#1"):
                manager.commit_log.quarantine.add_report(task, "why")
            manager.commit_log.commit([DropTask(TaskId("web", 1, 1))])
            assert [said.split()[4] for said in troubles(manager)] == ["web.2#1", "web-2.1#1"]
            await manager.operator.remove("web")
            await wait_all_tasks_blocked()
            assert [said.split()[4] for said in troubles(manager)] == ["web-2.1#1"]


def broken_row(path: Path, statement: str) -> None:
    import sqlite3

    with closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tasks SET status = '{' WHERE service = 'bad'",
        "UPDATE services SET spec = CAST(x'7bff' AS TEXT) WHERE name = 'bad'",
    ],
)
async def test_service_whose_rows_cannot_be_read_is_left_alone(
    autojump_clock: MockClock, tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "manager.sqlite"
    with closing(StateStore.open(path)) as store:
        async with managed(store) as manager:
            await enroll(manager, FakeAgent())
            await manager.operator.create(spec("bad"))
            await manager.operator.create(spec("good"))
            await wait_all_tasks_blocked()
    broken_row(path, statement)
    with closing(StateStore.open(path)) as store:
        async with managed(store) as manager:
            agent = FakeAgent()
            session, _ = await enroll(manager, agent)
            (whole,) = agent.assigned
            assert whole.kept == ("bad",)
            assert [str(a.task) for a in whole.tasks] == ["good.1#1"]
            await session.report_task_health(Report(statuses=(status("bad.1#1"),)))
            for edit in (
                manager.operator.create(spec("bad")),
                manager.operator.apply([spec("bad")]),
                manager.operator.remove("bad"),
                manager.operator.service("bad"),
            ):
                with pytest.raises(ConflictError, match=r"bad is set aside: .*warren db mend"):
                    await edit
            await manager.operator.apply([], prune=True)
            await wait_all_tasks_blocked()
    with closing(StateStore.open(path)) as store:
        (fault,) = store.load().faults
        assert fault.owner == "bad"


async def test_node_whose_row_cannot_be_read_enrols_anew(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    import sqlite3

    path = tmp_path / "manager.sqlite"
    with closing(StateStore.open(path)) as store:
        async with managed(store) as manager:
            await manager.operator.create(spec("web"))
            session, _ = await enroll(manager, FakeAgent())
            await session.report_task_health(Report(statuses=(status("web.1#1"),)))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE nodes SET epoch = 9223372036854775807")
    with closing(StateStore.open(path)) as store:
        async with managed(store) as manager:
            assert troubles(manager)[0].startswith("node n1 is taken for lost until it enrols")
            await trio.sleep(1)
            assert [str(row.id) for row in manager.commit_log.cluster.current("web")] == ["web.1#1"]
            session, _ = await enroll(manager, FakeAgent())
            assert session.epoch == 2
            assert troubles(manager) == []


async def test_node_that_leaves_and_has_no_row_is_not_kept_waiting(
    autojump_clock: MockClock,
) -> None:
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            session, _ = await enroll(manager, FakeAgent())
            manager.commit_log.commit([DropNode("n1")])
            with trio.fail_after(1):
                await session.leave()


def test_isolate_finds_those_that_raise_alone() -> None:
    seen = list[set[str]]()

    def attempt(names: object) -> None:
        seen.append(set(names))  # pyright: ignore
        if seen[-1] & {"c", "g"}:
            raise ValueError(str(seen[-1]))

    found = {name for name, _ in isolate(list("abcdefgh"), attempt)}
    assert found == {"c", "g"}
    assert {"a", "b"} in seen


def test_isolate_blames_nobody_for_a_disk() -> None:
    def attempt(_: object) -> None:
        raise UnavailableError("the disk is full")

    with pytest.raises(UnavailableError):
        list(isolate(["a", "b"], attempt))


async def test_what_follows_from_the_most_that_a_node_may_say_can_be_told(
    autojump_clock: MockClock,
) -> None:
    with closing(StateStore.open(None)) as store:
        async with managed(store) as manager:
            await manager.operator.create(spec("web"))
            session, _ = await enroll(manager, FakeAgent())
            end = End(reason=Reason.EXITED, message="m" * 16_000, at=1_000_000.0)
            for number in (1, 2, 3):
                most = status(
                    f"web.1#{number}",
                    Phase.FAILED,
                    restarts=MOST_COUNTED,
                    failed_before=MOST_COUNTED,
                    last_end=end,
                )
                await session.report_task_health(Report(statuses=(most,)))
                for _ in range(130):
                    await trio.sleep(5)
                    await session.renew()
            async with memory_gate(manager.gate) as gate:
                view = await gate.view()
                (service,) = await view.services()
                assert service.tasks[0].slot_restarts == MOST_COUNTED
                assert manager.commit_log.cluster.current("web")[0].failed_before == MOST_COUNTED
                assert [entry.kind for entry in await view.events()].count(EventKind.REPLACED) == 3
                for message in (service, *await view.events()):
                    assert read(written(message), type(message)) == message
            assert troubles(manager) == []

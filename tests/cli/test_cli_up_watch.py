"""What a reporter of `up` is told, and in which order: services and waiting tasks as they are
watched, transitions as the node tells of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
import trio

from tests.scheduler.planning_kit import node_row, service_row, spec, task_row, tid
from warren.cli.live.reporter import Look
from warren.cli.live.watch import UpWatch
from warren.manager.program import Manager, open_manager
from warren.model.cluster import (
    Change,
    Desired,
    DropService,
    DropTask,
    PutNode,
    PutService,
    PutTask,
)
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import End, Phase, Reason, TaskStatus
from warren.state.slot_index import RUN_AGAIN
from warren.store.state import StateStore
from warren.wiring.parts import Publish

NOW = 1e6  # wall time


@dataclass
class Listener:
    """Plays `Reporter`: keeps what it is told."""

    told: list[str] = field(default_factory=list[str])
    closed: trio.Event = field(default_factory=trio.Event)

    def note(self, status: TaskStatus, event: TaskEvent) -> None:
        self.told.append(f"{event.task} {event.message}")

    def set_service(self, spec: ServiceSpec) -> None:
        self.told.append(f"{spec.name} x {spec.replicas}")

    def drop_service(self, name: str) -> None:
        self.told.append(f"{name} removed")

    def forget(self, task: TaskId) -> None:
        self.told.append(f"{task} forgotten")

    def attach(self, look: Look) -> None:
        raise AssertionError(f"nothing here looks: {look}")

    def note_stopping(self, message: str) -> None:
        raise AssertionError(f"nothing here stops: {message}")

    async def serve(self) -> None:
        await self.closed.wait()

    def finish(self) -> None:
        self.closed.set()

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


class Ground:
    """A manager whose commits and transitions are the test's."""

    def __init__(self, manager: Manager, listener: Listener, publish: Publish) -> None:
        self.manager = manager
        self.listener = listener
        self._publish = publish

    def commit(self, *changes: Change) -> None:
        self.manager.commit_log.commit(changes)

    def tell(self, task: str, kind: EventKind) -> None:
        """A transition."""
        status = TaskStatus(id=tid(task), phase=Phase.RUNNING)
        event = TaskEvent(at=NOW, task=status.id, kind=kind, message=kind.value)
        self._publish(status, event)

    async def told(self) -> list[str]:
        await trio.testing.wait_all_tasks_blocked()
        return self.listener.take()


@asynccontextmanager
async def watched(*before: Change) -> AsyncGenerator[Ground]:
    """After these commits it is watched; of what they are it was told."""
    store = StateStore.open(None)
    async with open_manager(store, wall=lambda: NOW, patience=1e9) as manager:  # nothing is planned
        manager.commit_log.commit([PutNode(node_row("n1")), *before])
        listener = Listener()
        async with UpWatch(listener, now=lambda: NOW).following(manager.operator) as publish:
            yield Ground(manager, listener, publish)
    store.close()


def running(task: str) -> PutTask:
    return PutTask(task_row(task, node="n1"))


def ended(task: str, phase: Phase, desired: Desired = Desired.RUN) -> PutTask:
    row = task_row(task, node="n1", phase=phase, desired=desired)
    end = End(reason=Reason.EXITED, message="exited with code 0", at=NOW - 5, exit_code=0)
    return PutTask(
        msgspec.structs.replace(row, status=msgspec.structs.replace(row.status, last_end=end))
    )


def waiting(task: str, why: str) -> PutTask:
    return PutTask(task_row(task, node=None, phase=Phase.PENDING, pending_reason=why))


async def test_transitions_of_a_known_task_are_told_at_once() -> None:
    async with watched(PutService(service_row(spec())), running("web.1#1")) as ground:
        assert ground.listener.take() == ["web x 1"]
        ground.tell("web.1#1", EventKind.PROBE_FAILED)
        assert ground.listener.take() == ["web.1#1 probe failed"]


async def test_service_is_told_of_before_its_tasks_and_transitions_keep_their_order() -> None:
    async with watched() as ground:
        ground.commit(PutService(service_row(spec("web", 2))), running("web.1#1"))
        ground.tell("web.1#1", EventKind.STARTED)  # before the watch can know of either
        ground.tell("web.1#1", EventKind.READY)
        assert ground.listener.take() == []
        assert await ground.told() == ["web x 2", "web.1#1 started", "web.1#1 ready"]
        ground.commit(running("web.2#1"))
        ground.tell("web.2#1", EventKind.STARTED)
        ground.tell("web.1#1", EventKind.UNREADY)  # known, but comes after it
        assert await ground.told() == ["web.2#1 started", "web.1#1 unready"]
        ground.tell("web.1#1", EventKind.READY)
        assert ground.listener.take() == ["web.1#1 ready"]


async def test_transitions_of_what_the_manager_does_not_have_are_told_too() -> None:
    """Tasks that another state had placed, say: they are being ended."""
    async with watched() as ground:
        ground.tell("old.1#1", EventKind.STOPPING)
        assert await ground.told() == ["old.1#1 stopping"]
    async with watched() as ground:
        ground.tell("old.1#1", EventKind.STOPPING)
    assert ground.listener.take() == ["old.1#1 stopping"]  # the last words are not lost


async def test_service_made_anew_at_once_was_removed_before() -> None:
    async with watched(PutService(service_row(spec())), running("web.1#1")) as ground:
        ground.listener.take()
        ground.commit(DropService("web"))
        ground.commit(
            PutService(service_row(spec("web", 3), created_at=NOW + 1)), running("web.1#2")
        )
        ground.tell("web.1#2", EventKind.STARTED)
        told = await ground.told()
        assert told == ["web removed", "web x 3", "web.1#2 started"]
        ground.commit(DropService("web"))
        assert await ground.told() == ["web removed", "web.1#2 forgotten"]


async def test_waiting_task_is_told_of_when_its_reason_changes() -> None:
    before = PutService(service_row(spec())), waiting("web.1#1", "n1: no room")
    async with watched(*before) as ground:
        assert ground.listener.take() == ["web x 1", "web.1#1 pending: n1: no room"]
        ground.commit(PutService(service_row(spec(env={"V": "2"}), version=2, revision=2)))
        assert await ground.told() == ["web x 1"]  # its slot is looked at again, and is as it was
        ground.commit(waiting("web.1#1", "n1: stopped"))
        assert await ground.told() == ["web.1#1 pending: n1: stopped"]
        ground.commit(running("web.1#1"))
        assert await ground.told() == []  # its node tells


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.COMPLETE, "complete 5s ago: exited with code 0"),
        (Phase.STOPPED, "ended 5s ago: exited with code 0; runs again"),
    ],
)
async def test_task_that_had_ended_is_told_of_and_one_whose_node_told_is_not(
    phase: Phase, said: str
) -> None:
    before = PutService(service_row(spec("web", 2))), ended("web.1#1", phase), running("web.2#1")
    async with watched(*before) as ground:
        assert ground.listener.take() == ["web x 2", f"web.1#1 {said}"]
        ground.tell("web.2#1", EventKind.FINISHED)
        ground.commit(ended("web.2#1", phase))
        assert await ground.told() == ["web.2#1 finished"]


async def test_ended_task_that_is_followed_by_another_is_told_of_as_that() -> None:
    before = ended("web.1#1", Phase.COMPLETE).row
    again = msgspec.structs.replace(before, stop_reason=RUN_AGAIN)
    async with watched(PutService(service_row(spec())), PutTask(again)) as ground:
        said = "web.1#1 complete 5s ago: exited with code 0; runs again"
        assert ground.listener.take() == ["web x 1", said]


async def test_task_that_was_to_go_and_slot_that_is_gone_are_forgotten() -> None:
    before = PutService(service_row(spec("web", 2))), running("web.1#1"), running("web.2#1")
    async with watched(*before) as ground:
        ground.listener.take()
        ground.commit(ended("web.1#1", Phase.STOPPED, Desired.STOP))
        assert await ground.told() == ["web.1#1 forgotten"]
        ground.commit(PutService(service_row(spec("web", 1), version=2)), DropTask(tid("web.2#1")))
        assert await ground.told() == ["web.2#1 forgotten", "web x 1"]

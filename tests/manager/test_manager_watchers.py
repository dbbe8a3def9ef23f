"""Watching a cluster: what changes is told once, to those it concerns, over any link."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest
import trio

from tests.scheduler.planning_kit import node_row, service_row, spec, task_row
from warren.client.watch import Watch
from warren.manager import watchers as watchers_module
from warren.manager.program import Manager, open_manager
from warren.manager.watchers import AT_ONCE
from warren.model.address import UnixAddress
from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    Entry,
    PutNode,
    PutService,
    PutTask,
)
from warren.model.errors import InvalidError
from warren.model.event import EventKind
from warren.model.rpc import Cluster
from warren.model.task import Phase, TaskStatus
from warren.model.view import TaskView, WatchAnswer, WatchWanted
from warren.store.backup import backup, restore
from warren.store.state import StateStore
from warren.transport.client import open_gate
from warren.transport.memory import memory_gate
from warren.transport.server import serve_gate

EVERYTHING = WatchWanted(nodes=True)


@asynccontextmanager
async def running(
    folder: Path, kind: str = "memory"
) -> AsyncGenerator[tuple[Manager, Cluster], None]:
    """A manager without a node, and an operator of it."""
    with closing(StateStore.open(folder / "manager.sqlite")) as store:
        async with (
            open_manager(store, wall=lambda: 1e9) as manager,
            trio.open_nursery() as nursery,
        ):
            if kind == "memory":
                async with memory_gate(manager.gate) as gate:
                    yield manager, await gate.login()
            else:
                address = UnixAddress(str(folder / "w.sock"))
                await nursery.start(serve_gate, manager.gate, address)
                async with open_gate(address) as gate:
                    yield manager, await gate.login()
            nursery.cancel_scope.cancel()


def commit(manager: Manager, *changes: Change) -> None:
    manager.commit_log.commit(changes)


def ready(name: str, *, is_ready: bool = True, phase: Phase = Phase.RUNNING) -> PutTask:
    return PutTask(task_row(name, spec("web", 2), node="n1", phase=phase, ready=is_ready))


def readiness(watch: Watch) -> dict[str, bool]:
    return {str(view.id): view.status.ready for view in watch.tasks}


async def settled(watch: Watch, cluster: Cluster) -> None:
    """The picture is what there is."""
    await trio.testing.wait_all_tasks_blocked()
    watch.take(await cluster.watch(watch.wanted))


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_watch_shows_what_is_and_then_what_changes(kind: str, tmp_path: Path) -> None:
    async with running(tmp_path, kind) as (manager, cluster):
        watch = Watch(EVERYTHING)
        assert (await watch.next(cluster)).is_whole
        assert (watch.services, watch.tasks, watch.nodes) == ([], [], [])
        commit(manager, PutNode(node_row("n1")))
        await cluster.create(spec("web", 2))
        while len(watch.tasks) < 2:
            assert not (await watch.next(cluster)).is_whole
        assert [view.spec.name for view in watch.services] == ["web"]
        assert all(not view.tasks for view in watch.services)
        assert [node.name for node in watch.nodes] == ["n1"]
        commit(manager, ready("web.1#1"))
        answer = await watch.next(cluster)
        assert [str(view.id) for view in answer.tasks] == ["web.1#1"]
        assert readiness(watch) == {"web.1#1": True, "web.2#1": False}
        assert repr(watch) == "<Watch: 1 services, 2 tasks, 1 nodes>"


async def test_watch_tells_a_slow_reader_the_latest_state_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n1")))
        await cluster.create(spec("web", 2))
        watch = Watch()
        while len(watch.tasks) < 2:
            await watch.next(cluster)
        await settled(watch, cluster)
        for turn in range(20):
            commit(manager, ready("web.1#1", is_ready=turn % 2 == 1))
        answer = await watch.next(cluster)
        assert [view.status.ready for view in answer.tasks] == [True]
        assert not (await cluster.watch(watch.wanted, cursor=answer.cursor)).tasks


async def test_watch_of_what_goes(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n9")))
        await cluster.create(spec("web", 2))
        watch = Watch(EVERYTHING)
        while len(watch.tasks) < 2:
            await watch.next(cluster)
        await cluster.scale("web", 1)
        while len(watch.tasks) > 1:
            await watch.next(cluster)
        await cluster.remove("web")
        while watch.services or watch.tasks:
            await watch.next(cluster)
        commit(manager, DropNode("n9"))
        answer = await watch.next(cluster)
        assert answer.gone_nodes == ("n9",)
        assert watch.nodes == []


async def test_watch_is_woken_by_what_concerns_it_and_by_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, cluster):
        await cluster.create(spec("web", 2))
        wanted = {
            "web": WatchWanted(service="web"),
            "db": WatchWanted(service="db"),
            "nodes": WatchWanted(services=False, tasks=False, nodes=True),
        }
        woken = list[str]()

        async def wait(name: str) -> None:
            await manager.watchers.wait(wanted[name])
            woken.append(name)

        async def woken_by(*changes: Change) -> list[str]:
            woken.clear()
            async with trio.open_nursery() as nursery:
                for name in wanted:
                    nursery.start_soon(wait, name)
                await trio.testing.wait_all_tasks_blocked()
                assert manager.watchers.waiting == 3
                commit(manager, *changes)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            return sorted(woken)

        await trio.testing.wait_all_tasks_blocked()
        (row,) = [r for r in manager.commit_log.cluster.tasks.values() if r.id.slot == 1]
        status = msgspec.structs.replace(row.status, restarts=row.status.restarts + 1)
        assert await woken_by(PutTask(msgspec.structs.replace(row, status=status))) == ["web"]
        # Why a task of `web` is pending is told node by node, so it changes too (S26).
        assert await woken_by(PutNode(node_row("n7"))) == ["nodes", "web"]
        assert manager.watchers.waiting == 0
        assert repr(manager.watchers).startswith("<Watchers: 0 waiting, ")


async def test_follower_of_events_is_woken_by_those_it_is_about(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, _):
        woken = list[str]()

        async def wait(about: str) -> None:
            await manager.watchers.wait_event(about)
            woken.append(about)

        async def woken_by(subject: str, service: str = "") -> list[str]:
            woken.clear()
            async with trio.open_nursery() as nursery:
                for about in ("", "web", "web.1#1", "db", "n7"):
                    nursery.start_soon(wait, about)
                await trio.testing.wait_all_tasks_blocked()
                entry = Entry(
                    at=1e9, kind=EventKind.CREATED, subject=subject, message="x", service=service
                )
                commit(manager, AddEvent(entry))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            return sorted(woken)

        assert await woken_by("web.1#1", "web") == ["", "web", "web.1#1"]
        assert await woken_by("web", "web") == ["", "web"]
        assert await woken_by("n7") == ["", "n7"]
        assert manager.watchers.waiting == 0


async def test_cursor_holds_over_a_restart_of_the_manager(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n1")))
        await cluster.create(spec("web", 2))
        watch = Watch()
        while len(watch.tasks) < 2:
            await watch.next(cluster)
        await settled(watch, cluster)
        before = readiness(watch)
    async with running(tmp_path) as (manager, cluster):
        commit(manager, ready("web.2#1"))
        answer = await watch.next(cluster)
        assert not answer.is_whole
        assert readiness(watch) == {**before, "web.2#1": True}


async def test_cursor_of_another_run_holds_only_where_nothing_was_committed_since(
    tmp_path: Path,
) -> None:
    """A backup that was restored may have come to the same generation by another way."""
    async with running(tmp_path) as (manager, cluster):
        await cluster.create(spec("web", 2))
        watch = Watch()
        while len(watch.tasks) < 2:
            await watch.next(cluster)
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n1")))
        of, _, generation = (await cluster.watch(WatchWanted())).cursor.rpartition(":")
        run = of.rpartition(":")[2]
        foreign = f"{of.removesuffix(run)}{'0' * 8}:{generation}"
        assert (await cluster.watch(WatchWanted(), cursor=foreign, wait=True)).is_whole


async def test_cursor_of_a_state_that_a_backup_has_replaced_gets_everything(tmp_path: Path) -> None:
    state, copy = tmp_path / "manager.sqlite", tmp_path / "copy.sqlite"
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n1")))
        backup(state, copy)
        for _ in range(9):
            commit(manager, PutNode(node_row("n2")))
        cursor = (await cluster.watch(EVERYTHING)).cursor
    restore(state, copy)
    async with running(tmp_path) as (manager, cluster):
        while manager.commit_log.cluster.generation < int(cursor.rpartition(":")[2]):
            commit(manager, PutNode(node_row("n3")))
    async with running(tmp_path) as (_, cluster):
        answer = await cluster.watch(EVERYTHING, cursor=cursor, wait=True)
        assert answer.is_whole
        assert {node.name for node in answer.nodes} == {"n1", "n3"}


async def test_whole_answer_says_what_of_a_picture_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutNode(node_row("n1")))
        await cluster.create(spec("web", 2))
        watch = Watch(EVERYTHING)
        while len(watch.tasks) < 2:
            await watch.next(cluster)
        answer = watch.take(WatchAnswer(cursor="m:r:1", is_whole=True))
        assert answer.gone_services == ("web",)
        assert [one.slot for one in answer.gone_slots] == [1, 2]
        assert answer.gone_nodes == ("n1",)
        assert (watch.services, watch.tasks, watch.nodes) == ([], [], [])


async def test_watch_of_nothing_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, cluster):
        with pytest.raises(InvalidError, match="want services, tasks or nodes"):
            await cluster.watch(WatchWanted(services=False, tasks=False), wait=True)


@pytest.mark.parametrize("cursor", ["", "nonsense", "other:r:1", ":1", "m:r:x", "m:r:-1"])
async def test_cursor_that_means_nothing_here_gets_everything(cursor: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (_, cluster):
        await cluster.create(spec("web", 2))
        answer = await cluster.watch(WatchWanted(), cursor=cursor, wait=True)
        assert answer.is_whole
        assert [view.spec.name for view in answer.services] == ["web"]


async def test_cursor_of_a_later_state_gets_everything(tmp_path: Path) -> None:
    """No run has handed it out."""
    async with running(tmp_path) as (_, cluster):
        await cluster.create(spec("web", 1))
        of, _, generation = (await cluster.watch(WatchWanted())).cursor.rpartition(":")
        run, _, position = of.rpartition(".")
        for place in (
            f"{int(position) + 1000}",
            f"0.{int(position) + 1000}",
            "1.2.3",
            "",
            "9" * 99,
        ):
            later = f"{run}.{place}:{generation}"
            assert (await cluster.watch(WatchWanted(), cursor=later, wait=True)).is_whole


async def test_cursor_of_a_manager_without_positions_holds_where_nothing_was_committed_since(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (manager, cluster):
        await cluster.create(spec("web", 2))
        await trio.testing.wait_all_tasks_blocked()
        of, _, generation = (await cluster.watch(WatchWanted())).cursor.rpartition(":")
        before = f"{of.rpartition('.')[0]}:{generation}"
        assert (await cluster.watch(WatchWanted(), cursor=before)).is_whole  # of no such run
    async with running(tmp_path) as (manager, cluster):
        assert not (await cluster.watch(WatchWanted(), cursor=before)).is_whole
        commit(manager, PutNode(node_row("n7")))
        answer = await cluster.watch(EVERYTHING, cursor=before)
        assert not answer.is_whole
        assert [node.name for node in answer.nodes] == ["n7"]


# In pieces


SLOTS = 3000


def many(manager: Manager, slots: int = SLOTS) -> None:
    """A service of so many slots, each with a task."""
    rows = (task_row(f"web.{n}#1", spec("web", slots), node="n1") for n in range(1, slots + 1))
    service = PutService(service_row(spec("web", slots)))
    commit(manager, PutNode(node_row("n1")), service, *map(PutTask, rows))


def flipped(manager: Manager, slot: int) -> PutTask:
    """The slot's task is ready, or no longer."""
    (row,) = manager.commit_log.cluster.slot("web", slot)
    return PutTask(msgspec.structs.replace(row, status=flip(row.status)))


def flip(status: TaskStatus) -> TaskStatus:
    return msgspec.structs.replace(status, ready=not status.ready, sequence=status.sequence + 1)


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_large_answers_come_in_pieces_while_changes_go_on(kind: str, tmp_path: Path) -> None:
    """Thousands of slots, all of them told, then all changed at once: no answer is large, nothing
    is lost, and nothing is told again that has not changed again."""
    chance = random.Random(7)
    async with running(tmp_path, kind) as (manager, cluster):
        many(manager)
        await trio.testing.wait_all_tasks_blocked()
        told = Counter[int]()
        seen = dict[int, TaskView]()
        cursor = ""

        async def read(changes: Counter[int]) -> int:
            """All there is to read, while some slots change; returns how many answers."""
            nonlocal cursor
            for number in itertools.count(1):
                answer = await cluster.watch(WatchWanted(), cursor=cursor)
                assert len(answer.tasks) + len(answer.services) <= AT_ONCE
                assert answer.is_whole == (not cursor)
                cursor = answer.cursor
                told.update(view.id.slot for view in answer.tasks)
                seen.update({view.id.slot: view for view in answer.tasks})
                if not answer.has_more:
                    return number
                if number <= 5:
                    some = chance.sample(range(1, SLOTS + 1), 50)
                    changes.update(some)
                    commit(manager, *(flipped(manager, slot) for slot in some))
            raise AssertionError

        for _ in range(2):
            told.clear()
            changes = Counter[int](range(1, SLOTS + 1))
            assert SLOTS / AT_ONCE <= await read(changes) <= SLOTS / AT_ONCE + 3
            assert told.keys() == changes.keys()
            assert all(told[slot] <= count for slot, count in changes.items())
            for slot, view in seen.items():
                (row,) = manager.commit_log.cluster.slot("web", slot)
                assert view.status == row.status
            commit(manager, *(flipped(manager, slot) for slot in range(1, SLOTS + 1)))


async def test_whole_in_pieces_is_shown_when_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers_module, "AT_ONCE", 3)
    watch = Watch()
    async with running(tmp_path) as (manager, cluster):
        many(manager, 7)
        await watch.next(cluster)
        assert [view.id.slot for view in watch.tasks] == [1, 2, 3, 4, 5, 6, 7]
    async with running(tmp_path) as (manager, cluster):
        commit(manager, PutService(service_row(spec("web", 7), version=2)))
        piece = watch.take(await cluster.watch(watch.wanted, cursor="anew"))
        assert (piece.is_whole, piece.has_more, len(piece.tasks)) == (True, True, 3)
        assert piece.gone_slots == ()
        assert len(watch.tasks) == 7  # as it was, until the rest is here
    async with running(tmp_path) as (manager, cluster):  # the manager is started again meanwhile
        commit(manager, flipped(manager, 2))
        answer = await watch.next(cluster)
        assert answer.is_whole
        assert not answer.has_more
        assert (len(answer.tasks), answer.gone_slots) == (7, ())
        assert [slot for slot, ready in enumerate(readiness(watch).values(), 1) if ready] == [2]

"""Nothing large makes anything else unreadable: answers end where a message has no more room."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from tests.scheduler.planning_kit import node_row, service_row, task_row
from warren.client.pages import all_nodes, all_services
from warren.client.watch import Watch
from warren.manager import message_room
from warren.manager.program import Manager, open_manager
from warren.model.address import UnixAddress
from warren.model.check import Argv
from warren.model.cluster import Change, PutNode, PutService, PutTask
from warren.model.errors import InvalidError
from warren.model.node_description import NodeDescription
from warren.model.rpc import Cluster
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, Phase, Reason
from warren.model.view import WatchWanted
from warren.store.state import StateStore
from warren.transport.client import open_gate
from warren.transport.connection import Limits
from warren.transport.server import serve_gate

ROOM = 400_000  # bytes
LIMITS = Limits(message=2 << 20)
LARGE = "x" * 150_000
NAMES = [f"web{number:02}" for number in range(20)]


@asynccontextmanager
async def narrow(
    folder: Path, patch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[Manager, Cluster], None]:
    """A manager without a node, and an operator of it, over a wire of small messages."""
    patch.setattr(message_room, "ROOM", ROOM)
    with closing(StateStore.open(None)) as store:
        async with (
            open_manager(store, wall=lambda: 1e9) as manager,
            trio.open_nursery() as nursery,
        ):
            address = UnixAddress(str(folder / "w.sock"))
            await nursery.start(partial(serve_gate, manager.gate, address, limits=LIMITS))
            async with open_gate(address, limits=LIMITS) as gate:
                yield manager, await gate.login()
            nursery.cancel_scope.cancel()


def large(name: str) -> ServiceSpec:
    return ServiceSpec(name=name, command=Argv(["x"]), replicas=0, env={"V": LARGE})


async def test_services_that_no_message_has_room_for_are_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(tmp_path, monkeypatch) as (manager, cluster):
        huge = msgspec.structs.replace(large("huge"), env={"A": LARGE, "B": LARGE, "C": LARGE})
        for spec in (huge, *map(large, NAMES)):
            manager.commit_log.commit([PutService(service_row(spec))])
        with pytest.raises(InvalidError, match="services: the answer has 3 MiB; want less asked"):
            await cluster.services()
        page = await cluster.services(after="huge", limit=10)  # the link is still there
        assert [view.spec.name for view in page] == NAMES[:2]
        (first,) = await cluster.services(limit=10)
        assert first.spec == huge
        views = await all_services(cluster)
        assert [view.spec.name for view in views] == ["huge", *NAMES]
        assert await cluster.services(after=NAMES[-1], limit=10) == []


async def test_watchers_are_told_of_what_is_large_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(tmp_path, monkeypatch) as (manager, cluster):
        for name in NAMES:
            manager.commit_log.commit([PutService(service_row(large(name)))])
        answer = await cluster.watch(WatchWanted())
        assert answer.is_whole
        assert answer.has_more
        assert [view.spec.name for view in answer.services] == NAMES[:2]
        watch = Watch()
        await watch.next(cluster)
        assert [view.spec.name for view in watch.services] == NAMES
        for name in reversed(NAMES):
            manager.commit_log.commit([PutService(service_row(large(name), version=2))])
        told = list[str]()
        while len(told) < len(NAMES):
            told += [view.spec.name for view in (await watch.next(cluster)).services]
        assert told == NAMES[::-1]
        assert {view.version for view in watch.services} == {2}


async def test_nodes_and_what_they_report_are_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(tmp_path, monkeypatch) as (manager, cluster):
        described = NodeDescription(labels={f"l{number}": "x" * 255 for number in range(64)})
        nodes = [f"n{number:03}" for number in range(150)]
        rows = [msgspec.structs.replace(node_row(name), description=described) for name in nodes]
        manager.commit_log.commit([PutNode(row) for row in rows])
        with pytest.raises(InvalidError, match="nodes: the answer has"):
            await cluster.nodes()
        assert [view.name for view in await all_nodes(cluster)] == nodes
        watch = Watch(WatchWanted(services=False, tasks=False, nodes=True))
        await watch.next(cluster)
        assert [view.name for view in watch.nodes] == nodes


async def test_handle_that_a_node_reports_of_an_instance_is_shown_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(tmp_path, monkeypatch) as (manager, cluster):
        spec = ServiceSpec(name="web", command=Argv(["x"]), replicas=30)
        changes: list[Change] = [PutNode(node_row("n1")), PutService(service_row(spec))]
        for slot in range(1, 31):
            row = task_row(f"web.{slot}#1", spec, node="n1", phase=Phase.RUNNING)
            end = End(reason=Reason.EXITED, message="x" * 16_000, at=1.0)
            instance = Instance(id="i", task=row.id, started_at=1.0, handle={"env": LARGE})
            status = msgspec.structs.replace(row.status, instance=instance, last_end=end)
            changes.append(PutTask(msgspec.structs.replace(row, status=status)))
        manager.commit_log.commit(changes)
        tasks = await cluster.tasks()
        assert [task.status.instance and task.status.instance.handle for task in tasks] == [{}] * 30
        watch = Watch()
        await watch.next(cluster)
        assert len(watch.tasks) == 30

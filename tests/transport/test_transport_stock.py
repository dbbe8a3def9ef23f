"""Clients that know nothing but the schema and docs/protocol.md manage a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio

from tests.transport.stock_clients import CLIENTS, STEPS, converse, stock_client
from tests.transport.wire_links import serving
from warren.model.check import Argv
from warren.model.cluster import Entry
from warren.model.errors import NotFoundError
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.rpc import Gate
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.model.view import ServiceView, TaskView


class SlowCluster:
    """A cluster in which something happens whenever somebody waits for it."""

    def __init__(self) -> None:
        self.spec: ServiceSpec | None = None
        self.ready = 0
        self.is_removing = False
        self.last = 40
        self.asked: list[ServiceSpec] = []

    async def login(self) -> Any:
        return self

    async def last_event(self) -> int:
        return self.last

    async def create(self, spec: ServiceSpec) -> ServiceView:
        self.asked.append(spec)
        self.spec = spec
        return await self.service(spec.name)

    async def scale(self, name: str, replicas: int) -> ServiceView:
        assert self.spec
        self.spec = msgspec.structs.replace(self.spec, replicas=replicas)
        return await self.service(name)

    async def remove(self, name: str) -> None:
        self.is_removing = True

    async def service(self, name: str) -> ServiceView:
        if self.spec is None or self.spec.name != name:
            raise NotFoundError(f"there is no service {name}")
        return ServiceView(
            spec=self.spec, version=1, created_at=0.0, updated_at=0.0, tasks=(*self._tasks(),)
        )

    def _tasks(self) -> list[TaskView]:
        assert self.spec
        slots = range(1, self.spec.replicas + 1)
        return [self._task(TaskId(self.spec.name, slot, 1)) for slot in slots]

    def _task(self, name: TaskId) -> TaskView:
        status = TaskStatus(id=name, phase=Phase.RUNNING, ready=name.slot <= self.ready)
        return TaskView(id=name, status=status, created_at=0.0)

    async def events(
        self, after: int, since: float, limit: int, wait: bool, about: str
    ) -> list[Entry]:
        assert wait
        assert about == ""
        assert limit == 1000
        if self.last == after:
            await trio.sleep(0.01)
            self._happen()
        seqs = range(after + 1, self.last + 1)
        return [
            Entry(at=0.0, kind=EventKind.CREATED, subject="s", message="m", seq=seq) for seq in seqs
        ]

    def _happen(self) -> None:
        self.last += 1
        if self.is_removing:
            self.ready -= 1
            if self.ready < 0:
                self.spec = None
        else:
            self.ready += 1


@pytest.mark.parametrize("language", CLIENTS)
async def test_a_stock_client_creates_scales_and_removes_a_service(
    language: str, tmp_path: Path
) -> None:
    client = stock_client(language, tmp_path)
    cluster = SlowCluster()
    async with serving("unix", tmp_path, lambda _: cast("Gate", cluster)):
        socket = str(tmp_path / "w.sock")
        said = await trio.to_thread.run_sync(converse, client, socket, "web", "sleep", "1000")
    assert said == STEPS
    assert cluster.asked == [ServiceSpec(name="web", command=Argv(["sleep", "1000"]))]
    assert cluster.spec is None

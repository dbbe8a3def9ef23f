"""A manager with its state on disk and one node with scripted instances, joined by a memory link:
all that `warren up` has, but for processes and checks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
)
from pathlib import Path

import trio
from scripted import NoLogs, ScriptedRuntime

from warren.checks.concurrency import ConcurrencyCaps
from warren.manager.program import Manager
from warren.model.check import Check, Outcome, Result
from warren.model.event import EventKind, TaskEvent
from warren.model.interfaces import Target
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.node.manager_link import Dial
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.runtime.port_allocator import PortAllocator
from warren.store.journal import SqliteJournal
from warren.wiring.one_process import open_linked
from warren.wiring.parts import Publish, open_manager_here

SETTLING = 0.05  # seconds without a commit: nothing more is to come


class Staged:
    """The cluster in the hands of a benchmark."""

    def __init__(self) -> None:
        self.manager: Manager | None = None
        self._alive: dict[str, int] = {}
        self._started_at = 0.0
        self._changed = trio.Event()

    @asynccontextmanager
    async def begin(self, manager: Manager) -> AsyncGenerator[Staged]:
        """The manager is there, and its node comes next."""
        self.manager = manager
        yield self

    def publish(self, _status: TaskStatus, event: TaskEvent) -> None:
        name = event.task.service
        if event.kind is EventKind.STARTED:
            self._started_at = time.perf_counter()
            self._alive[name] = self._alive.get(name, 0) + 1
        elif event.kind is EventKind.FINISHED:
            self._alive[name] = self._alive.get(name, 0) - 1  # it may never have started
        self._changed.set()

    async def create(self, spec: ServiceSpec) -> None:
        """Make a service, and wait until all of it runs and the manager knows."""
        assert self.manager is not None
        await self.manager.operator.create(spec)
        await self._settle(spec.name, spec.replicas)

    async def scale(self, name: str, replicas: int) -> tuple[float, float]:
        """Times, as `perf_counter` has them, of the answer and of the last start."""
        assert self.manager is not None
        await self.manager.operator.scale(name, replicas)
        answered = time.perf_counter()
        await self._reach(name, replicas)
        started = self._started_at
        await self._settle(name, replicas)
        return answered, started

    async def scale_down(self, name: str, replicas: int) -> None:
        """Down again, and wait until it is so."""
        assert self.manager is not None
        await self.manager.operator.scale(name, replicas)
        await self._settle(name, replicas)

    async def _reach(self, name: str, replicas: int) -> None:
        while self._alive.get(name, 0) != replicas:
            self._changed = trio.Event()
            await self._changed.wait()

    async def _settle(self, name: str, replicas: int) -> None:
        """Until the commit log says so too, and nobody writes any more."""
        assert self.manager is not None
        await self._reach(name, replicas)
        commit_log = self.manager.commit_log
        before = -1
        while before != commit_log.cluster.generation:
            before = commit_log.cluster.generation
            await trio.sleep(SETTLING)


@asynccontextmanager
async def open_staged(directory: Path) -> AsyncGenerator[Staged]:
    """The cluster, its files in a directory."""
    staged = Staged()
    with closing(SqliteJournal(directory / "journal.sqlite")) as journal:

        def open_scripted(dial: Dial, publish: Publish) -> AbstractAsyncContextManager[Node]:
            around = Dependencies(
                node="bench",
                runtime=ScriptedRuntime(),
                check=ConcurrencyCaps(_pass),
                ports=PortAllocator(salt="bench"),
                journal=journal,
                publish=publish,
            )
            return open_node(around, NoLogs(), dial, stops_tasks=True)

        manager = open_manager_here(directory)
        async with open_linked(manager, open_scripted, staged.begin):
            yield staged


async def _pass(check: Check, target: Target, *, timeout: float) -> Outcome:
    await trio.lowlevel.checkpoint()
    return Outcome(Result.PASS, "200 OK")

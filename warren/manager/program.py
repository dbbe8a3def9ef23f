"""The manager, put together: commit log, reconciler, dispatcher, and the gate for connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from warren.manager.clock import ClockFollower, ManagerClock
from warren.manager.commit_log import CommitLog, Store
from warren.manager.control_api import ControlApi
from warren.manager.dispatcher import Dispatcher, NodeConnection
from warren.manager.loop_monitor import serve_loop_monitor
from warren.manager.read_api import ReadApi
from warren.manager.reconciler import Reconciler
from warren.manager.session import Session
from warren.model.errors import ConflictError
from warren.model.report import NodeHello
from warren.model.rpc import Agent
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions

LEASE = 15.0  # seconds


class Manager:
    """Made by `open_manager`."""

    def __init__(self, store: Store, nursery: trio.Nursery, clock: ManagerClock) -> None:
        now = clock.now
        self.conditions = Conditions(now)
        self.commit_log = CommitLog(store, now=now)
        self.dispatcher = Dispatcher(self.commit_log, nursery, lease=LEASE)
        self.reconciler = Reconciler(
            self.commit_log, connected=self.dispatcher.connected, lease=self.dispatcher.lease
        )
        self.dispatcher.on_node = self.reconciler.note_node
        self.following = ClockFollower(clock, self.commit_log, self.dispatcher)
        self.commit_log.follow_clock = self.following.look
        self.started_at = now()
        self.operator = ControlApi(self)

    def __repr__(self) -> str:
        return f"<Manager of {self.commit_log.cluster!r}, {self.dispatcher!r}>"

    def gate(self, connection: NodeConnection) -> ManagerGate:
        """The gate for a new connection."""
        return ManagerGate(self, connection)


class ManagerGate:
    """Implements `Gate` for one connection."""

    def __init__(self, manager: Manager, connection: NodeConnection) -> None:
        self._manager = manager
        self._connection = connection
        self._node: str | None = None

    async def login(self) -> ControlApi:
        await trio.lowlevel.checkpoint()
        return ControlApi(self._manager)

    async def view(self) -> ReadApi:
        await trio.lowlevel.checkpoint()
        return ReadApi(self._manager)

    async def enroll(self, hello: NodeHello, agent: Agent) -> Session:
        if self._node not in (None, hello.name):
            said = f"this connection is node {self._node}'s; want one for each node"
            raise ConflictError(f"name: {hello.name!r}: {said}")
        self._node = hello.name
        return await self._manager.dispatcher.enroll(hello, agent, self._connection)


@asynccontextmanager
async def open_manager(
    store: Store, *, wall: Callable[[], float], patience: float = 0.0
) -> AsyncGenerator[Manager, None]:
    """A manager on this store. `wall` returns seconds since the epoch: time begins there and is
    then the process's own, so that a jump of the clock moves no deadline; see clock.py. `patience`
    is how many seconds the first plan waits for the first node.

    Leaving the block ends every session; the tasks on the nodes go on. Raises UnavailableError
    where the store cannot be written.
    """
    clock = ManagerClock(wall)
    async with trio.open_nursery() as nursery:
        manager = Manager(store, nursery, clock)
        manager.commit_log.shorten_waits()
        manager.dispatcher.begin()
        nursery.start_soon(manager.commit_log.serve_reports)
        nursery.start_soon(manager.reconciler.run, patience)
        nursery.start_soon(
            manager.dispatcher.serve_unwritten,
            Boundary("writing down lost nodes", manager.conditions),
        )
        nursery.start_soon(
            manager.following.serve, Boundary("following the clock", manager.conditions)
        )
        nursery.start_soon(serve_loop_monitor, manager.conditions)
        yield manager
        nursery.cancel_scope.cancel()

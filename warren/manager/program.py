"""The manager, put together: books, reconciler, desk, and the gate that connections come to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from warren.manager.books import Books, Store
from warren.manager.clock import Clock, Following
from warren.manager.desk import Connection, Desk
from warren.manager.operator import Operator
from warren.manager.reconciler import Reconciler
from warren.manager.selfwatch import serve_selfwatch
from warren.manager.session import Session
from warren.manager.viewer import Viewer
from warren.model.errors import ConflictError
from warren.model.link import Agent
from warren.model.report import NodeHello
from warren.watch.boundary import Boundary
from warren.watch.conditions import Conditions

LEASE = 15.0  # seconds


class Manager:
    """Made by `open_manager`."""

    def __init__(self, store: Store, nursery: trio.Nursery, clock: Clock) -> None:
        now = clock.now
        self.conditions = Conditions(now)
        self.books = Books(store, now=now)
        self.desk = Desk(self.books, nursery, lease=LEASE)
        self.reconciler = Reconciler(
            self.books, connected=self.desk.connected, lease=self.desk.lease
        )
        self.desk.on_node = self.reconciler.note_node
        self.following = Following(clock, self.books, self.desk)
        self.books.follow_clock = self.following.look
        self.started_at = now()
        self.operator = Operator(self)

    def __repr__(self) -> str:
        return f"<Manager of {self.books.world!r}, {self.desk!r}>"

    def gate(self, connection: Connection) -> ManagerGate:
        """What somebody who has connected may ask for."""
        return ManagerGate(self, connection)


class ManagerGate:
    """Plays `Gate` for one connection."""

    def __init__(self, manager: Manager, connection: Connection) -> None:
        self._manager = manager
        self._connection = connection
        self._node: str | None = None

    async def login(self) -> Operator:
        await trio.lowlevel.checkpoint()
        return Operator(self._manager)

    async def view(self) -> Viewer:
        await trio.lowlevel.checkpoint()
        return Viewer(self._manager)

    async def enroll(self, hello: NodeHello, agent: Agent) -> Session:
        if self._node not in (None, hello.name):
            said = f"this connection is node {self._node}'s; want one for each node"
            raise ConflictError(f"name: {hello.name!r}: {said}")
        self._node = hello.name
        return await self._manager.desk.enroll(hello, agent, self._connection)


@asynccontextmanager
async def open_manager(
    store: Store, *, wall: Callable[[], float], patience: float = 0.0
) -> AsyncGenerator[Manager, None]:
    """A manager on this store. `wall` gives seconds since the epoch: time begins there and is then
    the process's own, so that a clock that jumps moves no deadline; see clock.py. `patience` is
    how many seconds the first plan waits for the first node.

    Leaving the block ends every session; the tasks on the nodes go on. Raises UnavailableError
    where the store cannot be written.
    """
    clock = Clock(wall)
    async with trio.open_nursery() as nursery:
        manager = Manager(store, nursery, clock)
        manager.books.shorten_waits()
        manager.desk.begin()
        nursery.start_soon(manager.books.serve_reports)
        nursery.start_soon(manager.reconciler.run, patience)
        nursery.start_soon(
            manager.desk.serve_unwritten, Boundary("writing down lost nodes", manager.conditions)
        )
        nursery.start_soon(
            manager.following.serve, Boundary("following the clock", manager.conditions)
        )
        nursery.start_soon(serve_selfwatch, manager.conditions)
        yield manager
        nursery.cancel_scope.cancel()

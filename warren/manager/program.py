"""The manager, put together: commit log, reconciler, dispatcher, and the gate for connections."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from warren.manager.clock import ClockFollower, ManagerClock
from warren.manager.commit_log import CommitLog, Store
from warren.manager.control_api import ControlApi
from warren.manager.dispatcher import Dispatcher, NodeConnection
from warren.manager.lease_ends import LeaseEnds
from warren.manager.loop_monitor import serve_loop_monitor
from warren.manager.read_api import ReadApi
from warren.manager.reconciler import Reconciler
from warren.manager.session import Session
from warren.manager.watchers import Watchers
from warren.model.errors import ConflictError, DeniedError
from warren.model.principal import Principal, PrincipalKind
from warren.model.report import NodeHello
from warren.model.rpc import Agent
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.resilience.fair_turns import FairTurns
from warren.resilience.loop_lag import LoopLag
from warren.rules.access import Capability, refusal

LEASE = 15.0  # seconds


class CallerConnection(NodeConnection, Protocol):
    """A connection that was accepted, as the gate sees it."""

    @property
    def principal(self) -> Principal:
        """Who is at its far side."""
        ...


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
        self.watchers = Watchers(self.commit_log)
        self.lease_ends = LeaseEnds(
            self.commit_log, lease=self.dispatcher.lease, note=self.watchers.note_nodes
        )
        self.turns = FairTurns(lambda: LoopLag.current().spent())
        self.started_at = now()
        self.operator = ControlApi(self, Principal(PrincipalKind.EMBEDDED, uid=os.geteuid()))

    def __repr__(self) -> str:
        return f"<Manager of {self.commit_log.cluster!r}, {self.dispatcher!r}>"

    def gate(self, connection: CallerConnection) -> ManagerGate:
        """The gate for a new connection."""
        return ManagerGate(self, connection)


class ManagerGate:
    """Implements `Gate` for one connection. Raises DeniedError for what its principal lacks."""

    def __init__(self, manager: Manager, connection: CallerConnection) -> None:
        self._manager = manager
        self._connection = connection
        self._node: str | None = None

    async def login(self) -> ControlApi:
        await trio.lowlevel.checkpoint()
        self._refuse_denied(Capability.LOGIN)
        return ControlApi(self._manager, self._connection.principal)

    async def view(self) -> ReadApi:
        await trio.lowlevel.checkpoint()
        self._refuse_denied(Capability.VIEW)
        return ReadApi(self._manager)

    async def enroll(self, hello: NodeHello, agent: Agent) -> Session:
        self._refuse_denied(Capability.ENROLL)
        if self._node not in (None, hello.name):
            said = f"this connection is node {self._node}'s; want one for each node"
            raise ConflictError(f"name: {hello.name!r}: {said}")
        self._node = hello.name
        return await self._manager.dispatcher.enroll(hello, agent, self._connection)

    def _refuse_denied(self, capability: Capability) -> None:
        why = refusal(self._connection.principal, capability)
        if why is not None:
            raise DeniedError(why)


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
        nursery.start_soon(
            manager.lease_ends.serve, Boundary("telling of leases", manager.conditions)
        )
        nursery.start_soon(serve_loop_monitor, manager.conditions)
        yield manager
        nursery.cancel_scope.cancel()

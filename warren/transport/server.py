"""Offering a gate at an address. A client's user is known before a byte from it is parsed."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NoReturn

import trio

from warren.model.address import Address, TcpAddress, check_address
from warren.model.errors import LinkLostError, SpecError
from warren.model.principal import Principal, PrincipalKind
from warren.model.rpc import Gate
from warren.resilience.boundary import Boundary, survived, told
from warren.resilience.conditions import Conditions
from warren.transport.accept_loop import serve_accepting
from warren.transport.capnp_link import CapnpLink
from warren.transport.connection import AcceptedConnection, Limits
from warren.transport.connection_limits import ConnectionLimits, Refusals
from warren.transport.listening import listening
from warren.transport.portal import ENDED, Portal, open_portal
from warren.transport.wire_errors import fault_of

STANDARD = Limits()
_log = logging.getLogger("warren.transport")
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


async def serve_gate(
    gate: Callable[[AcceptedConnection], Gate],
    address: Address,
    *,
    insecure: bool = False,
    limits: Limits = STANDARD,
    conditions: Conditions | None = None,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve each connection the gate that `gate` makes for it.

    On a Unix socket only root and this process's own user are accepted. TCP does not identify
    users, so any client that can connect may start processes: it needs `insecure`, and a host of
    this machine. Starts with the address it listens at. Raises SpecError, and WarrenError where it
    cannot listen; once it does, a failure is one of the `conditions`, and it listens again.
    """
    check_address(address)
    if isinstance(address, TcpAddress) and not insecure:
        wanted = "want a Unix socket, or --insecure: any client of TCP may start processes"
        raise SpecError("addr", wanted, value=str(address))
    hearing = _Hearing(gate, limits, Conditions() if conditions is None else conditions)
    while True:
        try:
            await hearing.run(hearing.bound or address, task_status)
        except Exception:
            if hearing.bound is None:
                raise
            async with hearing.boundary:  # logs it and waits; then it listens again
                raise


class _Hearing:
    """Accepts connections at an address. `bound` is where, once it listens."""

    def __init__(
        self, gate: Callable[[AcceptedConnection], Gate], limits: Limits, conditions: Conditions
    ) -> None:
        self.bound: Address | None = None
        self.boundary = Boundary("hearing connections", conditions)
        self._gate = gate
        self._limits = limits
        self._conditions = conditions

    async def run(self, address: Address, task_status: trio.TaskStatus[Address]) -> NoReturn:
        """Listen, for as long as possible. Raises the listeners' errors."""
        async with listening(address) as (listeners, bound):
            while True:
                await self._hear(listeners, bound, task_status)
                async with self.boundary:  # new connections wait at the listener meanwhile
                    raise LinkLostError(f"{ENDED}; its connections are lost, a new one is begun")

    async def _hear(
        self,
        listeners: Sequence[trio.SocketListener],
        bound: Address,
        task_status: trio.TaskStatus[Address],
    ) -> None:
        """Serve until the thread of Cap'n Proto ends, and every connection with it."""
        async with open_portal(self._conditions) as portal, trio.open_nursery() as nursery:
            async with self.boundary:  # it is well (again)
                await trio.lowlevel.checkpoint()
            door = _Door(portal, self._gate, bound, self._limits)
            for each in listeners:
                nursery.start_soon(serve_accepting, each, door.welcome, nursery, self._conditions)
            if self.bound is None:
                self.bound = bound
                task_status.started(bound)
            await portal.ended.wait()
            nursery.cancel_scope.cancel()


class _Door:
    """Admits permitted connections, while there is room."""

    def __init__(
        self,
        portal: Portal,
        gate: Callable[[AcceptedConnection], Gate],
        address: Address,
        limits: Limits,
    ) -> None:
        self._portal = portal
        self._gate = gate
        self._address = address
        self._limits = limits
        self._connection_limits = ConnectionLimits(limits.connections)
        self._refusals = Refusals()

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is gone. Never raises: a failure ends it alone."""
        with survived(f"a connection at {self._address}"):
            try:
                await self.receive(stream)
            except* OSError as group:  # thousands may fail so in a shortage
                self._refuse(told(group))

    async def receive(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is gone."""
        with stream.socket as found:
            sock = socket.socket(fileno=found.detach())
        try:
            principal = _principal(sock)
            source = _source(sock, principal)
        except OSError:
            sock.close()
            raise
        if principal.uid not in (None, 0, os.geteuid()):
            why: str | None = f"it is of {principal}"
        else:
            why = self._connection_limits.enter(source)
        if why is not None:
            self._refuse(why)
            sock.close()
            return
        guest = _Guest(self._connection_limits, source, self._refuse)
        host = "" if sock.family == socket.AF_UNIX else source
        try:
            await self._serve(sock, principal, guest, host)
        finally:
            guest.leave()

    async def _serve(
        self, sock: socket.socket, principal: Principal, guest: _Guest, host: str
    ) -> None:
        peer = f"the client at {self._address} ({principal})"
        connection = AcceptedConnection(peer, principal, host=host, on_known=guest.become)
        try:
            gate = self._gate(connection)
        except Exception as error:  # a bug, or a refusal: of this connection alone
            _log.warning("%s: %s", connection, fault_of(error, "making a gate").message)
            sock.close()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, connection)
            await CapnpLink(self._portal, connection, self._limits).run(sock, gate)
            nursery.cancel_scope.cancel()

    def _refuse(self, why: str) -> None:
        self._refusals.note(self._address, why)

    async def _watch(self, connection: AcceptedConnection) -> None:
        """Close a connection that stays a stranger, silent or refused, to free its place."""
        with trio.move_on_after(self._limits.asks_within):
            await connection.known.wait()
        if not connection.known.is_set():
            why = f"it was not let in within {self._limits.asks_within:g} s"
            self._refuse(why)
            connection.note_closed(why)


class _Guest:
    """One connection's place."""

    def __init__(
        self, connection_limits: ConnectionLimits, source: str, refuse: Callable[[str], None]
    ) -> None:
        self._connection_limits = connection_limits
        self._refuse = refuse
        self._source = source
        self._is_known = False
        self._node: str | None = None

    def become(self, node: str | None) -> str | None:
        why = self._connection_limits.become(self._source, node)
        if why is None:
            self._is_known, self._node = True, node
        else:
            self._refuse(why)
        return why

    def leave(self) -> None:
        self._connection_limits.leave(self._source, is_known=self._is_known, node=self._node)


def _source(sock: socket.socket, principal: Principal) -> str:
    """The source of a connection: its user, or its address."""
    if principal.uid is not None:
        return f"uid {principal.uid}"
    try:
        return str(sock.getpeername()[0])
    except OSError:  # it has gone already
        return "nowhere"


def _principal(sock: socket.socket) -> Principal:
    """Who is at the far side. Raises OSError where it has gone already."""
    if sock.family != socket.AF_UNIX:
        return Principal(PrincipalKind.LOOPBACK)
    option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Principal(PrincipalKind.LOCAL, uid=int(_CREDENTIALS.unpack(option)[1]))

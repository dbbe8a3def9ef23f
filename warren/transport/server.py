"""Offering a gate at an address. Who connects is known before a byte of theirs is parsed."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

import trio

from warren.model.address import Address, TcpAddress, check_address
from warren.model.errors import SpecError
from warren.model.link import Gate
from warren.transport.connection import Connection, Limits
from warren.transport.faults import fault_of
from warren.transport.link import Link
from warren.transport.listening import listening
from warren.transport.portal import Portal, open_portal
from warren.transport.seats import Refusals, Seats
from warren.watch.boundary import survived

STANDARD = Limits()
_log = logging.getLogger("warren.transport")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


async def serve_gate(
    gate: Callable[[Connection], Gate],
    address: Address,
    *,
    insecure: bool = False,
    limits: Limits = STANDARD,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Give everybody who connects the gate that `gate` makes for their connection.

    On a Unix socket only root and this process's own user are heard. TCP knows nobody, so that
    whoever can connect may start processes: it needs `insecure`, and a host of this machine.
    Starts with the address it listens at. Raises SpecError, and WarrenError where it cannot listen.
    """
    check_address(address)
    if isinstance(address, TcpAddress) and not insecure:
        wanted = "want a Unix socket, or --insecure: whoever connects to TCP may start processes"
        raise SpecError("addr", wanted, value=str(address))
    async with (
        open_portal() as portal,
        listening(address) as (listeners, bound),
        trio.open_nursery() as nursery,
    ):
        door = _Door(portal, gate, bound, limits)
        task_status.started(bound)
        await trio.serve_listeners(door.welcome, listeners, handler_nursery=nursery)
    raise AssertionError("serving ends by being cancelled")


class _Door:
    """Lets in who may enter, while there is room."""

    def __init__(
        self, portal: Portal, gate: Callable[[Connection], Gate], address: Address, limits: Limits
    ) -> None:
        self._portal = portal
        self._gate = gate
        self._address = address
        self._limits = limits
        self._seats = Seats(limits.connections)
        self._refusals = Refusals()

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is gone. Never raises: what fails in it is its own."""
        with survived(f"a connection at {self._address}"):
            await self.receive(stream)

    async def receive(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is gone."""
        with stream.socket as found:
            sock = socket.socket(fileno=found.detach())
        try:
            uid = _uid(sock)
            source = _source(sock, uid)
        except OSError:
            sock.close()
            raise
        if uid not in (None, 0, os.geteuid()):
            why: str | None = f"it is of uid {uid}"
        else:
            why = self._seats.enter(source)
        if why is not None:
            self._refuse(why)
            sock.close()
            return
        guest = _Guest(self._seats, source, self._refuse)
        try:
            await self._serve(sock, uid, guest)
        finally:
            guest.leave()

    async def _serve(self, sock: socket.socket, uid: int | None, guest: _Guest) -> None:
        peer = f"the client at {self._address}" + ("" if uid is None else f" (uid {uid})")
        connection = Connection(peer, uid=uid, on_known=guest.become)
        try:
            gate = self._gate(connection)
        except Exception as error:  # a bug, or a refusal: of this connection alone
            _log.warning("%s: %s", connection, fault_of(error, "making a gate").message)
            sock.close()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, connection)
            await Link(self._portal, connection, self._limits).run(sock, gate)
            nursery.cancel_scope.cancel()

    def _refuse(self, why: str) -> None:
        self._refusals.note(self._address, why)

    async def _watch(self, connection: Connection) -> None:
        """Hang up on who has nothing to ask: a stranger's place is for those who do."""
        with trio.move_on_after(self._limits.asks_within):
            await connection.asked.wait()
        if not connection.asked.is_set():
            within = f"{self._limits.asks_within:g} s"
            self._refuse(f"it asked for nothing within {within}")
            connection.note_closed(f"it asked for nothing within {within}")


class _Guest:
    """One connection's place."""

    def __init__(self, seats: Seats, source: str, refuse: Callable[[str], None]) -> None:
        self._seats = seats
        self._refuse = refuse
        self._source = source
        self._is_known = False
        self._node: str | None = None

    def become(self, node: str | None) -> str | None:
        why = self._seats.become(self._source, node)
        if why is None:
            self._is_known, self._node = True, node
        else:
            self._refuse(why)
        return why

    def leave(self) -> None:
        self._seats.leave(self._source, is_known=self._is_known, node=self._node)


def _source(sock: socket.socket, uid: int | None) -> str:
    """Where somebody comes from: his user, or his address."""
    if uid is not None:
        return f"uid {uid}"
    try:
        return str(sock.getpeername()[0])
    except OSError:  # it has gone already
        return "nowhere"


def _uid(sock: socket.socket) -> int | None:
    """The user at the far side of a Unix socket."""
    if sock.family != socket.AF_UNIX:
        return None
    option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(option)[1])

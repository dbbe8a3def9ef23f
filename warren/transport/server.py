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
        await trio.serve_listeners(door.receive, listeners, handler_nursery=nursery)
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
        self._inside = 0

    async def receive(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it is gone. Never raises."""
        with stream.socket as found:
            sock = socket.socket(fileno=found.detach())
        if self._inside >= self._limits.connections:
            _log.warning("%s: refused a connection: there are %d", self._address, self._inside)
            sock.close()
            return
        self._inside += 1
        try:
            await self._serve(sock)
        finally:
            self._inside -= 1

    async def _serve(self, sock: socket.socket) -> None:
        uid = _uid(sock)
        if uid not in (None, 0, os.geteuid()):
            _log.warning("%s: refused a connection of uid %d", self._address, uid)
            sock.close()
            return
        peer = f"the client at {self._address}" + ("" if uid is None else f" (uid {uid})")
        connection = Connection(peer, uid=uid)
        try:
            gate = self._gate(connection)
        except Exception as error:  # a bug, or a refusal: of this connection alone
            _log.warning("%s: %s", connection, fault_of(error, "making a gate").message)
            sock.close()
            return
        await Link(self._portal, connection, self._limits).run(sock, gate)


def _uid(sock: socket.socket) -> int | None:
    """The user at the far side of a Unix socket."""
    if sock.family != socket.AF_UNIX:
        return None
    option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(option)[1])

"""Reaching a manager's gate."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from warren.model.address import Address, UnixAddress, check_address
from warren.model.errors import DeniedError, LinkLostError
from warren.model.rpc import Gate
from warren.resilience.boundary import told
from warren.transport.capnp_link import CapnpLink
from warren.transport.connection import Connection, Limits
from warren.transport.methods import LinkedGate, proxy
from warren.transport.portal import Portal, open_portal
from warren.transport.unix_path import within_reach
from warren.transport.wire_errors import why

STANDARD = Limits()


@asynccontextmanager
async def open_gate(
    address: Address, *, limits: Limits = STANDARD
) -> AsyncGenerator[LinkedGate, None]:
    """The gate of the manager at an address, as long as the block lasts.

    Raises LinkLostError where no manager listens, DeniedError where this user may not use it, and
    SpecError for an invalid address. What the block raises is raised as it is, in no group.
    """
    check_address(address)
    sock = await _connect(address)
    try:
        async with _portal_for(sock) as portal, trio.open_nursery() as nursery:
            link = CapnpLink(portal, Connection(f"the manager at {address}"), limits)
            # A cancelled block still has its link while it cleans up.
            life = trio.CancelScope(shield=True)
            try:
                await nursery.start(_live, life, link, sock)
                yield cast("LinkedGate", proxy(Gate, link.gate(), lost=link.connection.closed))
            finally:
                life.cancel()
    except BaseExceptionGroup as group:
        lone = _lone(group)
        raise lone from lone.__cause__


@asynccontextmanager
async def _portal_for(sock: socket.socket) -> AsyncGenerator[Portal, None]:
    """The portal; where it cannot be opened the socket is closed, as there will be no link.

    Raises LinkLostError: a thread needs memory, descriptors and a place among the processes.
    """
    async with AsyncExitStack() as stack:
        try:
            portal = await stack.enter_async_context(open_portal())
        except (OSError, RuntimeError, MemoryError) as error:
            sock.close()
            raise LinkLostError(f"no thread for Cap'n Proto: {told(error)}") from None
        yield portal


async def _live(
    life: trio.CancelScope,
    link: CapnpLink,
    sock: socket.socket,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with life:
        await link.run(sock, None, task_status=task_status)


async def _connect(address: Address) -> socket.socket:
    """A connected socket without an owner yet."""
    try:
        if isinstance(address, UnixAddress):
            with within_reach(Path(address.path)) as reached:
                stream = await trio.open_unix_socket(os.fsencode(reached))
        else:
            stream = await trio.open_tcp_stream(address.host, address.port)
    except PermissionError as error:
        raise DeniedError(f"may not connect to {address}: {_denied(address, error)}") from None
    except OSError as error:
        raise LinkLostError(f"no manager listens at {address}: {why(error)}") from None
    with stream.socket as found:
        return socket.socket(fileno=found.detach())


def _denied(address: Address, error: OSError) -> str:
    """Which user's socket the kernel refused to us."""
    if not isinstance(address, UnixAddress):
        return why(error)
    try:
        uid = Path(address.path).stat().st_uid
    except OSError:
        return "its directory may not be entered; want to be its user, or root"
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    others = "" if uid == 0 else ", or root"
    return f"the socket is of another user; want to be {name}{others}"


def _lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error a nursery has wrapped, where it is only one."""
    first, *more = group.exceptions
    return group if more else first

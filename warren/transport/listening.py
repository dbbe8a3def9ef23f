"""Listening sockets. A Unix socket's file appears complete, private and listening, or not at all.

It is made under another name in the same directory and then renamed over what is there; the file of
a dead manager is replaced in this way, that of a running one is refused.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from warren.model.address import Address, TcpAddress, UnixAddress, is_loopback
from warren.model.errors import WarrenError
from warren.transport.unix_path import within_reach
from warren.transport.wire_errors import why

BACKLOG = 128


@asynccontextmanager
async def listening(
    address: Address,
) -> AsyncGenerator[tuple[list[trio.SocketListener], Address], None]:
    """Listeners, and the address they listen at, with the port the kernel chose where it was 0.

    Raises WarrenError.
    """
    if isinstance(address, TcpAddress):
        with _explained(address):
            listeners = await _tcp(address)
        name = listeners[0].socket.getsockname()
        bound: Address = TcpAddress(address.host, name[1])
    else:
        with _explained(address):
            listeners, bound = [_unix(address)], address
    file = _identity(address.path) if isinstance(address, UnixAddress) else None
    try:
        yield listeners, bound
    finally:
        for listener in listeners:
            listener.socket.close()
        if isinstance(address, UnixAddress) and _identity(address.path) == file:
            _remove(address.path)


async def _tcp(address: TcpAddress) -> list[trio.SocketListener]:
    if address.port:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    else:  # one of the host's addresses, so that there is one port
        listeners = await trio.open_tcp_listeners(0, host=address.host)
        for extra in listeners[1:]:
            extra.socket.close()
        listeners = listeners[:1]
    for listener in listeners:  # a name may stand for anything
        host = listener.socket.getsockname()[0]
        if not is_loopback(host):
            for each in listeners:
                each.socket.close()
            raise WarrenError(f"cannot listen at {address}: {host} is not of this machine alone")
    return listeners


def _unix(address: UnixAddress) -> trio.SocketListener:
    path = Path(address.path)
    if (mode := _mode(path)) is not None:
        if not stat.S_ISSOCK(mode):
            raise WarrenError(f"cannot listen at {address}: what is there is no socket")
        if _is_live(path):
            raise WarrenError(f"cannot listen at {address}: another manager listens there")
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        name = path.with_name(f".{path.name}.{os.getpid()}")
        builder = Path(undo.enter_context(within_reach(name)))
        builder.unlink(missing_ok=True)
        sock.bind(os.fspath(builder))
        undo.callback(builder.unlink, missing_ok=True)
        builder.chmod(0o600)
        sock.listen(BACKLOG)
        builder.rename(path)
        listener = trio.socket.from_stdlib_socket(socket.socket(fileno=sock.detach()))
    return trio.SocketListener(listener)


def _is_live(path: Path) -> bool:
    """Whether a process listens at the socket's file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            with within_reach(path) as reached:
                probe.connect(reached)
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
        return True


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


@contextmanager
def _explained(address: Address) -> Generator[None, None, None]:
    """The kernel's refusals as one line."""
    try:
        yield
    except OSError as error:
        raise WarrenError(f"cannot listen at {address}: {why(error)}") from None

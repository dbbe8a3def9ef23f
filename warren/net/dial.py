"""Dialling: addresses and non-blocking sockets (S11, S14).

A numeric address needs no resolver and no thread; names are for `resolver.py`. The caller that gets
a socket closes it, on every path, by `closing.py`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import NamedTuple

import trio

_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_UNDER_WAY = (0, errno.EINPROGRESS)


class Address(NamedTuple):
    """Where to connect: a socket family and what `connect` takes."""

    family: int
    sockaddr: tuple[str | int, ...] | tuple[int, bytes]


def numeric(host: str, port: int) -> Address | None:
    """The address of a literal such as `10.0.0.7`, `::1` or `[::1]`; None for a name."""
    literal = unbracketed(host)
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, literal)
        except (OSError, ValueError):  # ValueError: of a null byte
            continue
        return Address(family, (literal, port))
    return None


def unbracketed(host: str) -> str:
    """`[::1]` as `::1`; anything else as it is."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def call(address: Address) -> socket.socket:
    """A non-blocking socket whose connection is under way. Raises OSError."""
    sock = socket.socket(address.family, _STREAM)
    code = sock.connect_ex(address.sockaddr)
    if code not in _UNDER_WAY:
        sock.close()
        raise refused(code, address)
    return sock


async def connected(address: Address) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError; leaves none behind when it does.

    ConnectionResetError and BrokenPipeError say that it was connected, and no longer is.
    """
    sock = call(address)
    try:
        await wait_connected(sock)
        _check_connected(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def wait_connected(sock: socket.socket) -> None:
    """Wait until the connection is established or has failed. A `trio.Cancelled` gets a note on
    it."""
    try:
        await trio.lowlevel.wait_writable(sock)
    except trio.Cancelled as cancelled:
        cancelled.add_note("connection")
        raise


def words(error: OSError) -> str:
    """What went wrong, as one phrase."""
    if isinstance(error, socket.gaierror):
        return f"name not found: {error.strerror}"
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def refused(code: int, address: Address) -> OSError:
    """`127.0.0.1:8080: Connection refused`: of a task with many ports, the one that was asked."""
    host, port, *_ = address.sockaddr
    place = f"[{host}]:{port}" if address.family == socket.AF_INET6 else f"{host}:{port}"
    return OSError(code, f"{place}: {os.strerror(code)}")


def _check_connected(sock: socket.socket, address: Address) -> None:
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == 0:
        code = _peer_trouble(sock)
    if code:
        raise refused(code, address)


def _peer_trouble(sock: socket.socket) -> int:
    try:
        # Where no process listens the kernel may choose the asked port as our own: we connected to
        # ourselves.
        is_own = sock.getsockname() == sock.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:  # any more: it was, or there were a code
            return errno.ECONNRESET
        raise
    return errno.ECONNREFUSED if is_own else 0

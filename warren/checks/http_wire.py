"""Wires: the bytes of one HTTP exchange, plain or through TLS, over a non-blocking socket.

Invariants: a wire owns its socket, and `close` ends it at once, also while cancelled; every wait
is a checkpoint, so an endless answer starves nobody. A `trio.Cancelled` that ends a wait before
the connection stands carries a note saying so: only here it is known what was waited for.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

import trio

from warren.checks.dial import hang_up, wait_connected


class Wire(Protocol):
    """Sends and receives. Raises OSError, or trio.BrokenResourceError for what TLS broke."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self, most: int) -> bytes:
        """What came, up to `most` bytes; no bytes when the server has closed."""
        ...

    def close(self) -> None: ...


class PlainWire:
    """A socket whose connection may still be under way: the first send waits for it.

    On one machine it stands as soon as `connect` returns, and the wait is saved.
    """

    __slots__ = ("_peer_closed", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._peer_closed = False

    async def send(self, data: bytes) -> None:
        sent = 0
        while True:
            try:
                sent += self._sock.send(data[sent:] if sent else data)
            except BlockingIOError:
                await (trio.lowlevel.wait_writable if sent else wait_connected)(self._sock)
            if sent == len(data):
                return

    async def receive(self, most: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data = self._sock.recv(most)
            except BlockingIOError:
                continue
            self._peer_closed = not data
            return data

    def close(self) -> None:
        hang_up(self._sock, peer_closed=self._peer_closed)


class TlsWire:
    """TLS over a connected socket; `shake_hands` first. No farewell: the socket just closes."""

    __slots__ = ("_sock", "_stream")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._sock = sock
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._stream = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)

    async def shake_hands(self) -> None:
        try:
            await self._stream.do_handshake()
        except trio.Cancelled as cancelled:
            cancelled.add_note("TLS handshake")
            raise

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def receive(self, most: int) -> bytes:
        return bytes(await self._stream.receive_some(most))

    def close(self) -> None:
        hang_up(self._sock)

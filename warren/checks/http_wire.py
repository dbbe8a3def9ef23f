"""Wires: the bytes of one HTTP exchange, plain or through TLS, over a non-blocking socket.

Invariants: a wire owns its socket; `close` ends it at once, also while cancelled, and `part` in
order, which may take a moment; one made to `reset` does both at once. Every wait is a checkpoint,
so an endless answer starves nobody. A `trio.Cancelled` that ends a wait before the connection
stands carries a note saying so: only here it is known what was waited for.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Protocol

import trio

from warren.checks.dial import wait_connected
from warren.checks.parting import hang_up, part


class Wire(Protocol):
    """Sends and receives. Raises OSError, or trio.BrokenResourceError for what TLS broke.

    `is_silent`: after a complete response nothing more comes, so to close is to part.
    """

    is_silent: bool

    async def send(self, data: bytes) -> None: ...

    async def receive(self, most: int) -> bytes:
        """What came, up to `most` bytes; no bytes when the server has closed."""
        ...

    async def part(self) -> None: ...

    def close(self) -> None: ...


class PlainWire:
    """A socket whose connection may still be under way: the first send waits for it.

    On one machine it stands as soon as `connect` returns, and the wait is saved.
    """

    __slots__ = ("_peer_closed", "_reset", "_sock")
    is_silent = True

    def __init__(self, sock: socket.socket, *, reset: bool = False) -> None:
        self._sock = sock
        self._reset = reset
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

    async def part(self) -> None:
        if self._reset or self._peer_closed:
            self.close()
        else:
            await part(self._sock)

    def close(self) -> None:
        hang_up(self._sock, reset=self._reset and not self._peer_closed)


class TlsWire:
    """TLS over a connected socket; `shake_hands` first. Its farewell is said by `part` alone."""

    __slots__ = ("_reset", "_sock", "_stream")
    is_silent = False  # the server's close_notify

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, name: str, *, reset: bool = False
    ) -> None:
        self._sock = sock
        self._reset = reset
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

    async def part(self) -> None:
        if self._reset:
            self.close()
        else:
            await part(self._sock, self._say_goodbye)

    def close(self) -> None:
        hang_up(self._sock, reset=self._reset)

    async def _say_goodbye(self) -> None:
        with suppress(trio.BrokenResourceError):  # they still send, or are gone
            await self._stream.unwrap()  # close_notify, and the wait for theirs

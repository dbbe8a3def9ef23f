"""HTTP streams: the bytes of one HTTP exchange, plain or through TLS, over a non-blocking socket.

Invariants: a stream owns its socket; `close` ends it at once, also while cancelled, and
`close_in_order` in order, which may take a moment; one made to `reset` does both at once. Every
wait is a checkpoint, so an endless answer starves no other task. A `trio.Cancelled` that ends a
wait before the connection is established carries a note saying so: only here the reason of the wait
is known.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Protocol

import trio

from warren.net.closing import close_in_order, hang_up
from warren.net.dial import wait_connected


class HttpStream(Protocol):
    """Sends and receives. Raises OSError, or trio.BrokenResourceError for a failure of TLS.

    `is_silent`: after a complete response nothing more comes, so a plain close is in order.
    """

    is_silent: bool

    async def send(self, data: bytes) -> None: ...

    async def receive(self, most: int) -> bytes:
        """What came, up to `most` bytes; no bytes when the server has closed."""
        ...

    async def close_in_order(self) -> None: ...

    def close(self) -> None: ...


class PlainStream:
    """A socket whose connection may still be under way: the first send waits for it.

    On one machine it is established as soon as `connect` returns, and the wait is saved.
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

    async def close_in_order(self) -> None:
        if self._reset or self._peer_closed:
            self.close()
        else:
            await close_in_order(self._sock)

    def close(self) -> None:
        hang_up(self._sock, reset=self._reset and not self._peer_closed)


class TlsStream:
    """TLS over a connected socket; call `shake_hands` first. `close_in_order` alone sends our
    close_notify."""

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

    async def close_in_order(self) -> None:
        if self._reset:
            self.close()
        else:
            await close_in_order(self._sock, self._say_goodbye)

    def close(self) -> None:
        hang_up(self._sock, reset=self._reset)

    async def _say_goodbye(self) -> None:
        with suppress(trio.BrokenResourceError):  # they still send, or are gone
            await self._stream.unwrap()  # close_notify, and the wait for theirs

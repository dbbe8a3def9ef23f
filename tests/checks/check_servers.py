"""Small servers over real sockets, one behaviour each, for the tests of checks."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from warren.checks import Checker, LoopLag
from warren.model.interfaces import Target

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
# Its monitor watches no loop, so a busy machine turns no awaited fail into an error.
CALM = Checker(lag=LoopLag())
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def serving(
    handler: Handler,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    is_strict: bool = False,
) -> AsyncGenerator[Target]:
    """A server on a free port, as the target to check; strict, it wants TLS to end as it ought."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        serve = partial(trio.serve_listeners, partial(_handle, handler, tls, is_strict), listeners)
        nursery.start_soon(serve)
        port: int = listeners[0].socket.getsockname()[1]
        yield Target(address=host, ports={"http": port})
        nursery.cancel_scope.cancel()


def answering(*pieces: bytes, then: str = "close") -> Handler:
    """Read the request, send the pieces; then `close`, `hold` the connection open, or `reset`."""

    async def answer(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        for piece in pieces:
            await stream.send_all(piece)
        if then == "hold":
            await trio.sleep_forever()
        if then == "reset":
            reset(stream)

    return answer


def endless(head: bytes, piece: bytes) -> Handler:
    """Read the request, send `head`, then `piece` without end."""

    async def answer(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(head)
        while True:
            await stream.send_all(piece)

    return answer


async def read_request(stream: trio.abc.Stream) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        more = await stream.receive_some(65536)
        if not more:
            break
        request += more
    return request


def reset(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@contextmanager
def deaf_listener() -> Generator[Target]:
    """Listens with a full backlog: connections to it stay under way."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        queued = [socket.socket() for _ in range(3)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(address)
        try:
            yield Target(ports={"http": address[1]})
        finally:
            for sock in queued:
                sock.close()


class Ending:
    """How the connection of one client ended, as its server sees it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._told = trio.Event()

    async def watch(self, stream: trio.abc.Stream) -> None:
        """Read until it ends: `in order`, or `reset`."""
        try:
            while await stream.receive_some(65536):
                pass
            self.seen.append("in order")
        except trio.BrokenResourceError:
            self.seen.append("reset")
        self._told.set()

    async def wait(self) -> str:
        """The first end."""
        await self._told.wait()
        return self.seen[0]


Found = list[tuple[int, int, int, str, tuple[str | int, ...]]]  # as `socket.getaddrinfo` has it


def resolve_by(patch: pytest.MonkeyPatch, answer: Callable[[str, int], Found]) -> None:
    """Names are answered by this, in the thread that asks; numbers by the system as ever."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *kind: int, **named: int) -> object:
        flags = named.get("flags", kind[3] if len(kind) > 3 else 0)
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, *kind, **named)
        return answer(host, port)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def sockets_of(port: int) -> list[str]:
    """TCP states as in /proc/net/tcp (06: TIME_WAIT) of sockets whose peer's port is `port`, those
    that no process holds any more too."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [row[3] for row in rows if int(row[2].rpartition(":")[2], 16) == port]


def held_sockets(port: int) -> list[str]:
    """The same of sockets that a process holds; the others are the kernel's to end."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [r[3] for r in rows if int(r[2].rpartition(":")[2], 16) == port and r[9] != "0"]


def open_files() -> int:
    """How many descriptors this process has, those of garbage not counted."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def _handle(
    handler: Handler, tls: ssl.SSLContext | None, is_strict: bool, plain: trio.SocketStream
) -> None:
    stream: trio.abc.Stream = plain
    if tls is not None:
        stream = trio.SSLStream(plain, tls, server_side=True, https_compatible=not is_strict)
    try:
        async with stream:
            await handler(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the check hung up, as it may

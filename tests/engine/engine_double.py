"""A made-up engine: real HTTP on a real Unix socket, with what a test lets it answer."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import h11
import trio

Plain = Callable[[str, str], tuple[int, bytes]]
Streamed = Callable[[str, str], AsyncIterator[bytes]]


class Double:
    """`asked` has the method and target of every request. `answer` gives status and body, or the
    status and a blank, and then parts of the body."""

    def __init__(self, answer: Plain | Streamed) -> None:
        self.answer = answer
        self.asked = list[tuple[str, str]]()
        self.path = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await self._serve(stream)
            except trio.BrokenResourceError:
                return

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(4096))
            elif isinstance(event, h11.Request):
                self.asked.append((event.method.decode(), event.target.decode()))
            elif isinstance(event, h11.EndOfMessage):
                async with aclosing(self._parts(*self.asked[-1])) as parts:
                    async for part in parts:
                        await stream.send_all(connection.send(part) or b"")
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _parts(self, method: str, target: str) -> AsyncGenerator[h11.Event]:
        answer = self.answer(method, target)
        if isinstance(answer, tuple):
            status, body = answer
            yield h11.Response(status_code=status, headers=[("content-length", str(len(body)))])
            yield h11.Data(data=body)
        else:
            is_first = True
            async for part in answer:
                body = part
                if is_first:
                    status, body = int(part[:3]), part[4:]
                    chunked = [("transfer-encoding", "chunked")]
                    yield h11.Response(status_code=status, headers=chunked)
                    is_first = False
                if body:
                    yield h11.Data(data=body)
        yield h11.EndOfMessage()


@asynccontextmanager
async def engine_double(answer: Plain | Streamed) -> AsyncGenerator[Double]:
    """It listens, for as long as the block lasts."""
    double = Double(answer)
    with tempfile.TemporaryDirectory(prefix="wx-") as folder:
        double.path = str(Path(folder) / "docker.sock")
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(double.path)
            listener.listen(16)
            async with trio.open_nursery() as nursery:
                listeners = [trio.SocketListener(listener)]
                nursery.start_soon(trio.serve_listeners, double.serve, listeners)
                yield double
                nursery.cancel_scope.cancel()

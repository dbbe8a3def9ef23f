"""A made-up engine: real HTTP on a real Unix socket, with what a test lets it answer."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import trio

Answer = Callable[[str, str], tuple[int, bytes]]


class Double:
    """`asked` has the method and target of every request. `answer` gives status and body."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = list[tuple[str, str]]()
        self.path = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some(4096))
                elif isinstance(event, h11.Request):
                    request = (event.method.decode(), event.target.decode())
                    self.asked.append(request)
                elif isinstance(event, h11.EndOfMessage):
                    status, body = self.answer(*self.asked[-1])
                    head = h11.Response(
                        status_code=status, headers=[("content-length", str(len(body)))]
                    )
                    data = b"".join(
                        connection.send(part) or b""
                        for part in (head, h11.Data(data=body), h11.EndOfMessage())
                    )
                    await stream.send_all(data)
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return


@asynccontextmanager
async def engine_double(
    answer: Answer,
) -> AsyncGenerator[Double]:
    """It listens, for as long as the block lasts."""
    double = Double(answer)
    with tempfile.TemporaryDirectory(prefix="wx-") as folder:
        double.path = str(Path(folder) / "docker.sock")
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(double.path)
            listener.listen(16)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    trio.serve_listeners, double.serve, [trio.SocketListener(listener)]
                )
                yield double
                nursery.cancel_scope.cancel()

"""What a client says, message by message, to be said again, and otherwise."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from tests.transport.wire_links import Played, gate_to, serving
from warren.model.address import UnixAddress
from warren.model.errors import WarrenError
from warren.model.rpc import Cluster
from warren.transport.client import open_gate
from warren.transport.frames import CALL, RETURN, Frame, Frames
from warren.transport.schema import wire

Talk = list[tuple[Frame, bytes]]
QUESTION = 8 + 3 * 8  # where its number stands in a message of one segment


async def spoken(folder: Path, cluster: Played, say: Callable[[Cluster], Awaitable[Any]]) -> Talk:
    """The messages of a client that logs in and says this, up to its first call of that."""
    talk = messages(await recorded(folder, cluster, say))
    calls = [index for index, (frame, _) in enumerate(talk) if frame.kind == CALL]
    return talk[: calls[1] + 1]


async def recorded(
    folder: Path, cluster: Played, say: Callable[[Cluster], Awaitable[Any]]
) -> bytes:
    """All that a client sends that logs in and says this."""
    path = str(folder / "r.sock")
    said = bytearray()

    async def relay(near: trio.SocketStream) -> None:
        far = await trio.open_unix_socket(str(folder / "w.sock"))
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, far, near, bytearray())
            await _copy(near, far, said)
            nursery.cancel_scope.cancel()

    async with serving("unix", folder, gate_to(cluster)), trio.open_nursery() as nursery:
        listener = trio.socket.socket(socket.AF_UNIX)
        await listener.bind(path)
        listener.listen()
        nursery.start_soon(trio.serve_listeners, relay, [trio.SocketListener(listener)])
        async with open_gate(UnixAddress(path)) as gate:
            far = await gate.login()
            with contextlib.suppress(WarrenError):
                await say(far)
        nursery.cancel_scope.cancel()
    return bytes(said)


def messages(said: bytes) -> Talk:
    """What was said, message by message."""
    found: Talk = []
    at = 0

    def met(frame: Frame) -> None:
        nonlocal at
        found.append((frame, said[at : at + frame.size]))
        at += frame.size

    Frames(met, most=1 << 30).feed(said)
    return found


def numbered(message: bytes, question: int) -> bytes:
    """A call as another question."""
    return message[:QUESTION] + struct.pack("<I", question) + message[QUESTION + 4 :]


async def logged_in(path: str, talk: Talk) -> trio.SocketStream:
    """A raw connection that has said all but the last, and has its answers."""
    stream = await trio.open_unix_socket(path)
    await stream.send_all(b"".join(message for _, message in talk[:-1]))
    answers = list[Frame]()
    frames = Frames(answers.append, most=1 << 30)
    while sum(frame.kind == RETURN for frame in answers) < 2:
        frames.feed(bytes(await stream.receive_some(65536)))
    return stream


def amplified(message: bytes, kind: str, items: int) -> bytes:
    """A message whose list of one struct of this kind has so many that take no room."""
    node = getattr(wire, kind).schema.node.struct
    words, pointers = node.dataWordCount, node.pointerCount
    tag = struct.pack("<IHH", 1 << 2, words, pointers)
    at = message.index(tag, 8)
    lists = struct.pack("<I", (words + pointers) << 3 | 7)
    pointer = message.index(lists, 8)
    assert pointer % 8 == 4
    return (
        message[:pointer]
        + struct.pack("<I", 7)
        + message[pointer + 4 : at]
        + struct.pack("<IHH", items << 2, 0, 0)
        + message[at + 8 :]
    )


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, kept: bytearray) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for chunk in source:
            kept += chunk
            await sink.send_all(chunk)

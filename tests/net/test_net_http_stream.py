"""The plain wire, where the peer is slow to take what is sent."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio
import trio.testing

from warren.net.http_stream import PlainStream


async def test_wire_sends_all_to_a_slow_reader() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    request = bytes(range(256)) * 8192
    got = bytearray()
    with theirs:
        peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        wire = PlainStream(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, request)
            await trio.testing.wait_all_tasks_blocked()  # the buffers are full
            while len(got) < len(request):
                got += await peer.receive_some()
        wire.close()
    assert bytes(got) == request


class Fickle(socket.socket):
    """Is told to be readable once too often, as the kernel may."""

    was_asked = False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if not self.was_asked:
            self.was_asked = True
            raise BlockingIOError
        return super().recv(bufsize, flags)


async def test_wire_waits_again_when_woken_for_nothing() -> None:
    ours, theirs = socket.socketpair()
    fickle = Fickle(fileno=ours.detach())
    fickle.setblocking(False)
    wire = PlainStream(fickle)
    with theirs:
        theirs.send(b"late")
        assert await wire.receive(10) == b"late"
    wire.close()


@pytest.mark.parametrize(("reset", "peer_closed"), [(True, False), (True, True), (False, False)])
async def test_wire_resets_only_if_told_to_and_nobody_closed_first(
    reset: bool, peer_closed: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with theirs:
        ours.setblocking(False)
        wire = PlainStream(ours, reset=reset)
        if peer_closed:
            theirs.shutdown(socket.SHUT_WR)
            assert await wire.receive(1) == b""  # S11
        wire.close()
        wire.close()  # harmless
        read = partial(theirs.recv, 1)
        if peer_closed or not reset:
            assert read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                read()

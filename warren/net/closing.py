"""Closing connections: in order, and without using up ports (S11, S12).

In order is: our FIN, then what the server still sends is discarded until it has closed too. A
socket closed over bytes that were not read, or that are still to come, answers with a reset, which
servers log. The side that closes first keeps the port for a minute (TIME_WAIT), so connections to
an address that is asked very often are closed with a reset all the same.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Awaitable, Callable

import trio

LINGER = 0.1  # seconds that the server's close is waited for
DISCARDED = 1 << 20  # bytes that are discarded meanwhile
OFTEN = 100  # connections a second to one address: a minute of them is a fifth of all ports

# On, zero seconds: close() sends a reset, and no TIME_WAIT keeps our port. A linger of one
# second would block close(), also on a non-blocking socket.
_NO_LINGER = struct.pack("ii", 1, 0)
_CHUNK = 65536


class DialRate:
    """Which addresses are asked too often to be closed in order.

    Invariant: what is kept is of this second and the one before; `clock` is in seconds.
    """

    def __init__(self, *, often: int = OFTEN, clock: Callable[[], float] = time.monotonic) -> None:
        self._often = often
        self._clock = clock
        self._until = 0.0
        self._counts = dict[object, int]()
        self._before = dict[object, int]()

    def note(self, address: object) -> bool:
        """Count a connection to the address; whether there are too many of them."""
        now = self._clock()
        if now >= self._until:
            self._before = self._counts if now < self._until + 1 else {}
            self._counts = {}
            self._until = now + 1
        count = self._counts[address] = self._counts.get(address, 0) + 1
        return count > self._often or self._before.get(address, 0) > self._often


def hang_up(sock: socket.socket, *, reset: bool = False) -> None:
    """Close at once, with a reset if asked. Harmless twice."""
    if reset and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    sock.close()


async def close_in_order(
    sock: socket.socket, say_goodbye: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Close in order, within `LINGER` seconds; `say_goodbye` first sends what there is to send.

    Closes at once where it is cancelled, or the connection broken.
    """
    try:
        with trio.move_on_after(LINGER):
            if say_goodbye is not None:
                await say_goodbye()
            sock.shutdown(socket.SHUT_WR)
            await _discard(sock)
    except OSError:
        pass  # the server was faster, or is gone
    finally:
        sock.close()


async def _discard(sock: socket.socket) -> None:
    left = DISCARDED
    while left > 0:
        await trio.lowlevel.wait_readable(sock)
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            continue
        if not data:
            return
        left -= len(data)

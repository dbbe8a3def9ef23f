"""The clients connected to an `up`: when it ends by itself they learn of it first.

A client that has removed the last service, or waits for the last job, learns so by asking again.
"""

from __future__ import annotations

import weakref

import trio

from warren.manager.program import Manager
from warren.model.rpc import Gate
from warren.transport.connection import AcceptedConnection

HEARING = 1.0  # seconds for them; clients that follow events never leave


class Callers:
    """Hands out the manager's gate, and counts its holders."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._connected = weakref.WeakSet[AcceptedConnection]()

    def __repr__(self) -> str:
        return f"<Callers {len(self._connected)}>"

    def gate(self, connection: AcceptedConnection) -> Gate:
        """For a client that has connected."""
        self._connected.add(connection)
        return self._manager.gate(connection)

    async def wait_heard(self) -> None:
        """Wait until the connected clients have left, or had the time to."""
        with trio.move_on_after(HEARING):
            for connection in list(self._connected):
                await connection.closed.wait()

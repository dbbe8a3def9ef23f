"""Who is connected to an `up`: its end, where nobody asked for it, lets them hear of it first.

Whoever has removed the last service, or waits for the last job, learns so by asking once more.
"""

from __future__ import annotations

import weakref

import trio

from warren.manager.program import Manager
from warren.model.link import Gate
from warren.transport.connection import Connection

HEARING = 1.0  # seconds for them; who follows what happens stays for ever


class Callers:
    """Gives out the manager's gate, and knows who has it."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._connected = weakref.WeakSet[Connection]()

    def __repr__(self) -> str:
        return f"<Callers {len(self._connected)}>"

    def gate(self, connection: Connection) -> Gate:
        """For somebody who has connected."""
        self._connected.add(connection)
        return self._manager.gate(connection)

    async def wait_heard(self) -> None:
        """Wait until those who are there have gone, or had the time to."""
        with trio.move_on_after(HEARING):
            for connection in list(self._connected):
                await connection.closed.wait()

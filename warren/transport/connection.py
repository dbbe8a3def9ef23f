"""A connection as both programs see it, whatever carries it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import trio

from warren.model.principal import Principal

_log = logging.getLogger("warren.transport")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one side allows. `connections` at a time at an address; `calls` in flight from one
    connection; `message` is bytes. More is refused. `unread` is bytes of answers that are kept for
    one connection until it has read them; one with more is closed. So is one that its gate has not
    let in within `asks_within` seconds."""

    connections: int = 1024
    calls: int = 1000
    message: int = 64 << 20
    unread: int = 64 << 20
    asks_within: float = 10.0


class Connection:
    """The far side, and whether it is still there.

    `closed` is set as soon as the connection is gone, and `why` is then the reason. Its calls under
    way here are cancelled, and `ended` is set when that is over.
    """

    def __init__(
        self,
        peer: str,
        *,
        on_closed: Callable[[], None] = lambda: None,
        on_known: Callable[[str | None], str | None] = lambda node: None,
    ) -> None:
        self.peer = peer
        self._on_closed = on_closed
        self._on_known = on_known
        self.known = trio.Event()
        self.why = ""
        self.closed = trio.Event()
        self.ended = trio.Event()

    def __repr__(self) -> str:
        return f"<Connection to {self.peer}{': ' + self.why if self.closed.is_set() else ''}>"

    def note_closed(self, why: str) -> None:
        """It is gone: the transport has lost it or we close it. The first reason stays."""
        if not self.closed.is_set():
            self.why = why
            self.closed.set()
            self._on_closed()

    def note_known(self, node: str | None) -> None:
        """The gate has let it in: as the supervisor of this node, or as a client."""
        if not self.known.is_set():
            self.known.set()
            why = self._on_known(node)
            if why is not None:
                self.note_closed(why)

    def note_broken(self, why: str) -> None:
        """The transport closes it, because of what the far side does."""
        if not self.closed.is_set():
            _log.warning("the connection to %s is closed: %s", self.peer, why)
        self.note_closed(why)

    async def close(self) -> None:
        """Close it, and wait until nothing of it runs here. Harmless twice."""
        self.note_closed("closed on this side")
        await self.ended.wait()


class AcceptedConnection(Connection):
    """One that the far side has made. `principal` is known before anything it says is read; `host`
    is the address it comes from, empty where it has none."""

    def __init__(
        self,
        peer: str,
        principal: Principal,
        *,
        host: str = "",
        on_closed: Callable[[], None] = lambda: None,
        on_known: Callable[[str | None], str | None] = lambda node: None,
    ) -> None:
        super().__init__(peer, on_closed=on_closed, on_known=on_known)
        self.principal = principal
        self.host = host

"""How many connections an address takes, so that no peer can take every place.

stranger --is let in--> operator, a share of all by its source
    |          `-------> node, a few for each name
    `--sends nothing, or is refused, for a while--> closed
"""

from __future__ import annotations

import logging
from collections import Counter

import trio

LEAST = 64  # the smallest share, however few connections there may be
OF_A_NODE = 16  # its supervisor's, and those about to close
EVERY = 60.0  # seconds between two lines of refusals
_log = logging.getLogger("warren.transport")

Place = tuple[str, ...]


class ConnectionLimits:
    """Counts connections by their source, and by the identity they have shown."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._taken = Counter[Place]()

    def __repr__(self) -> str:
        return f"<ConnectionLimits {self._taken.total()} of {self._connections}>"

    def enter(self, source: str) -> str | None:
        """A stranger connects: why it is refused, or None, and then it has a place."""
        if self._taken.total() >= self._connections:
            return f"there are {self._taken.total()}"
        return self._take(("stranger", source))

    def become(self, source: str, node: str | None) -> str | None:
        """It is known: as a node's supervisor, or an operator or viewer. As `enter`."""
        why = self._take(_known(source, node))
        if why is None:
            self._taken[("stranger", source)] -= 1
        return why

    def leave(self, source: str, *, is_known: bool, node: str | None) -> None:
        """It has gone."""
        place = _known(source, node) if is_known else ("stranger", source)
        self._taken[place] -= 1
        self._taken += Counter()  # drops counts of zero

    def _take(self, place: Place) -> str | None:
        share = {"stranger": self._connections // 4, "operator": self._connections // 2}
        most = OF_A_NODE if place[0] == "node" else max(LEAST, share[place[0]])
        count = self._taken[place]
        if count >= most:
            return f"there are {count} of {' '.join(place)}"
        self._taken[place] += 1
        return None


class Refusals:
    """Logs that connections are refused, at most once a minute, and how many."""

    def __init__(self) -> None:
        self._said_at = -EVERY
        self._unsaid = 0

    def note(self, address: object, why: str) -> None:
        """One was refused."""
        now = trio.current_time()
        if now < self._said_at + EVERY:
            self._unsaid += 1
            return
        more = f"; and {self._unsaid} more since the last line" if self._unsaid else ""
        _log.warning("%s: refused a connection: %s%s", address, why, more)
        self._said_at, self._unsaid = now, 0


def _known(source: str, node: str | None) -> Place:
    return ("operator", source) if node is None else ("node", source, node)

"""Which process answers a probe: the instance, or another one that has its port.

A warning and no verdict: a probe that passes has passed. Checked at the first pass on every port of
the instance's own, and while another process answers again from time to time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from warren.checks.port_names import UnknownPortError, port_number
from warren.model.check import Check
from warren.model.check_kinds import asked_port
from warren.model.interfaces import Target

LOOK_AGAIN = 10.0  # seconds, while another answers


class ListenerCheck:
    """What is known of one instance. `tell` gets the warning when another is found to answer."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._next = dict[int, float]()  # by port: when to look, in Trio's time
        self._strange = set[int]()

    def warning(self, check: Check, target: Target | None) -> str | None:
        """The warning on a check of that instance, if any."""
        port = own_port(check, target)
        return None if port is None or port not in self._strange else said_of(port)

    def due(self, check: Check, target: Target) -> int | None:
        """The port to `look` at now that the check has passed, None where there is nothing to look
        at; asked for again, it is not due any more."""
        port, now = own_port(check, target), trio.current_time()
        if port is None or now < self._next.get(port, -math.inf):
            return None
        self._next[port] = now + LOOK_AGAIN
        return port

    async def look(self, port: int, target: Target, *, is_news: bool) -> None:
        """Look which process answers; `is_news` where this cannot have been reported yet."""
        assert target.owns_listener is not None
        is_own = await target.owns_listener(port)
        if is_own is False:
            self._strange.add(port)
            if is_news:
                self._tell(said_of(port))
            return
        if is_own or port not in self._strange:
            self._next[port] = math.inf
        self._strange.discard(port)


def said_of(port: int) -> str:
    """The warning, for people."""
    return f"another process, not of this task, answers on port {port}"


def own_port(check: Check, target: Target | None) -> int | None:
    """The port of the instance's own that the check asks, None where it asks elsewhere or
    this cannot be determined."""
    asked = asked_port(check)
    if asked is None or asked.host is not None:
        return None
    if target is None or target.owns_listener is None:
        return None
    try:
        port = port_number(asked.port, target.ports)
    except UnknownPortError:
        return None
    return port if port in target.ports.values() else None

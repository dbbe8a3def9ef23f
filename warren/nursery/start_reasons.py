"""What a task waits for before it can start, and when that is news (S26).

Its start is tried again and again. A reason is published once, and another one a minute later at
the earliest: two alternating shortages, with thousands of tasks, would drown all other events.
"""

from __future__ import annotations

import math

import trio

BETWEEN = 60.0  # seconds


class StartReasons:
    """The reasons one task waits for."""

    __slots__ = ("_told", "_told_at", "reason")

    reason: str | None

    def __init__(self) -> None:
        self.clear()

    def __repr__(self) -> str:
        return f"<StartReasons {self.reason or 'for nothing'}>"

    def note(self, reason: str) -> bool:
        """It waits for this now; returns whether to publish that."""
        self.reason = reason
        now = trio.current_time()
        if reason == self._told or now - self._told_at < BETWEEN:
            return False
        self._told, self._told_at = reason, now
        return True

    def clear(self) -> None:
        """It no longer waits: the next wait is news."""
        self.reason, self._told, self._told_at = None, "", -math.inf

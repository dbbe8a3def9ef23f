"""The conditions of this node or manager, each logged once when it begins and once when it ends.

Set by kind, by the code that meets the trouble; the latest message of a kind counts, and `since` is
when the kind was set first. In memory only: what still holds after a start is met again. For Trio's
thread only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec
import trio

from warren.model.condition import (
    CONDITIONS_KEPT,
    LONGEST_KIND,
    LONGEST_MESSAGE,
    NodeCondition,
)

_log = logging.getLogger("warren.conditions")


class Conditions:
    """`wall` returns seconds since the epoch. `changed` is set at the next change, and then
    replaced."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.changed = trio.Event()
        self._wall = wall
        self._current: dict[str, NodeCondition] = {}

    def __repr__(self) -> str:
        return f"<Conditions {', '.join(self._current) or 'none'}>"

    def current(self) -> tuple[NodeCondition, ...]:
        """All conditions, the oldest first."""
        return tuple(self._current.values())

    def has(self, kind: str) -> bool:
        """Whether it holds now."""
        return kind in self._current

    def set(self, kind: str, message: str) -> None:
        """It holds. Cheap where nothing has changed."""
        kind, message = kind[:LONGEST_KIND], message[:LONGEST_MESSAGE]
        before = self._current.get(kind)
        if before is None:
            _log.warning("%s: %s", kind, message)
            if len(self._current) == CONDITIONS_KEPT:
                return
            before = NodeCondition(kind, "", self._wall())
        if before.message != message:
            self._current[kind] = msgspec.structs.replace(before, message=message)
            self._note_change()

    def clear(self, kind: str) -> None:
        """It does not hold, or no longer."""
        if self._current.pop(kind[:LONGEST_KIND], None) is not None:
            _log.warning("%s: over", kind)
            self._note_change()

    def hold(self, kind: str, message: str | None) -> None:
        """It holds, or with None it does not: for callers that look regularly."""
        if message is None:
            self.clear(kind)
        else:
            self.set(kind, message)

    def _note_change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

"""Accepting connections, whatever the kernel is short of.

    accept --> its own task
       `-- refused: a condition, one line, a pause, longer each time --> accept

The kernel keeps who waits at a listener meanwhile, up to its backlog.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from warren.watch.boundary import FIRST_PAUSE, LONGEST_PAUSE, told
from warren.watch.conditions import Conditions

KIND = "accepting connections fails"
WELL_AFTER = 5.0  # seconds without a failure
_log = logging.getLogger("warren.transport")


async def serve_accepting(
    listener: trio.SocketListener,
    welcome: Callable[[trio.SocketStream], Awaitable[None]],
    nursery: trio.Nursery,
    conditions: Conditions,
) -> NoReturn:
    """Hand every connection to `welcome`, in the nursery. Raises what is wrong with the listener
    itself: trio.ClosedResourceError."""
    trouble = _Trouble(conditions)
    try:
        while True:
            with trio.CancelScope(deadline=trouble.until) as patience:
                try:
                    stream = await listener.accept()
                    nursery.start_soon(welcome, stream)
                except (OSError, MemoryError) as error:
                    patience.deadline = float("inf")
                    await trouble.note(error)
            if patience.cancelled_caught:
                trouble.clear()
    finally:
        trouble.clear()


class _Trouble:
    """One listener's: said once, however long it lasts, and over when all was well for a while."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._pause = FIRST_PAUSE
        self.until = float("inf")

    async def note(self, error: Exception) -> None:
        """Say it, and wait."""
        self._conditions.set(KIND, told(error))
        _log.debug("%s: %s; tried again in %.1f s", KIND, told(error), self._pause)
        self.until = trio.current_time() + self._pause + WELL_AFTER
        await trio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def clear(self) -> None:
        """It is over."""
        if self.until < float("inf"):
            self._pause = FIRST_PAUSE
            self.until = float("inf")
            self._conditions.clear(KIND)

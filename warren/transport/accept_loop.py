"""Accepting connections, whatever the kernel is short of.

    accept --> its own task
       `-- refused: a condition, one line, a pause, longer each time --> accept

The kernel keeps connections that wait at a listener meanwhile, up to its backlog.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from warren.resilience.backoff import Backoff
from warren.resilience.boundary import FIRST_PAUSE, LONGEST_PAUSE, told
from warren.resilience.conditions import Conditions

KIND = "accepting connections fails"
WELL_AFTER = 5.0  # seconds without a failure
_log = logging.getLogger("warren.transport")


async def serve_accepting(
    listener: trio.SocketListener,
    welcome: Callable[[trio.SocketStream], Awaitable[None]],
    nursery: trio.Nursery,
    conditions: Conditions,
) -> NoReturn:
    """Pass every connection to `welcome`, in the nursery. Raises what is wrong with the listener
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
    """One listener's: reported once, however long it lasts, and over after a while without it."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self.until = float("inf")

    async def note(self, error: Exception) -> None:
        """Report it, and wait."""
        self._conditions.set(KIND, told(error))
        pause = self._backoff.next()
        _log.debug("%s: %s; tried again in %.1f s", KIND, told(error), pause)
        self.until = trio.current_time() + pause + WELL_AFTER
        await trio.sleep(pause)

    def clear(self) -> None:
        """It is over."""
        if self.until < float("inf"):
            self._backoff.reset()
            self.until = float("inf")
            self._conditions.clear(KIND)

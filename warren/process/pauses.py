"""Pauses between two looks at what the kernel is about to finish, such as a killed tree.

A process that was killed is gone within a few tenths of a millisecond, and the shortest sleep of an
event loop on epoll is a whole one: so the first looks come one pass of the loop after another.
"""

from __future__ import annotations

import trio

_AT_ONCE = 10  # looks
_SHORTEST = 0.001  # seconds
_LONGEST = 0.05


class Pauses:
    """One wait for something; a new one begins with short pauses again."""

    def __init__(self) -> None:
        self._queries = 0
        self._pause = _SHORTEST

    async def wait(self) -> None:
        """Let other tasks run, for longer after each look in vain."""
        self._queries += 1
        if self._queries <= _AT_ONCE:
            await trio.lowlevel.checkpoint()
            return
        await trio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST)

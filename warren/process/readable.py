"""Wait until a descriptor can be read, also where the event loop cannot watch it.

Trio watches by epoll, and the number of watches is limited per user (fs.epoll.max_user_watches):
other processes may use it up. Polling one descriptor needs no watch.
"""

from __future__ import annotations

import select

import trio

from warren.process.tree import PASSING, RETRY_PAUSE

_LONGEST_PAUSE = 1.0  # seconds: thousands may have to poll


async def wait_readable(descriptor: int) -> None:
    """As Trio's, and by polling where that is refused."""
    pause = RETRY_PAUSE
    while True:
        try:
            return await trio.lowlevel.wait_readable(descriptor)
        except OSError as error:
            if error.errno not in PASSING:
                raise
        if _is_readable(descriptor):
            return await trio.lowlevel.checkpoint()
        await trio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_readable(descriptor: int) -> bool:
    asked = select.poll()
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(0))

"""Whether standard output still has a reader. A pipe tells at once, not only at the next write,
which may be hours away."""

from __future__ import annotations

import os
import select
import stat

import trio


async def raise_when_unread(descriptor: int = 1) -> None:
    """Raise BrokenPipeError when no reader is left; return where that is unknown."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return
    except OSError:  # it is closed
        return
    await trio.lowlevel.wait_readable(descriptor)  # an error wakes readers too
    poll = select.poll()
    poll.register(descriptor, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError

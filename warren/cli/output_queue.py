"""Writing where there may be no reader: a paused terminal or a full pipe must not stall a probe.

Writes happen in a thread, straight to the descriptor: Python's own streams hold locks that a
stuck thread would keep until the interpreter ends.
"""

from __future__ import annotations

import os
import select
from collections import deque

import trio

KEPT = 10_000  # lines that wait for a reader
PAUSE = 0.5  # seconds until a thread is tried again


class Outlet:
    """One descriptor. `closed` is set when it can have no reader any more; then all is dropped."""

    def __init__(self, descriptor: int) -> None:
        self.closed = trio.Event()
        self._descriptor = descriptor

    async def write(self, text: str) -> None:
        """Write all of it, however long that takes, and however long no thread can be started:
        output must not end running tasks."""
        data = text.encode(errors="replace")
        while not self.closed.is_set():
            try:
                await trio.to_thread.run_sync(
                    _write_all, self._descriptor, data, abandon_on_cancel=True
                )
            except OSError:
                self.closed.set()
            except (RuntimeError, MemoryError):  # too many processes of this user, say
                await trio.sleep(PAUSE)
            else:
                return


class LineQueue:
    """Lines that wait to be written. When there are too many the oldest are lost, and counted."""

    def __init__(self, limit: int = KEPT) -> None:
        self._lines = deque[str](maxlen=limit)
        self._lost = 0
        self._wake = trio.Event()

    def put(self, line: str) -> None:
        """Add a line, without its end."""
        if len(self._lines) == self._lines.maxlen:
            self._lost += 1
        self._lines.append(line)
        self.wake()

    def wake(self) -> None:
        """Make `wait` return."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait for a line, or for `wake`."""
        await self._wake.wait()
        self._wake = trio.Event()

    def take(self) -> tuple[list[str], int]:
        """Every line that waits, and how many were lost before them."""
        taken, lost = list(self._lines), self._lost
        self._lines.clear()
        self._lost = 0
        return taken, lost


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # another process has made it non-blocking
            select.select([], [descriptor], [])

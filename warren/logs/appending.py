"""Adding to a slot's output for a program that cannot write there itself: a container's.

What is added is never lost to a rotation, as that truncates with the slot's lock.
"""

from __future__ import annotations

import os

import trio

from warren.logs.files import LogFiles
from warren.model.identity import TaskId


class SlotAppender:
    """Appends to the output of a task's slot. To be closed."""

    def __init__(self, logs: LogFiles, task: TaskId) -> None:
        self._logs = logs
        self._task = task
        self._name = logs.path(task).name
        self._handle: int | None = None

    def __repr__(self) -> str:
        return f"<SlotAppender {self._name}>"

    async def open(self, instance: str = "") -> int:
        """Open it, for an instance that begins now, if any; returns the position of its end.
        Raises OSError."""
        self.close()
        self._handle = await self._logs.begin(self._task, instance)
        return await self.append(b"")

    async def append(self, data: bytes) -> int:
        """Add these bytes, all of them; returns the position behind them. Raises OSError: then
        some may have been added."""
        lock = self._logs.slot(self._name).lock
        if lock.acquire(blocking=False):
            try:
                return self._append(data)
            finally:
                lock.release()
        return await trio.to_thread.run_sync(self._append, data)  # it is being truncated

    def close(self) -> None:
        """Close the file. Harmless twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _append(self, data: bytes) -> int:
        assert self._handle is not None
        slot = self._logs.slot(self._name)
        with slot.lock:
            while data:
                data = data[os.write(self._handle, data) :]
            return slot.base + os.fstat(self._handle).st_size

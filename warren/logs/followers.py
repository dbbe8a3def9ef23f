"""Waking the readers that wait for a file to grow: one call of the watcher, however many wait."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress

import trio


class Growth:
    """Whether something has grown since the last `wait`."""

    def __init__(self) -> None:
        self._grown = trio.Event()

    def note(self) -> None:
        """It has."""
        self._grown.set()

    async def wait(self) -> None:
        """Wait until it has, since the last call returned."""
        await self._grown.wait()
        self._grown = trio.Event()


class Followers:
    """The waiting readers, by name. `tell` is for the watcher, in its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[Growth]] = {}
        self._token: trio.lowlevel.TrioToken | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @contextmanager
    def watching(self, names: Sequence[str]) -> Generator[Growth]:
        """Growth of any of these, from here on. In Trio."""
        growth = Growth()
        self._token = trio.lowlevel.current_trio_token()
        with self._lock:
            for name in names:
                self._waiting.setdefault(name, set()).add(growth)
        try:
            yield growth
        finally:
            with self._lock:
                for name in names:
                    waiting = self._waiting.get(name, set())
                    waiting.discard(growth)
                    if not waiting:
                        self._waiting.pop(name, None)

    def tell(self, names: Iterable[str]) -> None:
        """These have grown. Safe in any thread; costs nothing where no reader waits."""
        with self._lock:
            found = {growth for name in names for growth in self._waiting.get(name, ())}
        if found and self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(_note, found)


def _note(found: set[Growth]) -> None:
    for growth in found:
        growth.note()

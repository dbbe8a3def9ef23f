"""A program that runs until a signal stops it, and is killed by a second one."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

_log = logging.getLogger("warren")

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Not SIGHUP: systemd sends it right after SIGTERM, and shells send it twice.
FORCING = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Receives the signals of one run."""

    def __init__(self) -> None:
        self._asked = trio.Event()
        self._killing = trio.CancelScope()
        self._forced_by: int | None = None

    async def run(self, program: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> int:
        """Run a program, which waits for `stopped`; returns the exit status."""
        with trio.open_signal_receiver(*STOPPING) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                with self._killing:
                    await program(self._asked.wait)
                nursery.cancel_scope.cancel()
        return 0 if self._forced_by is None else 128 + self._forced_by

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self._asked.is_set() and number in FORCING:
                self._forced_by = number
                self._killing.cancel()
            else:
                _log.info("stopping: %s was heard", signal.Signals(number).name)
            self._asked.set()

"""One `warren up`, from its first task to its last.

running --- Ctrl-C, TERM, HUP, or the output has no reader ---> stopping --- again ---> killed
   `--- every service has ended for good, or was removed ---------^
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

import trio

from warren.cli.live.reporter import Reporter
from warren.cli.live.watch import UpWatch
from warren.cli.signals import FORCING, STOPPING
from warren.model.plural import counted
from warren.wiring.up import Up, UpOptions, open_up

LAST_WORDS = 1.0  # seconds for what is left to be written at the end
Cause = Literal["asked", "ended", "unheard"]


class UpSession:
    """Runs an `up` until its services have ended or are gone, or a signal comes."""

    def __init__(self, options: UpOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._watching = UpWatch(reporter)
        self._over = trio.Event()
        self._asked = trio.Event()  # by the user: the next time forces
        self._cause: Cause | None = None
        self._killing = trio.CancelScope()
        self._forced_by: int | None = None

    async def run(self) -> int:
        """Run it; returns the exit status."""
        with trio.open_signal_receiver(*STOPPING) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                nursery.start_soon(self._hear)
                async with trio.open_nursery() as telling:
                    telling.start_soon(self._reporter.serve)
                    try:
                        status = await self._run()
                    finally:
                        self._reporter.finish()
                        # Without a reader the last lines are not waited for.
                        telling.cancel_scope.deadline = trio.current_time() + LAST_WORDS
                nursery.cancel_scope.cancel()
        return status if self._forced_by is None else 128 + self._forced_by

    async def _run(self) -> int:
        status = 1
        with self._killing:
            async with open_up(self._options, self._watching.following) as up:
                self._reporter.attach(up.node.agent.status)
                status = await self._watch(up)
        return status

    async def _watch(self, up: Up) -> int:
        """Wait until it is over; returns the exit status as of then."""
        self._watching.on_change = partial(self._end_if_over, up)
        self._end_if_over(up)
        await self._over.wait()
        status = self._status()
        up.file.note_end()
        if self._cause == "ended":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, self._asked, nursery.cancel_scope)
                await up.callers.wait_heard()
                nursery.cancel_scope.cancel()
        left = up.node.agent.unended()
        if left:
            self._reporter.note_stopping(f"stopping {counted(left, 'task')}, Ctrl-C again forces")
        return status

    def _end_if_over(self, up: Up) -> None:
        if self._options.specs is not None and up.has_all and self._watching.is_over:
            self._end("ended")

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self._asked.is_set() and number in FORCING:
                self._forced_by = number
                self._killing.cancel()
            self._asked.set()
            self._end("asked")

    async def _hear(self) -> None:
        await self._reporter.closed.wait()
        self._end("unheard")

    def _end(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
        self._over.set()

    def _status(self) -> int:
        if self._cause != "ended":
            return 0 if self._cause == "asked" else 1
        return 0 if self._watching.is_complete else 1


async def _end_with(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()

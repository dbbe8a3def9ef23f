"""One `warren up`, from its first task to its last.

running --- Ctrl-C, TERM, HUP, or nobody reads the output ---> stopping --- again ---> killed
   `----------- every service has ended for good -----------------^
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

import trio

from warren.cli.reporter import Reporter
from warren.cli.words import ago
from warren.model.service import ServiceSpec
from warren.model.task import EventKind, Phase, TaskEvent, TaskStatus
from warren.node.service import Service
from warren.node.supervisor import Supervisor

LAST_WORDS = 1.0  # seconds for what is left to be written at the end
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Not SIGHUP: systemd sends it right after SIGTERM, and shells send it twice.
FORCING = (signal.SIGINT, signal.SIGTERM)
Cause = Literal["asked", "ended", "unheard"]


class Session:
    """Runs services until they have ended or a signal comes. `run` gives the exit status."""

    def __init__(self, specs: Sequence[ServiceSpec], reporter: Reporter) -> None:
        self._specs = specs
        self._reporter = reporter
        self._over = trio.Event()
        self._cause: Cause | None = None
        self._killing = trio.CancelScope()
        self._forced_by: int | None = None

    async def run(self, supervision: AbstractAsyncContextManager[Supervisor]) -> int:
        """Run them on this supervisor, which tells `reporter.note`."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                nursery.start_soon(self._hear)
                async with trio.open_nursery() as telling:
                    telling.start_soon(self._reporter.serve)
                    try:
                        status = await self._run(supervision)
                    finally:
                        self._reporter.finish()
                        # Where nobody reads, the last words are not waited for.
                        telling.cancel_scope.deadline = trio.current_time() + LAST_WORDS
                nursery.cancel_scope.cancel()
        return status if self._forced_by is None else 128 + self._forced_by

    async def _run(self, supervision: AbstractAsyncContextManager[Supervisor]) -> int:
        status = 1
        with self._killing:
            async with supervision as supervisor:
                self._reporter.attach(supervisor)
                for spec in self._specs:
                    supervisor.start(spec)
                supervisor.dismiss_unclaimed()
                await self._watch(supervisor)
                status = self._status(supervisor)
        return status

    async def _watch(self, supervisor: Supervisor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_ended, supervisor)
            await self._over.wait()
            nursery.cancel_scope.cancel()
        left = sum(not service.ended.is_set() for service in supervisor.services.values())
        if left:
            self._reporter.note_stopping(_stopping(supervisor))

    async def _wait_ended(self, supervisor: Supervisor) -> None:
        async with trio.open_nursery() as nursery:
            for service in supervisor.services.values():
                nursery.start_soon(self._note_end, service)
        self._end("ended")

    async def _note_end(self, service: Service) -> None:
        """Tell of tasks that had ended before this supervisor: of them there is no other news."""
        await service.ended.wait()
        for status in service.statuses():
            if status.phase.is_end and status.sequence == 0:
                self._reporter.note(status, _old_news(status, time.time()))

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self._over.is_set() and number in FORCING:
                self._forced_by = number
                self._killing.cancel()
            self._end("asked")

    async def _hear(self) -> None:
        await self._reporter.closed.wait()
        self._end("unheard")

    def _end(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
        self._over.set()

    def _status(self, supervisor: Supervisor) -> int:
        if self._cause != "ended":
            return 0 if self._cause == "asked" else 1
        tasks = [task for service in supervisor.services.values() for task in service.tasks()]
        return 0 if all(task.record.phase is Phase.COMPLETE for task in tasks) else 1


def _old_news(status: TaskStatus, now: float) -> TaskEvent:
    message = status.phase.name.lower()
    if status.last_end is not None:
        message += f" {ago(now - status.last_end.at)}: {status.last_end.message}"
    return TaskEvent(at=now, task=status.id, kind=EventKind.FINISHED, message=message)


def _stopping(supervisor: Supervisor) -> str:
    tasks = [task for service in supervisor.services.values() for task in service.tasks()]
    count = sum(not task.ended.is_set() for task in tasks)
    return f"stopping {count} task{'' if count == 1 else 's'}, Ctrl-C again forces"

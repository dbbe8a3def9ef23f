"""Reports the tasks: as lines for people and programs, here, or as a table (`screen.py`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import trio

from warren.cli.live.summary import Summary
from warren.cli.output_queue import LineQueue, Outlet
from warren.client.phrases import clock, event_json, event_line
from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.service import Condition, ServiceSpec
from warren.model.task import TaskStatus

Look = Callable[[TaskId], TaskStatus | None]

_log = logging.getLogger("warren.up")


class Reporter(Protocol):
    """Reports the tasks. `closed` is set when no reader is left."""

    @property
    def closed(self) -> trio.Event: ...

    def note(self, status: TaskStatus, event: TaskEvent) -> None:
        """A transition. Quick, and never raises."""
        ...

    def set_service(self, spec: ServiceSpec) -> None:
        """There is such a service, or it has changed."""
        ...

    def drop_service(self, name: str) -> None:
        """There is no such service any more."""
        ...

    def forget(self, task: TaskId) -> None:
        """This task no longer fills its slot."""
        ...

    def attach(self, look: Look) -> None:
        """How to read a task's present status."""
        ...

    def note_stopping(self, message: str) -> None:
        """All tasks are being stopped."""
        ...

    async def serve(self) -> None:
        """Report, until `finish` and the last line."""
        ...

    def finish(self) -> None:
        """Nothing more will come."""
        ...


class LineReporter:
    """One line per transition, and one when a service's health has changed."""

    def __init__(self, outlet: Outlet, *, as_json: bool) -> None:
        self._board = Summary()
        self._outlet = outlet
        self._as_json = as_json
        self._queue = LineQueue()
        self._told: dict[str, str] = {}
        self._touched = set[str]()
        self._is_stopping = False
        self._is_finished = False

    @property
    def closed(self) -> trio.Event:
        return self._outlet.closed

    def note(self, status: TaskStatus, event: TaskEvent) -> None:
        self._board.note(status)
        service = event.task.service
        if self._as_json:
            self._queue.put(event_json(status, event, self._board.health(service)))
            return
        self._queue.put(event_line(status, event))
        if service in self._told:
            self._touched.add(service)

    def set_service(self, spec: ServiceSpec) -> None:
        runs_once = spec.restart.condition is Condition.NEVER
        self._board.set_service(spec.name, spec.replicas, runs_once=runs_once)
        if spec.name not in self._told:
            self._told[spec.name] = str(self._board.health(spec.name))
        else:
            self._touched.add(spec.name)
            self._queue.wake()

    def drop_service(self, name: str) -> None:
        self._board.drop_service(name)
        self._told.pop(name, None)
        self._touched.discard(name)
        if not self._as_json:
            self._queue.put(f"{clock(time.time())} {name}: removed")

    def forget(self, task: TaskId) -> None:
        self._board.forget(task)

    def attach(self, look: Look) -> None:
        pass

    def note_stopping(self, message: str) -> None:
        self._is_stopping = True
        if self._as_json:
            _log.info(message)
        else:
            self._queue.put(f"{clock(time.time())} {message}")

    async def serve(self) -> None:
        while not self._is_finished:
            await self._queue.wait()
            await self._tell()
        await self._tell()

    def finish(self) -> None:
        self._is_finished = True
        self._queue.wake()

    async def _tell(self) -> None:
        lines, lost = self._queue.take()
        if lost:
            _log.warning("%d lines of output are lost: they were not read in time", lost)
        lines += self._healths()
        if lines:
            await self._outlet.write("\n".join(lines) + "\n")

    def _healths(self) -> list[str]:
        """Several transitions at once make one change of health."""
        touched = sorted(self._touched)
        self._touched.clear()
        lines = list[str]()
        for name in touched:
            health = str(self._board.health(name))
            if health != self._told[name] and not self._is_stopping:
                self._told[name] = health
                lines.append(f"{clock(time.time())} {name}: {health}")
        return lines

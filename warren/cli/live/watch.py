"""What a reporter of `warren up` is told: services and waiting tasks by the manager, as any other
client watches them; transitions of tasks by the node itself, at once and even where the disk is
full.

    manager --watch--> services, tasks that no node reports --.
    node --publish--> transitions ----------------------------+--> reporter
              `--> held until the watch has their task --look-'

A transition of a task that the watch does not have yet waits for one look, which finds all that was
committed before it: so a reporter is always told of a service before it is of its tasks. Watched
alone, tasks would be as of the last report that could be written, and one that fails and is started
again between two answers would not be seen to.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from warren.cli.live.reporter import Reporter
from warren.client.phrases import ago, waits_for
from warren.client.watch import Watch
from warren.model.cluster import Desired
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.rpc import ClusterView
from warren.model.task import Phase, TaskStatus
from warren.model.view import ServiceView, TaskView, WatchAnswer
from warren.rules import health
from warren.wiring.parts import Publish


class UpWatch:
    """Tells a reporter. `on_change` is called when it has been told what the watch has found."""

    def __init__(self, reporter: Reporter, *, now: Callable[[], float] = time.time) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._reporter = reporter
        self._now = now
        self._watch = Watch()
        self._services: dict[str, ServiceView] = {}
        self._tasks: dict[tuple[str, int], TaskView] = {}
        self._ended = set[TaskId]()  # the reporter was told
        self._held: list[tuple[TaskStatus, TaskEvent]] = []
        self._waiting = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<UpWatch {self._watch!r}, {len(self._held)} held>"

    @asynccontextmanager
    async def following(self, cluster: ClusterView) -> AsyncGenerator[Publish]:
        """Tell of the present state, and then of changes; what it returns is to be called on every
        transition."""
        self._take(await self._watch.next(cluster))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, cluster)
            try:
                yield self.publish
            finally:
                self._release(len(self._held))
                nursery.cancel_scope.cancel()

    @property
    def is_over(self) -> bool:
        """See `is_over`; by what has been watched."""
        return is_over(self._services, self._tasks.values())

    @property
    def is_complete(self) -> bool:
        """Whether every slot has a task that is complete."""
        return all(
            task.status.phase is Phase.COMPLETE and not task.is_outdated
            for task in self._tasks.values()
        )

    def publish(self, status: TaskStatus, event: TaskEvent) -> None:
        """A transition from the node."""
        if event.kind is EventKind.FINISHED:
            self._ended.add(status.id)
        known = self._tasks.get((status.id.service, status.id.slot))
        if not self._held and known is not None and status.id.number <= known.id.number:
            self._reporter.note(status, event)
            return
        self._held.append((status, event))  # and what follows it, so that the order stays
        self._waiting.cancel()

    async def _serve(self, cluster: ClusterView) -> NoReturn:
        while True:
            count = len(self._held)
            if count:
                while self._take(await self._watch.next(cluster, wait=False)).has_more:
                    pass
                self._release(count)
            else:
                with trio.CancelScope() as self._waiting:
                    self._take(await self._watch.next(cluster))

    def _release(self, count: int) -> None:
        held, self._held = self._held[:count], self._held[count:]
        for status, event in held:
            self._reporter.note(status, event)

    def _take(self, answer: WatchAnswer) -> WatchAnswer:
        for name in answer.gone_services:
            self._drop(name)
        for slot in answer.gone_slots:
            task = self._tasks.pop((slot.service, slot.slot), None)
            if task is not None:
                self._forget(task.id)
        for view in sorted(answer.services, key=lambda view: view.created_at):
            known = self._services.get(view.spec.name)
            if known is not None and known.created_at != view.created_at:
                self._drop(view.spec.name)  # another one of that name
            self._services[view.spec.name] = view
            self._reporter.set_service(view.spec)
        for task in answer.tasks:
            self._take_task(task)
        self.on_change()
        return answer

    def _drop(self, name: str) -> None:
        if self._services.pop(name, None) is not None:
            self._reporter.drop_service(name)

    def _take_task(self, task: TaskView) -> None:
        key = (task.id.service, task.id.slot)
        known, self._tasks[key] = self._tasks.get(key), task
        if known is not None and known.id != task.id:
            self._ended.discard(known.id)
        if not task.status.phase.is_end:
            if known is None or (known.id, known.status) != (task.id, task.status):
                self._tell_waiting(task)
        elif task.desired is Desired.STOP:
            self._forget(task.id)
        elif task.id not in self._ended:
            self._tell_old(task)

    def _forget(self, task: TaskId) -> None:
        self._ended.discard(task)
        self._reporter.forget(task)

    def _tell_waiting(self, task: TaskView) -> None:
        """A task that is on no node yet, and why: no node reports it."""
        waits = waits_for(task.status, self._now())
        if task.node is None and waits:
            self._tell(task, EventKind.PENDING, f"pending: {waits}")

    def _tell_old(self, task: TaskView) -> None:
        """A task that had ended before: nothing else reports it."""
        self._ended.add(task.id)
        # It was to run: so it ended with its supervisor, and nobody has stopped it.
        was_to_run = task.status.phase is Phase.STOPPED and task.desired is Desired.RUN
        message = "ended" if was_to_run else str(task.status.phase)
        end = task.status.last_end
        if end is not None:
            message += f" {ago(self._now() - end.at)}: {end.message}"
        if was_to_run or task.is_outdated:
            message += "; runs again"
        self._tell(task, EventKind.FINISHED, message)

    def _tell(self, task: TaskView, kind: EventKind, message: str) -> None:
        event = TaskEvent(at=self._now(), task=task.id, kind=kind, message=message)
        self._reporter.note(task.status, event)


def is_over(services: Mapping[str, ServiceView], tasks: Collection[TaskView]) -> bool:
    """Whether all of these services are over; see `rules.health`. A task whose service is not
    known yet may be of another one that is not."""
    by_service: dict[str, list[TaskView]] = {name: [] for name in services}
    for task in tasks:
        by_service.setdefault(task.id.service, []).append(task)
    return all(
        name in services and _is_over(services[name], current)
        for name, current in by_service.items()
    )


def _is_over(view: ServiceView, current: Collection[TaskView]) -> bool:
    is_changing = view.is_removing or any(task.is_outdated for task in current)
    statuses = [task.status for task in current]
    return health.is_over(view.spec, statuses, is_changing=is_changing)

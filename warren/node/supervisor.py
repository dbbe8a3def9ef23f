"""The supervisor of a node: services in, running tasks out, transitions out to watchers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from warren.model.errors import SpecError
from warren.model.event import TaskEvent
from warren.model.identity import instance_prefix
from warren.model.interfaces import Journal, Runtime
from warren.model.service import ServiceSpec
from warren.model.task import TaskRecord, TaskStatus
from warren.node.self_monitor import SelfMonitor
from warren.node.service import Service
from warren.nursery.dependencies import Dependencies
from warren.nursery.task_runner import TaskRunner
from warren.rules.admission import admit

WATCH_BUFFER = 1000  # events that a watcher may be behind before it loses some
_log = logging.getLogger("warren.supervisor")


class Supervisor:
    """Runs services on this node. Made by `open_supervisor`."""

    def __init__(self, nursery: trio.Nursery, dependencies: Dependencies) -> None:
        # The nursery is the one of `open_supervisor`: it ends when that block ends.
        self._nursery = nursery
        self._around = replace(dependencies, publish=self._published)
        self._outer_publish = dependencies.publish
        self._watchers: set[trio.MemorySendChannel[tuple[TaskStatus, TaskEvent]]] = set()
        self._found: dict[str, dict[int, TaskRecord]] = {}
        self.services: dict[str, Service] = {}
        for record in dependencies.journal.load():
            slots = self._found.setdefault(record.id.service, {})
            if record.id.slot in slots:  # killed between writing the successor and forgetting
                dependencies.journal.forget(slots[record.id.slot].id)
            slots[record.id.slot] = record

    def __repr__(self) -> str:
        return f"<Supervisor {self._around.node}: {len(self.services)} services>"

    def start(self, spec: ServiceSpec) -> Service:
        """Start a service, adopting what an earlier supervisor left running of it.

        Raises SpecError where the spec cannot be run here or the name is taken.
        """
        spec = admit(spec)
        running = self.services.get(spec.name)
        if running is not None and not running.ended.is_set():
            raise SpecError(f"services.{spec.name}", "runs already; stop it first")
        found = self._found.pop(spec.name, {})
        kept = {slot: r for slot, r in found.items() if slot <= spec.replicas}
        surplus = {slot: r for slot, r in found.items() if slot > spec.replicas}
        service = self.services[spec.name] = Service(spec, self._around, kept)
        self._nursery.start_soon(service.run)
        self._dismiss(surplus.values(), "no longer wanted")
        return service

    def count_tasks(self) -> int:
        """How many tasks there are."""
        return sum(len(service.tasks()) for service in self.services.values())

    async def stop(self, name: str, message: str = "stop asked") -> None:
        """Stop a service and forget it. Raises SpecError for an unknown name."""
        service = self.services.get(name)
        if service is None:
            raise SpecError(f"services.{name}", "no such service")
        await service.stop(message)
        if self.services.get(name) is service:  # else it was started anew meanwhile,
            service.forget()  # and these records are the new one's
            del self.services[name]

    def dismiss_unclaimed(self) -> None:
        """Stop what an earlier supervisor left running and no `start` has asked for."""
        for records in self._found.values():
            self._dismiss(records.values(), "no longer wanted")
        self._found.clear()

    async def shutdown(self, message: str = "the supervisor shuts down") -> None:
        """Stop every task, gently; the records stay, so that the next one goes on with them."""
        async with trio.open_nursery() as nursery:
            for service in self.services.values():
                nursery.start_soon(service.stop, message)

    @asynccontextmanager
    async def watch(
        self,
    ) -> AsyncGenerator[trio.MemoryReceiveChannel[tuple[TaskStatus, TaskEvent]], None]:
        """Every transition from here on, as (status, event). A watcher that is more than
        WATCH_BUFFER behind loses the newest; the status is always complete."""
        send, receive = trio.open_memory_channel[tuple[TaskStatus, TaskEvent]](WATCH_BUFFER)
        self._watchers.add(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._watchers.discard(send)

    def _published(self, status: TaskStatus, event: TaskEvent) -> None:
        self._outer_publish(status, event)
        service = self.services.get(event.task.service)
        if service is not None:
            service.note_change()
        for watcher in self._watchers:
            try:
                watcher.send_nowait((status, event))
            except trio.WouldBlock:
                _log.warning("a watcher is behind and has lost an event: %s", event.message)

    def _dismiss(self, records: Iterable[TaskRecord], message: str) -> None:
        for record in records:
            self._nursery.start_soon(self._run_to_its_end, record, message)

    async def _run_to_its_end(self, record: TaskRecord, message: str) -> None:
        if record.instance is not None:
            task = TaskRunner(record, self._around)
            task.stop(message)
            await task.run()
        self._around.journal.forget(record.id)


@asynccontextmanager
async def open_supervision(dependencies: Dependencies) -> AsyncGenerator[Supervisor, None]:
    """A supervisor on these parts. Leaving the block stops every task gently; an exception or
    a cancellation kills them. Either way nothing is left when it returns.
    """
    await sweep(dependencies.runtime, dependencies.journal)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, dependencies)
        async with trio.open_nursery() as watching:
            watching.start_soon(SelfMonitor(dependencies, supervisor.count_tasks).serve)
            yield supervisor
            supervisor.dismiss_unclaimed()
            await supervisor.shutdown()
            watching.cancel_scope.cancel()


async def sweep(runtime: Runtime, journal: Journal, *, keep_unreadable: bool = False) -> None:
    """End instances of this node that are in no record (S21); with `keep_unreadable` not those
    of a task whose record exists and cannot be read."""
    known = {r.instance.id for r in journal.load() if r.instance is not None}
    spare = tuple(instance_prefix(task) for task in journal.set_aside()) if keep_unreadable else ()
    for stray in await runtime.sweep(frozenset(known), spare=spare):
        _log.warning("ended %s, which was in no record", stray)

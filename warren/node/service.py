"""A service on this node: every slot holds one task; one that FAILED is replaced, with backoff.

slot: task #1 -> FAILED -> at once #2 -> FAILED -> 10 s -> #3 ... (S17)
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import trio

from warren.model.errors import WarrenError
from warren.model.identity import TaskId
from warren.model.service import Condition, ServiceSpec, has_same_tasks
from warren.model.task import Phase, TaskRecord, TaskStatus
from warren.nursery.dependencies import Dependencies
from warren.nursery.task_runner import TaskRunner
from warren.rules.health import Health, has_failed_for_good, summarize
from warren.rules.restart import replacement_delay


class ServiceEndedError(WarrenError):
    """A service that a caller waits for has ended. `str()` says which and why."""


class Service:
    """One service's slots. Made by `Supervisor.start`; lives until `stop`.

    `found` has the records of an earlier supervisor by slot: what still fits is adopted (S21).
    """

    def __init__(
        self, spec: ServiceSpec, dependencies: Dependencies, found: Mapping[int, TaskRecord]
    ) -> None:
        self.spec = spec
        self.ended = trio.Event()
        self._around = dependencies
        self._found = found
        self._tasks: dict[int, TaskRunner] = {}
        self._stopping = trio.Event()
        self._stop_message = ""
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Service {self.spec.name}: {self.health()}>"

    @property
    def name(self) -> str:
        """The service's name."""
        return self.spec.name

    def tasks(self) -> list[TaskRunner]:
        """The current task of every slot, in the order of slots."""
        return [self._tasks[slot] for slot in sorted(self._tasks)]

    def statuses(self) -> list[TaskStatus]:
        """The current tasks as they stand now, in the order of slots."""
        return [task.status() for task in self.tasks()]

    def health(self) -> Health:
        """How many of the replicas wanted are ready."""
        tasks = self.statuses()
        failed = sum(has_failed_for_good(self.spec, task) for task in tasks)
        return summarize(self.spec.replicas, tasks, failed=failed)

    async def wait_ready(self) -> None:
        """Wait until every replica is ready. Returns at once where none is wanted.

        Raises ServiceEndedError where it will never be: it was stopped, or ended for good.
        """
        while sum(task.is_ready for task in self._tasks.values()) < self.spec.replicas:
            if self._stopping.is_set() or self.ended.is_set():
                raise ServiceEndedError(f"service {self.name} has ended: {self._why_ended()}")
            await self._changed.wait()

    async def stop(self, message: str = "stop asked") -> None:
        """Stop every task and wait until nothing of them is left. Harmless twice (S15).

        The records stay, and the next supervisor on this journal goes on with them.
        """
        if not self._stopping.is_set():
            self._stop_message = message
            self._stopping.set()
            for task in self._tasks.values():
                task.stop(message)
            self.note_change()
        await self.ended.wait()
        for task in self._tasks.values():
            if task.record.phase.is_end:  # it has run once: the next is another task
                past = msgspec.structs.replace(task.record, phase=Phase.STOPPED)
                self._around.journal.save(past)
        await self._around.journal.settle()

    def forget(self) -> None:
        """Drop the records. Once it has ended."""
        for task in self._tasks.values():
            self._around.journal.forget(task.id)

    def note_change(self) -> None:
        """A task of this service has changed: wakes waiting callers."""
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Keep the slots filled until `stop`, or until every task has ended for good."""
        try:
            async with trio.open_nursery() as nursery:
                for slot in range(1, self.spec.replicas + 1):
                    nursery.start_soon(self._keep_slot, slot)
        finally:
            self.ended.set()
            self.note_change()

    async def _keep_slot(self, slot: int) -> None:
        record = await self._first_record(slot)
        while True:
            task = TaskRunner(record, self._around)
            self._tasks[slot] = task
            if self._stopping.is_set():  # it may have an instance to adopt, and to end
                task.stop(self._stop_message)
            await task.run()
            if self._stopping.is_set() or not self._is_replaced(task.record.phase):
                return
            record = self._successor(task.record)

    async def _first_record(self, slot: int) -> TaskRecord:
        found = self._found.get(slot)
        if found is None:
            return TaskRecord(id=TaskId(self.name, slot, 1), spec=self.spec)
        if not has_same_tasks(found.spec, self.spec):
            old = TaskRunner(found, self._around)
            self._tasks[slot] = old
            old.stop("the spec has changed")
            await old.run()
            return self._write_next(found, TaskRecord(id=_after(found.id), spec=self.spec))
        if found.phase is Phase.STOPPED:
            return self._write_next(found, TaskRecord(id=_after(found.id), spec=self.spec))
        return self._successor(found) if self._is_replaced(found.phase) else found

    def _successor(self, failed: TaskRecord) -> TaskRecord:
        """The task that replaces a failed one: at once the first time, then with backoff (S17)."""
        delay = replacement_delay(failed.failed_before, jitter=self._around.chance.random())
        new = TaskRecord(
            id=_after(failed.id),
            spec=self.spec,
            last_end=failed.last_end,
            failed_before=failed.failed_before + 1,
            restart_at=self._around.wall() + delay if delay else None,
            restart_delay=delay,
        )
        return self._write_next(failed, new)

    def _write_next(self, old: TaskRecord, new: TaskRecord) -> TaskRecord:
        self._around.journal.save(new)
        self._around.journal.forget(old.id)
        return new

    def _why_ended(self) -> str:
        if self._stopping.is_set():
            return self._stop_message
        ends = (f"{t.id} {t.record.phase.name.lower()}" for t in self.tasks())
        reasons = (t.record.last_end.message for t in self.tasks() if t.record.last_end)
        return f"{', '.join(ends)}: {next(iter(reasons), 'no reason')}"

    def _is_replaced(self, phase: Phase) -> bool:
        has_failed = phase in (Phase.FAILED, Phase.CRASHED)
        return has_failed and self.spec.restart.condition is not Condition.NEVER


def _after(task: TaskId) -> TaskId:
    return TaskId(task.service, task.slot, task.number + 1)

"""A node's supervisor, as the manager calls it: holds assigned tasks, and reports their state.

    journal --take_over--> tasks <--assign-- the manager
                            `--publish--> outbox

Recorded tasks run while the manager is away (S19). The manager's assignment, when it comes, is
compared with them: new tasks are started, those no longer the node's are ended and forgotten,
and the rest is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec
import trio

from warren.checks.concurrency import ConcurrencyCaps
from warren.model.check import Sample
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Desired
from warren.model.errors import ConflictError, NotFoundError, UnavailableError
from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.interfaces import LogSource
from warren.model.probe import ProbeKind
from warren.model.report import Assignment, Assignments
from warren.model.service import has_same_instances
from warren.model.task import Phase, TaskRecord, TaskStatus
from warren.model.usage import TaskUsage
from warren.model.view import LogChunk, LogPiece, LogWanted
from warren.node import slot_output
from warren.node.assigned import record_of
from warren.node.outbox import Outbox
from warren.node.slot_locks import SlotLocks
from warren.node.unreadable_tasks import UnreadableTasks
from warren.node.usages import usages_of
from warren.nursery.dependencies import Dependencies
from warren.nursery.task_runner import TaskRunner
from warren.resilience.boundary import survived
from warren.rules.reported_times import mend_record

LOOKED_AT_ONCE = 1000  # tasks: a call for thousands lets others run in between
HELD_AT_ONCE = 100  # likewise for assignments; each piece is one write of the journal
MESSAGE_LIMIT = 500  # characters of an event that is reported: a check's output may be long
END_LIMIT = 8_000  # of the reason of an end, which names the command: the wire takes 16,000
T = TypeVar("T")
_NOT_AN_END = (Phase.STOPPING, Phase.STOPPED)


class NodeAgent:
    """Implements `Agent`. The nursery is the one of `open_node`: tasks live in it."""

    def __init__(self, nursery: trio.Nursery, dependencies: Dependencies, logs: LogSource) -> None:
        self.outbox = Outbox()
        self.conditions = dependencies.conditions
        self._nursery = nursery
        self._around = replace(dependencies, publish=self._published)
        self._outer_publish = dependencies.publish
        self._logs = logs
        self._tasks: dict[TaskId, TaskRunner] = {}
        self._dormant: dict[TaskId, TaskRecord] = {}
        self._slots = SlotLocks()
        self._unwanted = set[TaskId]()
        self._successors: dict[TaskId, TaskRecord] = {}
        self._gone = set[str]()  # services whose output goes with their last task
        self._generation = 0
        self._is_closing = False
        self._assigning = trio.Lock()
        self._aside = UnreadableTasks(dependencies)

    def __repr__(self) -> str:
        return f"<NodeAgent {self._around.node}: {len(self._tasks)} tasks>"

    def statuses(self) -> list[TaskStatus]:
        """Every task held, as it stands now. The end of a task that is no longer the node's is not
        a status of the task that may have its id by now."""
        asleep = (TaskRunner(record, self._around) for record in self._dormant.values())
        held = (*self._tasks.values(), *asleep)
        return [self._outward(task) for task in held if task.id not in self._unwanted]

    def status(self, task: TaskId) -> TaskStatus | None:
        """One task as it stands now; None where it is not here."""
        held = self._tasks.get(task)
        return None if held is None else held.status()

    def take_over(self) -> None:
        """Continue the tasks that an earlier supervisor recorded: running instances are adopted
        at once, the others wait for `resume`."""
        now = self._around.wall()
        for found in self._around.journal.load():
            record = mend_record(found, now=now)
            if record.instance is not None or record.phase.is_end:
                self._spawn(record)
            else:
                self._dormant[record.id] = record
        self._aside.take_over()

    async def resume(self) -> None:
        """Start recorded tasks that do not run, with or without the manager's assignment."""
        await trio.lowlevel.checkpoint()
        for piece in _pieces(list(self._dormant)):
            if self._is_closing:
                return
            for task in piece:
                self._wake(task)
            await trio.lowlevel.checkpoint()

    def is_dormant(self) -> bool:
        """Whether a recorded task is still to be continued."""
        return bool(self._dormant) and not self._is_closing

    # Agent

    async def assign(self, assignments: Assignments) -> None:
        await trio.lowlevel.checkpoint()
        async with self._assigning:  # which lets others run, but not another assignment
            self._check_open()
            if assignments.base and assignments.base != self._generation:
                said = f"node {self._around.node} is at generation {self._generation}"
                raise ConflictError(f"base: {assignments.base}: {said}; want the whole")
            if not assignments.base:
                kept = set(assignments.kept)
                await self._keep_only({each.task for each in assignments.tasks}, kept)
                self._purge(self._logs.services() - set(assignments.services) - kept)
            await self._dismiss_all(assignments.removed)
            for piece in _pieces(assignments.tasks):
                self._hold(piece)
                await self._give_way()
            self._purge(set(assignments.purged) - {each.task.service for each in assignments.tasks})
            self._generation = assignments.generation
        await self.resume()

    def _check_open(self) -> None:
        if self._is_closing:
            raise UnavailableError(f"node {self._around.node} is shutting down")

    async def _give_way(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()  # otherwise what is begun now would not be ended

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        await trio.lowlevel.checkpoint()
        found = list[TaskStatus]()
        for number, task in enumerate(tasks, 1):
            held = self._current(task)
            if held is not None:
                found.append(self._outward(held))
            if number % LOOKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return found

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        await trio.lowlevel.checkpoint()
        held = self._current(task)
        if held is None:
            raise NotFoundError(f"task {task} is not on node {self._around.node}")
        return {kind: tuple(samples) for kind, samples in held.samples().items()}

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        return await slot_output.read_one(self._logs, task, cursor, tail, wait=wait)

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        return await slot_output.read_several(self._logs, wanted, wait=wait)

    async def kept(self, service: str) -> list[int]:
        await trio.lowlevel.checkpoint()
        return [slot.slot for slot in self._logs.kept() if slot.service == service]

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        held = {task: found for task in tasks if (found := self._current(task)) is not None}
        return await usages_of(held)

    # Ends

    async def stop_all(self, message: str) -> None:
        """Stop every instance, gently, and wait; one that a shortage keeps from adoption is left.
        The records stay: the next supervisor goes on with the same tasks, as a shutdown does not
        end a task."""
        self._is_closing = True
        for task in self._tasks.values():
            task.stop(message, may_leave=True)
        await self._aside.stop_all()
        await self._wait_ended()

    async def leave_all(self) -> None:
        """Leave everything running, for the next supervisor to adopt; checks end."""
        self.let_go()
        await self._wait_ended()

    async def settle(self) -> None:
        """Wait until everything reported so far is on disk too."""
        await self._around.journal.settle()

    def let_go(self) -> None:
        """As `leave_all`, without waiting."""
        self._is_closing = True
        for task in self._tasks.values():
            task.leave()

    def places(self) -> tuple[CheckPlaces, ...]:
        """How the places for checks are taken; empty where checks are not capped."""
        check = self._around.check
        return check.places() if isinstance(check, ConcurrencyCaps) else ()

    def unended(self) -> int:
        """How many tasks are not over."""
        return sum(not task.ended.is_set() for task in self._tasks.values())

    async def _wait_ended(self) -> None:
        for task in list(self._tasks.values()):
            await task.ended.wait()

    def _current(self, task: TaskId) -> TaskRunner | None:
        """A task that is still the node's: one that is being ended no longer counts for its id."""
        return None if task in self._unwanted else self._tasks.get(task)

    # Holding

    def _hold(self, assignments: Iterable[Assignment]) -> None:
        new = [a for a in assignments if a.desired is Desired.RUN and not self._knows(a)]
        records = [record_of(assignment) for assignment in new]
        self._around.journal.save_all(records)
        for record in records:
            self._spawn(record)
        for assignment in assignments:
            if assignment.desired is Desired.STOP:
                self._end(assignment.task, assignment.stop_reason)

    def _end(self, task: TaskId, reason: str) -> None:
        """End a task because the manager says so; one that is not here has ended already."""
        self._successors.pop(task, None)
        is_unwanted = task in self._unwanted
        self._unwanted.discard(task)
        if task in self._aside:
            self._begin_end_aside(task)
            return
        self._wake(task)
        held = self._tasks.get(task)
        if held is None:
            self.outbox.note(TaskStatus(id=task, phase=Phase.STOPPED, sequence=1))
            return
        if is_unwanted:  # nothing was reported of it meanwhile
            self.outbox.note(self._outward(held))
        if not held.ended.is_set():
            held.stop(reason)

    async def _keep_only(self, wanted: set[TaskId], kept: set[str]) -> None:
        known = [*self._tasks, *self._dormant, *self._aside.tasks()]
        await self._dismiss_all([t for t in known if t not in wanted and t.service not in kept])

    async def _dismiss_all(self, tasks: Sequence[TaskId]) -> None:
        for piece in _pieces(tasks):
            self._dismiss(piece)
            await self._give_way()

    def _dismiss(self, tasks: Iterable[TaskId]) -> None:
        """End and forget: these are no longer this node's."""
        for task in list(tasks):
            self._unwanted.add(task)
            self._successors.pop(task, None)
            self.outbox.forget(task)
            if task in self._aside:
                self._begin_end_aside(task)
                continue
            self._dormant.pop(task, None)  # nothing of it runs, and how it ended has been told
            held = self._tasks.get(task)
            if held is None or held.ended.is_set():
                self._forget(task)
            else:
                held.stop("no longer assigned to this node")

    def _begin_end_aside(self, task: TaskId) -> None:
        if self._aside.begin_end(task):
            self._nursery.start_soon(self._end_aside, task)

    async def _end_aside(self, task: TaskId) -> None:
        await self._aside.end(task)
        if task not in self._unwanted and task not in self._successors:
            self.outbox.note(TaskStatus(id=task, phase=Phase.STOPPED, sequence=1))
        self._unwanted.discard(task)
        if not self._is_closing:
            self._succeed(task)

    def _forget(self, task: TaskId) -> None:
        self._unwanted.discard(task)
        held = self._tasks.pop(task, None)
        self.outbox.forget(task)
        self._around.journal.forget(task)
        self._succeed(task, after=0 if held is None else held.status().sequence)

    def _succeed(self, task: TaskId, *, after: int = 0) -> None:
        """Start what was assigned while its id was still taken. It continues the sequence of the
        task that had the id, or its reports would be taken for old."""
        successor = self._successors.pop(task, None)
        if successor is not None:
            self._around.journal.save(successor)
            self._spawn(successor, after=after)
        if task.service in self._gone:
            self._purge(())

    def _purge(self, services: Iterable[str]) -> None:
        """Drop the output of services that are no more; once their tasks are over."""
        self._gone.update(services)
        alive = {task.service for task in (*self._tasks, *self._aside.tasks())}
        for service in self._gone - alive:
            self._gone.discard(service)
            self._logs.purge(service)

    def _knows(self, assignment: Assignment) -> bool:
        """Whether the task is here; it gets other probes where only they differ. A manager whose
        state was restored from a backup may assign an id again: a task here of another spec, or
        one being ended, is removed, and then the task starts anew."""
        task = assignment.task
        if task in self._aside:  # its running instance is not doubled
            if self._aside.is_ending(task):
                self._successors[task] = record_of(assignment)
            return True
        self._wake(task)
        held = self._tasks.get(task)
        if held is None:
            return False
        if task not in self._unwanted and has_same_instances(held.spec, assignment.spec):
            self._take_spec(held, assignment)
            return True
        self._dismiss([task])
        if task not in self._tasks:
            return False
        self._successors[task] = record_of(assignment)
        return True

    def _take_spec(self, held: TaskRunner, assignment: Assignment) -> None:
        before = (held.spec, held.record.revision)
        if before != (assignment.spec, assignment.revision):
            held.exchange_probes(assignment.spec, assignment.revision)
            self.outbox.note(self._outward(held))

    def _wake(self, task: TaskId) -> None:
        record = self._dormant.pop(task, None)
        if record is not None:
            self._spawn(record)

    def _spawn(self, record: TaskRecord, *, after: int = 0) -> None:
        self._gone.discard(record.id.service)
        task = self._tasks[record.id] = TaskRunner(record, self._around, after=after)
        self._nursery.start_soon(self._run, task)

    async def _run(self, task: TaskRunner) -> None:
        await self._slots.enter(task)
        await self._around.turns.take()
        await task.run()
        self._slots.leave(task)
        if self._is_closing:
            return
        with survived(f"writing down the end of task {task.id}"):
            if not task.record.phase.is_end:  # stopped because the manager said so: for good
                ended = msgspec.structs.replace(task.record, phase=Phase.STOPPED)
                self._around.journal.save(ended)
            if task.id in self._unwanted:
                self._forget(task.id)

    # Reports

    def _published(self, status: TaskStatus, event: TaskEvent) -> None:
        held = self._tasks.get(event.task)
        told = msgspec.structs.replace(event, message=event.message[:MESSAGE_LIMIT])
        if event.task in self._unwanted:
            self.outbox.note_event(status.sequence, told)
        else:
            self.outbox.note(status if held is None else self._outward(held, status), told)
        self._outer_publish(status, event)

    def _outward(self, task: TaskRunner, status: TaskStatus | None = None) -> TaskStatus:
        """A task's status for the manager: stopped by our own shutdown, it has not ended."""
        status = (status or task.status()).bare()
        if status.last_end is not None and len(status.last_end.message) > END_LIMIT:
            end = msgspec.structs.replace(
                status.last_end, message=status.last_end.message[:END_LIMIT]
            )
            status = msgspec.structs.replace(status, last_end=end)
        if self._is_closing and status.phase in _NOT_AN_END and not task.record.phase.is_end:
            return msgspec.structs.replace(status, phase=task.record.phase)
        return status


def _pieces(whole: Sequence[T]) -> Iterable[Sequence[T]]:
    return (whole[i : i + HELD_AT_ONCE] for i in range(0, len(whole), HELD_AT_ONCE))

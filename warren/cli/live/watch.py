"""The manager's commits that a reporter of `warren up` needs: services, and tasks that no node
reports. Transitions of tasks come from the node itself, even where the disk is full.
"""

from __future__ import annotations

from collections.abc import Sequence

from warren.cli.live.reporter import Reporter
from warren.client.phrases import ago, waits_for
from warren.manager.commit_log import CommitLog
from warren.model.cluster import (
    Change,
    Desired,
    DropService,
    DropTask,
    PutService,
    PutTask,
    TaskRow,
)
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.task import Phase, TaskStatus
from warren.state.cluster_state import Touched
from warren.state.slot_index import is_as_wanted


class UpWatch:
    """Reports to a reporter, from `begin` on."""

    def __init__(self, commit_log: CommitLog, reporter: Reporter) -> None:
        self._commit_log = commit_log
        self._reporter = reporter
        self._ended = set[TaskId]()  # reported by their node

    def begin(self) -> None:
        """Report the present state, and then changes."""
        cluster = self._commit_log.cluster
        for service in cluster.services.values():
            self._reporter.set_service(service.spec)
            for row in cluster.current(service.name):
                if not row.has_ended:
                    self._tell_waiting(row)
                elif is_as_wanted(row, service):
                    self._tell_old(row)
        self._commit_log.on_commit.append(self._note)

    def publish(self, status: TaskStatus, event: TaskEvent) -> None:
        """A transition from the node."""
        if event.kind is EventKind.FINISHED:
            self._ended.add(status.id)
        self._reporter.note(status, event)

    def _note(self, changes: Sequence[Change], _touched: Touched) -> None:
        for change in changes:
            match change:
                case PutService(row):
                    self._reporter.set_service(row.spec)
                case DropService(name):
                    self._reporter.drop_service(name)
                case PutTask(row):
                    self._note_task(row)
                case DropTask(task):
                    self._ended.discard(task)
                case _:
                    pass

    def _note_task(self, row: TaskRow) -> None:
        if row.has_ended and row.desired is Desired.STOP:
            self._ended.discard(row.id)
            self._reporter.forget(row.id)
        elif row.has_ended and row.id not in self._ended:
            self._tell_old(row)
        elif not row.has_ended:
            self._tell_waiting(row)

    def _tell_waiting(self, row: TaskRow) -> None:
        """A task that is on no node yet, and why: no node reports it."""
        waits = waits_for(row.status, self._commit_log.now())
        if row.node is None and waits:
            self._tell(row, EventKind.PENDING, f"pending: {waits}")

    def _tell_old(self, row: TaskRow) -> None:
        """A task that had ended before: nothing else reports it."""
        self._ended.add(row.id)
        # See `Operator.run_again`: it had ended before, and was not stopped.
        is_run_again = row.phase is Phase.STOPPED and row.desired is Desired.RUN
        message = "ended" if is_run_again else row.phase.name.lower()
        end = row.status.last_end
        if end is not None:
            message += f" {ago(self._commit_log.now() - end.at)}: {end.message}"
        if is_run_again:
            message += "; runs again"
        self._tell(row, EventKind.FINISHED, message)

    def _tell(self, row: TaskRow, kind: EventKind, message: str) -> None:
        event = TaskEvent(at=self._commit_log.now(), task=row.id, kind=kind, message=message)
        self._reporter.note(row.status, event)

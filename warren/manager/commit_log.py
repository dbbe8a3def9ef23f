"""The cluster's state and its journal: every change goes through here, and first to the disk.

    commit -> in the file -> in the state -> the reconciler, the nodes, watchers wake
                                  `-> synced, in a thread -> acknowledged

Reports that wait are one transaction (docs/architecture.md, "The way of one probe result").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

import msgspec
import trio

from warren.manager.quarantine import Quarantine, isolate, told
from warren.model.cluster import AddEvent, Change, Entry, PutTask, Snapshot, TaskRow
from warren.model.errors import UnavailableError
from warren.model.event import NO_FACTS, TaskEvent
from warren.model.event_bounds import told_by_node
from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.rules.merge import merge
from warren.state.cluster_state import ClusterState, Touched
from warren.state.pending import shortened
from warren.store.errors import StoreError

RECHECK_WITHIN = 0.5  # seconds: somebody asks how the manager is
_log = logging.getLogger("warren.manager")


class Store(Protocol):
    """Where commits are written to; see store/state.py."""

    generation: int
    last_seq: int
    manager_id: str
    run: str
    last_run: str

    def load(self) -> Snapshot: ...

    def commit(
        self, changes: Sequence[Change], *, based_on: int | None = None, now: float
    ) -> int: ...

    def events(
        self, *, after: int = 0, since: float = 0.0, about: str = "", limit: int = 1000
    ) -> list[Entry]: ...

    def last_number(self, service: str) -> int: ...

    async def ready(self) -> None: ...

    async def settle(self) -> None: ...

    @property
    def trouble(self) -> str | None: ...

    def recheck(self) -> None: ...


class _Waiting:
    """A report that waits to be written."""

    def __init__(self, node: str, epoch: int, report: Report) -> None:
        self.node = node
        self.epoch = epoch
        self.report = report
        self.written = trio.Event()
        self.refusal: UnavailableError | None = None


class CommitLog:
    """The actual state, as far as the manager knows. `on_commit` is called with every change, must
    be quick and must not raise; `now` is wall time that never goes back, and moves on together with
    everything that waits for a time. `follow_clock` makes it do so, see clock.py."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        snapshot = store.load()
        self.quarantine = Quarantine(snapshot.faults)
        self.cluster = ClusterState.of(snapshot)
        self.follow_clock: Callable[[], None] = lambda: None
        self.on_commit: list[Callable[[Sequence[Change], Touched], None]] = []
        self._reports: list[_Waiting] = []
        self._reports_wait = trio.Event()

    def __repr__(self) -> str:
        return f"<CommitLog {self.cluster!r}>"

    def commit(self, changes: Sequence[Change], *, based_on: int | None = None) -> None:
        """All of these, or none. They survive this process when this returns, and are durable once
        they are settled. Raises UnavailableError."""
        if not changes:
            return
        with _available():
            generation = self.store.commit(changes, based_on=based_on, now=self.now())
        touched = self.cluster.apply(changes, generation)
        self.quarantine.forget(changes)
        for tell in self.on_commit:
            tell(changes, touched)

    async def ready(self) -> None:
        """A checkpoint; await it before a commit, which may otherwise wait for the disk, and all
        else with it."""
        await self.store.ready()

    async def settle(self) -> None:
        """Wait until all that was committed by now is durable: await it before anything is
        acknowledged. Raises UnavailableError."""
        await self.store.settle()

    async def recheck(self) -> None:
        """Where the last commit could not be written or synced, find out whether it can be now; not
        for long."""
        with suppress(UnavailableError), trio.move_on_after(RECHECK_WITHIN):
            await self.settle()
        self.store.recheck()

    def shorten_waits(self) -> None:
        """Shorten waits that became too long because the clock was set back. Once, at the start.
        Raises UnavailableError."""
        now, rows = self.now(), self.cluster.tasks.values()
        self.commit([PutTask(row) for row in (shortened(row, now) for row in rows) if row])

    def events(self, *, after: int, since: float, limit: int, about: str = "") -> list[Entry]:
        """The kept events. Raises UnavailableError."""
        with _available():
            return self.store.events(after=after, since=since, about=about, limit=limit)

    def last_number(self, service: str) -> int:
        """The greatest number that a task of this name ever had. Raises UnavailableError."""
        with _available():
            return self.store.last_number(service)

    async def report(self, node: str, epoch: int, report: Report) -> None:
        """Take a node's report. Durable when this returns. Raises UnavailableError."""
        waiting = _Waiting(node, epoch, report)
        self._reports.append(waiting)
        self._reports_wait.set()
        await waiting.written.wait()
        if waiting.refusal is not None:
            raise waiting.refusal
        await self.settle()

    async def serve_reports(self) -> NoReturn:
        """Write what waits, all of it at once, and wait for more."""
        while True:
            await self._reports_wait.wait()
            await self.ready()
            self._reports_wait = trio.Event()
            reports, self._reports = self._reports, []
            refusal = self._write(reports)
            for waiting in reports:
                waiting.refusal = refusal
                waiting.written.set()

    def _write(self, reports: Sequence[_Waiting]) -> UnavailableError | None:
        try:
            self._take(reports)
        except UnavailableError as error:
            return UnavailableError(str(error))
        except Exception:  # of one row, most likely: find it, and go on with the rest
            _log.exception("a report cannot be taken, which is a bug in Warren")
            return self._write_singly(reports)
        for waiting in reports:
            for status in waiting.report.statuses:
                self.quarantine.release_report(str(status.id))
        return None

    def _take(self, reports: Iterable[_Waiting]) -> None:
        builder = _Draft(self.cluster)
        for waiting in reports:
            builder.take(waiting.node, waiting.epoch, waiting.report)
        self.commit(builder.changes())

    def _write_singly(self, reports: Iterable[_Waiting]) -> UnavailableError | None:
        """Every report as far as it can be taken. The rest is acknowledged too: sent again it
        would fail again, and reports after it would never be read."""
        pieces = {str(i): piece for i, piece in enumerate(_pieces(reports))}

        def attempt(names: Collection[str]) -> None:
            self._take([pieces[name] for name in names])

        refused = set[str]()
        try:
            for name, error in isolate(list(pieces), attempt):
                subject = str(_task_of(pieces[name]))
                self.quarantine.add_report(subject, told(error))
                refused.add(subject)
        except UnavailableError as error:
            return UnavailableError(str(error))
        for piece in pieces.values():
            for status in piece.report.statuses:
                if str(status.id) not in refused:
                    self.quarantine.release_report(str(status.id))
        return None


def _pieces(reports: Iterable[_Waiting]) -> Iterator[_Waiting]:
    """The same, each status and each event by itself."""
    for waiting in reports:
        report = waiting.report
        for told_of in report.events:
            yield _Waiting(waiting.node, waiting.epoch, Report(events=(told_of,)))
        for status in report.statuses:
            yield _Waiting(waiting.node, waiting.epoch, Report(statuses=(status,)))


def _task_of(piece: _Waiting) -> TaskId:
    report = piece.report
    return report.statuses[0].id if report.statuses else report.events[0].event.task


@contextmanager
def _available() -> Generator[None, None, None]:
    """A damaged or foreign file does not end the manager: the tasks go on."""
    try:
        yield
    except StoreError as error:
        raise UnavailableError(str(error)) from None


class _Draft:
    """The changes that reports result in, in the order of arrival."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._rows: dict[TaskId, TaskRow] = {}
        self._events: list[AddEvent] = []

    def take(self, node: str, epoch: int, report: Report) -> None:
        told = [t for t in report.events if self._is_news(node, epoch, t)]
        for status in report.statuses:
            row = self._row(status.id)
            if row is not None and row.node == node:
                merged = merge(row, status, epoch=epoch)
                if merged is not None:
                    self._rows[status.id] = merged
        for one in told:
            self._events.append(AddEvent(_entry(one.event, node)))
            self._note_told(one, epoch)

    def changes(self) -> list[Change]:
        return [*(PutTask(row) for row in self._rows.values()), *self._events]

    def _row(self, task: TaskId) -> TaskRow | None:
        return self._rows.get(task) or self._cluster.tasks.get(task)

    def _is_news(self, node: str, epoch: int, told: Told) -> bool:
        row = self._row(told.event.task)
        if row is None or row.node != node:
            return False
        return (epoch, told.sequence) > (row.epoch, row.status.sequence)

    def _note_told(self, told: Told, epoch: int) -> None:
        """So that the row has the sequence up to which events are kept."""
        row = self._row(told.event.task)
        if row is not None and (row.epoch, row.status.sequence) < (epoch, told.sequence):
            status = msgspec.structs.replace(row.status, sequence=told.sequence)
            self._rows[row.id] = msgspec.structs.replace(row, epoch=epoch, status=status)


def _entry(told: TaskEvent, node: str) -> Entry:
    event = told_by_node(told)
    return Entry(
        at=event.at,
        kind=event.kind,
        word=event.word,
        subject=str(event.task),
        message=event.message,
        reason=event.reason,
        service=event.task.service,
        facts=msgspec.structs.replace(event.facts or NO_FACTS, node=node),
    )

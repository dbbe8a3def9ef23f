"""A manager that is not there: it keeps services, tasks, events and logs, and runs a script.

A step of the script runs whenever somebody waits for an event, or for a change, and there is none.
When no step is left, the waiting person presses Ctrl-C.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from warren.cli import main
from warren.model.check import Outcome, Result, Sample
from warren.model.cluster import Desired, Entry
from warren.model.errors import (
    ConflictError,
    InvalidError,
    LinkLostError,
    NotFoundError,
    SpecError,
    WarrenError,
)
from warren.model.event import EventFacts, kind_named
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.rpc import EVENTS_AT_ONCE
from warren.model.service import ServiceSpec
from warren.model.task import Instance, Phase, TaskStatus
from warren.model.usage import TaskUsage, Usage
from warren.model.view import (
    Action,
    Applied,
    KeptLog,
    KeptLogs,
    LogChunk,
    LogMark,
    LogPiece,
    LogWanted,
    ManagerStatus,
    NodeState,
    NodeView,
    ServiceView,
    TaskDetail,
    TaskView,
    WatchAnswer,
    WatchWanted,
)
from warren.rules.admission import admit
from warren.rules.health import probes

BORN = 1_764_000_000.0  # wall time
Step = Callable[["FakeCluster"], None]
replace = msgspec.structs.replace


class FakeCluster:
    """Plays `Cluster`. `calls` has the names of what was asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, ServiceView] = {}
        self.past: list[TaskView] = []
        self.entries: list[Entry] = []
        self.logs: dict[tuple[str, int, str], bytes] = {}
        self.marks: dict[tuple[str, int, str], list[LogMark]] = {}
        self.silent: dict[str, int] = {}  # nodes that do not answer, and how often
        self.history: dict[TaskId, dict[ProbeKind, tuple[Sample, ...]]] = {}
        self.usages: dict[TaskId, Usage] = {}
        self.known_nodes = [NodeView(name="n1", state=NodeState.READY, joined_at=BORN)]
        self.manager = ManagerStatus(
            warren="0.1.0", pid=4321, started_at=BORN, nodes_ready=1, nodes=1
        )
        self.script: deque[Step] = deque()
        self.refusals: dict[str, deque[WarrenError]] = {}
        self.calls: list[str] = []
        self.links = 0
        self.closed: deque[LinkLostError] = deque()  # links that cannot be opened, in order
        self._news = trio.Event()
        self._watched = list[ServiceView | None]()  # by cursor

    # What a script does

    def have(self, spec: ServiceSpec) -> None:
        """A service that is there already."""
        self.rows[spec.name] = ServiceView(spec=spec, version=1, created_at=BORN, updated_at=BORN)

    def say(
        self,
        kind: str,
        subject: str,
        message: str = "",
        *,
        reason: str = "",
        by: str = "",
        facts: EventFacts | None = None,
    ) -> None:
        """Something happens."""
        service = subject.partition(".")[0]
        known, word = kind_named(kind)
        self.entries.append(
            Entry(
                at=BORN + len(self.entries), kind=known, word=word, subject=subject,
                message=message, facts=facts, reason=reason, service=service,
                seq=self.last_seq + 1, by=by,
            )
        )  # fmt: skip
        self._news.set()
        self._news = trio.Event()

    @property
    def last_seq(self) -> int:
        return self.entries[-1].seq if self.entries else 0

    def put_task(
        self,
        name: str,
        slot: int,
        *,
        number: int = 1,
        node: str | None = "n1",
        is_outdated: bool = False,
        is_stale: bool = False,
        slot_restarts: int = 0,
        **fields: Any,
    ) -> TaskView:
        """The current task of a slot."""  # fmt: skip
        task = TaskId(name, slot, number)
        known: dict[str, Any] = {"id": task, "phase": Phase.PENDING, **fields}
        status = TaskStatus(**known)
        view = TaskView(id=task, status=status, created_at=BORN, node=node,
                        is_outdated=is_outdated, is_stale=is_stale,
                        slot_restarts=slot_restarts or status.restarts)  # fmt: skip
        row = self.rows[name]
        others = [one for one in row.tasks if one.id.slot != slot]
        self.past += [one for one in row.tasks if one.id.slot == slot and one.id != task]
        tasks = sorted([*others, view], key=lambda one: one.id.slot)
        self.rows[name] = replace(row, tasks=tuple(tasks))
        return view

    def run_task(self, name: str, slot: int, *, number: int = 1, **fields: Any) -> None:
        """The slot's task runs and is ready, and there is an event of it."""
        instance = Instance(
            id=f"{name}.{slot}-{number}.1-ab",
            task=TaskId(name, slot, number),
            pid=100 + slot,
            started_at=BORN,
            ports={"http": 20_000 + slot},
        )
        running: dict[str, Any] = {"phase": Phase.RUNNING, "ready": True, "instance": instance}
        self.put_task(name, slot, number=number, **{**running, **fields})
        self.say("ready", f"{name}.{slot}#{number}")

    def drop_task(self, name: str, slot: int) -> None:
        """There is no task in the slot any more."""
        row = self.rows[name]
        self.rows[name] = replace(row, tasks=tuple(t for t in row.tasks if t.id.slot != slot))
        self.say("finished", f"{name}.{slot}#1", "finished")

    def drop(self, name: str) -> None:
        """The service is gone."""
        del self.rows[name]
        self.say("removed", name, "removed")

    def write(self, name: str, slot: int, data: bytes, *, node: str = "n1") -> None:
        """A slot's output grows."""
        self.logs[name, slot, node] = self.logs.get((name, slot, node), b"") + data
        self._news.set()
        self._news = trio.Event()

    # ClusterView

    async def services(self, *, after: str = "", limit: int = 0) -> list[ServiceView]:
        await self._called("services")
        found = [self.rows[name] for name in sorted(self.rows) if name > after]
        return found[: limit or None]

    async def service(self, name: str) -> ServiceView:
        await self._called("service")
        return self._row(name)

    async def tasks(self, *, service: str = "", past: bool = False) -> list[TaskView]:
        await self._called("tasks")
        rows = [self._row(service)] if service else [self.rows[name] for name in sorted(self.rows)]
        found = [task for row in rows for task in row.tasks]
        gone = [task for task in self.past if not service or task.id.service == service]
        return [*gone, *found] if past else found

    async def task(self, task: TaskId) -> TaskDetail:
        await self._called("task")
        samples = self.history.get(task, {})
        for row in self.rows.values():
            for view in (*row.tasks, *self.past):
                if view.id == task and task.service == row.spec.name:
                    return TaskDetail(
                        task=view, spec=row.spec, samples=samples, usage=self.usages.get(task)
                    )
        raise NotFoundError(f"task {str(task)!r}: there is no such task")

    async def nodes(self, *, after: str = "", limit: int = 0) -> list[NodeView]:
        await self._called("nodes")
        return [node for node in self.known_nodes if node.name > after][: limit or None]

    async def events(
        self,
        *,
        after: int = 0,
        since: float = 0.0,
        limit: int = EVENTS_AT_ONCE,
        wait: bool = False,
        about: str = "",
    ) -> list[Entry]:
        await self._called("events")
        while True:
            found = [e for e in self.entries if e.seq > after and e.at >= since]
            found = [e for e in found if not about or about in (e.service, e.subject)]
            if found or not wait:
                return found[:limit]
            await self._next_step()

    async def last_event(self) -> int:
        await self._called("last_event")
        return self.last_seq

    async def watch(
        self, wanted: WatchWanted, *, cursor: str = "", wait: bool = False
    ) -> WatchAnswer:
        await self._called("watch")
        while True:
            now = self.rows.get(wanted.service)
            if not cursor or self._watched[int(cursor)] != now:
                break
            if not wait:
                return WatchAnswer(cursor=cursor)
            await self._next_step()
        self._watched.append(now)
        return WatchAnswer(
            cursor=str(len(self._watched) - 1),
            is_whole=True,
            services=() if now is None else (replace(now, tasks=()),),
            tasks=() if now is None else now.tasks,
        )

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        raise AssertionError(f"{task}: `output` is what is asked, and not {cursor, tail, wait}")

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        await self._called("output")
        while True:
            for one in wanted:
                self._row(one.service)
            found = [self._piece(index, one) for index, one in enumerate(wanted)]
            pieces = [piece for piece in found if piece is not None]
            if pieces or not wait:
                return pieces
            await self._news.wait()

    async def kept_logs(self, service: str) -> KeptLogs:
        await self._called("kept_logs")
        self._row(service)
        keys = sorted(key for key in self.logs if key[0] == service)
        logs = [KeptLog(slot=slot, node=node) for _, slot, node in keys]
        kept = tuple(log for log in logs if log.node not in self.silent)
        return KeptLogs(logs=kept, silent=tuple(sorted(self.silent)))

    def _piece(self, index: int, one: LogWanted) -> LogPiece | None:
        if self.silent.get(one.node, 0):
            self.silent[one.node] -= 1
            return LogPiece(index=index, absent=f"node {one.node} does not answer")
        key = (one.service, one.slot, one.node)
        data = self.logs.get(key, b"")
        begin = int(one.cursor or 0)
        if not one.cursor and one.tail is not None:
            last = data.splitlines(keepends=True)[-one.tail :] if one.tail else []
            begin = len(data) - sum(map(len, last))
        chunk = data[begin : begin + 16]
        if one.cursor and not chunk:
            return None
        marks = [
            replace(mark, offset=mark.offset - begin)
            for mark in self.marks.get(key, [])
            if mark.offset >= begin and (mark.offset < begin + len(chunk) or not mark.task)
        ]
        cursor = str(begin + len(chunk))
        return LogPiece(index=index, chunk=LogChunk(data=chunk, cursor=cursor, marks=tuple(marks)))

    async def usage(self, *, service: str = "") -> list[TaskUsage]:
        await self._called("usage")
        known = [view.id for row in self.rows.values() for view in row.tasks]
        return [TaskUsage(task=t, usage=self.usages[t]) for t in known if t in self.usages]

    async def status(self) -> ManagerStatus:
        await self._called("status")
        return self.manager

    # Cluster

    async def create(self, spec: ServiceSpec) -> ServiceView:
        await self._called("create")
        spec = self._admitted(spec)
        if spec.name in self.rows:
            raise ConflictError(f"service {spec.name!r}: exists already")
        self.rows[spec.name] = ServiceView(spec=spec, version=1, created_at=BORN, updated_at=BORN)
        self.say("created", spec.name, "created")
        return self.rows[spec.name]

    async def update(self, spec: ServiceSpec, *, base: int = 0) -> ServiceView:
        await self._called("update")
        spec, row = self._admitted(spec), self._row(spec.name)
        if base and base != row.version:
            raise ConflictError(f"service {spec.name!r}: was changed meanwhile")
        if spec == row.spec:
            return row
        tasks = tuple(replace(task, is_outdated=True) for task in row.tasks)
        self.rows[spec.name] = replace(row, spec=spec, version=row.version + 1, tasks=tasks)
        self.say("updated", spec.name, "updated")
        return self.rows[spec.name]

    async def scale(self, name: str, replicas: int) -> ServiceView:
        await self._called("scale")
        row = self._row(name)
        tasks = tuple(
            replace(task, desired=Desired.RUN if number < replicas else Desired.STOP)
            for number, task in enumerate(row.tasks)
        )
        spec = replace(row.spec, replicas=replicas)
        version = row.version + (spec != row.spec)
        self.rows[name] = replace(row, version=version, spec=spec, tasks=tasks)
        self.say("scaled", name, f"scaled to {replicas}")
        return self.rows[name]

    async def restart(self, name: str) -> ServiceView:
        await self._called("restart")
        row = self._row(name)
        tasks = tuple(replace(task, is_outdated=True) for task in row.tasks)
        self.rows[name] = replace(row, version=row.version + 1, tasks=tasks)
        self.say("restarting", name, "restarting")
        return self.rows[name]

    async def remove(self, name: str) -> None:
        await self._called("remove")
        self.rows[name] = replace(self._row(name), is_removing=True)
        self.say("removing", name, "removing")

    async def remove_node(self, name: str, *, force: bool = False) -> None:
        await self._called("remove_node")
        node = next((node for node in self.known_nodes if node.name == name), None)
        if node is None:
            raise NotFoundError(f"no such node: {name}")
        if node.state is not NodeState.DOWN and not force:
            raise ConflictError(f"node {name} is {node.state.value}")
        self.known_nodes.remove(node)

    async def apply(
        self, specs: Sequence[ServiceSpec], *, prune: bool = False, dry_run: bool = False
    ) -> list[Applied]:
        await self._called("apply")
        done: list[Applied] = []
        for spec in map(self._admitted, specs):
            old = self.rows.get(spec.name)
            done.append(Applied(spec.name, _action(old, spec)))
            if not dry_run:
                fresh = ServiceView(spec=spec, version=1, created_at=BORN, updated_at=BORN)
                self.rows[spec.name] = fresh if old is None else replace(old, spec=spec)
        for name in sorted({*self.rows} - {spec.name for spec in specs}) if prune else ():
            done.append(Applied(name, Action.REMOVED))
            if not dry_run:
                self.drop(name)
        return done

    def _row(self, name: str) -> ServiceView:
        if name not in self.rows:
            raise NotFoundError(f"service {name!r}: there is no such service")
        return self.rows[name]

    async def _next_step(self) -> None:
        await trio.testing.wait_all_tasks_blocked()  # the other waiters have what there was
        if not self.script:
            raise KeyboardInterrupt
        self.script.popleft()(self)

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await trio.lowlevel.checkpoint()
        if self.refusals.get(name):
            raise self.refusals[name].popleft()

    @staticmethod
    def _admitted(spec: ServiceSpec) -> ServiceSpec:
        try:
            return admit(spec)
        except SpecError as error:
            raise InvalidError(str(error), error.field) from None


def _action(old: ServiceView | None, spec: ServiceSpec) -> Action:
    if old is None:
        return Action.CREATED
    if old.spec == spec:
        return Action.UNCHANGED
    return Action.SCALED if replace(old.spec, replicas=spec.replicas) == spec else Action.UPDATED


def sample(result: Result, detail: str, *, at: float = BORN, seconds: float = 0.0012) -> Sample:
    """One kept outcome."""
    return Sample(at, Outcome(result, detail, seconds))


def probe_kinds(spec: ServiceSpec) -> list[ProbeKind]:
    """Which probes a spec has."""
    return [*probes(spec)]


class Person:
    """Somebody at a shell: what they type, and what they read."""

    def __init__(self, cluster: FakeCluster, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self.cluster = cluster
        self.out = ""
        self.err = ""
        self.raw = b""
        self._captured = capfdbinary

    def types(self, *arguments: str) -> int:
        """Run a command; its output is in `out` and `err` afterwards."""
        status = self.types_raw(*arguments)
        self.out = self.raw.decode()
        return status

    def types_raw(self, *arguments: str) -> int:
        """The same where the output is no text; it is in `raw`."""
        status = main(arguments)
        self.raw, err = self._captured.readouterr()
        self.err = err.decode()
        return status


@contextlib.asynccontextmanager
async def opened(cluster: FakeCluster) -> AsyncGenerator[FakeCluster, None]:
    """What stands in for `open_cluster`."""
    await trio.lowlevel.checkpoint()
    if cluster.closed:
        raise cluster.closed.popleft()
    cluster.links += 1
    yield cluster

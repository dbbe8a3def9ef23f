"""What there is to see: the world, and what the nodes say when asked (S24)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
import trio

from warren import __version__
from warren.manager import output
from warren.manager.books import Books
from warren.manager.desk import Desk
from warren.manager.looks import LOOK_WITHIN
from warren.manager.quarantine import MEND
from warren.manager.reconciler import Reconciler
from warren.manager.strangers import WHAT_TO_DO
from warren.model.check import Sample
from warren.model.cluster import Entry, NodeRow, ServiceRow, TaskRow
from warren.model.condition import NodeCondition
from warren.model.errors import (
    ConflictError,
    NotFoundError,
    WarrenError,
)
from warren.model.identity import TaskId
from warren.model.link import EVENTS_AT_ONCE
from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec
from warren.model.task import MOST_COUNTED, TaskStatus
from warren.model.view import (
    KeptLogs,
    LogChunk,
    LogPiece,
    LogWanted,
    ManagerStatus,
    NodeState,
    NodeView,
    ServiceView,
    TaskDetail,
    TaskView,
)
from warren.rules.masking import masked
from warren.rules.slots import is_as_wanted, restarts_in
from warren.watch.conditions import Conditions

SHOWN_AT_ONCE = 1000  # tasks and services


class Inside(Protocol):
    """The manager's parts, as its capabilities see them."""

    books: Books
    desk: Desk
    reconciler: Reconciler
    conditions: Conditions
    started_at: float


class _Told:
    """What the nodes have said: `fresh` is how tasks stand now, `silent` those whose node did not
    answer. One that is in neither was not asked for, or its node has not got it (yet, or any
    more): nothing newer is to be known of it than was reported."""

    def __init__(self) -> None:
        self.fresh = dict[TaskId, TaskStatus]()
        self.silent = set[TaskId]()


class _Pace:
    """Of one call: whoever looks at thousands lets others in between."""

    def __init__(self) -> None:
        self._shown = 0

    async def step(self) -> None:
        self._shown += 1
        if self._shown % SHOWN_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()


class Viewer:
    """Plays `ClusterView`."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._books = inside.books
        self._desk = inside.desk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._books!r}>"

    async def services(self) -> list[ServiceView]:
        world = self._books.world
        rows = [task for name in world.services for task in world.current(name)]
        told, pace = await self._ask(rows), _Pace()
        return [
            await self._service(row, told, pace)
            for name in sorted(world.services)
            if (row := self._books.world.services.get(name)) is not None  # it may go meanwhile
        ]

    async def service(self, name: str) -> ServiceView:
        self._row(name)
        told = await self._ask(self._books.world.current(name))
        return await self._service(self._row(name), told, _Pace())

    async def tasks(self, *, service: str = "", past: bool = False) -> list[TaskView]:
        world = self._books.world
        names = [self._row(service).name] if service else sorted(world.services)
        pick = world.of_service if past else world.current
        rows = [task for name in names for task in pick(name)]
        told = await self._ask(rows)
        return await self._tasks(rows, told, _Pace())

    async def task(self, task: TaskId) -> TaskDetail:
        row = self._task_row(task)
        session = self._desk.session(row.node)
        samples: Mapping[ProbeKind, tuple[Sample, ...]] = {}

        async def ask_samples() -> None:
            nonlocal samples
            if session is not None and not row.has_ended:
                with trio.move_on_after(LOOK_WITHIN), suppress(WarrenError):
                    samples = await session.agent.samples(task)

        async with trio.open_nursery() as nursery:  # a silent node is waited for once (S24)
            nursery.start_soon(ask_samples)
            told = await self._ask([row])
        spec = self._shown(row.spec)
        return TaskDetail(task=self._task(row, told), spec=spec, samples=samples)

    async def nodes(self) -> list[NodeView]:
        await trio.lowlevel.checkpoint()
        strangers = self._desk.strangers()
        views = {row.name: self._node(row) for row in self._books.world.nodes.values()}
        for name, stranger in strangers.items():
            known = views.get(name)
            views[name] = (
                stranger if known is None else msgspec.structs.replace(known, state=stranger.state)
            )
        return [views[name] for name in sorted(views)]

    async def events(
        self,
        *,
        after: int = 0,
        since: float = 0.0,
        limit: int = EVENTS_AT_ONCE,
        wait: bool = False,
        about: str = "",
    ) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        limit = max(1, min(limit, EVENTS_AT_ONCE))
        while True:
            found = self._books.events(after=after, since=since, about=about, limit=limit)
            if found or not wait:
                return found
            after = max(after, self._books.store.last_seq)  # up to there nothing is meant
            await self._books.wait_event()

    async def last_event(self) -> int:
        await trio.lowlevel.checkpoint()
        return self._books.store.last_seq

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        row = self._task_row(task)
        if row.node is None:
            raise NotFoundError(f"task {task} has no output: it is not placed yet")
        wanted = LogWanted(
            service=task.service, slot=task.slot, node=row.node, cursor=cursor, tail=tail or None
        )
        return await output.read_one(self._desk, wanted, wait=wait)

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        for name in {one.service for one in wanted}:
            self._row(name)
        return await output.read_several(self._desk, wanted, wait=wait)

    async def kept_logs(self, service: str) -> KeptLogs:
        self._row(service)
        placed = {row.node for row in self._books.world.of_service(service) if row.node is not None}
        return await output.kept_logs(self._desk, service, placed)

    async def status(self) -> ManagerStatus:
        await trio.lowlevel.checkpoint()
        self._books.store.recheck()  # trouble that nobody has written since may be over
        world = self._books.world
        return ManagerStatus(
            warren=__version__,
            pid=os.getpid(),
            started_at=self._inside.started_at,
            generation=world.generation,
            services=len(world.services),
            tasks=sum(world.count_on(node) for node in world.nodes),
            nodes_ready=len(self._desk.connected()),
            nodes=len(world.nodes),
            trouble=tuple(self._trouble()),
        )

    def _trouble(self) -> Iterable[str]:
        trouble = (self._books.store.trouble, self._inside.reconciler.trouble)
        yield from dict.fromkeys(said for said in trouble if said)
        for one in self._inside.conditions.current():
            yield f"manager: {one.kind}: {one.message}"
        yield from self._books.quarantine.troubles()
        strangers = self._desk.strangers()
        for name in strangers:
            yield f"node {name} refuses this manager: it belongs to another; {WHAT_TO_DO}"
        for node in self._books.world.nodes.values():
            state = self._desk.state(node)
            if state is not NodeState.READY and node.name not in strangers:
                yield f"node {node.name} is {state.value}"
            for one in self._conditions(node.name):
                yield f"node {node.name}: {one.kind}: {one.message}"

    def _conditions(self, node: str) -> tuple[NodeCondition, ...]:
        session = self._desk.session(node)
        return () if session is None else session.conditions

    # From rows to views

    def _shown(self, spec: ServiceSpec) -> ServiceSpec:
        """A spec as this one may see it."""
        return masked(spec)

    def _row(self, name: str) -> ServiceRow:
        row = self._books.world.services.get(name)
        if row is None:
            self._refuse_unread(name)
            raise NotFoundError(f"no such service: {name}")
        return row

    def _refuse_unread(self, name: str) -> None:
        why = self._books.quarantine.unread.get(name)
        if why is not None:
            raise ConflictError(f"service {name} is set aside: {why}; {MEND}")

    def _task_row(self, task: TaskId) -> TaskRow:
        row = self._books.world.tasks.get(task)
        if row is None:
            self._refuse_unread(task.service)
            raise NotFoundError(f"no such task: {task}")
        return row

    async def _tasks(self, rows: Sequence[TaskRow], told: _Told, pace: _Pace) -> list[TaskView]:
        views = list[TaskView]()
        for row in rows:
            views.append(self._task(row, told))
            await pace.step()
        return views

    async def _service(self, row: ServiceRow, told: _Told, pace: _Pace) -> ServiceView:
        await pace.step()
        tasks = self._books.world.current(row.name)
        return ServiceView(
            spec=self._shown(row.spec),
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
            is_removing=row.is_removing,
            tasks=tuple(await self._tasks(tasks, told, pace)),
        )

    def _task(self, row: TaskRow, told: _Told) -> TaskView:
        world = self._books.world
        service = world.services.get(row.id.service)
        status = _newer(row, told.fresh.get(row.id))
        if status.revision not in (0, row.revision):  # what it was given last is on its way
            status = msgspec.structs.replace(status, is_proving=not row.has_ended)
        chain = [one for one in world.slot(row.id.service, row.id.slot) if one.id <= row.id]
        restarts = restarts_in(chain) + status.restarts - row.status.restarts
        return TaskView(
            id=row.id,
            status=status,
            created_at=row.created_at,
            node=row.node,
            desired=row.desired,
            is_stale=row.id in told.silent and not row.has_ended,
            is_outdated=service is not None and not is_as_wanted(row, service),
            slot_restarts=max(0, min(restarts, MOST_COUNTED)),
        )

    def _node(self, row: NodeRow) -> NodeView:
        session = self._desk.session(row.name)
        return NodeView(
            name=row.name,
            state=self._desk.state(row),
            joined_at=row.joined_at,
            lost_at=row.lost_at,
            warren=row.warren,
            tasks=self._books.world.count_on(row.name),
            conditions=self._conditions(row.name),
            containment="" if session is None else session.containment,
            places=() if session is None else session.places,
        )

    async def _ask(self, rows: Sequence[TaskRow]) -> _Told:
        """How tasks stand now, by their nodes, all asked at once."""
        by_node: dict[str, list[TaskId]] = {}
        for row in rows:
            if row.node is not None and not row.has_ended:
                by_node.setdefault(row.node, []).append(row.id)
        told = _Told()

        async def ask(node: str, tasks: Sequence[TaskId]) -> None:
            session = self._desk.session(node)
            fresh = None if session is None else await session.look(tasks)
            if fresh is None:
                told.silent.update(tasks)
            else:
                told.fresh.update(fresh)

        async with trio.open_nursery() as nursery:
            for node, tasks in by_node.items():
                nursery.start_soon(ask, node, tasks)
        return told


def _newer(row: TaskRow, fresh: TaskStatus | None) -> TaskStatus:
    """What the node says, unless what it has reported is ahead of that by now."""
    is_behind = fresh is None or row.has_ended or fresh.phase < row.phase
    return row.status if is_behind or fresh is None else fresh

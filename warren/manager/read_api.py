"""The reads: the cluster's state, and what the nodes answer when asked (S24)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import trio

from warren import __version__
from warren.manager import kept_output
from warren.manager.answer_pages import page_of_nodes, page_of_services, room_for_changes
from warren.manager.inside import Inside, troubled_nodes, troubles
from warren.manager.quarantine import MEND
from warren.manager.shared_queries import LOOK_WITHIN
from warren.manager.usages import usages_of
from warren.manager.watchers import News
from warren.model.check import Sample
from warren.model.cluster import Entry, NodeRow, ServiceRow, TaskRow
from warren.model.condition import NodeCondition
from warren.model.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    WarrenError,
)
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.rpc import EVENTS_AT_ONCE
from warren.model.service import ServiceSpec
from warren.model.task import MOST_COUNTED, Phase, TaskStatus
from warren.model.usage import TaskUsage
from warren.model.view import (
    KeptLogs,
    LogChunk,
    LogPiece,
    LogWanted,
    ManagerStatus,
    NodeView,
    ServiceView,
    SlotName,
    TaskDetail,
    TaskView,
    WatchAnswer,
    WatchWanted,
)
from warren.resilience.fair_turns import FairTurns
from warren.rules.masking import masked
from warren.state.slot_index import is_as_wanted, restarts_in

SHOWN_AT_ONCE = 50  # tasks and services


class _Told:
    """The nodes' answers: `fresh` is the present status of tasks, `silent` those whose node did not
    answer. A task in neither was not asked for, or its node does not have it (yet, or any more):
    nothing newer than its report is known."""

    def __init__(self) -> None:
        self.fresh = dict[TaskId, TaskStatus]()
        self.silent = set[TaskId]()


class _Pace:
    """The turns of one call: what reads thousands lets others run in between, other calls and all
    else; however many such calls there are, they share what a pass of the loop has room for."""

    def __init__(self, turns: FairTurns) -> None:
        self._turns = turns
        self._shown = 0

    async def step(self) -> None:
        self._shown += 1
        if self._shown % SHOWN_AT_ONCE == 0:
            await self._turns.take()


class ReadApi:
    """Implements `ClusterView`."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._commit_log = inside.commit_log
        self._dispatcher = inside.dispatcher

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._commit_log!r}>"

    async def services(self, *, after: str = "", limit: int = 0) -> list[ServiceView]:
        cluster, pace = self._commit_log.cluster, _Pace(self._inside.turns)
        names = sorted(name for name in cluster.services if name > after)
        if limit > 0:
            names = await page_of_services(cluster, names[:limit], pace.step)
        rows = [task for name in names for task in cluster.current(name)]
        told = await self._ask(rows)
        return [
            await self._service(row, told, pace)
            for name in names
            if (row := cluster.services.get(name)) is not None  # it may go meanwhile
        ]

    async def service(self, name: str) -> ServiceView:
        self._row(name)
        told = await self._ask(self._commit_log.cluster.current(name))
        return await self._service(self._row(name), told, _Pace(self._inside.turns))

    async def tasks(self, *, service: str = "", past: bool = False) -> list[TaskView]:
        cluster = self._commit_log.cluster
        names = [self._row(service).name] if service else sorted(cluster.services)
        pick = cluster.of_service if past else cluster.current
        rows = [task for name in names for task in pick(name)]
        told = await self._ask(rows)
        return await self._tasks(rows, told, _Pace(self._inside.turns))

    async def task(self, task: TaskId) -> TaskDetail:
        row = self._task_row(task)
        session = self._dispatcher.session(row.node)
        samples: Mapping[ProbeKind, tuple[Sample, ...]] = {}

        async def ask_samples() -> None:
            nonlocal samples
            if session is not None and not row.has_ended:
                with trio.move_on_after(LOOK_WITHIN), suppress(WarrenError):
                    samples = await session.agent.samples(task)

        async def ask_usage() -> None:
            usages.extend(await usages_of(self._dispatcher, [row]))

        usages = list[TaskUsage]()
        async with trio.open_nursery() as nursery:  # a silent node is waited for once (S24)
            nursery.start_soon(ask_samples)
            nursery.start_soon(ask_usage)
            told = await self._ask([row])
        usage = usages[0].usage if usages else None
        view, spec = self._task(row, told), self._shown(row.spec)
        return TaskDetail(task=view, spec=spec, samples=samples, usage=usage)

    async def usage(self, *, service: str = "") -> list[TaskUsage]:
        cluster = self._commit_log.cluster
        names = [self._row(service).name] if service else sorted(cluster.services)
        rows = [task for name in names for task in cluster.current(name)]
        return await usages_of(self._dispatcher, rows)

    async def nodes(self, *, after: str = "", limit: int = 0) -> list[NodeView]:
        await trio.lowlevel.checkpoint()
        foreign_nodes = self._dispatcher.foreign_nodes()
        views = {row.name: self._node(row) for row in self._commit_log.cluster.nodes.values()}
        for name, stranger in foreign_nodes.items():
            known = views.get(name)
            views[name] = (
                stranger if known is None else msgspec.structs.replace(known, state=stranger.state)
            )
        shown = [views[name] for name in sorted(views) if name > after]
        return page_of_nodes(shown[:limit]) if limit > 0 else shown

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
            found = self._commit_log.events(after=after, since=since, about=about, limit=limit)
            if found or not wait:
                return found
            after = max(after, self._commit_log.store.last_seq)  # up to there nothing matches
            await self._inside.watchers.wait_event(about)

    async def last_event(self) -> int:
        await trio.lowlevel.checkpoint()
        return self._commit_log.store.last_seq

    async def watch(
        self, wanted: WatchWanted, *, cursor: str = "", wait: bool = False
    ) -> WatchAnswer:
        await trio.lowlevel.checkpoint()
        if not (wanted.services or wanted.tasks or wanted.nodes):
            raise InvalidError("wanted: nothing; want services, tasks or nodes")
        if wanted.service not in self._commit_log.cluster.services:
            self._refuse_unread(wanted.service)
        watchers = self._inside.watchers
        while True:
            await self._inside.turns.take()  # a commit may wake hundreds of watchers
            takes = room_for_changes(self._commit_log.cluster, self._node)
            news = watchers.news(cursor, wanted, takes)
            if news.changed.any or news.is_whole or not wait:
                return await self._watched(news)
            await watchers.wait(wanted)

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        row = self._task_row(task)
        if row.node is None:
            raise NotFoundError(f"task {task} has no output: it is not placed yet")
        wanted = LogWanted(
            service=task.service, slot=task.slot, node=row.node, cursor=cursor, tail=tail or None
        )
        return await kept_output.read_one(self._dispatcher, wanted, wait=wait)

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        for name in {one.service for one in wanted}:
            self._row(name)
        return await kept_output.read_several(self._dispatcher, wanted, wait=wait)

    async def kept_logs(self, service: str) -> KeptLogs:
        self._row(service)
        placed = {
            row.node for row in self._commit_log.cluster.of_service(service) if row.node is not None
        }
        return await kept_output.kept_logs(self._dispatcher, service, placed)

    async def status(self) -> ManagerStatus:
        await trio.lowlevel.checkpoint()
        await self._commit_log.recheck()  # trouble without a write since then may be over
        cluster = self._commit_log.cluster
        return ManagerStatus(
            warren=__version__,
            pid=os.getpid(),
            started_at=self._inside.started_at,
            generation=cluster.generation,
            services=len(cluster.services),
            tasks=sum(cluster.count_on(node) for node in cluster.nodes),
            nodes_ready=len(self._dispatcher.connected()),
            nodes=len(cluster.nodes),
            trouble=tuple(troubles(self._inside)),
            troubled_nodes=tuple(troubled_nodes(self._inside)),
        )

    def _conditions(self, node: str) -> tuple[NodeCondition, ...]:
        session = self._dispatcher.session(node)
        return () if session is None else session.conditions

    async def _watched(self, news: News) -> WatchAnswer:
        """These things as they are now, which may be later than at the cursor: they are told again
        then. By what was reported: no node is asked."""
        cluster, told, pace = self._commit_log.cluster, _Told(), _Pace(self._inside.turns)
        changed = news.changed
        services, tasks, nodes = list[ServiceView](), list[TaskView](), list[NodeView]()
        gone_services, gone_slots, gone_nodes = list[str](), list[SlotName](), list[str]()
        for name in changed.services:
            await pace.step()
            row = cluster.services.get(name)
            if row is None:
                gone_services.append(name)
            else:
                services.append(self._service_alone(row))
        for slot in changed.slots:
            await pace.step()
            chain = cluster.slot(slot.service, slot.slot)
            if slot.slot in cluster.slots(slot.service).shown:
                tasks.append(self._task(chain[-1], told))
            else:
                gone_slots.append(slot)
        for name in changed.nodes:
            node = cluster.nodes.get(name)
            if node is None:
                gone_nodes.append(name)
            else:
                nodes.append(self._node(node))
        return WatchAnswer(
            cursor=news.cursor,
            is_whole=news.is_whole,
            has_more=changed.has_more,
            services=tuple(services),
            tasks=tuple(tasks),
            nodes=tuple(nodes),
            gone_services=tuple(gone_services),
            gone_slots=tuple(gone_slots),
            gone_nodes=tuple(gone_nodes),
        )

    # From rows to views

    def _shown(self, spec: ServiceSpec) -> ServiceSpec:
        """A spec as this capability may see it."""
        return masked(spec)

    def _row(self, name: str) -> ServiceRow:
        row = self._commit_log.cluster.services.get(name)
        if row is None:
            self._refuse_unread(name)
            raise NotFoundError(f"no such service: {name}")
        return row

    def _refuse_unread(self, name: str) -> None:
        why = self._commit_log.quarantine.unread.get(name)
        if why is not None:
            raise ConflictError(f"service {name} is set aside: {why}; {MEND}")

    def _task_row(self, task: TaskId) -> TaskRow:
        row = self._commit_log.cluster.tasks.get(task)
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
        tasks = self._commit_log.cluster.current(row.name)
        shown = tuple(await self._tasks(tasks, told, pace))
        return msgspec.structs.replace(self._service_alone(row), tasks=shown)

    def _service_alone(self, row: ServiceRow) -> ServiceView:
        return ServiceView(
            spec=self._shown(row.spec),
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
            is_removing=row.is_removing,
        )

    def _task(self, row: TaskRow, told: _Told) -> TaskView:
        cluster = self._commit_log.cluster
        service = cluster.services.get(row.id.service)
        status = _newer(row, told.fresh.get(row.id)).bare()
        if status.revision not in (0, row.revision):  # its last assignment is on its way
            status = msgspec.structs.replace(status, is_proving=not row.has_ended)
        chain = [one for one in cluster.slot(row.id.service, row.id.slot) if one.id <= row.id]
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
        session = self._dispatcher.session(row.name)
        return NodeView(
            name=row.name,
            state=self._dispatcher.state(row),
            joined_at=row.joined_at,
            lost_at=row.lost_at,
            warren=row.warren,
            tasks=self._commit_log.cluster.count_on(row.name),
            conditions=self._conditions(row.name),
            containment="" if session is None else session.containment,
            places=() if session is None else session.places,
            description=row.description,
        )

    async def _ask(self, rows: Sequence[TaskRow]) -> _Told:
        """The present status of tasks, by their nodes, all asked at once."""
        by_node: dict[str, list[TaskId]] = {}
        for row in rows:
            if row.node is not None and not row.has_ended:
                by_node.setdefault(row.node, []).append(row.id)
        told = _Told()

        async def ask(node: str, tasks: Sequence[TaskId]) -> None:
            session = self._dispatcher.session(node)
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
    """The node's answer, unless its report is newer by now. An unknown phase is
    shown as one, and the row keeps the last that was understood."""
    if fresh is None or row.has_ended or Phase.UNKNOWN < fresh.phase < row.phase:
        return row.status
    return fresh

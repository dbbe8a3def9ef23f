"""One node's session: its reports go to the commit log, its assignments are pushed to it.

enrolled -> whole report -> whole assignment -> differences, each on the one accepted before
                                 ^----------------- not accepted ---'

A message has room for so much. A whole that is larger keeps the services of the tasks that are not
in it as they are on the node, and differences bring those tasks, or their removal.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress

import trio

from warren.manager.commit_log import CommitLog
from warren.manager.log_fanout import LogFanout
from warren.manager.message_room import MessageRoom
from warren.manager.shared_queries import LOOK_WITHIN, SharedQueries
from warren.model.check_places import CheckPlaces
from warren.model.check_places import bounded as bounded_places
from warren.model.cluster import Desired, TaskRow
from warren.model.condition import NodeCondition, bounded
from warren.model.errors import (
    ConflictError,
    DeniedError,
    LinkLostError,
    RefusedError,
    UnavailableError,
    WarrenError,
)
from warren.model.identity import TaskId
from warren.model.plural import counted
from warren.model.report import Assignment, Assignments, Report
from warren.model.rpc import Agent
from warren.model.task import Reason, TaskStatus
from warren.rules.reported_times import mend_report

FIRST_PAUSE = 0.1  # seconds
LONGEST_PAUSE = 5.0
AT_ONCE = 200  # tasks of one difference
GIVES_WAY_AFTER = 500  # tasks of a whole assignment
ASSIGN_WITHIN = 30.0
DURABLE_WITHIN = 2.0  # a disk that hangs does not keep tasks from their node
TRIES = 5  # in a row without success, then it is a condition
REPORTED_KEPT = 100_000  # tasks that a node says it has before its first assignment
_log = logging.getLogger("warren.manager")


class Session:
    """Implements `NodeSession`. `ended` is set when it is over, for whatever reason, and `is_noted`
    once the dispatcher has noted that; `has_left` says that the node has ended it. `containment` is
    what the node reported when it enrolled, `places` what it reported last. `pushes` counts how
    often it has looked for what to send."""

    def __init__(
        self, name: str, epoch: int, agent: Agent, commit_log: CommitLog, *, containment: str = ""
    ) -> None:
        self.name = name
        self.agent = agent
        self.fanout = LogFanout(name, agent)
        self.queries = SharedQueries(agent, commit_log.now)
        self.ended = trio.Event()
        self.is_noted = trio.Event()
        self.has_left = False
        self.heard_at = trio.current_time()
        self.containment = containment
        self.places: tuple[CheckPlaces, ...] = ()
        self.pushes = 0
        self._told: tuple[NodeCondition, ...] = ()
        self._skew: NodeCondition | None = None
        self._unread: NodeCondition | None = None
        self._dropped = 0
        self._epoch = epoch
        self._commit_log = commit_log
        self._is_synced = trio.Event()
        self._accepted = 0
        # What the node may have: as it was sent, or None where it is not known of which state.
        self._sent: dict[TaskId, tuple[Desired, int] | None] = {}
        self._failing = 0  # tries in a row
        self._untaken: NodeCondition | None = None
        self._dirty = set[TaskId]()
        self._purged = set[str]()
        self._had = set[str]()  # services that were sent, or left on the node, since the whole
        self._whole_at = -1  # the generation of the services in the last whole assignment
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return f"<Session of {self.name}, epoch {self._epoch}, generation {self._accepted}>"

    # NodeSession

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def manager(self) -> str:
        return self._commit_log.store.manager_id

    async def report_task_health(self, report: Report) -> None:
        self._check_open()
        self.heard_at = trio.current_time()
        self._commit_log.follow_clock()  # before the node's times are compared with it
        report, off = mend_report(report, born=self._born, now=self._commit_log.now())
        if not self._is_synced.is_set():
            self._note_reported(report)
        if report.events or report.is_whole or off:
            self._note_clock(off)
        await self._commit_log.report(self.name, self._epoch, report)
        self._note_dropped(report)
        if report.is_whole:
            self._is_synced.set()

    async def renew(
        self, conditions: Sequence[NodeCondition] = (), places: Sequence[CheckPlaces] = ()
    ) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self.heard_at = trio.current_time()
        self._told = bounded(conditions, now=self._commit_log.now())
        self.places = bounded_places(places)

    async def leave(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self.heard_at = trio.current_time()
        self.has_left = True
        self.ended.set()
        await self.is_noted.wait()

    @property
    def conditions(self) -> tuple[NodeCondition, ...]:
        """What is not well with the node: as it reports, and as the manager observes."""
        observed = (self._skew, self._unread, self._untaken)
        return (*self._told, *(one for one in observed if one is not None))

    def _note_reported(self, report: Report) -> None:
        for status in report.statuses:
            if len(self._sent) < REPORTED_KEPT:
                self._sent.setdefault(status.id, None)

    def _note_dropped(self, report: Report) -> None:
        """What could not be read is not told again, so it is said for as long as the session is."""
        if not report.dropped:
            return
        since = self._commit_log.now() if self._unread is None else self._unread.since
        self._dropped += report.dropped
        said = f"{counted(self._dropped, 'item')} of its reports could not be read and were left"
        said = f"{said} out, the last: {report.last_dropped}"
        if self._unread is None:
            _log.warning("node %s: %s; want node and manager of one version", self.name, said)
        (self._unread,) = bounded([NodeCondition("reports unread", said, since)], now=since)

    def _note_clock(self, off: float) -> None:
        if not off:
            self._skew = None
        elif self._skew is None:
            way = "ahead of" if off > 0 else "behind"
            said = f"times that it reports are {way} the manager's clock by more than an hour"
            self._skew = NodeCondition("clock skew", said, self._commit_log.now())
            _log.warning("node %s: %s", self.name, said)

    def _born(self, task: TaskId) -> float | None:
        row = self._commit_log.cluster.tasks.get(task)
        return None if row is None else row.created_at

    def _check_open(self) -> None:
        if self.ended.is_set():
            raise ConflictError(f"this session of node {self.name} is over; enrol again")

    # The manager's side

    async def look(self, tasks: Sequence[TaskId]) -> dict[TaskId, TaskStatus] | None:
        """Tasks as they stand now; None where the node does not answer within a second."""
        return await self.queries.ask(tasks)

    async def look_alive(self) -> bool:
        """Whether the node answers now, even with a refusal. Reads by others do not delay it."""
        with trio.move_on_after(LOOK_WITHIN):
            try:
                await self.agent.look(())
            except LinkLostError as error:
                return isinstance(error, DeniedError)
            except WarrenError:
                return True
            return True
        return False

    def note(self, tasks: Collection[TaskId]) -> None:
        """The assignment of these to this node has begun, changed or ended: to what is found out at
        the push."""
        self._dirty.update(tasks)
        self._wake.set()

    def note_gone(self, service: str, *, made_at: int) -> None:
        """A service is gone, and so is its output where this node may have some: it was sent tasks
        of it, or its last whole assignment left it what it had of one that was made by then."""
        if service in self._had or self._whole_at >= made_at:
            self._had.discard(service)
            self._purged.add(service)
            self._wake.set()

    async def push(self) -> None:
        """Send the node its assignments, now and whenever they change, until the link is lost."""
        await self._is_synced.wait()
        pause = FIRST_PAUSE
        while True:
            try:
                await self._push_once()
            except LinkLostError:
                return
            except WarrenError as error:  # also a bug of the node: it must not end the manager
                if isinstance(error, ConflictError) or not isinstance(error, RefusedError):
                    self._accepted = 0
                self._note_untaken(error)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if not self._dirty:  # a whole may be taken, and what it had no room for may not
                pause = FIRST_PAUSE
                self._note_taken()
            await self._wake.wait()
            self._wake = trio.Event()

    def _note_untaken(self, error: WarrenError) -> None:
        """Once is nothing: a node that is at another generation is sent the whole."""
        _log.debug("node %s does not take its assignments: %s", self.name, error)
        self._failing += 1
        if self._failing < TRIES:
            return
        now = self._commit_log.now()
        said = f"it did not take them in {TRIES} tries or more, so changes do not reach it: {error}"
        if self._untaken is None:
            _log.warning("node %s: assignments not taken: %s", self.name, said)
        since = now if self._untaken is None else self._untaken.since
        (self._untaken,) = bounded([NodeCondition("assignments not taken", said, since)], now=now)

    def _note_taken(self) -> None:
        if self._untaken is not None:
            _log.info("node %s takes its assignments again", self.name)
        self._failing, self._untaken = 0, None

    async def _push_once(self) -> None:
        self.pushes += 1
        dirty, purged = self._dirty, self._purged
        self._dirty, self._purged = set[TaskId](), set[str]()
        assignments = self._difference(dirty, purged) if self._accepted else await self._whole()
        if assignments is None:
            return
        for one in assignments.tasks:  # whether it is taken or not
            self._sent.setdefault(one.task, None)
        with trio.move_on_after(DURABLE_WITHIN), suppress(UnavailableError):
            await self._commit_log.settle()
        try:
            with trio.move_on_after(ASSIGN_WITHIN) as scope:
                await self.agent.assign(assignments)
        except WarrenError:
            self._dirty |= dirty
            self._purged |= purged
            raise
        if scope.cancelled_caught:
            said = f"node {self.name} has not answered for {ASSIGN_WITHIN:.0f} s"
            raise LinkLostError(said)
        self._note_accepted(assignments)

    def _note_accepted(self, assignments: Assignments) -> None:
        if not assignments.base:
            kept = {*assignments.kept} - self._commit_log.quarantine.unread.keys()
            self._sent = {task: None for task in self._sent if task.service in kept}
        self._accepted = assignments.generation
        self._sent.update({a.task: (a.desired, a.revision) for a in assignments.tasks})
        for task in assignments.removed:
            self._sent.pop(task, None)

    async def _whole(self) -> Assignments:
        """All assignments of this node, or as many as a message has room for. Changes while it is
        built are sent again."""
        cluster = self._commit_log.cluster
        generation = cluster.generation
        tasks, rest, room = list[Assignment](), set[TaskId](), MessageRoom()
        for number, task in enumerate(sorted(cluster.on_node(self.name)), 1):
            row = self._commit_log.cluster.tasks.get(task)
            if row is not None and row.node == self.name:
                one = _assignment(row)
                if room.take(one):
                    tasks.append(one)
                else:
                    rest.add(task)
            if number % GIVES_WAY_AFTER == 0:
                await trio.lowlevel.checkpoint()
        unread = self._commit_log.quarantine.unread
        later = {task.service for task in rest}
        self._send_later(rest, later - unread.keys(), {one.task for one in tasks})
        self._whole_at = cluster.generation
        self._had.clear()
        return Assignments(
            generation=generation,
            tasks=tuple(tasks),
            services=tuple(self._commit_log.cluster.services),
            kept=tuple(sorted({*unread, *later})),
        )

    def _send_later(self, rest: set[TaskId], services: set[str], sent: set[TaskId]) -> None:
        """What a whole has no room for goes with differences, and so does the removal of what else
        the node may have of their services, as the whole keeps all of them."""
        for task in rest:
            self._sent.setdefault(task, None)
        kept = {task for task in self._sent if task.service in services and task not in sent}
        if rest or kept:
            self.note(rest | kept)

    def _difference(self, dirty: set[TaskId], purged: set[str]) -> Assignments | None:
        """What has changed for this node, as much as a message has room for; None where nothing
        has."""
        cluster = self._commit_log.cluster
        tasks, removed, room = list[Assignment](), list[TaskId](), MessageRoom()
        ordered = sorted(dirty)
        later = ordered[AT_ONCE:]  # thousands at once would stall a node
        for place, task in enumerate(ordered[:AT_ONCE]):
            row = cluster.tasks.get(task)
            if row is None or row.node != self.name or row.has_ended:
                if task in self._sent:
                    removed.append(task)
            elif self._sent.get(task) != (row.desired, row.revision):
                one = _assignment(row)
                if not room.take(one):
                    later = ordered[place:]
                    break
                self._had.add(task.service)
                tasks.append(one)
        if later:  # logs go when nothing writes them any more
            dirty.difference_update(later)
            self._dirty.update(later)
            self._purged |= purged
            purged = set[str]()
            self._wake.set()
        remade = purged & cluster.services.keys()  # it writes, after what the old one has left
        self._had |= remade
        purged = purged - remade
        if not (tasks or removed or purged):
            return None
        return Assignments(
            generation=cluster.generation,
            base=self._accepted,
            tasks=tuple(tasks),
            removed=tuple(removed),
            purged=tuple(sorted(purged)),
        )


def _assignment(row: TaskRow) -> Assignment:
    last_end = row.status.last_end
    if last_end is not None and last_end.reason is Reason.UNKNOWN:  # see `Reason`
        last_end = None
    return Assignment(
        task=row.id,
        spec=row.spec,
        desired=row.desired,
        stop_reason=row.stop_reason,
        last_end=last_end,
        failed_before=row.failed_before,
        revision=row.revision,
    )

"""Which nodes have a session, and what happens to a node that loses it (S20).

enrolled: READY --lost--> UNREACHABLE --lease--> DOWN --enrolled--> READY
            `---left----> STOPPED ------lease----^
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn, Protocol

import msgspec
import trio

from warren.manager.commit_log import CommitLog
from warren.manager.foreign_nodes import ForeignNodes
from warren.manager.renamed_node import other_names, refuse_renamed
from warren.manager.session import Session
from warren.model.cluster import (
    AddEvent,
    Change,
    DropNode,
    DropService,
    Entry,
    NodeRow,
    PutNode,
    PutService,
)
from warren.model.errors import ConflictError, InvalidError, LinkLostError, UnavailableError
from warren.model.event import EventFacts, EventKind
from warren.model.identity import NAME_WANTED, is_name
from warren.model.node_description import UNDESCRIBED, NodeDescription, bounded
from warren.model.report import NodeHello
from warren.model.rpc import Agent
from warren.model.view import NodeState, NodeView
from warren.resilience.boundary import Boundary, survived
from warren.state.cluster_state import Touched

LAST_CHANCE = 1.0  # seconds before its lease is over in which a node is still listened for
STALLED = 0.5  # seconds late: a node not heard from then may have sent, and we did not read
FURTHEST = 1 << 32  # epochs that a node may be ahead of us, after our state was restored
_log = logging.getLogger("warren.manager")


class NodeConnection(Protocol):
    """The link by which a node connected."""

    @property
    def host(self) -> str:
        """The address it comes from; empty where there is none."""
        ...

    @property
    def closed(self) -> trio.Event:
        """Set when it is gone."""
        ...


class Dispatcher:
    """Where nodes enrol. `lease` is how long, in seconds, a node may be silent or away before it
    is down; `on_node` is called for every session that begins or ends."""

    def __init__(self, commit_log: CommitLog, nursery: trio.Nursery, *, lease: float) -> None:
        # The nursery is the one of `open_manager`: sessions are served in it.
        self.lease = lease
        self.on_node: Callable[[str], None] = lambda name: None
        self._commit_log = commit_log
        self._nursery = nursery
        self._sessions: dict[str, Session] = {}
        self._came_by: dict[str, NodeConnection] = {}
        self._unwritten: dict[str, NodeRow] = {}
        self._foreign_nodes = ForeignNodes(commit_log.store.manager_id, kept_for=lease)
        self._made_at = dict.fromkeys(commit_log.cluster.services, 0)  # generations, of this run
        commit_log.on_commit.append(self._note)

    def __repr__(self) -> str:
        return f"<Dispatcher {len(self._sessions)} sessions>"

    def connected(self) -> Collection[str]:
        """The names of the nodes that have a session."""
        return self._sessions.keys()

    def session(self, node: str | None) -> Session | None:
        """A node's session, if it has one."""
        return None if node is None else self._sessions.get(node)

    def state(self, node: NodeRow) -> NodeState:
        """A node's state."""
        if node.name in self._sessions:
            return NodeState.READY
        lost_at = node.lost_at
        if lost_at is not None and self._commit_log.now() >= lost_at + self.lease:
            return NodeState.DOWN
        return NodeState.STOPPED if node.has_stopped else NodeState.UNREACHABLE

    def foreign_nodes(self) -> dict[str, NodeView]:
        """Nodes that belong to another manager and have come here lately."""
        found = self._foreign_nodes.current(self._commit_log.now())
        return {name: view for name, view in found.items() if name not in self._sessions}

    def begin(self) -> None:
        """After a start of the manager no node has a session: leases run from now."""
        now = self._commit_log.now()
        nodes = self._commit_log.cluster.nodes.values()
        # In the future, where the clock was set back between two runs: it would never be down.
        rows = [n for n in nodes if n.lost_at is None or n.lost_at > now]
        self._commit_log.commit([PutNode(_lost(row, now)) for row in rows])

    def leases_moved(self, by: float) -> list[PutNode]:
        """Nodes whose lease runs, for a clock that is to move on by so many seconds."""
        oldest = self._commit_log.now() - self.lease
        nodes = self._commit_log.cluster.nodes.values()
        return [
            PutNode(_lost(row, row.lost_at + by))
            for row in nodes
            if row.lost_at is not None and row.lost_at > oldest
        ]

    def note_moved(self, by: float) -> None:
        """The clock has moved on: move the times that only this object holds."""
        self._foreign_nodes.note_moved(by)
        for name, row in self._unwritten.items():
            if row.lost_at is not None:
                self._unwritten[name] = _lost(row, row.lost_at + by)

    async def enroll(self, hello: NodeHello, agent: Agent, connection: NodeConnection) -> Session:
        """Begin a session; see `Gate.enroll`."""
        await trio.lowlevel.checkpoint()
        if not is_name(hello.name):
            raise InvalidError(f"name: {hello.name!r}: {NAME_WANTED}")
        self._foreign_nodes.refuse(hello, self._commit_log.now())
        await self._refuse_twin(hello, connection)
        await self._commit_log.ready()
        before = self._commit_log.cluster.nodes.get(hello.name)
        self._refuse_stranger(hello, before)
        refuse_renamed(self._commit_log.cluster, hello)
        epoch = _epoch(hello, before)
        row = NodeRow(
            name=hello.name,
            id=hello.id,
            epoch=epoch,
            joined_at=self._commit_log.now() if before is None else before.joined_at,
            warren=hello.warren,
            description=_description(hello, connection),
        )
        changes: list[Change] = [] if row == before else [PutNode(row)]
        if before is None:
            said = f"node {hello.name} has joined"
            changes.append(self._event(hello.name, EventKind.JOINED, said))
        elif before.lost_at is not None:
            said = f"node {hello.name} is back"
            changes.append(self._event(hello.name, EventKind.READY, said))
        left = self._left_names(hello)
        for name in left:
            said = f"node {name} is removed: it goes on as {hello.name}"
            changes += [DropNode(name), self._event(name, EventKind.REMOVED, said)]
        self._commit_log.commit(changes)
        for name in left:
            self.dismiss(name)
        self._commit_log.quarantine.release_node(hello.name)
        old = self._sessions.get(hello.name)
        if old is not None:
            old.ended.set()
        session = self._sessions[hello.name] = Session(
            hello.name, epoch, agent, self._commit_log, containment=hello.containment
        )
        self._came_by[hello.name] = connection
        self._nursery.start_soon(self._serve, session, connection)
        self.on_node(hello.name)
        try:
            await self._commit_log.settle()
        except UnavailableError:
            session.ended.set()
            raise
        return session

    def dismiss(self, name: str) -> None:
        """A node was removed: it has no session any more."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.ended.set()
        self._came_by.pop(name, None)
        self._unwritten.pop(name, None)
        self.on_node(name)

    async def serve_unwritten(self, boundary: Boundary) -> NoReturn:
        """Record losses of nodes that could not be written at the time."""
        while True:
            await trio.sleep(self.lease / 3)
            async with boundary:
                for row in list(self._unwritten.values()):
                    self._note_lost(row)

    def _note(self, changes: Sequence[Change], touched: Touched) -> None:
        """Something was committed: wake the sessions that it concerns, and no other."""
        for node, tasks in touched.assigned.items():
            session = self._sessions.get(node)
            if session is not None:
                session.note(tasks)
        for change in changes:
            if isinstance(change, PutService):
                self._made_at.setdefault(change.row.name, self._commit_log.cluster.generation)
            elif isinstance(change, DropService):
                made_at = self._made_at.pop(change.name, 0)
                for session in self._sessions.values():
                    session.note_gone(change.name, made_at=made_at)

    async def _serve(self, session: Session, connection: NodeConnection) -> None:
        try:
            with survived(f"the session of node {session.name}"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_end_after, connection.closed, session)
                    nursery.start_soon(self._push, session)
                    nursery.start_soon(session.fanout.run)
                    nursery.start_soon(session.queries.run)
                    nursery.start_soon(self._end_silent, session)
                    await session.ended.wait()
                    nursery.cancel_scope.cancel()
        finally:
            session.ended.set()
        try:
            self._note_end(session, connection)
        finally:
            session.is_noted.set()

    def _note_end(self, session: Session, connection: NodeConnection) -> None:
        if self._sessions.get(session.name) is not session:  # it has enrolled anew already
            return
        del self._sessions[session.name]
        self._came_by.pop(session.name, None)
        row = self._commit_log.cluster.nodes.get(session.name)
        if row is None:  # it was removed
            self.on_node(session.name)
            return
        # A lost link is a sign of the node; otherwise the last one is when it was heard.
        ago = 0.0 if connection.closed.is_set() else trio.current_time() - session.heard_at
        lost = _lost(row, self._commit_log.now() - ago)
        self._note_lost(msgspec.structs.replace(lost, has_stopped=session.has_left))

    async def _end_silent(self, session: Session) -> None:
        """End a session whose node was not heard for the lease, which runs from then (S20). If it
        is this process that has not read, it runs from now."""
        while True:
            heard_at = session.heard_at
            for deadline in (heard_at + self.lease - LAST_CHANCE, heard_at + self.lease):
                due = max(deadline, trio.current_time())  # else we would seem to be late ourselves
                await trio.sleep_until(due)
                if trio.current_time() > due + STALLED:
                    session.heard_at = max(session.heard_at, trio.current_time())
            if session.heard_at == heard_at:
                _log.warning("node %s is silent: its session ends", session.name)
                session.ended.set()
                return

    async def _push(self, session: Session) -> None:
        try:
            await session.push()
        except LinkLostError as error:
            _log.info("node %s: %s", session.name, error)
        session.ended.set()

    def _note_lost(self, row: NodeRow) -> None:
        self._unwritten.pop(row.name, None)
        if row.name not in self._sessions:
            said = "has stopped" if row.has_stopped else "is unreachable: its link is lost"
            kind = EventKind.STOPPED if row.has_stopped else EventKind.LOST
            event = self._event(row.name, kind, f"node {row.name} {said}")
            try:
                self._commit_log.commit([PutNode(row), event])
            except UnavailableError:
                self._unwritten[row.name] = row
        self.on_node(row.name)

    async def _refuse_twin(self, hello: NodeHello, connection: NodeConnection) -> None:
        """A new process of a supervisor whose session is still here: as a rule the old process has
        ended unnoticed. If it answers there are two with one id, and the first stays."""
        session = self._sessions.get(hello.name)
        row = self._commit_log.cluster.nodes.get(hello.name)
        if session is None or hello.epoch == session.epoch or row is None or row.id != hello.id:
            return
        if self._came_by.get(hello.name) is connection or not await session.look_alive():
            return
        said = "another supervisor of this name and data directory has a session, and answers"
        wanted = "where the directory was copied, want journal.sqlite removed from the copy"
        raise ConflictError(f"name: {hello.name!r}: {said}; {wanted}")

    def _left_names(self, hello: NodeHello) -> list[str]:
        """What this data directory was called before, where nothing is left of that."""
        cluster = self._commit_log.cluster
        names = other_names(cluster, hello.id, hello.name) if hello.id else ()
        return [n for n in names if n not in self._sessions and not cluster.count_on(n)]

    def _refuse_stranger(self, hello: NodeHello, before: NodeRow | None) -> None:
        if before is None or before.id in ("", hello.id):  # "": its row could not be read
            return
        if hello.name in self._sessions:
            said = "another supervisor of this name has a session; want another --name"
            raise ConflictError(f"name: {hello.name!r}: {said}")
        if self.state(before) is not NodeState.DOWN:  # its tasks run, and would run twice (S20)
            said = f"another supervisor of this name had a session less than {self.lease:g} s ago"
            raise ConflictError(f"name: {hello.name!r}: {said}; want another --name, or to wait")

    def _event(self, node: str, kind: EventKind, message: str) -> AddEvent:
        entry = Entry(
            at=self._commit_log.now(),
            kind=kind,
            subject=node,
            message=message,
            facts=EventFacts(node=node),
        )
        return AddEvent(entry)


async def _end_after(event: trio.Event, session: Session) -> None:
    await event.wait()
    session.ended.set()


def _epoch(hello: NodeHello, before: NodeRow | None) -> int:
    """The same for the same process of a supervisor; greater for a new one."""
    known = 0 if before is None else before.epoch
    if hello.epoch > known + FURTHEST:  # it would exhaust the numbers
        wanted = f"want one that a manager gave: the last of this name is {known}"
        raise InvalidError(f"epoch: {hello.epoch}: {wanted}")
    if before is None:
        return max(1, hello.epoch)
    is_same = before.id == hello.id and before.epoch == hello.epoch
    return before.epoch if is_same else max(before.epoch, hello.epoch) + 1


def _description(hello: NodeHello, connection: NodeConnection) -> NodeDescription:
    """What it announces, and where it is seen to come from if it does not say where it is."""
    if hello.description is None:
        return UNDESCRIBED
    told = bounded(hello.description)
    return msgspec.structs.replace(told, address=told.address or connection.host)


def _lost(row: NodeRow, at: float) -> NodeRow:
    return msgspec.structs.replace(row, lost_at=at)

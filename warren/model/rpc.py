"""The capabilities of Warren's wire, as protocols: a holder of an object may call its methods.

    Gate --login()--> Cluster        an operator: everything
         --view()---> ClusterView    looks and changes nothing
         --enroll(hello, agent)----> NodeSession for that node; the manager holds its Agent

Implemented by the manager and the node themselves, by proxies of `transport/` on the far side of a
wire, and by a memory link. Every method may raise LinkLostError, and what the far side refused:
a RefusedError of its kind. Cancelling a call cancels what the far side does for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from warren.model.check import Sample
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Entry
from warren.model.condition import NodeCondition
from warren.model.identity import TaskId
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.model.usage import TaskUsage
from warren.model.view import (
    Applied,
    KeptLogs,
    LogChunk,
    LogPiece,
    LogWanted,
    ManagerStatus,
    NodeView,
    ServiceView,
    TaskDetail,
    TaskView,
    WatchAnswer,
    WatchWanted,
)

EVENTS_AT_ONCE = 1000  # the most that one call of `events` returns
LOGS_AT_ONCE = 64  # the most slots that one call of `output` asks for


class Agent(Protocol):
    """A node's supervisor, as the manager calls it."""

    async def assign(self, assignments: Assignments) -> None:
        """Hold these tasks. Returns when they are written down, not when they run.

        Raises ConflictError where `base` is not the generation accepted last: send the whole.
        """
        ...

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        """Tasks as they stand now, probes included; those that are not here are left out."""
        ...

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        """The kept outcomes of a task's probes, oldest first. Raises NotFoundError."""
        ...

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        """A piece of the output of the task's slot: from `cursor`, or with none the last `tail`
        lines (0: from the beginning). With `wait`, waits until there is something more."""
        ...

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        """What follows in the output of several slots, for slots that have some; at most
        LOGS_AT_ONCE. With `wait`, waits until there is. A slot that has written nothing yet is
        one where there is nothing. Raises InvalidError."""
        ...

    async def kept(self, service: str) -> list[int]:
        """The slots of a service that have output here."""
        ...

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        """What the instances of these tasks use now; those that are not here, or do not run, are
        left out (S27)."""
        ...


class NodeSession(Protocol):
    """The manager's methods for one node."""

    @property
    def epoch(self) -> int:
        """The number of this supervisor's process, assigned by the manager."""
        ...

    @property
    def manager(self) -> str:
        """The manager's id; empty where it is of a version that had none."""
        ...

    async def report_task_health(self, report: Report) -> None:
        """Returns when it is durable. Raises UnavailableError where it cannot be written now."""
        ...

    async def renew(
        self, conditions: Sequence[NodeCondition] = (), places: Sequence[CheckPlaces] = ()
    ) -> None:
        """The node is still there, and these are its conditions and how its places for checks are
        taken now: asked for regularly, so that both notice a silent peer."""
        ...

    async def leave(self) -> None:
        """The node's supervisor stops in order: the session ends, which is no lost link. Returns
        when that is noted. Its lease still runs."""
        ...


class ClusterView(Protocol):
    """The read-only methods."""

    async def services(self, *, after: str = "", limit: int = 0) -> list[ServiceView]:
        """Every service, by name. With a `limit` at most so many, and no more than a message has
        room for, of those whose names follow `after`; none where there are no more."""
        ...

    async def service(self, name: str) -> ServiceView:
        """One service. Raises NotFoundError."""
        ...

    async def tasks(self, *, service: str = "", past: bool = False) -> list[TaskView]:
        """The current task of every slot, of one service or all; with `past`, those that have
        ended too, as far as they are kept. Raises NotFoundError."""
        ...

    async def task(self, task: TaskId) -> TaskDetail:
        """One task, with the outcomes its node keeps. Raises NotFoundError."""
        ...

    async def nodes(self, *, after: str = "", limit: int = 0) -> list[NodeView]:
        """Every node, by name; `after` and `limit` as of `services`."""
        ...

    async def events(
        self,
        *,
        after: int = 0,
        since: float = 0.0,
        limit: int = EVENTS_AT_ONCE,
        wait: bool = False,
        about: str = "",
    ) -> list[Entry]:
        """Events with a greater `seq` than `after` and no older than wall time `since`, in order;
        with `about` those of that service and its tasks, of that task, or of that node.
        With `wait`, waits until there is one."""
        ...

    async def last_event(self) -> int:
        """The greatest `seq` given so far; 0 where there is none."""
        ...

    async def watch(
        self, wanted: WatchWanted, *, cursor: str = "", wait: bool = False
    ) -> WatchAnswer:
        """What has changed since this cursor was handed out: each thing once, as it is now (level,
        not a queue). With no cursor, one of another manager, or one too old: everything. With
        `wait`, waits until a commit has changed something wanted. Over a restart of the manager a
        cursor holds where nothing was committed since. Raises InvalidError."""
        ...

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        """As `Agent.log`, of the task's node. Raises NotFoundError, UnavailableError."""
        ...

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        """As `Agent.output`, of slots on any nodes. A node that does not answer, or cannot read
        it, has a piece that says so. Raises NotFoundError for a service that is gone,
        InvalidError."""
        ...

    async def kept_logs(self, service: str) -> KeptLogs:
        """Which slots of a service have output, and where. Raises NotFoundError."""
        ...

    async def usage(self, *, service: str = "") -> list[TaskUsage]:
        """What the instances of the tasks use, of one service or all, as their nodes read it now
        (S27); tasks without one, or whose node does not say, are left out. Raises NotFoundError."""
        ...

    async def status(self) -> ManagerStatus:
        """The manager's own state."""
        ...


class Cluster(ClusterView, Protocol):
    """The operator's methods. Every method returns once it is durable, not once it is done, and
    a service as it is wanted now, without its tasks.

    All raise UnavailableError where the store cannot be written now.
    """

    async def create(self, spec: ServiceSpec) -> ServiceView:
        """Create a service. Raises InvalidError, and ConflictError where the name is taken."""
        ...

    async def update(self, spec: ServiceSpec, *, base: int = 0) -> ServiceView:
        """Replace a service's spec: its tasks are replaced one slot at a time. `base` is the
        version it was made from, 0 for any. Raises InvalidError, NotFoundError, ConflictError."""
        ...

    async def scale(self, name: str, replicas: int) -> ServiceView:
        """Change the number of replicas. Raises InvalidError, NotFoundError, ConflictError."""
        ...

    async def restart(self, name: str) -> ServiceView:
        """Replace every task, one slot at a time. Raises NotFoundError, ConflictError."""
        ...

    async def remove(self, name: str) -> None:
        """End a service and purge everything of it. Harmless twice. Raises NotFoundError."""
        ...

    async def remove_node(self, name: str, *, force: bool = False) -> None:
        """Forget a node that is down; its tasks are replaced elsewhere. With `force` any node: one
        that is there enrols again, as a new one, and ends what it had. Raises NotFoundError, and
        ConflictError for a node that is not down."""
        ...

    async def apply(
        self, specs: Sequence[ServiceSpec], *, prune: bool = False, dry_run: bool = False
    ) -> list[Applied]:
        """Create or change these services, in one transaction; with `prune`, remove all others.
        Services that match already are left alone, and then nothing is written. Raises
        InvalidError, ConflictError."""
        ...


class Gate(Protocol):
    """The bootstrap capability of a connection."""

    async def login(self) -> Cluster:
        """The operator's capability."""
        ...

    async def view(self) -> ClusterView:
        """The read-only one."""
        ...

    async def enroll(self, hello: NodeHello, agent: Agent) -> NodeSession:
        """Begin a session as this node; an earlier one of the same supervisor ends. Raises
        ConflictError where another supervisor of that name has a session or had one within the
        lease, and where `hello` names another manager; InvalidError."""
        ...

"""The manager's data: services, tasks and nodes as rows, and the changes that make them.

A user's edit, a node's report and a plan are all the same thing: a sequence of changes. They are
committed to the store, and then applied to the state in memory. Wall times are seconds since the
epoch.
"""

from __future__ import annotations

import enum

import msgspec

from warren.model.event import EventFacts, EventKind
from warren.model.identity import TaskId
from warren.model.node_description import UNDESCRIBED, NodeDescription
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A service as the user wants it.

    `version` counts every edit. `revision` is the version whose spec the tasks must be made of: it
    stays where only the number of replicas was changed. `restarts_asked` counts the restarts of the
    same spec. A task with the service's spec (except for the replicas) and count is as wanted,
    whatever its revision. A service that `is_removing` is ended and then purged.
    `first_number` is the number that the first task of a slot gets: no id is used again where the
    name has been used before.
    """

    spec: ServiceSpec
    version: int
    revision: int
    created_at: float
    updated_at: float
    is_removing: bool = False
    first_number: int = 1
    restarts_asked: int = 0

    @property
    def name(self) -> str:
        """The service's name."""
        return self.spec.name


class Desired(enum.Enum):
    """What the manager wants of a task."""

    RUN = "run"
    STOP = "stop"


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the manager wants it, and what was last reported of it.

    `spec` and `restarts_asked` are the service's at `revision`. `node` is None while it is not
    placed: until then the manager writes `status` (PENDING, with the reason), afterwards only the
    node does, except for a task whose node is lost. `not_before` is when a replacement may start
    (S17).
    `failed_before` counts the tasks that failed in this slot before, without good running between;
    `restarts_before` the restarts of all that had it before, as far as they were known by then.
    `stop_reason` is why it is to stop, or is followed by another though it has ended as wanted.
    `epoch` is that of the session `status` came by: (epoch, status.sequence), the greater wins.
    """

    id: TaskId
    revision: int
    spec: ServiceSpec
    status: TaskStatus
    created_at: float
    node: str | None = None
    desired: Desired = Desired.RUN
    stop_reason: str = ""
    not_before: float | None = None
    failed_before: int = 0
    restarts_before: int = 0
    restarts_asked: int = 0
    epoch: int = 0

    @property
    def phase(self) -> Phase:
        """Its phase, as last reported."""
        return self.status.phase

    @property
    def has_ended(self) -> bool:
        """Whether its end was reported, or declared because its node is lost."""
        return self.status.phase.is_end


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A node that has enrolled. `id` is its data directory's own, so that two machines of one name
    are distinguished; `epoch` counts its supervisor's starts. `description` is what it announced
    when it last enrolled.

    `lost_at` is when its session went, None while it has one; `has_stopped` says that its
    supervisor ended it in order. A node lost for longer than the lease is down (S20).
    """

    name: str
    id: str
    epoch: int
    joined_at: float
    lost_at: float | None = None
    warren: str = ""  # the version of its program
    has_stopped: bool = False
    description: NodeDescription = UNDESCRIBED


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is kept. `seq` grows and is never used twice; 0 before it is written.

    `subject` is a service, a task or a node, as people write it; `service` is the service it is
    about, empty for a node. `reason` is a short word for programs, `message` a line for people.
    `by` is the principal whose edit it was, in text, so that one of a later kind can be read;
    empty: no edit. `word` is the kind's, where this version does not know it.
    """

    at: float
    kind: EventKind
    subject: str
    message: str
    reason: str = ""
    service: str = ""
    seq: int = 0
    by: str = ""
    facts: EventFacts | None = None
    word: str = ""


class PutService(msgspec.Struct, frozen=True):
    """Make or replace a service's row."""

    row: ServiceRow


class DropService(msgspec.Struct, frozen=True):
    """Purge a service: its row, its tasks and their specs. Its events stay as long as any."""

    name: str


class PutTask(msgspec.Struct, frozen=True):
    """Make or replace a task's row."""

    row: TaskRow


class DropTask(msgspec.Struct, frozen=True):
    """Forget a task that has ended."""

    id: TaskId


class PutNode(msgspec.Struct, frozen=True):
    """Make or replace a node's row."""

    row: NodeRow


class DropNode(msgspec.Struct, frozen=True):
    """Forget a node."""

    name: str


class AddEvent(msgspec.Struct, frozen=True):
    """Keep an event. It outlives what it is about."""

    entry: Entry


Change = PutService | DropService | PutTask | DropTask | PutNode | DropNode | AddEvent


class RowFault(msgspec.Struct, frozen=True, kw_only=True):
    """A row that cannot be read. `owner` is the service it is of, or the node; `key` is its key as
    people write it, and `columns` as it stands in the table: bytes where it is no UTF-8."""

    table: str
    owner: str
    key: str
    columns: tuple[str | int | bytes, ...]
    said: str

    def __str__(self) -> str:
        return f"{self.table}: {self.key}: {self.said}"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All rows at one generation. A generation is one committed transaction.

    A service with `faults` has no row at all; a node with one counts as lost just now, and its
    `id` is empty.
    """

    generation: int = 0
    services: tuple[ServiceRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    faults: tuple[RowFault, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that bring the actual state nearer to the desired one.

    It holds for the generation `based_on` and no other. `wake_at` is the wall time at which there
    is something to plan even if nothing changes; None for never.
    """

    based_on: int
    changes: tuple[Change, ...] = ()
    wake_at: float | None = None

"""An operator's view of a cluster, as values. Wall times are seconds since the epoch."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from warren.model.check import Sample
from warren.model.check_places import CheckPlaces
from warren.model.cluster import Desired
from warren.model.condition import NodeCondition
from warren.model.identity import TaskId
from warren.model.node_description import NodeDescription
from warren.model.probe import ProbeKind
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.model.usage import Usage

LOG_AT_ONCE = 256 << 10  # bytes: the most in one chunk


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task. `is_stale`: its node did not answer within a second, so `status` is what was last
    reported (S24). `is_outdated`: it is of an older spec than its service and will be replaced.
    `slot_restarts` counts its restarts and those of the tasks that had its slot before."""

    id: TaskId
    status: TaskStatus
    created_at: float
    node: str | None = None
    desired: Desired = Desired.RUN
    is_stale: bool = False
    is_outdated: bool = False
    slot_restarts: int = 0


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """A service and the current task of every slot, in the order of slots."""

    spec: ServiceSpec
    version: int
    created_at: float
    updated_at: float
    is_removing: bool = False
    tasks: tuple[TaskView, ...] = ()


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A task with the kept outcomes of its probes, oldest first, and what its instance uses; none
    where it is stale."""

    task: TaskView
    spec: ServiceSpec
    samples: Mapping[ProbeKind, tuple[Sample, ...]] = MappingProxyType({})
    usage: Usage | None = None


class NodeState(enum.Enum):
    """READY has a session; UNREACHABLE has lost it, STOPPED has ended it in order; DOWN has lost
    its lease too (S20); REFUSING belongs to another manager and accepts nothing from this one."""

    READY = "ready"
    UNREACHABLE = "unreachable"
    STOPPED = "stopped"
    DOWN = "down"
    REFUSING = "refusing"


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node. `tasks` counts those placed on it that have not ended; `conditions` is what is not
    well with the node itself, and `places` how those for checks are taken, as last reported in its
    session; `description` is what it announced when it last enrolled, empty where nothing is known.
    """

    name: str
    state: NodeState
    joined_at: float
    lost_at: float | None = None
    warren: str = ""
    tasks: int = 0
    conditions: tuple[NodeCondition, ...] = ()
    containment: str = ""
    places: tuple[CheckPlaces, ...] = ()
    description: NodeDescription = NodeDescription()


class Action(enum.Enum):
    """The action of `apply` on a service."""

    CREATED = "created"
    UPDATED = "updated"
    SCALED = "scaled"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


class Applied(msgspec.Struct, frozen=True):
    """One service's part of an `apply`."""

    service: str
    action: Action


class LogMark(msgspec.Struct, frozen=True, kw_only=True):
    """A node's observation of the output: by `at` (wall) it was written up to `offset`, which is
    counted from the first byte of the chunk and may lie behind its last. With a `task`, that task's
    `instance` began there, at that time."""

    at: float
    offset: int
    task: str = ""
    instance: str = ""


class LogChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a slot's output, at most 256 KiB. `cursor` is what to ask with for what follows;
    opaque, empty only where there is no log. `lost` are bytes before it that are not kept any more;
    `marks` are in order."""

    data: bytes = b""
    cursor: str = ""
    lost: int = 0
    marks: tuple[LogMark, ...] = ()


class SlotName(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a service."""

    service: str
    slot: int


class LogWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a slot's output: what follows `cursor`; with none the last `tail` lines,
    or with None from the oldest, and nothing that had been written before `since` (wall, by the
    node's clock). `node` has it. With `times` the marks have times, and else only instances."""

    service: str
    slot: int
    node: str = ""
    cursor: str = ""
    tail: int | None = None
    since: float = 0.0
    times: bool = False


class LogPiece(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to one of several requests, by its index among them. `absent` says why
    there is none: the node does not answer, or cannot read it."""

    index: int
    chunk: LogChunk = LogChunk()
    absent: str = ""


class KeptLog(msgspec.Struct, frozen=True, kw_only=True):
    """A slot of which a node has output."""

    slot: int
    node: str


class KeptLogs(msgspec.Struct, frozen=True, kw_only=True):
    """The slots of one service that have output; `silent` are nodes that may have some and do not
    answer."""

    logs: tuple[KeptLog, ...] = ()
    silent: tuple[str, ...] = ()


class WatchWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a watcher wants to see: services, the tasks of their slots, nodes; of one service, or
    of all where `service` is empty."""

    service: str = ""
    services: bool = True
    tasks: bool = True
    nodes: bool = False


class WatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed since `cursor` was handed out, each thing once and as it is now.

    `is_whole`: it begins anew, and what is not told from here on is no more. `has_more`: there is
    more already, so ask on; a whole one is everything there is with the first answer without it.
    `services` are without their tasks; a task takes the place of the one that had its slot.
    `gone_*` are no more. Tasks are as their nodes last reported them: no node is asked. `cursor` is
    what to ask with for what follows; opaque.
    """

    cursor: str
    is_whole: bool = False
    services: tuple[ServiceView, ...] = ()
    tasks: tuple[TaskView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    gone_services: tuple[str, ...] = ()
    gone_slots: tuple[SlotName, ...] = ()
    gone_nodes: tuple[str, ...] = ()
    has_more: bool = False


class ManagerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether Warren itself is well. `trouble` has a line for people for each thing that is not;
    `troubled_nodes` are those that are not ready, of which it has one."""

    warren: str
    pid: int
    started_at: float
    generation: int = 0
    services: int = 0
    tasks: int = 0
    nodes_ready: int = 0
    nodes: int = 0
    trouble: tuple[str, ...] = ()
    troubled_nodes: tuple[str, ...] = ()

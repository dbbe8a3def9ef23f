"""The messages of a node and the manager: whole assignments down, latest statuses up."""

from __future__ import annotations

import msgspec

from warren.model.cluster import Desired
from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.node_description import NodeDescription
from warren.model.service import ServiceSpec
from warren.model.task import End, TaskStatus


class NodeHello(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervisor introduces itself. `id` is its data directory's own. `epoch` is the one it
    was given in an earlier session of this same process, 0 at the first. `manager` is the id of the
    manager it belongs to; empty where it has had none. `containment` says how what a task starts
    is kept together, and what is weaker for it; `description` None: it is of a version that does
    not announce what it can do."""

    name: str
    id: str
    epoch: int = 0
    warren: str = ""
    manager: str = ""
    containment: str = ""
    description: NodeDescription | None = None


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a node shall hold. STOP: end it, and report its end.

    `last_end` and `failed_before` are those of the slot's task before it. A task that is there
    already, and whose spec differs in its probes alone, gets these and goes on; `revision` names
    the spec, and comes back in its status.
    """

    task: TaskId
    spec: ServiceSpec
    desired: Desired = Desired.RUN
    stop_reason: str = ""
    last_end: End | None = None
    failed_before: int = 0
    revision: int = 0


class Assignments(msgspec.Struct, frozen=True, kw_only=True):
    """What a node shall hold at `generation`.

    With `base` 0 this is everything: tasks not in `tasks` are ended and forgotten, and `services`
    names all there are, so that others' logs can be removed. With another base it is the
    difference to what the node accepted at that generation: `tasks` are new or changed, `removed`
    are no longer the node's (those that have ended are forgotten, others ended first), and
    `purged` are services that are gone. Tasks and logs of the services in `kept` do not change,
    whether they are named or not: the manager cannot read its rows of them, or has no room for all
    their tasks in this message, and differences follow.
    """

    generation: int
    base: int = 0
    tasks: tuple[Assignment, ...] = ()
    removed: tuple[TaskId, ...] = ()
    services: tuple[str, ...] = ()
    purged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """An event of a task, with the task's sequence number at that moment: a repeated one is
    kept once."""

    sequence: int
    event: TaskEvent


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The latest status of tasks, and what happened to them since the last report, oldest first.

    `is_whole`: with this one all tasks of the node have been reported in this session. `dropped` is
    how many statuses and events could not be read where it came in, and `last_dropped` says of the
    last which and why: they are left out, and the rest counts.
    """

    statuses: tuple[TaskStatus, ...] = ()
    events: tuple[Told, ...] = ()
    is_whole: bool = False
    dropped: int = 0
    last_dropped: str = ""

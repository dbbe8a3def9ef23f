"""Tasks, their instances, how they end, and what is reported of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from warren.model.check import Sample
from warren.model.identity import TaskId
from warren.model.node_description import PROCESS
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec

MOST_COUNTED = 10**9  # restarts or failures: sums stop there


class Phase(enum.IntEnum):
    """A task's phase; it only grows. The four last are ends.

    UNKNOWN is what a node of a later version tells that this one has no name for. It is below all:
    a report of it leaves the phase of the row as it was, so that it ends no task, and nothing is
    replaced or placed twice by it. Who looks at the task is shown that it is unknown.
    """

    UNKNOWN = -1
    PENDING = 0
    ASSIGNED = 1
    STARTING = 2
    RUNNING = 3
    STOPPING = 4
    COMPLETE = 5
    FAILED = 6
    CRASHED = 7
    STOPPED = 8

    @property
    def is_end(self) -> bool:
        return self >= Phase.COMPLETE

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Reason(enum.Enum):
    """Why an instance or a task ended (S18). UNKNOWN is a reason that only a later version knows:
    no node is told of it, as an earlier one would take no assignment with it."""

    EXITED = "exited"
    SIGNALED = "signaled"
    OUT_OF_MEMORY = "out of memory"
    PROBE_FAILED = "probe failed"
    START_FAILED = "start failed"
    STOP_ASKED = "stop asked"
    LOST = "lost"
    REBOOTED = "rebooted"
    BUG = "bug"
    UNKNOWN = "unknown"


class MemoryKill(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel has killed for memory (S27): how many processes, under which limit of the
    instance (bytes; None: it had none, and the machine had no more), and the most that the
    instance had (bytes; None: this kernel does not keep it)."""

    killed: int
    limit_bytes: int | None = None
    peak_bytes: int | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How one instance ended. `message` is a sentence for people; `at` is wall time.

    `exit_code` is None when a signal ended it; `signal` is a name such as `SIGKILL`. `memory` is
    there where it ran out of memory.
    """

    reason: Reason
    message: str
    at: float
    exit_code: int | None = None
    signal: str | None = None
    memory: MemoryKill | None = None

    @property
    def is_failure(self) -> bool:
        """Whether the restart rule counts this end as a failure (S16). Of a reason that is not
        known here, by what is known beside it."""
        if self.reason is Reason.UNKNOWN:
            return self.signal is not None or self.exit_code not in (None, 0)
        if self.reason in (Reason.STOP_ASKED, Reason.REBOOTED):
            return False
        return not (self.reason is Reason.EXITED and self.exit_code == 0)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One start of a task. `started_at` is wall time; `address` is where checks ask (S14).

    `runtime` is the name of the one that has it, and `handle` that runtime's own: what it needs to
    find the instance again (S21). Records of earlier versions name no runtime.
    """

    id: str
    task: TaskId
    pid: int | None = None
    started_at: float
    address: str = "127.0.0.1"
    ports: Mapping[str, int] = MappingProxyType({})
    handle: Mapping[str, str] = MappingProxyType({})
    runtime: str = PROCESS


class RestartHistory(msgspec.Struct, frozen=True):
    """A task's restarts. `times` are wall seconds, within the window; `streak` those without
    good running in between; `total` all of them."""

    times: tuple[float, ...] = ()
    streak: int = 0
    total: int = 0


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor's record of a task, to find and judge it after a `kill -9` (S21).

    `proven` has the verdict of each probe that has passed on this instance. `failed_before` counts
    the tasks that failed in this slot before. `ready_since` and `restart_at` are wall time;
    `revision` is that of the spec at the manager; `proving` are the new probes of a running
    instance that have no verdict yet: until then the readiness before them holds.
    `restart_delay` is in seconds, so that a clock set back makes no wait longer than that.
    `failing` is the failure of a probe for which the instance is being stopped, since when;
    `stopping` is why the manager has asked for the task's end.
    """

    id: TaskId
    spec: ServiceSpec
    phase: Phase = Phase.PENDING
    instance: Instance | None = None
    starts: int = 0
    history: RestartHistory = RestartHistory()
    last_end: End | None = None
    ready_since: float | None = None
    proven: Mapping[ProbeKind, Verdict] = MappingProxyType({})
    failed_before: int = 0
    restart_at: float | None = None
    restart_delay: float | None = None
    revision: int = 0
    proving: tuple[ProbeKind, ...] = ()
    failing: End | None = None
    stopping: str | None = None


class ProbeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A probe as `inspect` shows it. Of an instance that has gone the only verdict left is the
    failure that ended it. In seconds: `waited` is how long its present attempt has
    waited for a place by now, 0 where it does not; `longest_wait` is the longest so far (S10)."""

    verdict: Verdict
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    warning: str | None = None
    last: Sample | None = None
    waited: float = 0.0
    longest_wait: float = 0.0


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A task as reported: its phase grows, the rest is ordered by `sequence`.

    `failed_before` counts the tasks that failed in its slot before, without good running since.
    `revision` is that of the spec it runs by, 0 where its node has none; `is_proving` says
    that probes it was given while it ran have no verdict yet.
    """

    id: TaskId
    phase: Phase
    sequence: int = 0
    ready: bool = False
    restarts: int = 0
    failed_before: int = 0
    instance: Instance | None = None
    last_end: End | None = None
    pending_reason: str | None = None
    restart_at: float | None = None
    probes: Mapping[ProbeKind, ProbeStatus] = MappingProxyType({})
    revision: int = 0
    is_proving: bool = False

    def bare(self) -> TaskStatus:
        """Without the runtime's handle of its instance, which is the node's own: it contains the
        environment."""
        if self.instance is None or not self.instance.handle:
            return self
        instance = msgspec.structs.replace(self.instance, handle={})
        return msgspec.structs.replace(self, instance=instance)

    @property
    def is_restarting(self) -> bool:
        """Not ready, and the last instance ended in failure."""
        has_failed = self.last_end is not None and self.last_end.is_failure
        return has_failed and not self.ready and not self.phase.is_end

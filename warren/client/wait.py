"""Waiting until a service is as requested: wake when it has changed, look again; and now and then,
as the displayed reason may change without the manager's knowing.

judge(view) -> done | not yet, and what for | never, and why
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from warren.client import views
from warren.client.pages import all_nodes
from warren.client.phrases import last_sample, one_line
from warren.client.watch import Watch
from warren.model.check import Result
from warren.model.cluster import Desired
from warren.model.errors import NotFoundError, RefusedError, UnsupportedError
from warren.model.service import Condition, ServiceSpec
from warren.model.task import End, Phase
from warren.model.view import NodeState, ServiceView, TaskView, WatchWanted
from warren.rules.health import is_job, probes

if TYPE_CHECKING:
    from warren.model.rpc import Cluster

LOOK_EVERY = 2.0  # seconds
_NOBODY: Mapping[str, str] = MappingProxyType({})
_NAMED = 3  # of the tasks that are waited for, so many are named


class ProgressSink(Protocol):
    """Called with what is waited for, whenever it changes; `short` is for where space is scarce."""

    def tell(self, line: str, short: str = "") -> None: ...


class WaitError(RefusedError):
    """The awaited state will not come, or did not come in time. `exit_code` is that of the failed
    job, as a shell has it; None where there is none."""

    exit_code: int | None = None


class WaitVerdict(msgspec.Struct, frozen=True):
    """Whether a service is as requested; `said` is for people, and `short` the part that must
    always fit."""

    is_done: bool
    said: str
    is_hopeless: bool = False
    exit_code: int | None = None
    short: str = ""


def judge_health(view: ServiceView, now: float, away: Mapping[str, str] = _NOBODY) -> WaitVerdict:
    """Every slot has a task of the newest spec that is ready, or complete (of a job: complete);
    none is left over. A slow node counts by its last report, but not one in `away`, which has the
    message for each."""
    name, replicas = view.spec.name, view.spec.replicas
    wanted = [task for task in view.tasks if task.desired is Desired.RUN]
    for task in wanted:
        if views.has_failed(view, task):
            said = f"{name}: {task.id} has failed{_because(task)}"
            return WaitVerdict(False, said, True, _exit_code(task.status.last_end))
    health = views.health(view)
    runs_to_end = is_job(view.spec)
    late = list[str]()
    for task in wanted:
        gone = away.get(task.node or "") if task.is_stale else None
        if gone is not None:
            late.append(f"{task.id} (stale: {gone})")
        elif not _is_good(task, to_end=runs_to_end):
            late.append(_told(task, now))
    taken = {task.id.slot for task in wanted}
    free = (slot for slot in itertools.count(1) if slot not in taken)  # the lowest are filled first
    missing = [f"{name}.{next(free)}" for _ in range(replicas - len(wanted))]
    leaving = [
        f"{task.id} (to go)"
        for task in view.tasks
        if task.desired is Desired.STOP and not task.status.phase.is_end
    ]
    waits = [*late, *missing, *leaving]
    if waits:
        what = _end_of(view.spec) if runs_to_end else ""
        said = f"{name}: {health}, waiting for {what}{_some(waits)}"
        return WaitVerdict(False, said, short=_some(waits))  # a task's name has the service's
    return WaitVerdict(True, f"{name}: {_as_told(view)}{_unproven(view.spec)}")


async def wait_health(
    cluster: Cluster, names: Sequence[str], progress: ProgressSink, now: Callable[[], float]
) -> list[str]:
    """Wait until all of these are healthy; returns a message for each. Raises WaitError."""
    return [await _wait_one(cluster, name, progress, now) for name in names]


async def wait_gone(cluster: Cluster, view: ServiceView, progress: ProgressSink) -> None:
    """Wait until this service is gone."""
    name = view.spec.name
    changes = _Changes(cluster, name)
    while True:
        await changes.next()
        try:
            now = await cluster.service(name)
        except NotFoundError:
            return
        if now.created_at != view.created_at:
            return  # another one of that name
        left = [str(task.id) for task in now.tasks if not task.status.phase.is_end]
        progress.tell(f"{name}: waiting for the end of {_some(left) if left else 'everything'}")


async def next_event(cluster: Cluster, after: int, about: str) -> int:
    """Wait for an event of this service after that one; returns the number of the last one."""
    events = await cluster.events(after=after, about=about, wait=True)
    return events[-1].seq if events else after


async def _wait_one(
    cluster: Cluster, name: str, progress: ProgressSink, now: Callable[[], float]
) -> str:
    changes = _Changes(cluster, name)
    await changes.next()
    while True:
        try:
            view = await cluster.service(name)
            verdict = judge_health(view, now(), await _away(cluster, view))
        except NotFoundError:
            raise WaitError(f"{name}: was removed while it was waited for") from None
        if verdict.is_hopeless:
            error = WaitError(verdict.said)
            error.exit_code = verdict.exit_code
            raise error
        if verdict.is_done:
            return verdict.said
        progress.tell(verdict.said, verdict.short)
        with trio.move_on_after(LOOK_EVERY):
            await changes.next()


class _Changes:
    """Of one service: `next` returns at once the first time, then whenever it has changed; every
    LOOK_EVERY where the manager is of an earlier version, which cannot be watched."""

    def __init__(self, cluster: Cluster, service: str) -> None:
        self._cluster = cluster
        self._watch = Watch(WatchWanted(service=service))
        self._can_watch = True

    async def next(self) -> None:
        if not self._can_watch:
            await trio.sleep(LOOK_EVERY)
            return
        try:
            await self._watch.next(self._cluster)
        except UnsupportedError:
            self._can_watch = False


async def _away(cluster: Cluster, view: ServiceView) -> dict[str, str]:
    """The nodes without an answer that have no session, and the message for each."""
    silent = {task.node for task in view.tasks if task.is_stale and task.node is not None}
    if not silent:
        return {}
    states = {node.name: node.state for node in await all_nodes(cluster)}
    here = {name for name, state in states.items() if state is NodeState.READY}
    return {
        name: f"node {name} is {states[name].value}"
        if name in states
        else f"node {name} was removed"
        for name in silent - here
    }


def _end_of(job: ServiceSpec) -> str:
    """Which end: under `on-failure` a task that has FAILED is replaced, for ever (S17)."""
    return "exit 0 of " if job.restart.condition is Condition.ON_FAILURE else "the end of "


def _as_told(view: ServiceView) -> str:
    """The health by the nodes' reports: a node may be slow to answer, and no event would wake a
    caller that waits for it."""
    tasks = tuple(msgspec.structs.replace(task, is_stale=False) for task in view.tasks)
    said = str(views.health(msgspec.structs.replace(view, tasks=tasks)))
    is_stale = any(task.is_stale for task in view.tasks)
    return f"{said} (stale: the node does not answer)" if is_stale else said


def _unproven(spec: ServiceSpec) -> str:
    """What healthy does not mean where no probe checks the service."""
    if probes(spec) or is_job(spec) or not spec.replicas:
        return ""
    return "; no probe: only known to have started"


def _is_good(task: TaskView, *, to_end: bool) -> bool:
    is_complete = task.status.phase is Phase.COMPLETE
    is_ready = task.status.ready and not task.status.is_proving
    return (is_complete or (is_ready and not to_end)) and not task.is_outdated


def _exit_code(end: End | None) -> int | None:
    """The code of a failed job, as a shell has it: never 0, as a probe may have failed it."""
    if end is None:
        return None
    known = signal.Signals.__members__.get(end.signal or "")
    return (end.exit_code or None) if known is None else 128 + known


def _told(task: TaskView, now: float) -> str:
    state = views.state(task, now)
    said = "outdated" if task.is_outdated else state
    return f"{task.id} ({said}{_because(task)})"


def _because(task: TaskView) -> str:
    """Why it is not ready yet. Without times: these would change with the clock and add nothing."""
    status = task.status
    warned = next((probe.warning for probe in status.probes.values() if probe.warning), None)
    reason = status.pending_reason or warned
    found = last_sample(status)
    if reason is None and status.instance is not None and found is not None:
        _, sample = found
        reason = None if sample.outcome.result is Result.PASS else sample.outcome.detail
    elif reason is None and status.last_end is not None and status.last_end.is_failure:
        reason = status.last_end.message
    return f": {one_line(reason)}" if reason else ""


def _some(waits: Sequence[str]) -> str:
    more = f" and {len(waits) - _NAMED} more" if len(waits) > _NAMED else ""
    return ", ".join(waits[:_NAMED]) + more

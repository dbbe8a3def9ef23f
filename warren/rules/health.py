"""What a spec's probes mean, when a task is ready, and `a/b healthy`.

The flat form (`health`) is one probe in two roles: it is the liveness probe, and readiness waits
for its first pass. This is the one place that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from warren.model.probe import Probe, ProbeKind, Verdict
from warren.model.service import Condition, ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.rules.probe import ProbeRecord


def probes(spec: ServiceSpec) -> dict[ProbeKind, Probe]:
    """The probes of a spec, by kind; the flat form is the liveness probe."""
    chosen = {
        ProbeKind.STARTUP: spec.startup,
        ProbeKind.LIVENESS: spec.liveness or spec.health,
        ProbeKind.READINESS: spec.readiness,
    }
    return {kind: probe for kind, probe in chosen.items() if probe is not None}


def is_ready(spec: ServiceSpec, records: Mapping[ProbeKind, ProbeRecord]) -> bool:
    """Whether a running instance with these probe records takes traffic."""
    if spec.startup is not None and records[ProbeKind.STARTUP].verdict is not Verdict.HEALTHY:
        return False
    if spec.readiness is not None:
        return records[ProbeKind.READINESS].verdict is Verdict.HEALTHY
    if spec.health is not None:
        record = records[ProbeKind.LIVENESS]
        return record.has_passed and record.verdict is Verdict.HEALTHY
    return True


def is_job(spec: ServiceSpec) -> bool:
    """Whether it runs to an end: it may complete, and no probe says that it is ready before."""
    says_ready = (spec.health, spec.startup, spec.readiness)
    return spec.restart.condition is not Condition.ALWAYS and not any(says_ready)


def has_failed_for_good(spec: ServiceSpec, status: TaskStatus) -> bool:
    """Whether a task has failed and only a new spec leads to another (S17)."""
    has_failed = status.phase in (Phase.FAILED, Phase.CRASHED)
    return has_failed and spec.restart.condition is Condition.NEVER


def has_ended_for_good(spec: ServiceSpec, status: TaskStatus) -> bool:
    """Whether a task has ended and only a new spec leads to another (S17)."""
    return status.phase is Phase.COMPLETE or has_failed_for_good(spec, status)


def is_over(spec: ServiceSpec, current: Collection[TaskStatus], *, is_changing: bool) -> bool:
    """Whether every slot of a service is filled by a task that has ended for good; `current` has
    the task of each slot. Not where it is changing, by an edit that some of these do not have yet
    or by being removed, which is over once it is gone; one of 0 replicas waits to be scaled."""
    is_filled = len(current) >= max(1, spec.replicas)
    return is_filled and not is_changing and all(has_ended_for_good(spec, one) for one in current)


class Health(msgspec.Struct, frozen=True):
    """A service's health: `str()` is `3/3 healthy`, `0/2 healthy, 2/2 restarting`, of a job that is
    done `2/2 complete`. `failed` counts what has failed for good; `stale` what runs, or ran, on
    nodes that do not answer: it counts as nothing else, as its state is unknown."""

    healthy: int
    total: int
    restarting: int
    complete: int = 0
    failed: int = 0
    stale: int = 0

    def __str__(self) -> str:
        if self.complete and self.complete == self.total:
            return f"{self.complete}/{self.total} complete"
        text = f"{self.healthy}/{self.total} healthy"
        for word in ("restarting", "failed", "complete", "stale"):
            count: int = getattr(self, word)
            text += f", {count}/{self.total} {word}" if count else ""
        return text

    @property
    def is_good(self) -> bool:
        """Whether every slot has a task that is ready, or complete."""
        return self.healthy + self.complete >= self.total


def summarize(
    replicas: int, tasks: Iterable[TaskStatus], *, failed: int = 0, stale: int = 0
) -> Health:
    """The health of a service of `replicas`, from the current task of each slot; `failed` of these
    have failed for good. Besides them there are so many that are `stale`."""
    current = list(tasks)
    return Health(
        sum(task.ready for task in current),
        replicas,
        sum(task.is_restarting for task in current),
        sum(task.phase is Phase.COMPLETE for task in current),
        failed,
        stale,
    )

"""Wall times that a node reports, compared with the manager's clock.

A time that is later than now, or of an event earlier than its task, by more than an hour comes from
a wrong clock: the manager's own time replaces it, so that it is sorted, shown and aged correctly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from warren.model.check import Sample
from warren.model.duration import LONGEST
from warren.model.identity import TaskId
from warren.model.report import Report, Told
from warren.model.task import ProbeStatus, TaskRecord, TaskStatus

S = TypeVar("S", bound=msgspec.Struct)
TOLERATED = 3600.0  # seconds

Born = Callable[[TaskId], float | None]
"""When the manager made a task; None for an unknown one."""


def mend_report(report: Report, *, born: Born, now: float) -> tuple[Report, float]:
    """The report with plausible times, and by how many seconds it was off: 0 where it was not."""
    mender = _Mender(now)
    statuses = tuple(mender.status(status) for status in report.statuses)
    events = tuple(mender.told(told, born(told.event.task)) for told in report.events)
    if mender.off:
        report = msgspec.structs.replace(report, statuses=statuses, events=events)
    return report, mender.off


def mend_statuses(statuses: Sequence[TaskStatus], *, now: float) -> list[TaskStatus]:
    """The same for statuses that were asked of a node."""
    mender = _Mender(now)
    return [mender.status(status) for status in statuses]


def mend_record(record: TaskRecord, *, now: float) -> TaskRecord:
    """A node's own record, written while its clock was ahead of what it is now."""
    mender = _Mender(now)
    return mender.record(record)


class _Mender:
    def __init__(self, now: float) -> None:
        self._now = now
        self.off = 0.0

    def told(self, told: Told, born: float | None) -> Told:
        at = self._at(told.event.at, since=self._now if born is None else born)
        if at == told.event.at:
            return told
        return msgspec.structs.replace(told, event=msgspec.structs.replace(told.event, at=at))

    def status(self, status: TaskStatus) -> TaskStatus:
        changes: dict[str, object] = {}
        if status.last_end is not None:
            end = self._with(status.last_end, at=self._at(status.last_end.at))
            changes["last_end"] = end
        if status.instance is not None:
            at = self._at(status.instance.started_at)
            changes["instance"] = self._with(status.instance, started_at=at)
        if status.restart_at is not None:
            changes["restart_at"] = self._at(status.restart_at, ahead=1.2 * LONGEST)
        probes = {kind: self._probe(probe) for kind, probe in status.probes.items()}
        if any(probes[kind] is not probe for kind, probe in status.probes.items()):
            changes["probes"] = probes
        return self._with(status, **changes)

    def record(self, record: TaskRecord) -> TaskRecord:
        changes: dict[str, object] = {}
        if record.last_end is not None:
            changes["last_end"] = self._with(record.last_end, at=self._at(record.last_end.at))
        if record.instance is not None:
            at = self._at(record.instance.started_at)
            changes["instance"] = self._with(record.instance, started_at=at)
        if record.ready_since is not None:
            changes["ready_since"] = self._at(record.ready_since)
        return self._with(record, **changes)

    def _probe(self, probe: ProbeStatus) -> ProbeStatus:
        if probe.last is None:
            return probe
        last: Sample = self._with(probe.last, at=self._at(probe.last.at))
        return self._with(probe, last=last)

    def _at(self, at: float, *, since: float = 0.0, ahead: float = 0.0) -> float:
        if since - TOLERATED <= at <= self._now + ahead + TOLERATED:
            return at
        self.off = at - self._now
        return self._now

    def _with(self, value: S, **changes: object) -> S:
        """The value with these fields, or itself where they are equal already."""
        if all(getattr(value, name) == new for name, new in changes.items()):
            return value
        return msgspec.structs.replace(value, **changes)

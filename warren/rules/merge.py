"""What a node reports of a task, merged into the row that is kept.

The greater (epoch, sequence) wins: a report that is repeated, or late, changes nothing. A phase
only grows, and after an end nothing changes. The probes' counters and last outcomes, on which no
decision and no reader of the row depends, are no reason to write (docs/architecture.md, "The way
of one probe result"); the node has them when asked.
"""

from __future__ import annotations

import msgspec

from warren.model.cluster import TaskRow
from warren.model.probe import ProbeKind, Verdict
from warren.model.task import TaskStatus


def merge(row: TaskRow, status: TaskStatus, *, epoch: int) -> TaskRow | None:
    """The row after this status, reported by a session of this epoch; None where there is
    nothing to write."""
    if row.has_ended or (epoch, status.sequence) < (row.epoch, row.status.sequence):
        return None
    status = msgspec.structs.replace(status, phase=max(row.phase, status.phase))
    new = msgspec.structs.replace(
        row, status=status, epoch=epoch, failed_before=status.failed_before
    )
    is_like = (status.phase, status.ready) == (row.phase, row.status.ready)
    if is_like and _material(new) == _material(row):
        return None
    return new


def _material(row: TaskRow) -> tuple[object, ...]:
    bare = msgspec.structs.replace(row.status, sequence=0, probes={})
    return (bare, row.failed_before, _verdicts(row.status))


def _verdicts(status: TaskStatus) -> dict[ProbeKind, tuple[Verdict, str | None]]:
    return {kind: (probe.verdict, probe.warning) for kind, probe in status.probes.items()}

"""The first record of a task that the manager has assigned."""

from __future__ import annotations

from warren.model.report import Assignment
from warren.model.task import Phase, TaskRecord


def record_of(assignment: Assignment) -> TaskRecord:
    """What is written down of it before it is begun."""
    return TaskRecord(
        id=assignment.task,
        spec=assignment.spec,
        phase=Phase.ASSIGNED,
        last_end=assignment.last_end,
        failed_before=assignment.failed_before,
        revision=assignment.revision,
    )

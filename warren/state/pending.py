"""Tasks that are not placed yet, by when they are due.

A wall clock may be set back between two runs of the manager. A task that would then wait longer
than intended waits that long again (`shortened`, once at the start); one that would be due later
than any rule says is due now.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator

import msgspec

from warren.model.cluster import TaskRow
from warren.model.identity import TaskId
from warren.rules.restart import JITTER, REPLACEMENT_MAX_DELAY

LONGEST_WAIT = REPLACEMENT_MAX_DELAY * (1 + JITTER)  # seconds


class PendingTasks:
    """Unplaced tasks in the order in which they are due."""

    def __init__(self) -> None:
        self._at_once = set[TaskId]()
        self._later: list[tuple[float, TaskId]] = []

    def __repr__(self) -> str:
        return f"<PendingTasks {len(self)}>"

    def __len__(self) -> int:
        return len(self._at_once) + len(self._later)

    def add(self, row: TaskRow) -> None:
        """A task waits to be placed."""
        if row.not_before is None:
            self._at_once.add(row.id)
        else:
            bisect.insort(self._later, (row.not_before, row.id))

    def remove(self, row: TaskRow) -> None:
        """A task no longer waits."""
        if row.not_before is None:
            self._at_once.remove(row.id)
        else:
            del self._later[bisect.bisect_left(self._later, (row.not_before, row.id))]

    def due(self, now: float) -> list[TaskId]:
        """Those that may be placed at wall time `now`, in no order."""
        first, last = self._bounds(now)
        late = itertools.chain(self._later[:first], self._later[last:])
        return [*self._at_once, *(task for _, task in late)]

    def later(self, now: float) -> Iterator[tuple[float, TaskId]]:
        """Those that are due after `now`, and when, in order."""
        first, last = self._bounds(now)
        return itertools.islice(self._later, first, last)

    def _bounds(self, now: float) -> tuple[int, int]:
        first = bisect.bisect_right(self._later, now, key=_due)
        return first, bisect.bisect_right(self._later, now + LONGEST_WAIT, key=_due)


def is_due(not_before: float | None, now: float) -> bool:
    """Whether a task may be placed at wall time `now`."""
    return not_before is None or not now < not_before <= now + LONGEST_WAIT


def shortened(row: TaskRow, now: float) -> TaskRow | None:
    """The row of a task that waits, where the clock has been set back since it was made; None
    where there is nothing to correct. A replacement's wait begins when it is made (S17)."""
    if row.not_before is None or row.node is not None or row.has_ended or now >= row.created_at:
        return None
    due = now + max(0.0, row.not_before - row.created_at)
    status = msgspec.structs.replace(row.status, restart_at=due)
    return msgspec.structs.replace(row, created_at=now, not_before=due, status=status)


def moved(row: TaskRow, now: float, by: float) -> TaskRow | None:
    """The row of a task that waits, for a clock that moves on from `now` by so many seconds: it
    waits as long as before. None where there is nothing to move."""
    if row.not_before is None or row.node is not None or row.has_ended:
        return None
    if is_due(row.not_before, now):
        return None
    due = row.not_before + by
    status = msgspec.structs.replace(row.status, restart_at=due)
    return msgspec.structs.replace(
        row, created_at=row.created_at + by, not_before=due, status=status
    )


def _due(entry: tuple[float, TaskId]) -> float:
    return entry[0]

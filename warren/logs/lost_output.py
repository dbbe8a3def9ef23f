"""Programs that run without a log, as theirs could not be opened: reported as one condition.

    log refused --> started, output lost, reported --- next start of the slot has a log ---> over
                                    `--- it has ended, and no new start within KEPT ------------^

A fault of a log file ends no service and is no restart. A program keeps the output it was started
with; so the condition lasts as long as it runs, also once the log can be written again. KEPT, so
that restarts do not begin and end it each time.
For Trio's thread only.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from typing import NoReturn

import trio

from warren.model.identity import TaskId
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions

CONDITION = "output is lost"
LOOK_EVERY = 2.0  # seconds
KEPT = 60.0  # seconds
_NAMED = 3  # slots
_PLAINER = {
    errno.ELOOP: "is a symbolic link, which is not followed",
    errno.EEXIST: "is no directory",
    errno.ENXIO: "is no regular file",
}


@dataclasses.dataclass(slots=True)
class _Lost:
    why: str
    has_ended: Callable[[], bool]
    ended_at: float | None = None


class LostOutput:
    """The slots whose output is lost now."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._lost: dict[str, _Lost] = {}

    def __repr__(self) -> str:
        return f"<LostOutput {', '.join(self._lost) or 'none'}>"

    async def serve(self, boundary: Boundary) -> NoReturn:
        """Remove those that have ended, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            async with boundary:
                self._look(trio.current_time())

    def note(self, task: TaskId, why: str, has_ended: Callable[[], bool]) -> None:
        """The output of this task's new instance is lost."""
        self._lost[_slot(task)] = _Lost(why, has_ended)  # at its former place, if it had one
        self._tell()

    def forget(self, task: TaskId) -> None:
        """Its new instance has a log. Cheap where nothing was lost."""
        if self._lost.pop(_slot(task), None) is not None:
            self._tell()

    def _look(self, now: float) -> None:
        for slot, lost in [*self._lost.items()]:
            if lost.ended_at is None and lost.has_ended():
                lost.ended_at = now
            if lost.ended_at is not None and now >= lost.ended_at + KEPT:
                del self._lost[slot]
        self._tell()

    def _tell(self) -> None:
        said = None
        if self._lost:
            slots = [*self._lost]
            more = len(slots) - _NAMED
            names = ", ".join(slots[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
            why = self._lost[slots[0]].why
            said = f"{why}; what {names} writes is lost, until it is started anew"
        self._conditions.hold(CONDITION, said)


def why_unusable(error: OSError, path: str) -> str:
    """Which path it is, and what is wrong with it."""
    what = _PLAINER.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename or path}: {what}"


def _slot(task: TaskId) -> str:
    return f"{task.service}.{task.slot}"

"""Tasks whose records cannot be read: their processes are left alone, and not started over.

Their instances are unknown, so that they are neither probed nor restarted, and a condition
says so. They end when the manager ends the task: a restart of the service replaces it.
"""

from __future__ import annotations

from warren.model.identity import TaskId, instance_prefix
from warren.nursery.dependencies import Dependencies
from warren.resilience.boundary import Boundary, survived

CONDITION = "journal rows"


class UnreadableTasks:
    """The unreadable tasks of one node."""

    def __init__(self, around: Dependencies) -> None:
        self._around = around
        self._tasks: dict[TaskId, str] = {}
        self._ending = set[TaskId]()

    def __repr__(self) -> str:
        return f"<UnreadableTasks {', '.join(map(str, self._tasks)) or 'none'}>"

    def __contains__(self, task: TaskId) -> bool:
        return task in self._tasks

    def tasks(self) -> list[TaskId]:
        """Which they are."""
        return list(self._tasks)

    def take_over(self) -> None:
        """Those that the journal has set aside."""
        self._tasks = dict(self._around.journal.set_aside())
        self._tell()

    def begin_end(self, task: TaskId) -> bool:
        """Whether it is to be ended now; False where it is being ended already."""
        is_first = task not in self._ending
        self._ending.add(task)
        return is_first

    def is_ending(self, task: TaskId) -> bool:
        """Whether its end has begun: a task that gets its id now waits for it."""
        return task in self._ending

    async def end(self, task: TaskId) -> None:
        """End its processes, for as long as that takes, and drop its record."""
        boundary = Boundary(f"ending task {task}", self._around.conditions)
        while task in self._ending:
            async with boundary:
                await self._kill(task)
                self._ending.discard(task)
        if self._tasks.pop(task, None) is not None:
            self._around.journal.forget(task)
            self._tell()

    async def stop_all(self) -> None:
        """End their processes; their records stay. What cannot be ended is left to the next
        supervisor."""
        for task in self.tasks():
            with survived(f"ending task {task}"):
                await self._kill(task)

    async def _kill(self, task: TaskId) -> None:
        await self._around.runtime.sweep(frozenset(), only=instance_prefix(task))

    def _tell(self) -> None:
        conditions = self._around.conditions
        if not self._tasks:
            conditions.clear(CONDITION)
            return
        task, why = next(iter(sorted(self._tasks.items())))
        more = f" ({len(self._tasks) - 1} more)" if len(self._tasks) > 1 else ""
        said = "its processes run unwatched"
        wanted = f"want `warren service restart {task.service}`, which replaces it"
        conditions.set(CONDITION, f"task {task}{more}: {said}; {wanted}: {why}")

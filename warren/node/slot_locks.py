"""The slots of one node: none is filled twice at a time.

A task that was replaced elsewhere while the node was away is still being ended when its slot comes
back: the slot's next task waits for its end. Next is a task with a higher number; and, as a manager
whose state was restored from a backup assigns lower ones again, any that comes while it ends.
"""

from __future__ import annotations

from warren.nursery.task_runner import TaskRunner


class SlotLocks:
    """The tasks of each slot that are not over, in order of arrival."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], list[TaskRunner]] = {}

    def __repr__(self) -> str:
        return f"<SlotLocks {len(self._held)} taken>"

    async def enter(self, task: TaskRunner) -> None:
        """Wait until the tasks that have the slot and are of lower numbers, or are being ended, are
        over."""
        held = self._held.setdefault(_slot(task), [])
        older = [e for e in held if e.id.number < task.id.number or e.is_stopping]
        held.append(task)
        for each in older:
            await each.ended.wait()

    def leave(self, task: TaskRunner) -> None:
        """It is over: forget it."""
        held = self._held[_slot(task)]
        held.remove(task)
        if not held:
            del self._held[_slot(task)]


def _slot(task: TaskRunner) -> tuple[str, int]:
    return task.id.service, task.id.slot

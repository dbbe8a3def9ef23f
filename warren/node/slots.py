"""The slots of one node: none is filled twice at a time.

A task that was replaced elsewhere while the node was away is still being ended when its slot comes
back: what has a slot after it waits for its end.
"""

from __future__ import annotations

from warren.nursery.task import TaskNursery


class Slots:
    """Which tasks that are not over have each slot, in the order they came."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], list[TaskNursery]] = {}

    def __repr__(self) -> str:
        return f"<Slots {len(self._held)} taken>"

    async def enter(self, task: TaskNursery) -> None:
        """Wait until the tasks of lower numbers that have the slot are over."""
        held = self._held.setdefault(_slot(task), [])
        older = [each for each in held if each.id.number < task.id.number]
        held.append(task)
        for each in older:
            await each.ended.wait()

    def leave(self, task: TaskNursery) -> None:
        """It is over: nothing is kept of it."""
        held = self._held[_slot(task)]
        held.remove(task)
        if not held:
            del self._held[_slot(task)]


def _slot(task: TaskNursery) -> tuple[str, int]:
    return task.id.service, task.id.slot

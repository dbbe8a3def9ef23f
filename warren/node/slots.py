"""The slots of one node: none is filled twice at a time.

A task that was replaced elsewhere while the node was away is still being ended when its slot comes
back: what has a slot after it waits for its end. After it is what has a higher number; and, as a
manager whose state was put back from a backup gives lower ones again, whatever comes while it ends.
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
        """Wait until the tasks that have the slot and are of lower numbers, or are being ended, are
        over."""
        held = self._held.setdefault(_slot(task), [])
        older = [e for e in held if e.id.number < task.id.number or e.is_stopping]
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

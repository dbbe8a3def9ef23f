"""Every task's last status, and every service's health: constant work per transition.

Services come and go while it runs; transitions of other tasks are not kept.
"""

from __future__ import annotations

from warren.model.identity import TaskId
from warren.model.task import Phase, TaskStatus
from warren.rules.health import Health


class Summary:
    """The services there are, and the tasks that fill their slots."""

    def __init__(self) -> None:
        self._services: dict[str, _Slots] = {}

    def set_service(self, name: str, replicas: int, *, runs_once: bool = False) -> None:
        """There is such a service, with so many replicas wanted; with `runs_once` none follows
        one that has failed."""
        slots = self._services.setdefault(name, _Slots())
        slots.replicas = replicas
        slots.runs_once = runs_once

    def drop_service(self, name: str) -> None:
        """There is no such service any more."""
        self._services.pop(name, None)

    def forget(self, task: TaskId) -> None:
        """This task no longer fills its slot."""
        slots = self._services.get(task.service)
        if slots is not None:
            slots.forget(task)

    def note(self, status: TaskStatus) -> None:
        """Take a transition of a task."""
        slots = self._services.get(status.id.service)
        if slots is not None:
            slots.note(status)

    def health(self, service: str) -> Health | None:
        """A service's health; None for one that is not on the board."""
        slots = self._services.get(service)
        return slots and slots.health()

    def healths(self) -> dict[str, Health]:
        """Every service's health, in the order of the file."""
        return {name: slots.health() for name, slots in self._services.items()}

    def tasks(self) -> list[TaskStatus]:
        """The last transition of every slot's task, in the order of the file and of slots."""
        return [
            slots.by_slot[slot]
            for slots in self._services.values()
            for slot in sorted(slots.by_slot)
        ]


class _Slots:
    def __init__(self) -> None:
        self.replicas = 0
        self.runs_once = False
        self.by_slot: dict[int, TaskStatus] = {}
        self.healthy = 0
        self.restarting = 0
        self.complete = 0
        self.failed = 0

    def health(self) -> Health:
        failed = self.failed if self.runs_once else 0
        return Health(self.healthy, self.replicas, self.restarting, self.complete, failed)

    def note(self, status: TaskStatus) -> None:
        task = status.id
        old = self.by_slot.get(task.slot)
        if old is not None and old.id.number > task.number:
            return
        if old is not None:
            self._count(old, -1)
        self._count(status, +1)
        self.by_slot[task.slot] = status

    def forget(self, task: TaskId) -> None:
        old = self.by_slot.get(task.slot)
        if old is not None and old.id == task:
            self._count(old, -1)
            del self.by_slot[task.slot]

    def _count(self, status: TaskStatus, one: int) -> None:
        self.healthy += one * status.ready
        self.restarting += one * status.is_restarting
        self.complete += one * (status.phase is Phase.COMPLETE)
        self.failed += one * (status.phase in (Phase.FAILED, Phase.CRASHED))

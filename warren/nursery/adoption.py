"""What an earlier supervisor has left of a task: its instance, and the rest of a backoff (S21)."""

from __future__ import annotations

from collections.abc import Mapping

from warren.model.interfaces import Ports, RunningInstance
from warren.model.service import ServiceSpec
from warren.model.task import End, Instance, TaskRecord
from warren.nursery.dependencies import Dependencies
from warren.rules.restart import JITTER, REPLACEMENT_MAX_DELAY


class EndedError(Exception):
    """An instance to adopt had ended already."""

    def __init__(self, end: End) -> None:
        self.end = end


async def adopt(around: Dependencies, record: TaskRecord, instance: Instance) -> RunningInstance:
    """Take over the instance of a record, with its ports. Raises EndedError, CannotRunError."""
    claim(around.ports, str(record.id), record.spec, of=instance)
    found = await around.runtime.adopt(instance)
    if isinstance(found, End):
        raise EndedError(found)
    return found


def claim(
    ports: Ports, task: str, spec: ServiceSpec, *, of: Instance | None = None
) -> Mapping[str, int]:
    """The ports of a task's instance: the node's are claimed, as those `of` an instance that is
    adopted; one with an address of its own has its own. Raises PortTakenError."""
    if spec.has_own_address:
        return dict(spec.ports)
    if of is None:
        return ports.claim(task, spec.ports)
    return ports.claim(task, spec.ports, previous=of.ports, adopt=True)


def age_of(around: Dependencies, instance: Instance) -> float:
    """Seconds since the instance of a record was started, from which periods are measured. The
    wall clock, which may have been set meanwhile, is used only where the runtime does not know."""
    known = around.runtime.age(instance)
    return max(0.0, around.wall() - instance.started_at) if known is None else known


def left_to_wait(record: TaskRecord, wall: float) -> float:
    """Seconds left of a backoff that an earlier supervisor had begun (S17): at most the whole of
    it, where the clock has been set back since."""
    if record.restart_at is None:
        return 0.0
    delay = record.restart_delay
    if delay is None:  # written before delays were
        delay = max(record.spec.restart.max_delay, REPLACEMENT_MAX_DELAY) * (1 + JITTER)
    return min(max(0.0, record.restart_at - wall), delay)

"""What the tasks of this node use now. All are asked at once: an engine may take long for each."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from warren.model.identity import TaskId
from warren.model.usage import TaskUsage
from warren.nursery.task_runner import TaskRunner

WITHIN = 0.8  # seconds: a manager waits for one


async def usages_of(tasks: Mapping[TaskId, TaskRunner]) -> list[TaskUsage]:
    """In their order; one that has nothing running, or is not told in time, is left out."""
    found = dict[TaskId, TaskUsage]()

    async def ask(task: TaskId, held: TaskRunner) -> None:
        usage = await held.usage()
        if usage is not None:
            found[task] = TaskUsage(task=task, usage=usage)

    with trio.move_on_after(WITHIN):
        async with trio.open_nursery() as nursery:
            for task, held in tasks.items():
                nursery.start_soon(ask, task, held)
    return [found[task] for task in tasks if task in found]

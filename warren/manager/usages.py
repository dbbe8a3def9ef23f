"""What the instances of tasks use, as their nodes read it now (S27). All are asked at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from warren.manager.dispatcher import Dispatcher
from warren.manager.shared_queries import LOOK_WITHIN
from warren.model.cluster import TaskRow
from warren.model.errors import WarrenError
from warren.model.identity import TaskId
from warren.model.rpc import Agent
from warren.model.usage import TaskUsage

AT_ONCE = 200  # tasks of one call: a node reads some files of each


async def usages_of(dispatcher: Dispatcher, rows: Iterable[TaskRow]) -> list[TaskUsage]:
    """In the order of the rows; a task that has ended, or whose node does not say, is left out."""
    await trio.lowlevel.checkpoint()
    by_node: dict[str, list[TaskId]] = {}
    for row in rows:
        if row.node is not None and not row.has_ended:
            by_node.setdefault(row.node, []).append(row.id)
    found = dict[TaskId, TaskUsage]()
    async with trio.open_nursery() as nursery:
        for node, tasks in by_node.items():
            session = dispatcher.session(node)
            if session is not None:
                nursery.start_soon(_ask, session.agent, tasks, found)
    wanted = (task for tasks in by_node.values() for task in tasks)
    return [found[task] for task in wanted if task in found]


async def _ask(agent: Agent, tasks: Sequence[TaskId], found: dict[TaskId, TaskUsage]) -> None:
    """What it says of other tasks is ignored: they may be another node's."""
    for start in range(0, len(tasks), AT_ONCE):
        some = tasks[start : start + AT_ONCE]
        told: list[TaskUsage] | None = None
        with trio.move_on_after(LOOK_WITHIN):
            try:
                told = await agent.usage(some)
            except WarrenError:  # also a node of an earlier version, which cannot say
                return
        if told is None:
            return
        found.update({one.task: one for one in told if one.task in {*some}})

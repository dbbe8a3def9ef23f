"""`warren service logs` and `warren task logs`: what tasks have written, as they wrote it."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.client import ask, say
from warren.cli.flagchecks import count
from warren.cli.options import SWITCH, Where
from warren.model.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    import trio

    from warren.cli.slotlog import Lines, SlotLog
    from warren.model.link import Cluster
    from warren.model.view import TaskView

HERE = Where()
_MOST_LINES = 1_000_000_000
Follow = Annotated[bool, SWITCH]
Tail = Annotated[str | None, Parameter(metavar="N")]


def service_logs(
    name: str, /, *, follow: Follow = False, tail: Tail = None, where: Where = HERE
) -> int:
    """The output of a service's tasks, every line with its slot: `web.1 | ...`.

    Parameters
    ----------
    name
        The service.
    follow
        Go on with what is written, also by tasks that are yet to come, until Ctrl-C.
    tail
        Begin with the last so many lines of every slot.
    """
    reading = _Service(name, _lines(tail))
    if follow:
        return ask(where, reading.follow, follows=True)
    return ask(where, reading.read)


def task_logs(
    task: str, /, *, follow: Follow = False, tail: Tail = None, where: Where = HERE
) -> int:
    """The output of a task's slot: of this task, and of those before it.

    Parameters
    ----------
    task
        Such as web.2#7, as `service ps` shows it.
    follow
        Go on with what is written until the task has ended.
    tail
        Begin with the last so many lines.
    """
    from warren.cli.look import task_id
    from warren.cli.slotlog import SlotLog

    asked = task_id(task)
    log = SlotLog(asked, "", _put, tail=_lines(tail))

    async def question(cluster: Cluster) -> int:
        if follow:
            await _follow_to_end(cluster, log)
        else:
            await log.read(cluster)
        return 0

    return ask(where, question, follows=follow)


class _Service:
    """The slots of a service, as far as their output has been read; it outlives a link."""

    def __init__(self, name: str, tail: int) -> None:
        self._name = name
        self._tail = tail
        self._logs: dict[int, SlotLog] = {}
        self._lines: dict[int, Lines] = {}
        self._after: int | None = None

    async def read(self, cluster: Cluster) -> int:
        """What there is. 1 where the output of a slot cannot be had."""
        status = 0
        for task in (await cluster.service(self._name)).tasks:
            if task.node is None:
                continue  # it has written nothing
            try:
                await self._log(task, task.node).read(cluster)
            except RefusedError as error:
                say(f"warren: {error}")
                status = 1
            self._lines[task.id.slot].end()
        return status

    async def follow(self, cluster: Cluster) -> int:
        """What there is and what comes, until the service is removed."""
        import trio

        async with trio.open_nursery() as nursery:
            for log in self._logs.values():  # of an earlier link
                nursery.start_soon(log.follow, cluster)
            try:
                await self._watch(cluster, nursery)
            except NotFoundError:
                if self._after is None:
                    raise
                say(f"warren: {self._name} was removed")
            nursery.cancel_scope.cancel()
        for lines in self._lines.values():
            lines.end()
        return 0

    async def _watch(self, cluster: Cluster, nursery: trio.Nursery) -> None:
        """Take up the tasks that come. Raises NotFoundError when the service is gone."""
        from warren.cli.waiting import next_event

        while True:
            after = await cluster.last_event()
            for task in (await cluster.service(self._name)).tasks:
                known = self._logs.get(task.id.slot)
                if known is not None:
                    await known.move(cluster, task.id, task.node)
                elif task.node is not None:
                    nursery.start_soon(self._log(task, task.node).follow, cluster)
            self._after = after
            self._tail = 0  # a slot that comes later is read from its beginning
            await next_event(cluster, after)

    def _log(self, task: TaskView, node: str) -> SlotLog:
        from warren.cli.slotlog import Lines, SlotLog

        slot = task.id.slot
        lines = self._lines[slot] = Lines(f"{task.id.service}.{slot}", _put)
        log = self._logs[slot] = SlotLog(task.id, node, lines.take, tail=self._tail)
        return log


async def _follow_to_end(cluster: Cluster, log: SlotLog) -> None:
    """Follow a task's output until it has ended, or is forgotten."""
    import trio

    from warren.cli.waiting import next_event

    async with trio.open_nursery() as nursery:
        after = await cluster.last_event()
        detail = await cluster.task(log.task)
        nursery.start_soon(log.follow, cluster)
        try:
            while not detail.task.status.phase.is_end:
                after = await next_event(cluster, after)
                detail = await cluster.task(log.task)
        except NotFoundError:
            pass
        nursery.cancel_scope.cancel()
    with suppress(NotFoundError):
        await log.read(cluster)


def _lines(tail: str | None) -> int:
    return 0 if tail is None else count("--tail", tail, 1, _MOST_LINES)


def _put(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

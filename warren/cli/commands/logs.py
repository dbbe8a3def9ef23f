"""`warren service logs` and `warren task logs`: the output of tasks, unchanged."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from warren.cli.asking import ask, say
from warren.cli.options.common import SWITCH, Where
from warren.cli.options.probe_flags import count, duration
from warren.model.errors import NotFoundError, SpecError, UnavailableError

if TYPE_CHECKING:
    from warren.cli.render.log_lines import Lines
    from warren.client.follow_logs import FollowedSlot, LogFollower
    from warren.model.identity import TaskId
    from warren.model.rpc import Cluster
    from warren.model.view import LogChunk, LogWanted, TaskView

HERE = Where()
_MOST_LINES = 1_000_000_000
Follow = Annotated[bool, Parameter(name=["--follow", "-f"]), SWITCH]
Tail = Annotated[str | None, Parameter(name=["--tail", "-n"], metavar="N")]
Since = Annotated[str | None, Parameter(metavar="DURATION")]
Times = Annotated[bool, Parameter(name=["--timestamps", "-t"]), SWITCH]


def service_logs(
    name: str,
    /,
    *,
    follow: Follow = False,
    tail: Tail = None,
    since: Since = None,
    times: Times = False,
    where: Where = HERE,
) -> int:
    """The output of a service's slots, as long as it is kept: `web.1 | ...`.

    Between two instances there is a line that says so: `web.1 --- web.1#2 began at ...`.

    Parameters
    ----------
    name
        The service.
    follow
        Follow the output, also of tasks that start later, until Ctrl-C.
    tail
        Begin with the last N lines of every slot; 0: with new output.
    since
        How far back to begin: 10m, 2h.
    times
        Show by when every line was written.
    """
    if "." in name:  # no service's name has one
        wanted = f"want a service such as web; of a task or slot: warren task logs {name}"
        raise SpecError("NAME", wanted, value=name)
    reading = _Service(name, _wanted(name, tail, since, times=times))
    if follow:
        return ask(where, reading.follow, follows=True)
    return ask(where, reading.read)


def task_logs(
    task: str,
    /,
    *,
    follow: Follow = False,
    tail: Tail = None,
    since: Since = None,
    times: Times = False,
    where: Where = HERE,
) -> int:
    """The output of a task's slot: of this task, and of those before it. Its bytes as they are.

    Parameters
    ----------
    task
        Such as web.2#7, as `service ps` shows it, or a slot such as web.2: its newest task
        that was placed.
    follow
        Follow the output until the task has ended.
    tail
        Begin with the last N lines; 0: with new output.
    since
        How far back to begin: 10m, 2h.
    times
        Show by when every line was written, and where an instance begins.
    """
    from warren.cli.commands.show import task_id
    from warren.model.identity import parse_slot

    asked: TaskId | None = None
    if (place := parse_slot(task)) is None:
        asked = task_id(task)
        place = asked.service, asked.slot
    service, slot = place
    reading = _Task(task, _wanted(service, tail, since, times=times, slot=slot))

    async def question(cluster: Cluster) -> int:
        nonlocal asked
        asked = asked or await _newest(cluster, service, slot)
        detail = await cluster.task(asked)
        log = reading.log(detail.task)
        if follow:
            await _follow_to_end(cluster, detail.task, log)
        await log.read(cluster)
        reading.end()
        return 1 if reading.is_silent and await _is_lost(cluster, {log.wanted.node}) else 0

    return ask(where, question, follows=follow)


async def _newest(cluster: Cluster, service: str, slot: int) -> TaskId:
    """The last task of a slot that was placed, which may have ended: one that is still to be
    placed only where there is no other. Raises NotFoundError."""
    tasks = await cluster.tasks(service=service, past=True)
    found = [(task.node is not None, task.id) for task in tasks if task.id.slot == slot]
    if not found:
        raise NotFoundError(f"slot {service}.{slot} has no task")
    return max(found)[1]


class _Task:
    """One task's slot, as far as its output has been read; it outlives a link."""

    def __init__(self, name: str, wanted: LogWanted) -> None:
        from warren.cli.render.log_lines import Lines

        self._name = name
        self._wanted = wanted
        self._lines = Lines("", _put, times=True) if wanted.times else None
        self._log: LogFollower | None = None
        self._has_output = False

    def log(self, task: TaskView) -> LogFollower:
        """Its output. Raises NotFoundError where it is nowhere yet."""
        from warren.client.follow_logs import LogFollower

        if task.node is None:
            raise NotFoundError(f"task {self._name} has no output: it is not placed yet")
        if self._log is None:
            self._log = LogFollower(_at(self._wanted, self._wanted.slot, task.node), self._take)
        return self._log

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing, of all that there may be."""
        return not self._has_output and _is_all(self._wanted)

    def end(self) -> None:
        """Nothing more comes."""
        if self._lines is not None:
            self._lines.end()

    def _take(self, chunk: LogChunk) -> None:
        self._has_output |= bool(chunk.data)
        if self._lines is not None:
            self._lines.take(chunk)
        else:
            _put(chunk.data)


class _Service:
    """The slots of a service, as far as their output has been read; it outlives a link."""

    def __init__(self, name: str, wanted: LogWanted) -> None:
        self._name = name
        self._wanted = wanted
        self._logs: dict[tuple[int, str], LogFollower] = {}
        self._lines: dict[tuple[int, str], Lines] = {}
        self._now = set[tuple[int, str]]()  # the slots' present places
        self._silent: tuple[str, ...] = ()
        self._after: int | None = None

    async def read(self, cluster: Cluster) -> int:
        """Print the present output. Returns 1 where the output of a slot cannot be read."""
        status = 0
        for slot, node in await self._kept(cluster):
            log = self._log(slot, node)
            try:
                await log.read(cluster)
            except UnavailableError as error:
                say(f"warren: {error}")
                status = 1
            self._lines[slot, node].end()
        has_lost = await _is_lost(cluster, self._unwritten())
        return 1 if self._silent or has_lost else status

    async def follow(self, cluster: Cluster) -> int:
        """Print present and new output, until the service is removed."""
        import trio

        from warren.client.follow_logs import FollowedSlot

        async with trio.open_nursery() as nursery:
            following = FollowedSlot(cluster, nursery, say)
            try:
                await self._watch(cluster, following)
            except NotFoundError:
                if self._after is None:
                    raise
                say(f"warren: {self._name} was removed")
            nursery.cancel_scope.cancel()
        for lines in self._lines.values():
            lines.end()
        return 0

    async def _watch(self, cluster: Cluster, following: FollowedSlot) -> None:
        """Follow slots that are new. Raises NotFoundError when the service is gone."""
        from warren.client.wait import next_event

        for log in self._logs.values():  # of an earlier link
            following.add(log)
        found = list[tuple[int, str]]()
        if self._after is None:
            found = await self._kept(cluster)
            await _is_lost(cluster, {node for _, node in self._now - {*found}})
        while True:
            after = await cluster.last_event()
            tasks = (await cluster.service(self._name)).tasks
            found += [(task.id.slot, task.node) for task in tasks if task.node is not None]
            for place in found:
                if place not in self._logs:
                    following.add(self._log(*place))
            found = []
            self._after = after
            # A slot that comes later is read from its beginning.
            self._wanted = _at(self._wanted, 0, "", tail=None, since=0.0)
            await next_event(cluster, after, self._name)

    async def _kept(self, cluster: Cluster) -> list[tuple[int, str]]:
        """Where there is output, by slot; of a slot that has moved, its present place is last."""
        kept = await cluster.kept_logs(self._name)
        self._silent = kept.silent
        for node in kept.silent:
            say(f"warren: node {node} does not answer; what it has of {self._name} is left out")
        tasks = (await cluster.service(self._name)).tasks
        self._now = {(task.id.slot, task.node) for task in tasks if task.node is not None}
        places = [(log.slot, log.node) for log in kept.logs]
        return sorted(places, key=lambda place: (place[0], place in self._now, place[1]))

    def _unwritten(self) -> set[str]:
        """The nodes of slots that have no output, of all that there may be."""
        bare = {place for place in self._now if place not in self._lines}
        if _is_all(self._wanted):
            bare |= {place for place, lines in self._lines.items() if lines.is_empty}
        return {node for _, node in bare}

    def _log(self, slot: int, node: str) -> LogFollower:
        from warren.cli.render.log_lines import Lines
        from warren.client.follow_logs import LogFollower

        lines = Lines(f"{self._name}.{slot}", _put, times=self._wanted.times)
        self._lines[slot, node] = lines
        log = self._logs[slot, node] = LogFollower(_at(self._wanted, slot, node), lines.take)
        return log


def _is_all(wanted: LogWanted) -> bool:
    """Whether all output is asked for."""
    return wanted.tail is None and not wanted.since


async def _is_lost(cluster: Cluster, nodes: set[str]) -> bool:
    """Whether one of these nodes says that output is lost; its reason goes to standard error."""
    from warren.client.phrases import one_line
    from warren.logs.lost_output import CONDITION

    views = [view for view in await cluster.nodes() if view.name in nodes] if nodes else []
    said = [
        f"warren: node {view.name}: {CONDITION}: {one_line(one.message)}"
        for view in views
        for one in view.conditions
        if one.kind == CONDITION
    ]
    for line in said:
        say(line)
    return bool(said)


async def _follow_to_end(cluster: Cluster, task: TaskView, log: LogFollower) -> None:
    """Follow a task's output until it has ended, or is forgotten."""
    import trio

    from warren.client.follow_logs import FollowedSlot
    from warren.client.wait import next_event

    async with trio.open_nursery() as nursery:
        FollowedSlot(cluster, nursery, say).add(log)
        try:
            while not task.status.phase.is_end:
                after = await cluster.last_event()
                task = (await cluster.task(task.id)).task
                if not task.status.phase.is_end:
                    await next_event(cluster, after, task.id.service)
        except NotFoundError:
            pass
        nursery.cancel_scope.cancel()


def _wanted(
    service: str, tail: str | None, since: str | None, *, times: bool, slot: int = 0
) -> LogWanted:
    from warren.model.view import LogWanted

    return LogWanted(
        service=service,
        slot=slot,
        tail=None if tail is None else count("--tail", tail, 0, _MOST_LINES),
        since=0.0 if since is None else time.time() - duration("--since", since),
        times=times,
    )


def _at(wanted: LogWanted, slot: int, node: str, **changes: object) -> LogWanted:
    import msgspec

    return msgspec.structs.replace(wanted, slot=slot, node=node, **changes)


def _put(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

"""The runtimes of a node, as one: whatever runs a task, tasks and the agent ask this.

Start:  the first runtime that has what the spec needs; none is a start that failed, with the reason
Adopt:  the runtime that the instance's record names
Sweep:  every runtime ends what is its own
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import trio

from warren.model.interfaces import (
    CannotRunError,
    Launch,
    LogSource,
    NotYetError,
    Record,
    RunningInstance,
    Runtime,
)
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.task import End, Instance, Reason
from warren.rules.requirements import fitting_runtime, lack, would_fit
from warren.runtime.runtime_logs import RuntimeLogs

NODE_FEATURES: tuple[str, ...] = ()
"""What this version's supervisor can do with any runtime, as `rules/requirements.py` names it."""


class NodeRuntime(Runtime, Protocol):
    """One kind of runtime, such as `process`. Instances that it starts have its name in `runtime`:
    so it is asked about them again, also by a later supervisor.

    It deals with its own trouble: what it drives may be away, and no other runtime waits for it.
    """

    @property
    def info(self) -> RuntimeInfo:
        """Its name, what it can do, and whether it is there now."""
        ...

    @property
    def logs(self) -> LogSource:
        """The output of its instances. Runtimes may share one."""
        ...

    @property
    def changed(self) -> trio.Event | None:
        """Set when `info` is another one, and then replaced; None where it never is."""
        ...

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What it does beside its instances, until cancelled. It is started before any call."""
        ...


class Runtimes:
    """Implements `Runtime` with several, the first that fits first. `features` is what the node
    can do with any of them."""

    def __init__(
        self, runtimes: Sequence[NodeRuntime], *, features: tuple[str, ...] = NODE_FEATURES
    ) -> None:
        self._runtimes = {one.info.name: one for one in runtimes}
        self._features = features
        self._logs = RuntimeLogs({one.info.name: one.logs for one in runtimes})

    def __repr__(self) -> str:
        return f"<Runtimes {', '.join(self._runtimes) or 'none'}>"

    @property
    def logs(self) -> LogSource:
        """The output of all, each slot's from the runtime of its instance."""
        return self._logs.source

    def description(self) -> NodeDescription:
        """What they, and the node, can do now."""
        infos = tuple(one.info for one in self._runtimes.values())
        return NodeDescription(runtimes=infos, features=self._features)

    async def wait_changed(self) -> None:
        """Wait until the next change of what one of them can do, or why it is not there."""
        events = [one.changed for one in self._runtimes.values()]
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(trio.sleep_forever)
            for event in events:
                if event is not None:
                    nursery.start_soon(wait, event)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What each does beside its instances, until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in self._runtimes.values():
                await nursery.start(one.serve)
            task_status.started()

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        """An older manager may have placed it here without asking what it needs."""
        here = self.description()
        fitting = fitting_runtime(here, launch.spec)
        if fitting is None:
            said = f"this node {lack(here, launch.spec)}"
            if would_fit(here, launch.spec):  # as soon as it answers again (S29)
                raise NotYetError(said.removeprefix("this node "))
            raise CannotRunError(said)
        self._logs.note(launch.task, fitting.name)
        return await self._runtimes[fitting.name].start(launch, record=record)

    async def adopt(self, instance: Instance) -> RunningInstance | End:
        found = self._runtimes.get(instance.runtime)
        if found is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            said = f"this node has no runtime {instance.runtime} any more, where it may still run"
            return End(reason=Reason.LOST, message=said, at=time.time())
        self._logs.note(instance.task, instance.runtime)
        return await found.adopt(instance)

    def age(self, instance: Instance) -> float | None:
        found = self._runtimes.get(instance.runtime)
        return None if found is None else found.age(instance)

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        swept = list[str]()
        for one in self._runtimes.values():
            swept += await one.sweep(keep, spare=spare, only=only)
        return swept

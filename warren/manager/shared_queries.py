"""The present status of tasks on one node: one call at a time, however many callers ask.

    callers --ask--> the next look --run--> the look in flight --> all callers of it

A look that is already in flight is not for new callers: it may have begun before an event that they
have seen. A caller that leaves takes nothing away from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from warren.model.errors import WarrenError
from warren.model.identity import TaskId
from warren.model.rpc import Agent
from warren.model.task import TaskStatus
from warren.rules.reported_times import mend_statuses

LOOK_WITHIN = 1.0  # S24


class _Look:
    """One call, and which caller has asked for what by it."""

    def __init__(self) -> None:
        self.asks = dict[object, Sequence[TaskId]]()
        self.is_over = trio.Event()
        self.told: dict[TaskId, TaskStatus] | None = None


class SharedQueries:
    """Created with a node's session; `run` serves it."""

    def __init__(self, agent: Agent, now: Callable[[], float]) -> None:
        self._agent = agent
        self._now = now
        self._next = _Look()
        self._asked = trio.Event()
        self._is_over = False

    def __repr__(self) -> str:
        return f"<SharedQueries: {len(self._next.asks)} wait for the next>"

    async def ask(self, tasks: Sequence[TaskId]) -> dict[TaskId, TaskStatus] | None:
        """Tasks as they stand now; None where the node does not answer within a second. What it
        says of other tasks is ignored: they may be another node's."""
        await trio.lowlevel.checkpoint()
        if self._is_over:
            return None
        look, me = self._next, object()
        look.asks[me] = tasks
        self._asked.set()
        try:
            with trio.move_on_after(LOOK_WITHIN):
                await look.is_over.wait()
        finally:
            look.asks.pop(me, None)
        told = look.told
        return None if told is None else {task: told[task] for task in tasks if task in told}

    async def run(self) -> None:
        """Ask the node for what is asked here, until cancelled."""
        look = self._next
        try:
            while True:
                await self._asked.wait()
                self._asked = trio.Event()
                look, self._next = self._next, _Look()
                if look.asks:  # else they have left meanwhile
                    look.told = await self._call(look)
                look.is_over.set()
        finally:
            self._is_over = True
            look.is_over.set()
            self._next.is_over.set()

    async def _call(self, look: _Look) -> dict[TaskId, TaskStatus] | None:
        wanted = dict[TaskId, None]()
        with trio.move_on_after(LOOK_WITHIN):
            for tasks in [*look.asks.values()]:
                wanted.update(dict.fromkeys(tasks))
                await trio.lowlevel.checkpoint()  # many callers may ask for thousands each
            try:
                told = mend_statuses(await self._agent.look([*wanted]), now=self._now())
            except WarrenError:
                return None
            return {status.id: status for status in told}
        return None

"""A supervisor whose instances are played: what is measured is Warren's own work, no process's.

manager -> agent -> task nursery -> probe loop -> Caps -> Meter -> the check under test
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial

import trio

from warren.checks.concurrency import ConcurrencyCaps
from warren.model.check import Argv, Check, Outcome, Result
from warren.model.errors import NotFoundError
from warren.model.interfaces import (
    CommandResult,
    Growing,
    Launch,
    Record,
    RunCheck,
    RunningInstance,
    Target,
)
from warren.model.probe import ProbeKind
from warren.model.task import End, Instance, Reason
from warren.model.usage import Usage
from warren.model.view import LogPiece, LogWanted, SlotName
from warren.node.manager_link import Dial
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.rules.probe import SLACK
from warren.rules.probe_timing import phase
from warren.store.journal import MemoryJournal
from warren.wiring.one_process import open_linked
from warren.wiring.parts import Publish, open_manager_here
from warren.wiring.supervisor import Supervisor, open_supervision

PORT = "number"  # the port every task asks for; its number tells the meter which task it is


class Meter:
    """A `RunCheck` around a `RunCheck`: who failed, and how late an attempt began.

    Knows tasks with one liveness probe of `interval` seconds, by the ports it hands out itself.
    Lateness is taken from the probe's grid (S7), so only once every task is on it: `is_on`.
    """

    def __init__(self, run: RunCheck, *, interval: float) -> None:
        self.failures: list[str] = []
        self.lateness: list[float] = []
        self.dropped = 0  # points of the grid that went by without an attempt
        self.is_on = False
        self._run = run
        self._interval = interval
        self._numbers: dict[str, int] = {}
        self._offsets: list[float] = [0.0]  # by number; 0 is no port
        self._last: dict[int, float] = {}

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        if self.is_on:
            self._note(target.ports[PORT])
        outcome = await self._run(check, target, timeout=timeout)
        if outcome.result is not Result.PASS:
            self.failures.append(outcome.detail)
        return outcome

    def _note(self, number: int) -> None:
        now = trio.current_time()
        late = (now - self._offsets[number] + SLACK) % self._interval
        self.lateness.append(late)
        point = now - late
        steps = round((point - self._last.get(number, point)) / self._interval)
        self.dropped += max(0, steps - 1)
        self._last[number] = point

    def claim(
        self,
        task: str,
        names: Mapping[str, int],
        *,
        previous: Mapping[str, int] | None = None,
        adopt: bool = False,
    ) -> Mapping[str, int]:
        """Plays `Ports`: a number of its own for every task."""
        if task not in self._numbers:
            self._numbers[task] = len(self._offsets)
            key = f"{task}/{ProbeKind.LIVENESS.value}"
            self._offsets.append(phase(key) * self._interval)
        return dict.fromkeys(names, self._numbers[task])

    def release(self, task: str) -> None:
        """Numbers are not used again."""


class ScriptedInstance:
    """Runs until it is asked to go, and then goes at once."""

    __slots__ = ("_ended", "_instance")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._ended = trio.Event()

    @property
    def instance(self) -> Instance:
        return self._instance

    async def wait(self) -> End:
        await self._ended.wait()
        return _END

    async def signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self._ended.set()

    async def kill(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self._ended.set()

    def leave(self) -> None:
        pass

    async def run(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        await trio.lowlevel.checkpoint()
        return CommandResult(exit_code=0)

    async def owns_listener(self, port: int) -> bool | None:
        await trio.lowlevel.checkpoint()
        return True

    async def usage(self) -> Usage | None:
        await trio.lowlevel.checkpoint()
        return None


class ScriptedRuntime:
    """Plays `Runtime`: every start works."""

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        await trio.lowlevel.checkpoint()
        started = time.time()
        instance = Instance(id=launch.id, task=launch.task, started_at=started, ports=launch.ports)
        await record(instance)
        return ScriptedInstance(instance)

    async def adopt(self, instance: Instance) -> RunningInstance | End:
        await trio.lowlevel.checkpoint()
        return End(reason=Reason.LOST, message="never ran here", at=time.time())

    def age(self, instance: Instance) -> float | None:
        return None

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []


_END = End(reason=Reason.EXITED, message="exited with code 0", at=0.0, exit_code=0)


class NoLogs:
    """Plays `LogSource` with nothing in it."""

    async def pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        raise NotFoundError(f"{len(wanted)} slots have written nothing, at most {limit} bytes")

    def watching(self, slots: Sequence[SlotName]) -> AbstractContextManager[Growing]:
        raise NotFoundError(f"{len(slots)} slots have written nothing")

    def kept(self) -> list[SlotName]:
        return []

    def services(self) -> set[str]:
        return set()

    def purge(self, service: str) -> None:
        """Nothing to purge."""


def supervision(meter: Meter) -> AbstractAsyncContextManager[Supervisor]:
    """A supervisor on scripted instances; its checks and ports go through the meter."""

    def open_scripted(dial: Dial, publish: Publish) -> AbstractAsyncContextManager[Node]:
        around = Dependencies(
            node="bench",
            runtime=ScriptedRuntime(),
            check=ConcurrencyCaps(meter),
            ports=meter,
            journal=MemoryJournal(),
            publish=publish,
        )
        return open_node(around, NoLogs(), dial, stops_tasks=True)

    return open_supervision(partial(open_linked, open_manager_here(None), open_scripted))

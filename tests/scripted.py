"""Scripted instances: a `Runtime` without processes, for virtual time and counted faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import trio

from warren.model.check import Argv, Check, Outcome, Result
from warren.model.interfaces import (
    CannotRunError,
    CommandResult,
    Launch,
    PortTakenError,
    Record,
    RunningInstance,
    Target,
)
from warren.model.node_description import PROCESS
from warren.model.task import End, Instance, Reason
from warren.model.usage import Usage

PASS = Outcome(Result.PASS, "200 OK")
FAIL = Outcome(Result.FAIL, "HTTP 500")
ERROR = Outcome(Result.ERROR, "no such program")


@dataclass
class Script:
    """What one instance does: when it exits by itself, and whether TERM moves it."""

    exits_after: float | None = None
    exit_code: int = 0
    ignores_signal: bool = False
    start_delay: float = 0.0
    start_error: str | None = None
    owns_listener: bool | None = True
    looked: int = 0  # how often that was asked
    usage: Usage | None = None


@dataclass
class ScriptedInstance:
    """An instance that follows its script. `log` has what was done to it."""

    instance: Instance
    script: Script
    log: list[str]
    runtime: ScriptedRuntime
    _ended: trio.Event = field(default_factory=trio.Event)
    _end: End | None = None

    async def wait(self) -> End:
        """Wait for the script's end, a signal or the kill."""
        if self._end is None and self.script.exits_after is not None:
            with trio.move_on_after(self.script.exits_after):
                await self._ended.wait()
            if self._end is None:
                code = self.script.exit_code
                self._finish(Reason.EXITED, f"exited with code {code}", code)
        await self._ended.wait()
        assert self._end is not None
        return self._end

    async def signal(self, number: int) -> None:
        """Note it, and go unless the script is stubborn."""
        await trio.lowlevel.checkpoint()
        self.log.append(f"signal {number}")
        if not self.script.ignores_signal:
            self._finish(Reason.EXITED, "exited with code 0", 0)

    async def kill(self) -> None:
        """Gone, whatever the script says."""
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self.log.append("kill")
        self._finish(Reason.SIGNALED, "killed by SIGKILL", None, "SIGKILL")
        self.runtime.alive.pop(self.instance.id, None)

    def leave(self) -> None:
        """Note it; the instance lives on."""
        self.log.append("leave")

    async def run(self, argv: Argv, *, timeout: float, output_limit: int) -> CommandResult:
        """Every command passes."""
        await trio.lowlevel.checkpoint()
        self.runtime.ran.append(" ".join(argv))
        return CommandResult(exit_code=0)

    async def usage(self) -> Usage | None:
        """As the script says."""
        await trio.lowlevel.checkpoint()
        return self.script.usage

    async def owns_listener(self, port: int) -> bool | None:
        """As the script says."""
        await trio.lowlevel.checkpoint()
        self.script.looked += 1
        return self.script.owns_listener

    def _finish(
        self, reason: Reason, message: str, code: int | None, signal: str | None = None
    ) -> None:
        if self._end is None:
            at = self.runtime.wall()
            self._end = End(reason=reason, message=message, at=at, exit_code=code, signal=signal)
            self._ended.set()


class ScriptedRuntime:
    """Plays `Runtime`. `scripts` gives the script of the n-th start (from 1)."""

    def __init__(
        self,
        scripts: Callable[[Launch, int], Script] | Script | None = None,
        *,
        name: str = PROCESS,
    ) -> None:
        self._scripts = scripts or Script()
        self.name = name
        self.ran: list[str] = []  # commands, in whatever instance
        self.alive: dict[str, ScriptedInstance] = {}
        self.started: list[ScriptedInstance] = []
        self.starts: list[float] = []
        self.lost: dict[str, End] = {}
        self.set_back = 0.0  # seconds that the wall clock has been set back by
        self.knows_age = True
        self._began: dict[str, float] = {}

    def wall(self) -> float:
        """Wall time that follows Trio's clock."""
        return 1_000_000.0 + trio.current_time() - self.set_back

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        """Start by the script."""
        number = len(self.starts) + 1
        self.starts.append(trio.current_time())
        script = (
            self._scripts if isinstance(self._scripts, Script) else self._scripts(launch, number)
        )
        await trio.sleep(script.start_delay)
        if script.start_error is not None:
            raise CannotRunError(script.start_error)
        instance = Instance(
            id=launch.id,
            task=launch.task,
            pid=1000 + number,
            started_at=self.wall(),
            ports=launch.ports,
            runtime=self.name,
        )
        running = ScriptedInstance(instance, script, [], self)
        self._began[launch.id] = trio.current_time()
        self.alive[launch.id] = running
        self.started.append(running)
        await record(instance)
        return running

    async def adopt(self, instance: Instance) -> RunningInstance | End:
        """Find it among the living, or tell of its end."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if instance.id in self.alive:
            return self.alive[instance.id]
        lost = End(reason=Reason.LOST, message="ended unseen", at=self.wall())
        return self.lost.get(instance.id, lost)

    def age(self, instance: Instance) -> float | None:
        """By Trio's clock, of what was started here."""
        began = self._began.get(instance.id) if self.knows_age else None
        return None if began is None else trio.current_time() - began

    async def sweep(
        self, keep: frozenset[str], *, spare: tuple[str, ...] = (), only: str = ""
    ) -> list[str]:
        """Kill strays."""
        strays = [name for name in self.alive if name not in keep and name.startswith(only)]
        strays = [name for name in strays if not name.startswith(spare)]
        for name in strays:
            await self.alive[name].kill()
        return strays


class ScriptedCheck:
    """Plays `RunCheck`: answers from a function of target and time; `asked` has (time, port)."""

    def __init__(
        self, answer: Callable[[Check, Target], Outcome] | Outcome = PASS, *, takes: float = 0.0
    ) -> None:
        self.answer = answer
        self.takes = takes
        self.asked: list[float] = []
        self.checks: list[Check] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def __call__(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        """Answer after `takes` seconds."""
        self.asked.append(trio.current_time())
        self.checks.append(check)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self.takes)
        finally:
            self.in_flight -= 1
        return self.answer(check, target) if callable(self.answer) else self.answer


class ScriptedPorts:
    """Plays `Ports`: hands out numbers; `taken` are refused."""

    def __init__(self, taken: Mapping[int, str] = MappingProxyType({})) -> None:
        self.taken = dict(taken)
        self.claims: dict[str, dict[str, int]] = {}
        self._next = 20_000

    def claim(
        self,
        task: str,
        names: Mapping[str, int],
        *,
        previous: Mapping[str, int] | None = None,
        adopt: bool = False,
    ) -> Mapping[str, int]:
        """The same ports again, or new ones."""
        if task in self.claims:
            return self.claims[task]
        found: dict[str, int] = {}
        for name, number in names.items():
            if number in self.taken:
                raise PortTakenError(f"port {name}: {number} is taken by {self.taken[number]}")
            before = (previous or {}).get(name)
            self._next += 1
            found[name] = before or number or self._next
        self.claims[task] = found
        return found

    def release(self, task: str) -> None:
        """Give them back."""
        self.claims.pop(task, None)

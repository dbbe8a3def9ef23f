"""A whole cluster in one Trio run, from one seed: manager, nodes, links that fail, instances that
crash, hang and lie (docs/architecture.md). All is real code but processes, checks and the wire.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
import yaml

from tests.scripted import FAIL, PASS, Script, ScriptedPorts, ScriptedRuntime
from warren.manager.control_api import ControlApi
from warren.manager.program import Manager, open_manager
from warren.manifest.service_file import load_text
from warren.model.check import Check, Outcome, Sample, TcpCheck
from warren.model.check_places import CheckPlaces
from warren.model.condition import NodeCondition
from warren.model.errors import LinkLostError, NotFoundError, WarrenError
from warren.model.event import TaskEvent
from warren.model.identity import TaskId
from warren.model.interfaces import Growing, Launch, Target
from warren.model.principal import Principal, PrincipalKind
from warren.model.probe import ProbeKind
from warren.model.report import Assignments, NodeHello, Report
from warren.model.rpc import Agent, NodeSession
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.model.usage import TaskUsage
from warren.model.view import LogChunk, LogPiece, LogWanted, SlotName
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.store.journal import MemoryJournal
from warren.store.state import StateStore

T = TypeVar("T")
SICK_PORT = 81  # what asks this is told no
HERE = Principal(PrincipalKind.EMBEDDED)


def spec(name: str, **fields: object) -> ServiceSpec:
    """A spec from the fields of a file."""
    fields.setdefault("command", ["x"])
    return load_text(yaml.safe_dump({"services": {name: fields}}))[0]


class KilledError(BaseException):
    """Where the manager dies: nothing of it runs on, and who had called it has lost the link."""


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


@dataclass
class Link:
    """One connection that may be cut. A call may be delayed, and lost before or after it has done
    its work on the far side."""

    sim: Sim
    principal: Principal = HERE
    host: str = ""
    closed: trio.Event = field(default_factory=trio.Event)

    def cut(self) -> None:
        """Now."""
        self.closed.set()

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do this on the far side."""
        result: list[T] = []
        refusal: WarrenError | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await self.closed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._delay()
            if self.closed.is_set():  # nothing arrives that is not there by now
                await trio.sleep_forever()
            try:
                done = await work()
            except WarrenError as error:
                refusal = error
            except KilledError:
                self.cut()
                await trio.sleep_forever()
            else:
                await self._delay()
                result.append(done)
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        if not result:
            raise LinkLostError("the link was cut")
        return result[0]

    async def _delay(self) -> None:
        chance, faults = self.sim.chance, self.sim.faults
        await trio.sleep(chance.random() * faults.delay)
        if chance.random() < faults.cuts:
            self.cut()
            await trio.sleep_forever()


@dataclass
class Faults:
    """How bad it is: seconds of delay at most, chances of a cut per call and of a sick check."""

    delay: float = 0.0
    cuts: float = 0.0
    sick: float = 0.0
    crash: float = 0.0


@dataclass
class FarAgent:
    """The manager's side of an agent behind a link."""

    link: Link
    agent: Agent

    async def assign(self, assignments: Assignments) -> None:
        await self.link.call(lambda: self.agent.assign(assignments))

    async def look(self, tasks: Sequence[TaskId]) -> list[TaskStatus]:
        return await self.link.call(lambda: self.agent.look(tasks))

    async def samples(self, task: TaskId) -> Mapping[ProbeKind, tuple[Sample, ...]]:
        return await self.link.call(lambda: self.agent.samples(task))

    async def log(
        self, task: TaskId, *, cursor: str = "", tail: int = 0, wait: bool = False
    ) -> LogChunk:
        raise NotFoundError("no logs here")

    async def output(self, wanted: Sequence[LogWanted], *, wait: bool = False) -> list[LogPiece]:
        raise NotFoundError("no logs here")

    async def kept(self, service: str) -> list[int]:
        raise NotFoundError("no logs here")

    async def usage(self, tasks: Sequence[TaskId]) -> list[TaskUsage]:
        return await self.link.call(lambda: self.agent.usage(tasks))


@dataclass
class FarSession:
    """The node's side of a session behind a link."""

    link: Link
    session: NodeSession

    @property
    def epoch(self) -> int:
        return self.session.epoch

    @property
    def manager(self) -> str:
        return self.session.manager

    async def report_task_health(self, report: Report) -> None:
        await self.link.call(lambda: self.session.report_task_health(report))

    async def renew(
        self, conditions: Sequence[NodeCondition] = (), places: Sequence[CheckPlaces] = ()
    ) -> None:
        await self.link.call(lambda: self.session.renew(conditions, places))

    async def leave(self) -> None:
        await self.link.call(self.session.leave)


@dataclass
class FarGate:
    """The node's side of the manager's gate."""

    link: Link
    gate: Any

    async def login(self) -> Any:
        raise NotImplementedError("nodes do not log in")  # pragma: no cover

    view = login

    async def enroll(self, hello: NodeHello, agent: Agent) -> FarSession:
        far = FarAgent(self.link, agent)
        return FarSession(self.link, await self.link.call(lambda: self.gate.enroll(hello, far)))


@dataclass
class Machine:
    """What of a node outlives its supervisor: its instances, its journal, its ports."""

    name: str
    sim: Sim
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    node: Node | None = None
    links: list[Link] = field(default_factory=list[Link])
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    down: trio.Event = field(default_factory=trio.Event)
    events: list[TaskEvent] = field(default_factory=list[TaskEvent])

    def __post_init__(self) -> None:
        self.runtime = ScriptedRuntime(self._script)
        self.down.set()

    def dependencies(self) -> Dependencies:
        return Dependencies(
            node=self.name,
            runtime=self.runtime,
            check=self._check,
            ports=ScriptedPorts(),
            journal=self.journal,
            publish=self._publish,
            wall=self.runtime.wall,
            chance=random.Random(self.sim.chance.random()),
        )

    async def run(self) -> None:
        """A supervisor's life, until `kill`."""
        with self.scope:
            async with open_node(
                self.dependencies(), NoLogs(), self._dial, stops_tasks=False
            ) as self.node:
                await trio.sleep_forever()
        self.node = None
        self.down.set()

    async def kill(self) -> None:
        """`kill -9` of the supervisor: its instances run on, its journal is as it is."""
        if self.node is not None:
            self.node.agent.let_go()
        self.cut()
        self.scope.cancel()
        await self.down.wait()

    def cut(self) -> None:
        """Cut every link."""
        for link in self.links:
            link.cut()
        self.links.clear()

    def alive(self) -> list[TaskId]:
        """The tasks of the instances that run here."""
        return [running.instance.task for running in self.runtime.alive.values()]

    @asynccontextmanager
    async def _dial(self) -> AsyncGenerator[FarGate, None]:
        await trio.lowlevel.checkpoint()
        if self.sim.manager is None:
            raise LinkLostError("no manager is there")
        link = Link(self.sim)
        self.links.append(link)
        try:
            yield FarGate(link, self.sim.manager.gate(link))
        finally:
            link.cut()

    def _script(self, launch: Launch, number: int) -> Script:
        chance, faults = self.sim.chance, self.sim.faults
        crashes = chance.random() < faults.crash
        return Script(
            exits_after=chance.uniform(0, 20) if crashes else None,
            exit_code=chance.choice([0, 1]),
            ignores_signal=chance.random() < faults.crash / 2,
            start_delay=chance.random() * faults.delay,
            start_error="no such program" if chance.random() < faults.crash / 4 else None,
        )

    async def _check(self, check: Check, target: Target, *, timeout: float) -> Outcome:
        await trio.sleep(self.sim.chance.random() * min(timeout, 0.2))
        is_sick = isinstance(check, TcpCheck) and check.port == SICK_PORT
        return FAIL if is_sick or self.sim.chance.random() < self.sim.faults.sick else PASS

    def _publish(self, status: TaskStatus, event: TaskEvent) -> None:
        self.events.append(event)


@dataclass
class Sim:
    """The cluster. `manager` is None while it is down; its store outlives it."""

    seed: int
    nodes: int
    nursery: trio.Nursery
    store: StateStore
    faults: Faults = field(default_factory=Faults)
    manager: Manager | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.machines = [Machine(f"n{number}", self) for number in range(1, self.nodes + 1)]
        self._scope: trio.CancelScope | None = None
        self._gone = trio.Event()
        self._gone.set()

    @property
    def operator(self) -> ControlApi:
        assert self.manager is not None
        return self.manager.operator

    async def start_manager(self) -> None:
        """A manager's life begins."""
        await self.nursery.start(self._manage)

    async def kill_manager(self) -> None:
        """`kill -9` of the manager: links go, the store is as it is."""
        if self._scope is not None:
            self.manager = None
            for machine in self.machines:
                machine.cut()
            self._scope.cancel()
            await self._gone.wait()

    def start_node(self, machine: Machine) -> None:
        """A supervisor's life begins."""
        machine.down = trio.Event()
        machine.scope = trio.CancelScope()
        self.nursery.start_soon(machine.run)

    async def _manage(self, task_status: trio.TaskStatus[None]) -> None:
        self._gone = trio.Event()
        with trio.CancelScope() as self._scope:
            try:
                async with open_manager(
                    self.store, wall=lambda: 1_000_000.0 + trio.current_time()
                ) as self.manager:
                    task_status.started()
                    await trio.sleep_forever()
            except* KilledError:
                for machine in self.machines:
                    machine.cut()
        self.manager = None
        self._gone.set()


def seed_scheduler(seed: int) -> None:
    """Make the order in which Trio runs tasks follow from the seed too."""
    scheduler: Any = trio._core._run  # type: ignore[attr-defined]
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)


@asynccontextmanager
async def open_sim(
    seed: int, *, nodes: int = 2, store: StateStore | None = None
) -> AsyncGenerator[Sim, None]:
    """A cluster with its manager and every node up."""
    seed_scheduler(seed)
    with trio.fail_after(1_000_000), closing(store or StateStore.open(None)) as kept:
        async with trio.open_nursery() as nursery:
            sim = Sim(seed, nodes, nursery, kept)
            await sim.start_manager()
            for machine in sim.machines:
                sim.start_node(machine)
            yield sim
            sim.faults = Faults()
            nursery.cancel_scope.cancel()

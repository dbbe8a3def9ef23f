"""A scripted node in virtual time: its tasks are driven through its agent, or by a supervisor."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import yaml

from tests.node.node_kit import FakeLogs
from tests.scripted import (
    Script,
    ScriptedCheck,
    ScriptedInstance,
    ScriptedPorts,
    ScriptedRuntime,
)
from warren.manager.program import open_manager
from warren.manifest.service_file import load_text
from warren.model.check import Sample
from warren.model.cluster import Desired
from warren.model.errors import LinkLostError
from warren.model.event import EventKind, TaskEvent
from warren.model.identity import TaskId
from warren.model.interfaces import Journal, RunCheck
from warren.model.probe import ProbeKind
from warren.model.report import Assignment, Assignments
from warren.model.rpc import Gate
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.node.agent import NodeAgent
from warren.node.manager_link import Dial
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.rules.health import Health, has_failed_for_good, summarize
from warren.store.journal import MemoryJournal
from warren.store.state import StateStore
from warren.wiring.one_process import open_linked
from warren.wiring.parts import PATIENCE, Publish
from warren.wiring.supervisor import Supervisor, open_supervision

HORIZON = 100_000.0  # virtual seconds: what hangs ends here


def spec(**fields: object) -> ServiceSpec:
    """A spec from the fields of a file; `web` unless named."""
    name = fields.pop("name", "web")
    fields.setdefault("command", ["web"])
    return load_text(yaml.safe_dump({"services": {name: fields}}))[0]


class HeldService:
    """The tasks of a service, one for each slot, as a manager has assigned them to the node."""

    def __init__(self, hands: Hands, spec: ServiceSpec, number: int) -> None:
        self.spec = spec
        self.ids = [TaskId(spec.name, slot, number) for slot in range(1, spec.replicas + 1)]
        self._hands = hands

    def statuses(self) -> list[TaskStatus]:
        """As they stand now, in the order of slots."""
        found = [self._hands.agent.status(task) for task in self.ids]
        return [status for status in found if status is not None]

    def health(self) -> Health:
        """As the manager would count it."""
        statuses = self.statuses()
        failed = sum(has_failed_for_good(self.spec, status) for status in statuses)
        return summarize(self.spec.replicas, statuses, failed=failed)

    async def samples(self, slot: int = 1) -> Sequence[Sample]:
        """The outcomes of the liveness probe of a task."""
        samples = await self._hands.agent.samples(self.ids[slot - 1])
        return samples[ProbeKind.LIVENESS]

    async def wait_ready(self) -> None:
        """Wait until every task is ready."""
        while sum(status.ready for status in self.statuses()) < self.spec.replicas:
            await self._hands.world.wait_told()

    async def wait_ended(self) -> None:
        """Wait until every task has ended by itself, or is stopped."""
        while not all(status.phase.is_end for status in self.statuses()):
            await self._hands.world.wait_told()

    async def stop(self) -> None:
        """As the manager asks for it; wait until nothing of them is left."""
        await self._hands.stop(self.spec.name)


class Hands:
    """A node's agent in the hands of a test, which assigns its tasks as a manager does."""

    def __init__(self, world: World, agent: NodeAgent) -> None:
        self.world = world
        self.agent = agent
        self._assigned: dict[TaskId, Assignment] = {}
        self._services: dict[str, HeldService] = {}
        self._generation = 0

    async def start(self, spec: ServiceSpec, *, number: int = 1) -> HeldService:
        """Assign the service's tasks, with this number in every slot."""
        service = HeldService(self, spec, number)
        before = self._services.get(spec.name)
        for task in before.ids if before else ():
            del self._assigned[task]
        self._services[spec.name] = service
        self._assigned |= {task: Assignment(task=task, spec=spec) for task in service.ids}
        await self.assign()
        return service

    async def stop(self, name: str) -> None:
        """Assign that they shall end, and wait until they have."""
        service = self._services[name]
        for task in service.ids:
            self._assigned[task] = Assignment(
                task=task, spec=service.spec, desired=Desired.STOP, stop_reason="stop asked"
            )
        await self.assign()
        await service.wait_ended()

    async def assign(self) -> None:
        """Everything that was assigned so far, and nothing else."""
        self._generation += 1
        await self.agent.assign(
            Assignments(
                generation=self._generation,
                tasks=tuple(self._assigned.values()),
                services=tuple(self._services),
            )
        )

    async def shutdown(self) -> None:
        """As when the block ends."""
        await self.agent.stop_all("the supervisor shuts down")


@dataclass
class World:
    """A scripted node. `events` has every transition as (time, event)."""

    runtime: ScriptedRuntime = field(default_factory=ScriptedRuntime)
    check: ScriptedCheck = field(default_factory=ScriptedCheck)
    ports: ScriptedPorts = field(default_factory=ScriptedPorts)
    journal: Journal = field(default_factory=MemoryJournal)
    events: list[tuple[float, TaskStatus, TaskEvent]] = field(
        default_factory=list[tuple[float, TaskStatus, TaskEvent]]
    )
    _told: trio.Event = field(default_factory=trio.Event)

    def dependencies(
        self, publish: Publish | None = None, *, check: RunCheck | None = None
    ) -> Dependencies:
        """The seams, played by the script."""
        return Dependencies(
            node="n1",
            runtime=self.runtime,
            check=check or self.check,
            ports=self.ports,
            journal=self.journal,
            publish=publish or self._publish,
            wall=self.runtime.wall,
            chance=random.Random(7),
        )

    @asynccontextmanager
    async def open(self, *, check: RunCheck | None = None) -> AsyncGenerator[Hands, None]:
        """The node, within the horizon; its manager is this test."""
        around = self.dependencies(check=check)
        with trio.fail_after(HORIZON):
            async with open_node(around, FakeLogs(), _away, stops_tasks=True) as node:
                yield Hands(self, node.agent)

    @asynccontextmanager
    async def supervise(
        self, store: StateStore | None = None, *, data_dir: Path | None = None
    ) -> AsyncGenerator[Supervisor, None]:
        """A supervisor: a manager and this node. What they know outlives it in the store, which
        is the caller's, and in the journal."""

        def open_here(dial: Dial, publish: Publish) -> AbstractAsyncContextManager[Node]:
            return open_node(self.dependencies(publish), FakeLogs(), dial, stops_tasks=True)

        with trio.fail_after(HORIZON), nullcontext(store) if store else kept_in_memory() as kept:
            manager = open_manager(kept, wall=self.runtime.wall, patience=PATIENCE)
            opening = partial(open_linked, manager, open_here)
            async with open_supervision(
                opening, data_dir=data_dir, publish=self._publish
            ) as supervisor:
                yield supervisor

    def revived(self, alive: Mapping[str, ScriptedInstance]) -> ScriptedRuntime:
        """What finds these instances, as after a `kill -9` of who has started them."""
        runtime = ScriptedRuntime()
        for name, one in alive.items():
            runtime.alive[name] = ScriptedInstance(one.instance, Script(), [], runtime)
        return runtime

    def kinds(self, *only: EventKind) -> list[EventKind]:
        """The kinds of transitions so far, in order."""
        return [e.kind for _, _, e in self.events if not only or e.kind in only]

    def times(self, kind: EventKind) -> list[float]:
        """When transitions of a kind happened, in seconds from the start."""
        return [round(at, 3) for at, _, e in self.events if e.kind is kind]

    def messages(self, kind: EventKind) -> list[str]:
        """The messages of a kind."""
        return [e.message for _, _, e in self.events if e.kind is kind]

    async def wait_for(self, kind: EventKind, count: int = 1) -> None:
        """Wait until `count` transitions of a kind have been told, at most a virtual hour."""
        with trio.fail_after(3600):
            while self.kinds().count(kind) < count:
                await self.wait_told()

    async def wait_told(self) -> None:
        """Wait for a transition."""
        await self._told.wait()

    def _publish(self, status: TaskStatus, event: TaskEvent) -> None:
        self.events.append((trio.current_time(), status, event))
        self._told.set()
        self._told = trio.Event()


def kept_in_memory() -> closing[StateStore]:
    """A manager's state."""
    return closing(StateStore.open(None))


@asynccontextmanager
async def _away() -> AsyncGenerator[Gate, None]:
    """There is no manager."""
    await trio.lowlevel.checkpoint()
    raise LinkLostError("there is no manager")
    yield


@pytest.fixture
def world() -> World:
    """A fresh scripted node."""
    return World()

"""A scripted node with an agent, and what a manager would say to it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio
import yaml

from tests.scripted import ScriptedCheck, ScriptedPorts, ScriptedRuntime
from warren.checks.concurrency import ConcurrencyCaps
from warren.manifest.service_file import load_text
from warren.model.cluster import Desired
from warren.model.identity import TaskId
from warren.model.interfaces import Growing, Journal, RunCheck
from warren.model.report import Assignment, Assignments
from warren.model.service import ServiceSpec
from warren.model.task import Phase, TaskStatus
from warren.model.view import LogChunk, LogPiece, LogWanted, SlotName
from warren.node.agent import NodeAgent
from warren.nursery.dependencies import Dependencies
from warren.store.journal import MemoryJournal

HORIZON = 100_000.0  # virtual seconds: what hangs ends here


def spec(**fields: object) -> ServiceSpec:
    """A spec from the fields of a file; `web` unless named."""
    name = fields.pop("name", "web")
    fields.setdefault("command", ["web"])
    return load_text(yaml.safe_dump({"services": {name: fields}}))[0]


@dataclass
class Ticking:
    """Plays `Growing`: it may have grown whenever a second has gone by."""

    slots: int

    async def wait(self) -> None:
        """Wait a second."""
        await trio.sleep(1)


@dataclass
class FakeLogs:
    """Plays `LogSource`: texts by service."""

    texts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    purged: list[str] = field(default_factory=list[str])

    async def pieces(self, wanted: Sequence[LogWanted], limit: int) -> list[LogPiece]:
        """What follows the cursors."""
        await trio.lowlevel.checkpoint()
        found = [self._piece(index, one, limit) for index, one in enumerate(wanted)]
        return [piece for piece in found if piece is not None]

    def _piece(self, index: int, one: LogWanted, limit: int) -> LogPiece | None:
        start = int(one.cursor or 0)
        data = self.texts.get(one.service, b"")[start : start + limit]
        chunk = LogChunk(data=data, cursor=str(start + len(data)))
        return LogPiece(index=index, chunk=chunk) if data or not one.cursor else None

    @contextmanager
    def watching(self, slots: Sequence[SlotName]) -> Generator[Growing, None, None]:
        """Growth, as of a clock that ticks."""
        yield Ticking(len(slots))

    def kept(self) -> list[SlotName]:
        """Their first slots."""
        return [SlotName(service=service, slot=1) for service in sorted(self.texts)]

    def services(self) -> set[str]:
        """Those with texts."""
        return set(self.texts)

    def purge(self, service: str) -> None:
        """Drop a text."""
        self.texts.pop(service, None)
        self.purged.append(service)


@dataclass
class Ground:
    """What a node stands on, and what outlives its supervisor."""

    runtime: ScriptedRuntime = field(default_factory=ScriptedRuntime)
    check: ScriptedCheck = field(default_factory=ScriptedCheck)
    journal: Journal = field(default_factory=MemoryJournal)
    logs: FakeLogs = field(default_factory=FakeLogs)
    node: str = "n1"
    news: list[str] = field(default_factory=list[str])
    caps: tuple[int, int] | None = None  # of network and of exec checks

    def capped(self) -> RunCheck:
        """The check, with a cap where there is one."""
        if self.caps is None:
            return self.check
        network, of_exec = self.caps
        return ConcurrencyCaps(self.check, network=network, exec=of_exec)

    def dependencies(self) -> Dependencies:
        """The seams, played by the script."""
        return Dependencies(
            node=self.node,
            runtime=self.runtime,
            check=self.capped(),
            ports=ScriptedPorts(),
            journal=self.journal,
            publish=lambda status, event: self.news.append(f"{event.task} {event.message}"),
            wall=self.runtime.wall,
            chance=random.Random(7),
        )

    @asynccontextmanager
    async def agent(self) -> AsyncGenerator[NodeAgent, None]:
        """An agent that has taken over what is written down; cancelled at the end."""
        with trio.fail_after(HORIZON):
            async with trio.open_nursery() as nursery:
                agent = NodeAgent(nursery, self.dependencies(), self.logs)
                agent.take_over()
                yield agent
                nursery.cancel_scope.cancel()


def run(task: str, of: ServiceSpec | None = None) -> Assignment:
    """This task shall run."""
    return Assignment(task=TaskId.parse(task), spec=of or spec())


def stop(task: str, reason: str = "removed") -> Assignment:
    """This task shall end."""
    return Assignment(
        task=TaskId.parse(task), spec=spec(), desired=Desired.STOP, stop_reason=reason
    )


def whole(generation: int, *tasks: Assignment, services: tuple[str, ...] = ("web",)) -> Assignments:
    """These and no others."""
    return Assignments(generation=generation, tasks=tasks, services=services)


async def until(condition: Callable[[], object]) -> None:
    """Let virtual time go by until the condition holds."""
    with trio.fail_after(3600):
        while not condition():  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.01)


def told(agent: NodeAgent) -> dict[str, TaskStatus]:
    """What waits in the outbox."""
    return {str(status.id): status for status in agent.outbox.batch().statuses}


def phase(agent: NodeAgent, task: str) -> Phase | None:
    """What the outbox says of a task."""
    status = told(agent).get(task)
    return None if status is None else status.phase

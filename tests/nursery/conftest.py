"""A supervisor in virtual time, on scripted instances."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import yaml

from tests.scripted import ScriptedCheck, ScriptedPorts, ScriptedRuntime
from warren.manifest.service_file import load_text
from warren.model.event import EventKind, TaskEvent
from warren.model.interfaces import Journal
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.node.supervisor import Supervisor, open_supervision
from warren.nursery.dependencies import Dependencies
from warren.store.journal import MemoryJournal

HORIZON = 100_000.0  # virtual seconds: what hangs ends here


def spec(**fields: object) -> ServiceSpec:
    """A spec from the fields of a file; `web` unless named."""
    name = fields.pop("name", "web")
    fields.setdefault("command", ["web"])
    return load_text(yaml.safe_dump({"services": {name: fields}}))[0]


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

    def dependencies(self) -> Dependencies:
        """The seams, played by the script."""
        return Dependencies(
            node="n1",
            runtime=self.runtime,
            check=self.check,
            ports=self.ports,
            journal=self.journal,
            publish=self._publish,
            wall=self.runtime.wall,
            chance=random.Random(7),
        )

    _told: trio.Event = field(default_factory=trio.Event)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Supervisor, None]:
        """The supervisor, within the horizon."""
        with trio.fail_after(HORIZON):
            async with open_supervision(self.dependencies()) as supervisor:
                yield supervisor

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
                await self._told.wait()

    def _publish(self, status: TaskStatus, event: TaskEvent) -> None:
        self.events.append((trio.current_time(), status, event))
        self._told.set()
        self._told = trio.Event()


@pytest.fixture
def world() -> World:
    """A fresh scripted node."""
    return World()

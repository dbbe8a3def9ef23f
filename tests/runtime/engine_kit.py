"""What the tests of the engine runtime share: a runtime on a real engine, and launches."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.engines import IMAGE, RealEngine
from warren.engine.places import EnginePlaces
from warren.logs.files import LogFiles
from warren.model.check import Argv
from warren.model.identity import TaskId, instance_id
from warren.model.interfaces import CommandResult, Launch
from warren.model.service import ServiceSpec
from warren.model.task import Instance
from warren.model.view import LogWanted
from warren.resilience.conditions import Conditions
from warren.runtime.engine import EngineRuntime
from warren.runtime.engine_instance import EngineInstance

FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done")
_slots = itertools.count(1)


class Bench:
    """A node's runtime on an engine; what outlives its supervisor is `directory`."""

    def __init__(self, engine: RealEngine, directory: Path, token: str = "") -> None:
        self.engine = engine
        self.directory = directory
        self.token = token or f"t{os.getpid()}-{next(_slots)}"
        self.conditions = Conditions()
        self.logs = LogFiles(directory / "logs")
        self.recorded: dict[str, Instance] = {}

    @asynccontextmanager
    async def runtime(self, *, is_swept: bool = True) -> AsyncGenerator[EngineRuntime]:
        """A supervisor's."""
        runtime = EngineRuntime(
            EnginePlaces(self.engine.kind, (str(self.engine.socket),)),
            token=self.token,
            data_dir=self.directory,
            logs=self.logs,
            conditions=self.conditions,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            if is_swept:
                await runtime.sweep(frozenset(self.recorded))
            yield runtime
            nursery.cancel_scope.cancel()

    async def record(self, instance: Instance) -> None:
        self.recorded[instance.id] = instance

    async def start(self, runtime: EngineRuntime, launched: Launch) -> EngineInstance:
        running = await runtime.start(launched, record=self.record)
        self.recorded[launched.id] = running.instance
        return running

    def ours(self) -> list[dict[str, Any]]:
        """Its containers in the engine."""
        found: list[dict[str, Any]] = self.engine.containers()
        return [one for one in found if one["Labels"].get("warren.node") == self.token]

    def output(self, launched: Launch) -> str:
        wanted = LogWanted(service=launched.task.service, slot=launched.task.slot, node="here")
        return self.logs.read(wanted).data.decode()


def launch(*command: str, image: str = IMAGE, **spec: Any) -> Launch:
    """A launch in a slot of its own."""
    task = TaskId("web", next(_slots), 1)
    argv = Argv(command) if command else None
    name = instance_id(task, 1, f"{os.getpid():x}")
    return Launch(
        id=name,
        task=task,
        spec=ServiceSpec(name="web", image=image, command=argv, **spec),
        command=argv or Argv(),
        env={"WARREN_INSTANCE": name, **spec.get("env", {})},
        ports={},
    )


async def run(
    running: EngineInstance, *argv: str, timeout: float = 10, output_limit: int = 4096
) -> CommandResult:
    return await running.run(Argv(argv), timeout=timeout, output_limit=output_limit)

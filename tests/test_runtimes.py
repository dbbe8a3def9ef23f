"""A made-up runtime beside the process runtime: all that one takes, from the manager to its output.

It is a module of its own, its row where a node's runtimes are listed, and the words of what it can;
nothing between knows of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.node.node_kit import FakeLogs, until
from tests.scripted import ScriptedPorts, ScriptedRuntime
from warren.checks import Checker
from warren.manager.program import Manager, open_manager
from warren.model.byte_size import ByteSize
from warren.model.check import Argv, ExecCheck
from warren.model.duration import Duration
from warren.model.interfaces import Launch, Record, RunningInstance
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.probe import Probe
from warren.model.service import Resources, ServiceSpec
from warren.model.task import Phase, Reason
from warren.model.view import LogWanted
from warren.node.program import Node, open_node
from warren.nursery.dependencies import Dependencies
from warren.rules import requirements
from warren.runtime.runtimes import Runtimes
from warren.store.journal import MemoryJournal
from warren.store.state import StateStore
from warren.transport.memory import memory_gate

ROOT = Path(__file__).parent.parent
PROBE = Probe(exec=ExecCheck(Argv(["is-sweet"])), interval=Duration(1))
JAM = ServiceSpec(
    name="jam", image="plum", health=PROBE, resources=Resources(memory=ByteSize(1 << 30))
)
ABLE = ("images", "memory-limit")


class Kind(ScriptedRuntime):
    """A `NodeRuntime` that is scripted."""

    def __init__(self, name: str, *features: str) -> None:
        super().__init__(name=name)
        self.info = RuntimeInfo(name=name, version="3", features=features)
        self.changed: trio.Event | None = None
        self.logs = FakeLogs()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def start(self, launch: Launch, *, record: Record) -> RunningInstance:
        """And it writes where it runs."""
        running = await super().start(launch, record=record)
        self.logs.texts[launch.task.service] = f"plop in {self.name}\n".encode()
        return running


@dataclass
class Shelf:
    """A node with two runtimes, and what outlives its supervisor."""

    name: str = "n1"
    process: Kind = field(default_factory=lambda: Kind("process"))
    jar: Kind = field(default_factory=lambda: Kind("jar", *ABLE))
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    claims: NodeDescription | None = None  # instead of the truth

    @asynccontextmanager
    async def node(self, manager: Manager) -> AsyncGenerator[Node, None]:
        runtimes = Runtimes([self.process, self.jar])
        around = Dependencies(
            node=self.name,
            runtime=runtimes,
            check=Checker(),
            ports=ScriptedPorts(),
            journal=self.journal,
            publish=lambda status, event: None,
            wall=self.process.wall,
            description=self.claims or runtimes.description(),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtimes.serve)
            async with open_node(
                around, runtimes.logs, lambda: memory_gate(manager.gate), stops_tasks=False
            ) as node:
                await until(lambda: node.link.is_up)
                yield node
            nursery.cancel_scope.cancel()


@pytest.fixture
def jars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some runtime can do all that there is a word for."""
    able = tuple(msgspec.structs.replace(each, refusal=None) for each in requirements.FEATURES)
    monkeypatch.setattr(requirements, "FEATURES", able)


@asynccontextmanager
async def managed() -> AsyncGenerator[Manager, None]:
    store = StateStore.open(None)
    with trio.fail_after(600):
        async with open_manager(store, wall=ScriptedRuntime().wall) as manager:
            yield manager
    store.close()


@pytest.mark.usefixtures("jars")
async def test_made_up_runtime_runs_a_task_is_probed_inside_and_its_output_is_read(
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf()
    async with managed() as manager, shelf.node(manager):
        await manager.operator.create(JAM)
        await until(lambda: shelf.jar.ran)
        (task,) = await manager.operator.tasks(service="jam")
        await until(lambda: manager.commit_log.cluster.tasks[task.id].status.ready)
        (record,) = shelf.journal.load()
        wanted = LogWanted(service="jam", slot=1, node="n1")
        (piece,) = await manager.operator.output([wanted])
        (view,) = await manager.operator.nodes()
    assert set(shelf.jar.ran) == {"is-sweet"}
    assert shelf.process.starts == []
    assert record.instance
    assert record.instance.runtime == "jar"
    assert piece.chunk.data == b"plop in jar\n"
    assert view.description.runtimes == (
        RuntimeInfo(name="process", version="3"),
        RuntimeInfo(name="jar", version="3", features=ABLE),
    )


@pytest.mark.usefixtures("jars")
async def test_made_up_runtime_adopts_its_instances_again(  # S21
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf()
    async with managed() as manager:
        async with shelf.node(manager):
            await manager.operator.create(JAM)
            await until(lambda: shelf.jar.ran)
        shelf.jar.ran.clear()
        async with shelf.node(manager):
            await until(lambda: shelf.jar.ran)
            (task,) = await manager.operator.tasks(service="jam")
    assert task.status.phase is Phase.RUNNING
    assert (len(shelf.jar.starts), next(iter(shelf.jar.alive.values())).log) == (
        1,
        ["leave", "leave"],
    )


@pytest.mark.usefixtures("jars")
async def test_a_task_is_not_placed_where_its_runtime_cannot_do_what_it_needs(  # S26
    autojump_clock: MockClock,
) -> None:
    weak, strong = Shelf(jar=Kind("jar", "images")), Shelf("n2")
    strong.jar.info = msgspec.structs.replace(strong.jar.info, unavailable="its lid is closed")

    async def reason() -> str | None:
        (task,) = await manager.operator.tasks(service="jam")
        return task.status.pending_reason

    async with managed() as manager, weak.node(manager):
        async with strong.node(manager):
            await manager.operator.create(JAM)
            await until(lambda: manager.commit_log.cluster.tasks)
            assert await reason() == (
                "n1: lacks memory-limit; n2: runtime jar is not available: its lid is closed"
            )
        strong.jar.info = msgspec.structs.replace(strong.jar.info, unavailable="")
        async with strong.node(manager):  # it announces what it can do by now
            await until(lambda: strong.jar.starts)
            assert await reason() is None
    assert weak.jar.starts == []


@pytest.mark.usefixtures("jars")
async def test_a_node_refuses_what_it_lacks_whatever_the_manager_believes(
    autojump_clock: MockClock,
) -> None:
    claims = NodeDescription(runtimes=(RuntimeInfo(name="jar", features=ABLE),))
    shelf = Shelf(jar=Kind("jar", "images"), claims=claims)
    async with managed() as manager, shelf.node(manager):
        await manager.operator.create(JAM)
        await until(
            lambda: any(
                row.status.last_end is not None for row in manager.commit_log.cluster.tasks.values()
            )
        )
        (task,) = await manager.operator.tasks(service="jam")
    assert task.status.last_end
    assert task.status.last_end.reason is Reason.START_FAILED
    assert task.status.last_end.message == "could not start: this node lacks memory-limit"
    assert shelf.jar.starts == []


def test_what_a_runtime_takes_is_in_the_list_of_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    steps = text.partition("## Adding a runtime\n")[2].partition("\n## ")[0]
    for path in (
        "warren/runtime/runtimes.py",
        "warren/wiring/parts.py",
        "warren/rules/requirements.py",
        "docs/service-file.md",
    ):
        assert f"`{path}`" in steps
        assert (ROOT / path).exists()

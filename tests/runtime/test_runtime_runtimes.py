"""The runtimes of a node as one: what each gets, and what none can do."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.node.node_kit import FakeLogs
from tests.scripted import ScriptedRuntime
from warren.model.byte_size import ByteSize
from warren.model.check import Argv
from warren.model.decode import from_json, to_json
from warren.model.identity import TaskId
from warren.model.interfaces import CannotRunError, Launch, NotYetError, RunningInstance
from warren.model.node_description import NodeDescription, RuntimeInfo
from warren.model.service import Resources, ServiceSpec
from warren.model.task import End, Instance, Reason
from warren.model.view import LogWanted, SlotName
from warren.runtime.runtimes import Runtimes

WEB = TaskId("web", 1, 1)
SHOP = TaskId("shop", 1, 1)


class Kind(ScriptedRuntime):
    """A scripted `NodeRuntime`."""

    def __init__(self, name: str, *features: str, logs: FakeLogs | None = None) -> None:
        super().__init__(name=name)
        self.info = RuntimeInfo(name=name, features=features)
        self.logs = logs or FakeLogs()
        self.changed: trio.Event | None = None
        self.is_served = False

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.is_served = True
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.is_served = False


def launch(task: TaskId, *, image: str | None = None, **fields: Any) -> Launch:
    command = Argv(["run"]) if image is None else None
    spec = ServiceSpec(name=task.service, command=command, image=image, **fields)
    return Launch(id=f"{task}-1", task=task, spec=spec, command=command or Argv(), env={}, ports={})


async def keep(_: Instance) -> None:
    await trio.lowlevel.checkpoint()


async def started(runtimes: Runtimes, of: Launch) -> RunningInstance:
    return await runtimes.start(of, record=keep)


async def test_each_task_is_started_by_the_first_runtime_that_can() -> None:
    process, jar, tin = Kind("process"), Kind("jar", "images"), Kind("tin", "images")
    runtimes = Runtimes([process, jar, tin])
    assert (await started(runtimes, launch(WEB))).instance.runtime == "process"
    assert (await started(runtimes, launch(SHOP, image="shop"))).instance.runtime == "jar"
    jar.info = msgspec.structs.replace(jar.info, unavailable="its lid is closed")
    assert (await started(runtimes, launch(SHOP, image="shop"))).instance.runtime == "tin"


async def test_a_runtime_that_is_away_is_waited_for() -> None:  # S29
    jar = Kind("jar", "images")
    jar.info = msgspec.structs.replace(jar.info, unavailable="its lid is closed")
    with pytest.raises(NotYetError, match=r"^runtime jar is not available: its lid is closed$"):
        await started(Runtimes([Kind("process"), jar]), launch(SHOP, image="shop"))


async def test_a_change_of_one_of_them_is_told(autojump_clock: MockClock) -> None:
    process, jar = Kind("process"), Kind("jar", "images")
    jar.changed = trio.Event()
    with trio.move_on_after(60) as scope:
        await Runtimes([process, jar]).wait_changed()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Runtimes([process, jar]).wait_changed)
        jar.changed.set()


async def test_what_the_node_lacks_is_not_run_without_it() -> None:  # an older manager placed it
    process = Kind("process", "memory-limit")
    runtimes = Runtimes([process])
    limited = launch(WEB, resources=Resources(memory=ByteSize(1 << 30), pids=10))
    with pytest.raises(CannotRunError, match=r"^this node lacks pids-limit$"):
        await started(runtimes, limited)
    with pytest.raises(CannotRunError, match=r"^this node lacks images$"):
        await started(runtimes, launch(SHOP, image="shop"))
    assert process.starts == []
    await started(Runtimes([process], features=("pids-limit",)), limited)
    assert len(process.starts) == 1


async def test_an_instance_is_adopted_by_the_runtime_in_its_record() -> None:  # S21
    process, jar = Kind("process"), Kind("jar", "images")
    runtimes = Runtimes([process, jar])
    running = await started(runtimes, launch(SHOP, image="shop"))
    assert await Runtimes([process, jar]).adopt(running.instance) is running
    assert runtimes.age(running.instance) is not None
    written = json.loads(to_json(Instance(id="a", task=WEB, started_at=1.0)))
    del written["runtime"]  # as a version wrote it that knew one runtime only
    earlier = from_json(json.dumps(written), Instance)
    assert earlier.runtime == "process"
    lost = await runtimes.adopt(earlier)
    assert isinstance(lost, End)
    assert lost.message == "ended unseen"  # which is what the process runtime says


async def test_an_instance_of_a_runtime_that_is_none_of_the_nodes_is_lost_and_says_so() -> None:
    instance = Instance(id="a", task=WEB, started_at=1.0, runtime="jar")
    runtimes = Runtimes([Kind("process")])
    end = await runtimes.adopt(instance)
    assert isinstance(end, End)
    assert (end.reason, end.message) == (
        Reason.LOST,
        "this node has no runtime jar any more, where it may still run",
    )
    assert runtimes.age(instance) is None


async def test_every_runtime_sweeps_and_is_served(autojump_clock: MockClock) -> None:
    kinds = [Kind("process"), Kind("jar", "images")]
    runtimes = Runtimes(kinds)
    one = await started(runtimes, launch(WEB))
    other = await started(runtimes, launch(SHOP, image="shop"))
    async with serving(runtimes):
        assert all(kind.is_served for kind in kinds)
        swept = await runtimes.sweep(frozenset())
    assert sorted(swept) == sorted([one.instance.id, other.instance.id])
    assert not any(kind.is_served or kind.alive for kind in kinds)


@asynccontextmanager
async def serving(runtimes: Runtimes) -> AsyncGenerator[None, None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(runtimes.serve)
        yield
        nursery.cancel_scope.cancel()


def test_a_node_describes_what_they_can_do_now() -> None:
    jar = Kind("jar", "images")
    runtimes = Runtimes([Kind("process"), jar], features=("levitation",))
    jar.info = msgspec.structs.replace(jar.info, unavailable="its lid is closed")
    assert runtimes.description() == NodeDescription(
        runtimes=(RuntimeInfo(name="process"), jar.info), features=("levitation",)
    )


async def read(runtimes: Runtimes, *services: str) -> Mapping[str, str]:
    wanted = [LogWanted(service=service, slot=1) for service in services]
    pieces = await runtimes.logs.pieces(wanted, 1000)
    return {services[piece.index]: piece.chunk.data.decode() for piece in pieces}


async def test_output_is_that_of_the_runtime_of_the_slots_instance() -> None:
    process = Kind("process", logs=FakeLogs({"web": b"process\n", "old": b"kept\n"}))
    jar = Kind("jar", "images", logs=FakeLogs({"web": b"before\n", "shop": b"jar\n"}))
    runtimes = Runtimes([process, jar])
    assert await read(runtimes, "shop", "web", "old") == {
        "shop": "jar\n", "web": "process\n", "old": "kept\n"
    }  # fmt: skip
    await started(runtimes, launch(WEB, image="web"))
    assert await read(runtimes, "web", "old", "shop") == {
        "web": "before\n", "old": "kept\n", "shop": "jar\n"
    }  # fmt: skip
    logs = runtimes.logs
    assert logs.services() == {"web", "old", "shop"}
    assert [slot.service for slot in logs.kept()] == ["old", "shop", "web"]
    logs.purge("web")
    assert process.logs.purged == jar.logs.purged == ["web"]
    assert await read(runtimes, "web", "old") == {"web": "", "old": "kept\n"}


async def test_growth_of_any_wakes(autojump_clock: MockClock) -> None:
    runtimes = Runtimes([Kind("process"), Kind("jar", logs=FakeLogs({"shop": b"jar\n"}))])
    slots = [SlotName(service=service, slot=1) for service in ("web", "shop")]
    with runtimes.logs.watching(slots) as growing, trio.fail_after(5):
        await growing.wait()


def test_runtimes_that_share_their_output_have_one_source() -> None:
    shared = FakeLogs()
    assert Runtimes([Kind("process", logs=shared), Kind("jar", logs=shared)]).logs is shared

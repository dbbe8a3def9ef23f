"""A probe that passes because another process answers on the task's port: a warning, no verdict."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.nursery.conftest import HeldService, World, spec
from tests.scripted import FAIL, PASS, Script, ScriptedInstance, ScriptedRuntime
from warren import open_supervisor
from warren.model.check import Check, Outcome
from warren.model.event import EventKind
from warren.model.identity import TaskId
from warren.model.interfaces import Target
from warren.model.probe import ProbeKind, Verdict
from warren.model.service import ServiceSpec
from warren.model.task import Instance, Phase, TaskRecord
from warren.wiring.service import Service

TCP = {"tcp": {"port": "http"}, "interval": "100ms"}
SAID = "another process, not of this task, answers on port"


def service_of(*command: str, **fields: object) -> ServiceSpec:
    fields.setdefault("readiness", TCP)
    return spec(command=list(command), ports={"http": 0}, stop={"grace": "50ms"}, **fields)


def warning_of(service: Service | HeldService) -> str | None:
    return service.statuses()[0].probes[ProbeKind.READINESS].warning


@pytest.fixture
def listening() -> Generator[socket.socket]:
    """A socket of this test's own, to listen with."""
    with closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield sock


async def test_another_that_answers_on_its_port_is_warned_of(
    tmp_path: Path, listening: socket.socket
) -> None:
    async with open_supervisor(data_dir=tmp_path) as supervisor:
        with trio.fail_after(20):
            async with supervisor.watch() as transitions:
                service = await supervisor.start(service_of("sleep", "1000"))
                started = (await transitions.receive())[0]
                assert started.instance is not None
                port = started.instance.ports["http"]
                listening.bind(("127.0.0.1", port))
                listening.listen()
                kinds = [(await transitions.receive())[1] for _ in range(2)]
        assert [event.kind for event in kinds] == [EventKind.READY, EventKind.PROBE_WARNING]
        assert kinds[1].message == warning_of(service) == f"{SAID} {port}"
        assert service.statuses()[0].ready


def scripted(world: World, *, owns: bool | None) -> ScriptedRuntime:
    world.runtime = ScriptedRuntime(Script(owns_listener=owns))
    return world.runtime


HTTP = {"tcp": {"port": "http"}, "interval": "1s", "retries": 1}


async def test_look_is_taken_once_and_again_only_while_another_answers(
    world: World, autojump_clock: MockClock
) -> None:
    runtime = scripted(world, owns=False)
    async with world.open() as node:
        service = await node.start(service_of("web", readiness=HTTP, liveness=HTTP))
        await world.wait_for(EventKind.PROBE_WARNING)
        await trio.sleep(60)  # virtual
        script = runtime.started[0].script
        assert 5 <= script.looked <= 7  # at first, and every ten seconds
        assert warning_of(service) is not None
        script.owns_listener = True
        await trio.sleep(15)
        assert warning_of(service) is None
        looked = script.looked
        await trio.sleep(60)
        assert script.looked == looked
    assert len(world.messages(EventKind.PROBE_WARNING)) == 1


@pytest.mark.parametrize("owns", [True, None])
async def test_own_and_what_cannot_be_known_warn_of_nothing(
    world: World, autojump_clock: MockClock, owns: bool | None
) -> None:
    runtime = scripted(world, owns=owns)
    async with world.open() as node:
        service = await node.start(service_of("web", readiness=HTTP))
        await service.wait_ready()
        await trio.sleep(60)  # virtual
        assert warning_of(service) is None
        assert runtime.started[0].script.looked == 1
    assert world.messages(EventKind.PROBE_WARNING) == []


@pytest.mark.parametrize(
    "probe",
    [
        {"tcp": {"port": "http", "host": "127.0.0.2"}},
        {"tcp": {"port": 5432}},
        {"exec": {"command": ["true"]}},
    ],
)
async def test_elsewhere_is_not_looked_at(
    world: World, autojump_clock: MockClock, probe: dict[str, object]
) -> None:
    runtime = scripted(world, owns=False)
    async with world.open() as node:
        service = await node.start(service_of("web", readiness={**probe, "interval": "1s"}))
        await service.wait_ready()
        await trio.sleep(60)  # virtual
        assert warning_of(service) is None
        assert runtime.started[0].script.looked == 0


async def test_fixed_port_by_its_number_is_the_tasks_own_too(
    world: World, autojump_clock: MockClock
) -> None:
    scripted(world, owns=False)
    probe = {"http": {"port": 8080}, "interval": "1s"}
    async with world.open() as node:
        await node.start(spec(ports={"http": 8080}, readiness=probe))
        await world.wait_for(EventKind.PROBE_WARNING)
    assert world.messages(EventKind.PROBE_WARNING) == [f"{SAID} 8080"]


async def test_probe_that_fails_is_not_looked_at(world: World, autojump_clock: MockClock) -> None:
    def answer(check: Check, target: Target) -> Outcome:
        return FAIL if trio.current_time() < begun + 30 else PASS

    begun = trio.current_time()
    world.check.answer = answer
    runtime = scripted(world, owns=False)
    async with world.open() as node:
        await node.start(service_of("web", readiness=HTTP))
        await trio.sleep(25)  # virtual
        assert runtime.started[0].script.looked == 0
        await world.wait_for(EventKind.PROBE_WARNING)


async def test_adoption_shows_the_warning_again_and_tells_nobody(
    world: World, autojump_clock: MockClock
) -> None:  # S3
    wanted = service_of("web", readiness=HTTP)
    task, ports = TaskId("web", 1, 1), {"http": 20_001}
    instance = Instance(id="web.1-1.1-x", task=task, pid=1, started_at=1e6, ports=ports)
    world.journal.save(
        TaskRecord(
            id=task,
            spec=wanted,
            phase=Phase.RUNNING,
            instance=instance,
            starts=1,
            ready_since=1e6,
            proven={ProbeKind.READINESS: Verdict.HEALTHY},
        )
    )
    script = Script(owns_listener=False)
    world.runtime.alive[instance.id] = ScriptedInstance(instance, script, [], world.runtime)
    async with world.open() as node:
        service = await node.start(wanted)
        await trio.sleep(5)  # virtual
        assert warning_of(service) == f"{SAID} 20001"
    assert world.messages(EventKind.PROBE_WARNING) == []

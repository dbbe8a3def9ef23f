"""The library's front door: `from warren import ...`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from support_up import marked, unique

import warren
from warren import Argv, ExecCheck, Probe, ServiceSpec, SpecError, WarrenError, open_supervisor
from warren.model.duration import Duration
from warren.model.event import EventKind, TaskEvent
from warren.model.task import TaskStatus
from warren.resilience.exception_groups import unwrapped
from warren.wiring import parts
from warren.wiring.data_dir import default_data_dir


async def test_open_supervisor_runs_services_and_leaves_nothing() -> None:
    name = unique("front")
    probe = Probe(exec=ExecCheck(command=Argv(["true"])), interval=Duration(0.05))
    spec = ServiceSpec(name=name, command=Argv(["sleep", "1000"]), replicas=2, readiness=probe)
    heard: list[EventKind] = []

    def hear(status: TaskStatus, event: TaskEvent) -> None:
        heard.append(event.kind)

    with trio.fail_after(30):
        async with open_supervisor(publish=hear) as supervisor:
            service = await supervisor.start(spec)
            await service.wait_ready()
            assert str(service.health()) == "2/2 healthy"
            assert len(marked(name)) >= 2
    assert marked(name) == {}
    assert heard.count(EventKind.READY) == heard.count(EventKind.FINISHED) == 2


async def test_open_supervisor_kills_when_cancelled() -> None:
    name = unique("cancelled")
    stubborn = Argv(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    with trio.fail_after(30):
        with trio.CancelScope() as scope:
            async with open_supervisor() as supervisor:
                await (
                    await supervisor.start(ServiceSpec(name=name, command=stubborn))
                ).wait_ready()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
    assert marked(name) == {}


async def test_open_supervisor_raises_errors_by_themselves(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"services\.web\.ports\.http"):
        async with open_supervisor() as supervisor:
            await supervisor.start(ServiceSpec(name="web", image="nginx", ports={"http": 0}))
    async with open_supervisor(data_dir=tmp_path):
        with pytest.raises(WarrenError, match="is in use by another warren manager, pid"):
            async with open_supervisor(data_dir=tmp_path):
                raise AssertionError("two supervisors on one data directory")


async def test_open_supervisor_refuses_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(WarrenError, match="Warren runs on Linux; this is darwin"):
        async with open_supervisor():
            raise AssertionError("it has opened")


def test_command_refuses_other_systems(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from warren.cli import main

    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["up"]) == 1
    assert capsys.readouterr().err == "warren: Warren runs on Linux; this is win32\n"


def test_unwrapped_keeps_groups_of_many() -> None:
    with pytest.raises(BaseExceptionGroup) as many, unwrapped():
        raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("b", [KeyError("c")])])
    assert len(many.value.exceptions) == 2
    with pytest.raises(KeyError), unwrapped():
        raise ExceptionGroup("one", [ExceptionGroup("of one", [KeyError("c")])])


def test_default_data_dir_is_where_such_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/warren")
    monkeypatch.setattr(parts.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert default_data_dir() == Path("/home/me/.local/share/warren")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/warren")


def test_warren_offers_what_it_names() -> None:
    for name in warren.__all__:
        assert getattr(warren, name) is not None
    assert set(warren.__all__) <= set(dir(warren))
    with pytest.raises(AttributeError, match="no attribute 'frob'"):
        _ = warren.frob  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


def test_warren_is_cheap_to_import() -> None:
    program = (
        "import sys; before = {*sys.modules}; import warren, warren.cli; "
        "print(*({*sys.modules} - before))"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"trio", "httpx", "rich", "cyclopts", "msgspec", "yaml", "asyncio", "sqlite3"}
    assert not heavy & set(modules)

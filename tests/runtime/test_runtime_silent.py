"""A mount that does not answer holds up its own task, for a while, and no other (S1, S10)."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.processes import marked, open_handles, wait_until
from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.model.check import Argv
from warren.model.seams import CannotRunError
from warren.model.task import Instance
from warren.process import finding, spawn
from warren.process.context import Context
from warren.process.finding import Finder
from warren.process.spawn import Starter
from warren.process.tree import INSTANCE_VARIABLE
from warren.runtime.process import ProcessRuntime

SHORT = 0.2  # seconds of patience


@dataclasses.dataclass(frozen=True)
class Dead(Context):
    """Plays a context whose directory is on a dead mount: who looks there waits."""

    answers: threading.Event = dataclasses.field(default_factory=threading.Event)
    looks: list[str] = dataclasses.field(default_factory=list[str])

    def resolve(self, argv: Sequence[str]) -> list[str]:
        self.looks.append(argv[0])
        self.answers.wait()
        return Context.resolve(self, argv)


async def test_directory_that_does_not_answer_is_refused_while_others_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finding, "PATIENCE", SHORT)
    finder = Finder()
    dead = Dead(env={}, cwd="/tmp")
    try:
        with pytest.raises(CannotRunError, match="its directory /tmp does not answer"):
            await finder.find(dead, ["true"])
        with pytest.raises(CannotRunError, match="does not answer"):
            await finder.find(dead, ["true"])
        assert dead.looks == ["true"]  # one thread waits, however often it is tried
        found = await finder.find(Context(env={}), ["true"])
        assert found.argv == [shutil.which("true")]
    finally:
        dead.answers.set()
    monkeypatch.setattr(finding, "PATIENCE", 10.0)
    await wait_until(lambda: "<Finder 0" in repr(finder))
    assert (await finder.find(dead, ["true"])).argv[0].endswith("/true")


async def test_child_that_does_not_become_its_program_is_given_up(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "OPENS_WITHIN", SHORT)

    def stop(instance: Instance) -> None:
        os.kill(instance.pid or 0, signal.SIGSTOP)

    launched = launch("sleep", "1000")
    handles = open_handles()
    with trio.fail_after(10), pytest.raises(CannotRunError, match="does not answer"):
        await runtime.start(launched, record=stop)
    assert marked(INSTANCE_VARIABLE, launched.id) == []
    assert open_handles() == handles


async def test_check_is_sought_once_and_again_where_it_is_gone(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = list[str]()
    resolve = Context.resolve

    def counted(self: Context, argv: Sequence[str]) -> list[str]:
        sought.append(argv[0])
        return resolve(self, argv)

    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    program = first / "check"
    program.write_text(f"#!{SH}\nexit 3\n")
    program.chmod(0o755)
    path = f"{first}:{second}:{os.environ['PATH']}"
    running = await runtime.start(launch("sleep", "1000", env={"PATH": path}), record=nowhere)
    monkeypatch.setattr(Context, "resolve", counted)
    codes = list[int | None]()
    for _ in range(3):
        codes.append((await running.run(Argv(("check",)), timeout=10, output_limit=9)).exit_code)
    program.rename(second / "check")
    codes.append((await running.run(Argv(("check",)), timeout=10, output_limit=9)).exit_code)
    assert codes == [3] * 4
    assert sought == ["check"] * 2
    (second / "check").unlink()
    with pytest.raises(CannotRunError, match="check: not found in PATH"):
        await running.run(Argv(("check",)), timeout=10, output_limit=9)
    await running.kill()


async def test_check_on_a_network_mount_is_started_by_the_helper(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Starter, *told: object, **named: object) -> int:
        raise AssertionError("our event loop waits for its directory")

    monkeypatch.setattr(finding, "REMOTE", "")  # as if every mount were one
    monkeypatch.setattr(Starter, "spawn", never)
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert (await running.run(Argv(("true",)), timeout=10, output_limit=9)).exit_code == 0
    await running.kill()

"""A mount that does not answer holds up its own task, for a while, and no other (S1, S10)."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.processes import marked, open_handles
from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError
from warren.model.task import Instance
from warren.process import procfs, program_lookup, spawn
from warren.process.context import Context
from warren.process.spawn import NotFoundError, Starter
from warren.process.tree import INSTANCE_VARIABLE
from warren.runtime.process import ProcessRuntime

SHORT = 0.2  # seconds of patience


async def test_child_that_does_not_become_its_program_is_given_up(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "OPENS_WITHIN", SHORT)
    monkeypatch.setattr(procfs.Stat, "is_stopped", False)  # as whoever waits for a mount

    async def stop(instance: Instance) -> None:
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

    monkeypatch.setattr(program_lookup, "REMOTE", "")  # as if every mount were one
    monkeypatch.setattr(Starter, "spawn", never)
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert (await running.run(Argv(("true",)), timeout=10, output_limit=9)).exit_code == 0
    await running.kill()


async def test_start_says_that_there_is_no_program_where_nobody_can_look_why(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_lookup, "MOST", 0)
    with pytest.raises(NotFoundError, match="no-such-program: No such file"):
        await runtime.start(launch("no-such-program"), record=nowhere)


async def test_check_that_is_a_pipe_is_refused(runtime: ProcessRuntime, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o755)
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    with pytest.raises(CannotRunError, match="Permission denied"):
        await running.run(Argv((str(pipe),)), timeout=10, output_limit=9)
    await running.kill()

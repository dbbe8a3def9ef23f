"""Every system call that a loop of the node makes fails once in every way: the loop goes on."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from warren.process.reaper import Reaper, serve_reaping
from warren.resilience import boundary as boundary_module
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.runtime.process import ProcessRuntime

ERRORS = ("EMFILE", "ENFILE", "ENOSPC", "EIO", "EAGAIN", "ENOMEM")
CALLS = ("waitid", "open", "read", "listdir")


class Failing:
    """Plays a function of `os` that fails."""

    def __init__(self, error: str) -> None:
        self.number = getattr(errno, error)
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary_module, "FIRST_PAUSE", 0.001)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what a process or a thread does."""
    while not condition():  # noqa: ASYNC110 - it gives no event
        await trio.sleep(0.01)


def waiting_child() -> subprocess.Popen[bytes]:
    """It ends when its input does, and is the reaper's then."""
    child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    child.returncode = 0
    return child


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    child.stdin.close()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS)
async def test_reaping_goes_on_when_it_can_again(
    call: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper = Reaper()
    other, stray, late = waiting_child(), waiting_child(), waiting_child()
    reaper.add_owner(lambda stat: stat.pid in (stray.pid, late.pid))
    failing = Failing(error)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_reaping, reaper, Boundary("reaping", Conditions()))
            monkeypatch.setattr(os, call, failing)
            end(other)  # nobody's here: it hides the others, so that all are looked at
            end(stray)
            await until(lambda: failing.calls)
            monkeypatch.undo()
            end(late)
            await until(lambda: _is_reaped(stray.pid) and _is_reaped(late.pid))
            nursery.cancel_scope.cancel()
    os.waitpid(other.pid, os.WNOHANG)  # noqa: ASYNC222 - it has ended


def _is_reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_a_thread_that_cannot_be_had_ends_no_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RLIMIT_NPROC: Python says so by a RuntimeError."""
    conditions = Conditions()
    runtime = ProcessRuntime(data_dir=tmp_path, node="n1", conditions=conditions)
    attempts = list[int]()

    async def refuse(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            await until(lambda: len(attempts) >= 3)
            assert conditions.has("watching logs fails")
            nursery.cancel_scope.cancel()

"""What the tests of the process runtime share: launches, bounded waiting, counting the left."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from warren.model.check import Argv
from warren.model.identity import TaskId, instance_id
from warren.model.seams import Launch
from warren.model.service import ServiceSpec
from warren.model.task import Instance
from warren.process import cgroup, procfs
from warren.process.trees import TreeKind
from warren.runtime.process import ProcessRuntime

NAUGHTY = Path(__file__).parent.parent / "process" / "naughty"
SH = shutil.which("sh") or "/bin/sh"
_slots = itertools.count(1)
PATIENCE = 20.0


def kinds() -> list[object]:
    """Both kinds of tree as parameters; cgroups skipped, visibly, where there are none."""
    lacking = pytest.mark.skipif(
        cgroup.find_base("probe") is None, reason="no writable cgroup2 is mounted here"
    )
    return [pytest.param("cgroup", marks=lacking), "walk"]


def runtime_in(directory: Path, kind: TreeKind) -> ProcessRuntime:
    return ProcessRuntime(data_dir=directory, node="here", trees=kind)


def launch(
    *command: str,
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
) -> Launch:
    """A launch in a slot, hence with a log, of its own."""
    argv = Argv(command)
    task = TaskId("web", next(_slots), 1)
    return Launch(
        id=instance_id(task, 1, f"{os.getpid():x}"),
        task=task,
        spec=ServiceSpec(name="web", command=argv, cwd=cwd, user=user),
        command=argv,
        env={"PATH": os.environ["PATH"], **(env or {})},
        ports={},
    )


def naughty(name: str) -> Launch:
    return launch(SH, str(NAUGHTY / f"{name}.sh"))


def nowhere(instance: Instance) -> None:
    """A record that is written nowhere."""


async def wait_ready(runtime: ProcessRuntime, launched: Launch) -> None:
    """Wait until the program has written its first line."""
    path = runtime.logs.path(launched.task)
    await wait_until(lambda: path.exists() and path.stat().st_size > 0)


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; an error after PATIENCE seconds."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # files and /proc wake nobody
            await trio.sleep(0.001)


def marked(name: str, value: str) -> list[int]:
    """Living processes started with that variable."""
    marker = f"{name}={value}".encode()
    return [stat.pid for stat in procfs.all_stats() if procfs.has_marker(stat.pid, marker)]


def open_handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def zombies() -> set[int]:
    """Children of this process that nobody has reaped."""
    stats = (procfs.read_stat(pid) for pid in procfs.own_children())
    return {stat.pid for stat in stats if stat is not None and stat.is_dead}


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task has made a number of steps."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._task = trio.lowlevel.current_task()
        self._left = steps
        self._scope = scope
        self.has_fired = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self.has_fired = True
                self._scope.cancel()


async def cancelled_everywhere(
    operation: Callable[[], Awaitable[None]],
    *,
    prepare: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    most: int = 200,
) -> int:
    """Run the operation again and again, cancelled one step later each time, until it gets through.

    Gives the number of runs. Before each, `prepare` runs in peace.
    """
    for steps in range(1, most):
        await prepare()
        scope = trio.CancelScope()
        instrument = CancelAt(steps, scope)
        with scope:
            trio.lowlevel.add_instrument(instrument)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        if not instrument.has_fired:
            return steps
    raise AssertionError(f"still not through after {most} steps")

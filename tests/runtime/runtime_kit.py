"""What the tests of the process runtime share: launches, bounded waiting, counting the left."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

from tests.processes import NAUGHTY, wait_until
from warren.model.check import Argv
from warren.model.identity import TaskId, instance_id
from warren.model.interfaces import Launch
from warren.model.service import Resources, ServiceSpec
from warren.model.task import Instance
from warren.process import cgroup
from warren.process.cgroup import Cgroups
from warren.process.choose_tree import TreeKind
from warren.runtime.process import NO_RESOURCES, ProcessRuntime

SH = shutil.which("sh") or "/bin/sh"
_slots = itertools.count(1)


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
    new_privileges: bool = False,
    resources: Resources = NO_RESOURCES,
) -> Launch:
    """A launch in a slot, hence with a log, of its own."""
    argv = Argv(command)
    task = TaskId("web", next(_slots), 1)
    return Launch(
        id=instance_id(task, 1, f"{os.getpid():x}"),
        task=task,
        spec=ServiceSpec(
            name="web",
            command=argv,
            cwd=cwd,
            user=user,
            new_privileges=new_privileges,
            resources=resources,
        ),
        command=argv,
        env={"PATH": os.environ["PATH"], **(env or {})},
        ports={},
    )


def naughty(name: str) -> Launch:
    return launch(SH, str(NAUGHTY / f"{name}.sh"))


async def nowhere(instance: Instance) -> None:
    """A record that is written nowhere."""


async def wait_ready(runtime: ProcessRuntime, launched: Launch) -> None:
    """Wait until the program has written its first line."""
    path = runtime.logs.path(launched.task)
    await wait_until(lambda: path.exists() and path.stat().st_size > 0)


def base_of(runtime: ProcessRuntime) -> Path:
    """Where its instances get their cgroups."""
    assert isinstance(runtime.trees, Cgroups)
    return runtime.trees.base

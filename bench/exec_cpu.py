"""CPU per exec check in a process task's context, against `trio.run_process`.

    python bench/exec_cpu.py [--runs 5] [--probes 200] [--json FILE]

Each contender runs `true` from a process of its own, which counts its own user and system time and
that of its reaped children. Warren's number buys more than its peer's: the command runs in the
task's directory, environment, user and cgroup, and everything it starts is killed and reaped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from measure import Series, cpu_seconds, interleaved, report

from warren.checks import run_check
from warren.model.check import Argv, ExecCheck, Result
from warren.model.identity import TaskId, instance_id
from warren.model.interfaces import Launch, Target
from warren.model.service import ServiceSpec
from warren.runtime.process import ProcessRuntime

TRUE = shutil.which("true") or "/usr/bin/true"
MODES = {"one by one": 1, "4 at once": 4}
WARM_UP = 20
LONGEST = 300  # seconds one prober may take

Probe = Callable[[], Awaitable[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--prober", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prober:
        name, mode = options.prober
        trio.run(prober, name, MODES[mode], options.probes)
        return
    series: list[Series] = []
    for mode in MODES:
        contenders = {name: partial(spend, name, mode, options.probes) for name in PROBES}
        series += interleaved(mode, "µs", contenders, options.runs)
    report(series, baseline="trio.run_process", json_file=options.json)


def spend(name: str, mode: str, probes: int) -> float:
    """Run a prober; the microseconds of CPU one of its checks took, the command's own included."""
    argv = [sys.executable, __file__, "--prober", name, mode, "--probes", str(probes)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=LONGEST)
    return json.loads(done.stdout)["cpu"] / probes * 1e6


async def prober(name: str, at_once: int, probes: int) -> None:
    """Be one contender: run the command `probes` times, and print what it took."""
    async with PROBES[name]() as probe:
        await run(probe, at_once, WARM_UP)
        before = cpu_seconds(children=True)
        await run(probe, at_once, probes)
        print(json.dumps({"cpu": cpu_seconds(children=True) - before}))


async def run(probe: Probe, at_once: int, probes: int) -> None:
    left = probes

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if not await probe():
                raise RuntimeError("an exec check failed")

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(worker)


@asynccontextmanager
async def warren_probe() -> AsyncGenerator[Probe]:
    with tempfile.TemporaryDirectory() as directory:
        runtime = ProcessRuntime(data_dir=Path(directory), node="bench")
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            instance = await runtime.start(sleeper(), record=nowhere)
            target = Target(run=instance.run)
            try:
                yield partial(passes, ExecCheck(Argv((TRUE,))), target)
            finally:
                await instance.kill()
                nursery.cancel_scope.cancel()


async def nowhere(_: object) -> None:
    pass


def sleeper() -> Launch:
    task = TaskId("bench", 1, 1)
    command = Argv(("sleep", "3600"))
    return Launch(
        id=instance_id(task, 1, "bench"),
        task=task,
        spec=ServiceSpec(name="bench", command=command),
        command=command,
        env={"PATH": os.defpath},
        ports={},
    )


async def passes(check: ExecCheck, target: Target) -> bool:
    return (await run_check(check, target, timeout=10)).result is Result.PASS


@asynccontextmanager
async def plain_probe() -> AsyncGenerator[Probe]:
    async def probe() -> bool:
        with trio.fail_after(10):
            done = await trio.run_process([TRUE], capture_stdout=True, capture_stderr=True)
        return done.returncode == 0

    await trio.lowlevel.checkpoint()
    yield probe


PROBES = {"warren": warren_probe, "trio.run_process": plain_probe}

if __name__ == "__main__":
    main()

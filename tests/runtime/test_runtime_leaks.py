"""Nothing is left: after a stop no process, no zombie, no descriptor, no cgroup, no Trio task."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.processes import marked, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, launch, naughty, nowhere, wait_ready
from tests.sweep import cancel_at_every_step
from warren.model.check import Argv
from warren.process import procfs
from warren.process.tree import INSTANCE_VARIABLE
from warren.runtime.instance import ProcessInstance
from warren.runtime.process import ProcessRuntime

PROGRAMS = ("ignores", "daemonises", "abandons", "floods", "forks", "exits")
ROUNDS = 200


def left(runtime: ProcessRuntime) -> list[str]:
    """Everything of the runtime that is still there."""
    return [str(pid) for pid in marked("WARREN_TOKEN", runtime.token)] + list(runtime.trees.left())


async def test_two_hundred_rounds_of_naughty_programs_leave_nothing(
    runtime: ProcessRuntime,
) -> None:  # S15, S23
    before = zombies()
    handles = open_handles()
    tasks = trio.lowlevel.current_statistics().tasks_living
    for number in range(ROUNDS):
        launched = naughty(PROGRAMS[number % len(PROGRAMS)])
        running = await runtime.start(launched, record=nowhere)
        await wait_ready(runtime, launched)
        if number % 4 == 0:
            await running.run(Argv(("true",)), timeout=10, output_limit=10)
        await running.kill()
        assert marked(INSTANCE_VARIABLE, launched.id) == []
        runtime.logs.path(launched.task).unlink()
    assert left(runtime) == []
    assert zombies() <= before
    assert open_handles() == handles
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_kill_twice_and_by_two_tasks_is_harmless(runtime: ProcessRuntime) -> None:  # S15
    running = await runtime.start(naughty("ignores"), record=nowhere)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.kill)
        nursery.start_soon(running.kill)
    await running.kill()
    assert running.is_gone
    assert left(runtime) == []


async def test_orphan_without_environment_is_found_by_its_session(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:  # S15
    pid_file = tmp_path / "pid"
    script = f"env -i sleep 1000 & echo $! > {pid_file}; exit 0"
    running = await runtime.start(launch(SH, "-c", script), record=nowhere)
    await running.wait()
    orphan = int(pid_file.read_text())
    assert procfs.read_stat(orphan) is not None
    await running.kill()
    assert procfs.read_stat(orphan) is None


async def test_kill_ends_the_exec_checks_in_flight(runtime: ProcessRuntime) -> None:  # S15
    launched = naughty("ignores")
    running = await runtime.start(launched, record=nowhere)
    handles = open_handles()
    check = "echo in >> $0; setsid sleep 1000 & exec sleep 1000"
    log = str(runtime.logs.path(launched.task))
    results = list[str | None]()

    async def one() -> None:
        argv = Argv((SH, "-c", check, log))
        result = await running.run(argv, timeout=100, output_limit=10)
        results.append(result.signal)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
        await wait_until(lambda: Path(log).read_text().count("in\n") == 3)
        await running.kill()
        assert left(runtime) == []
        assert open_handles() == handles - 1  # the main's own
    assert results == ["SIGKILL"] * 3


async def test_start_cancelled_at_any_step_leaves_nothing(runtime: ProcessRuntime) -> None:
    handles = open_handles()

    async def start() -> None:
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        await running.kill()
        assert left(runtime) == []

    assert await cancel_at_every_step(start) > 1
    assert left(runtime) == []
    assert open_handles() == handles


@pytest.mark.parametrize("program", ["daemonises", "forks", "exits"])
async def test_kill_cancelled_at_any_step_still_leaves_nothing(
    runtime: ProcessRuntime, program: str
) -> None:  # S15
    handles = open_handles()
    before = zombies()
    victims = list[ProcessInstance]()

    async def prepare() -> None:
        launched = naughty(program)
        victims.append(await runtime.start(launched, record=nowhere))
        await wait_ready(runtime, launched)

    async def kill() -> None:
        await victims[-1].kill()
        assert left(runtime) == []

    steps = await cancel_at_every_step(kill, prepare=prepare)
    assert steps > 1 or program == "exits"  # the kill of what has ended is one step
    assert all(victim.is_gone for victim in victims)
    assert zombies() <= before
    assert open_handles() == handles


async def test_run_cancelled_at_any_step_leaves_nothing(runtime: ProcessRuntime) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handles = open_handles()
    alone = [running.instance.pid]
    before = zombies()

    async def run() -> None:
        script = "setsid sleep 1000 & echo one; sleep 0.002; echo two; sleep 0.002; echo three"
        await running.run(Argv((SH, "-c", script)), timeout=10, output_limit=100)

    assert await cancel_at_every_step(run) >= 3
    assert marked(INSTANCE_VARIABLE, running.instance.id) == alone
    assert zombies() == before
    assert open_handles() == handles
    await running.kill()


async def test_record_that_fails_leaves_nothing_and_the_program_never_ran(
    runtime: ProcessRuntime,
) -> None:  # S21
    handles = open_handles()
    launched = naughty("ignores")

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await runtime.start(launched, record=full)
    assert left(runtime) == []
    assert open_handles() == handles
    assert runtime.logs.path(launched.task).read_text() == ""

"""Nothing is left: after a stop no process, no zombie, no descriptor, no cgroup, no Trio task."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.processes import marked, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, kinds, launch, naughty, nowhere, wait_ready
from tests.sweep import cancel_at_every_step
from warren.model.check import Argv
from warren.process import procfs
from warren.process.cgroup import find_base
from warren.process.choose_tree import TreeKind
from warren.process.reaper import Reaper
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

    await cancel_at_every_step(kill, prepare=prepare)  # one step, where it is dead at once
    assert all(victim.is_gone for victim in victims)
    assert zombies() <= before
    assert open_handles() == handles


async def test_run_cancelled_at_any_step_leaves_nothing(runtime: ProcessRuntime) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handles = open_handles()
    alone = [running.instance.pid]
    before = zombies()

    async def run() -> None:
        script = "setsid sleep 1000 & echo one; sleep 0.01; echo two; sleep 0.01; echo three"
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

    async def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await runtime.start(launched, record=full)
    assert left(runtime) == []
    assert open_handles() == handles
    assert runtime.logs.path(launched.task).read_text() == ""


# What programs do with their threads and cgroups

LEADERLESS = """
import ctypes, os, platform, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=time.sleep, args=(1000,)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60}.get(platform.machine(), 93), 0)  # this thread alone ends
"""


async def test_process_whose_first_thread_has_ended_lives_and_is_killed(
    runtime: ProcessRuntime,
) -> None:  # S15
    launched = launch(sys.executable, "-c", LEADERLESS)
    running = await runtime.start(launched, record=nowhere)
    await wait_ready(runtime, launched)
    pid = running.instance.pid or 0
    await wait_until(lambda: (stat := procfs.read_stat(pid)) is not None and stat.state == "Z")
    stat = procfs.read_stat(pid)
    assert stat is not None
    assert not stat.is_dead
    with trio.fail_after(20):
        await running.kill()
    assert procfs.read_stat(pid) is None
    assert left(runtime) == []


TRACER = """
import ctypes, sys, time
ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None)  # PTRACE_SEIZE
print("seized", flush=True)
time.sleep(1000)
"""


@pytest.mark.needs_root
async def test_end_of_a_main_that_somebody_traces_is_noticed(
    runtime: ProcessRuntime,
) -> None:  # S18
    before = zombies()
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    pid = running.instance.pid or 0
    argv = [sys.executable, "-c", TRACER, str(pid)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as tracer:  # noqa: ASYNC220
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"seized\n"
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(20):
            assert (await running.wait()).message == "killed by SIGKILL"
            await running.kill()
        # Which reaps strays too: once while this one cannot be, once when it can.
        await (await runtime.start(launch("true"), record=nowhere)).kill()
        assert procfs.read_stat(pid) is not None
        tracer.kill()
    await (await runtime.start(launch("true"), record=nowhere)).kill()
    await wait_until(lambda: zombies() <= before)


def nested(base: Path, depth: int, name: str) -> None:
    here = os.open(base, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def make_threaded(path: Path) -> None:
    path.mkdir()
    (path / "cgroup.type").write_text("threaded")
    with pytest.raises(OSError, match="not supported"):
        (path / "cgroup.procs").read_text()


def remove_checks(path: Path) -> None:
    for check in path.glob("check-*"):
        check.rmdir()


@pytest.mark.parametrize("kind", kinds()[:1])
@pytest.mark.parametrize(("depth", "name"), [(1100, "a"), (50, "a" * 100)])
async def test_cgroups_that_a_program_has_made_are_removed_however_deep(
    runtime: ProcessRuntime, depth: int, name: str
) -> None:  # S15
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    nested(Path(running.instance.handle["cgroup"]), depth, name)
    with trio.fail_after(20):
        await running.kill()
    assert left(runtime) == []


@pytest.mark.parametrize("kind", kinds()[:1])
async def test_threaded_cgroup_is_killed_as_any_other(runtime: ProcessRuntime) -> None:  # S15
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    make_threaded(Path(running.instance.handle["cgroup"], "vcpu"))
    with trio.fail_after(20):
        await running.kill()
    assert left(runtime) == []


@pytest.mark.parametrize("kind", kinds()[:1])
@pytest.mark.needs_root
async def test_check_runs_though_its_cgroup_was_removed(runtime: ProcessRuntime) -> None:  # S13
    for user in (None, "nobody"):
        running = await runtime.start(launch("sleep", "1000", user=user), record=nowhere)
        for _ in range(2):
            result = await running.run(Argv(("true",)), timeout=10, output_limit=10)
            assert result.exit_code == 0
            remove_checks(Path(running.instance.handle["cgroup"]))
        await running.kill()


@pytest.mark.parametrize("kind", kinds()[:1])
def test_cgroups_that_take_no_name_are_not_used(
    kind: TreeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_base("probe") is not None

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "setxattr", refuse)
    assert find_base("probe") is None


async def test_shortage_at_the_end_of_an_instance_makes_it_no_less_gone(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    find, refused = Reaper.reap_strays, list[bool]()

    def short(reaper: Reaper, *, hidden: bool = True) -> int:
        if hidden and not refused:
            refused.append(hidden)
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        return find(reaper, hidden=hidden)

    with monkeypatch.context() as patched:
        patched.setattr(Reaper, "reap_strays", short)
        await running.kill()
    assert running.is_gone
    assert refused
    assert (await running.wait()).signal == "SIGKILL"

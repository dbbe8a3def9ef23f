"""On real processes: whatever they do, and whenever it is cancelled, nothing is left (S15)."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import trio
import trio.testing

from tests.nursery.conftest import spec
from tests.sweep import cancel_at_every_step
from warren import open_supervisor
from warren.model.service import ServiceSpec
from warren.process import procfs
from warren.resilience.loop_lag import LoopLag
from warren.wiring.supervisor import Supervisor

NAUGHTY = Path(__file__).parent.parent / "process" / "naughty"
PROGRAMS = ("ignores", "daemonises", "abandons", "floods", "forks", "exits")
ROUNDS = 34  # of six programs each: over two hundred starts and stops
SH = shutil.which("sh") or "/bin/sh"
# Another run may be on its way on this machine.
NAME, CANCELLED = f"naughty{os.getpid()}", f"cancelled{os.getpid()}"
PROBE = {
    "exec": {"command": [SH, "-c", "sleep 0 & exit 0"]},
    "interval": "20ms",
    "timeout": "5s",
}


def naughty(program: str, name: str) -> ServiceSpec:
    return spec(
        name=name,
        command=[SH, str(NAUGHTY / f"{program}.sh")],
        ports={"http": 0},
        readiness=PROBE,
        stop={"grace": "50ms"},
    )


def left_of(prefix: str) -> list[int]:
    """Living processes of services whose names begin so."""
    pids = [stat.pid for stat in procfs.all_stats()]
    return [p for p in pids if procfs.read_environ(p).get("WARREN_SERVICE", "").startswith(prefix)]


def handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def opened() -> list[str]:
    """What this process has open, for a message."""
    found = list[str]()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # of the listing itself
            found.append(str(entry.readlink()))
    return sorted(found)


async def start_and_stop_all(supervisor: Supervisor, prefix: str) -> None:
    async with supervisor.watch() as transitions:
        for program in PROGRAMS:
            await supervisor.start(naughty(program, f"{prefix}-{program}"))
        started: set[str] = set()
        while len(started) < len(PROGRAMS):
            started.add((await transitions.receive())[1].task.service)
        async with trio.open_nursery() as nursery:
            for program in PROGRAMS:
                nursery.start_soon(supervisor.stop, f"{prefix}-{program}")


async def test_two_hundred_naughty_tasks_leave_nothing(tmp_path: Path) -> None:
    LoopLag.current()  # one for the whole run
    before = handles()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_supervisor(data_dir=tmp_path) as supervisor:
        with trio.fail_after(120):
            await start_and_stop_all(supervisor, "warm")
            await trio.testing.wait_all_tasks_blocked(0.01)  # what is on its way to the manager
            inside = handles()
            living = trio.lowlevel.current_statistics().tasks_living
            for _ in range(ROUNDS):
                await start_and_stop_all(supervisor, NAME)
        assert left_of(NAME) == []
        # Less than one a round: a child forked ahead of the next start has some of its own, and so
        # has what a node begins some seconds after its start.
        assert handles() < inside + ROUNDS, opened()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert trio.lowlevel.current_statistics().tasks_living < living + ROUNDS
    assert handles() == before
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_cancelled_at_any_step_of_a_real_life_nothing_is_left(tmp_path: Path) -> None:
    before = handles()

    async def a_life() -> None:
        async with open_supervisor(data_dir=tmp_path) as supervisor:
            service = await supervisor.start(naughty("daemonises", CANCELLED))
            with trio.fail_after(20):
                await service.wait_ready()
            await supervisor.stop(CANCELLED)

    def nothing_is_left(step: int) -> None:
        assert left_of(CANCELLED) == [], f"cancelled at step {step}"
        assert handles() == before, f"cancelled at step {step}: {opened()}"

    cancelled = await cancel_at_every_step(a_life, check=nothing_is_left, stride=3)
    assert cancelled > 10


async def test_embedders_own_processes_keep_their_exit_status(tmp_path: Path) -> None:
    async with open_supervisor(data_dir=tmp_path) as supervisor:
        own = [await trio.lowlevel.open_process([SH, "-c", f"exit {n}"]) for n in range(5)]
        for number in range(5):
            await start_and_stop_all(supervisor, f"beside-{number}")
        assert [await process.wait() for process in own] == [0, 1, 2, 3, 4]


async def test_supervisor_runs_in_a_thread_of_its_own(tmp_path: Path) -> None:
    async def embedded() -> str:
        async with open_supervisor(data_dir=tmp_path) as supervisor:
            service = await supervisor.start(naughty("ignores", "threaded"))
            with trio.fail_after(20):
                await service.wait_ready()
            return str(service.health())

    assert await trio.to_thread.run_sync(trio.run, embedded) == "1/1 healthy"
    assert left_of("threaded") == []

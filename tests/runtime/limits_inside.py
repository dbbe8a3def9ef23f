"""What limits do (S27): run by `test_runtime_limits.py`, where cgroup2 has all controllers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
import trio

from tests.processes import wait_until
from tests.runtime.runtime_kit import SH, base_of, launch, nowhere, runtime_in
from tests.runtime.test_runtime_adoption import supervisor
from warren import Argv, Restart, ServiceSpec, open_supervisor
from warren.model.byte_size import ByteSize
from warren.model.event import EventKind
from warren.model.service import Resources
from warren.model.task import Instance, Reason
from warren.process import procfs
from warren.process.choose_tree import choose_trees, leave_trees
from warren.process.controllers import LEAF, WANTED
from warren.process.reaper import Reaper
from warren.runtime.instance import ProcessInstance
from warren.runtime.process import ProcessRuntime

CGROUPS = Path("/sys/fs/cgroup")
M = 1 << 20
MEMORY = Resources(memory=ByteSize(64 << 20))
HOG = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"
OUT = "out of memory: limit 64 MiB, peak 64 MiB"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncGenerator[ProcessRuntime]:
    """One that serves; in the end nothing of it is left in the tree of cgroups."""
    runtime = runtime_in(tmp_path, "cgroup")
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        yield runtime
        nursery.cancel_scope.cancel()
    assert not base_of(runtime).exists()


async def started(
    runtime: ProcessRuntime, *command: str, limits: Resources = MEMORY
) -> ProcessInstance:
    return await runtime.start(launch(*command, resources=limits), record=nowhere)


def cgroup_of(instance: Instance) -> Path:
    return Path(instance.handle["cgroup"])


async def test_the_node_tells_that_it_can_hold_limits(runtime: ProcessRuntime) -> None:
    assert runtime.info.features == ("cpu-limit", "memory-limit", "pids-limit")
    assert (runtime.trees.containment, runtime.info.no_limits) == ("cgroup", "")


async def test_who_takes_too_much_memory_is_killed_with_all_and_told(
    runtime: ProcessRuntime,
) -> None:
    hog = f"{sys.executable} -c '{HOG}' & wait; sleep 1000"  # main only waits for it
    running = await started(runtime, SH, "-c", hog)
    with trio.fail_after(20):
        end = await running.wait()
    await running.kill()
    assert (end.reason, end.signal, end.message) == (Reason.OUT_OF_MEMORY, "SIGKILL", OUT)
    assert end.memory is not None
    assert end.memory.killed >= 1
    assert end.memory.limit_bytes == 64 * M
    assert 63 * M < (end.memory.peak_bytes or 0) <= 64 * M


async def test_a_check_counts_towards_the_limits_of_its_task(runtime: ProcessRuntime) -> None:
    running = await started(runtime, "sleep", "1000", limits=MEMORY)
    before = await running.usage()
    result = await running.run(Argv([sys.executable, "-c", HOG]), timeout=20, output_limit=99)
    assert result.signal == "SIGKILL"  # S13
    assert before is not None
    assert before.memory_used is not None
    assert before.memory_used < 32 * M
    with trio.fail_after(20):
        assert (await running.wait()).message == OUT
    await running.kill()


async def test_a_fork_bomb_is_held_by_its_limit_and_goes_on(runtime: ProcessRuntime) -> None:
    bomb = "while :; do (exec sleep 1000) & done 2>/dev/null; wait"
    running = await started(runtime, SH, "-c", f"({bomb}) ; exec sleep 1000",
                            limits=Resources(pids=20))  # fmt: skip

    async def is_held() -> bool:
        usage = await running.usage()
        assert usage is not None
        assert usage.processes is not None
        assert usage.processes <= 20
        return bool(usage.processes_refused)

    with trio.fail_after(20):
        while not await is_held():  # noqa: ASYNC110  # the kernel wakes nobody
            await trio.sleep(0.001)
    assert procfs.read_stat(running.instance.pid or 0) is not None
    await running.kill()


async def test_a_busy_loop_gets_no_more_than_its_share(runtime: ProcessRuntime) -> None:
    busy = await started(runtime, SH, "-c", "while :; do :; done", limits=Resources(cpu=0.25))
    first, began = await busy.usage(), time.monotonic()
    await wait_until(lambda: time.monotonic() - began > 2)
    second, took = await busy.usage(), time.monotonic() - began
    assert first is not None
    assert second is not None
    share = ((second.cpu_seconds or 0) - (first.cpu_seconds or 0)) / took
    assert 0.02 < share < 0.35  # less where this machine itself has little time
    assert (second.throttled_seconds or 0) > (first.throttled_seconds or 0)
    await busy.kill()


async def test_a_task_without_limits_has_its_usage_told(runtime: ProcessRuntime) -> None:
    running = await started(runtime, "sleep", "1000", limits=Resources())
    usage = await running.usage()
    assert usage is not None
    assert usage.processes == 1
    assert 0 < (usage.memory_used or 0) <= (usage.memory_peak or 0) < 32 * M
    assert usage.processes_refused == 0
    assert not (cgroup_of(running.instance) / "memory.max").read_text().strip().isdecimal()
    await running.kill()
    assert await running.usage() is None


def patient(directory: Path) -> tuple[str, ...]:
    """A program that says that it is there, and takes all memory once it is told to go on."""
    wait = f"touch {directory}/there; until [ -e {directory}/go ]; do sleep 0.01; done"
    return SH, "-c", f"{wait}; exec {sys.executable} -c '{HOG}'"


async def left_running(directory: Path) -> Instance:
    """It, with a limit, after the `kill -9` of its supervisor."""
    async with supervisor("limited", str(directory), "cgroup", *patient(directory)) as other:
        instance = msgspec.json.decode(await other.hear(), type=Instance)
        await wait_until((directory / "there").exists)
        await other.die()
    return instance


async def test_adoption_finds_the_limits_as_they_are(tmp_path: Path) -> None:  # S21
    instance = await left_running(tmp_path)
    runtime = runtime_in(tmp_path, "cgroup")
    running = await runtime.adopt(instance)
    assert isinstance(running, ProcessInstance)
    usage = await running.usage()
    assert usage is not None
    assert usage.memory_used
    assert (cgroup_of(instance) / "memory.max").read_text() == f"{64 * M}\n"
    (tmp_path / "go").touch()
    main = instance.pid or 0
    await wait_until(lambda: (found := procfs.read_stat(main)) is None or found.is_dead)
    running.leave()  # so it has ended while nobody watched it
    end = await runtime_in(tmp_path, "cgroup").adopt(instance)
    assert not isinstance(end, ProcessInstance)
    assert (end.reason, end.message) == (Reason.OUT_OF_MEMORY, OUT)
    assert left() == []


async def test_a_service_says_in_its_events_that_it_ran_out_of_memory(tmp_path: Path) -> None:
    command = Argv([sys.executable, "-c", HOG])
    once = Restart(max_attempts=1)
    hog = ServiceSpec(name="hog", command=command, resources=MEMORY, restart=once)
    async with open_supervisor(data_dir=tmp_path) as here:
        service = await here.start(hog)
        with trio.fail_after(20):
            async with aclosing(service.events()) as events:
                entry = await anext(events)
                while entry.kind is not EventKind.RESTARTING:
                    entry = await anext(events)
        assert entry.reason == Reason.OUT_OF_MEMORY.value
        assert entry.message.startswith(OUT)
        assert entry.facts is not None
        assert entry.facts.memory is not None
        assert entry.facts.memory.limit_bytes == 64 * M
        await service.remove()
        calm = await here.start(ServiceSpec(name="calm", command=Argv(["sleep", "9"]),
                                            resources=MEMORY))  # fmt: skip
        await calm.wait_ready()
        (told,) = await here.cluster.usage(service="calm")
        assert told.usage.memory_used
        (node,) = await here.cluster.nodes()
        assert "memory-limit" in node.description.runtimes[0].features
    assert left() == []


def left() -> list[Path]:
    """Cgroups of tasks."""
    return list(CGROUPS.glob("warren-*"))


def below(cgroup: Path) -> list[Path]:
    return [path for path in cgroup.iterdir() if path.is_dir()]


@pytest.fixture
def box() -> Generator[Path]:
    """A cgroup for one supervisor, as systemd makes them; nothing is left in it."""
    made = CGROUPS / "box.scope"
    made.mkdir()
    (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu +pids")
    yield made
    made.rmdir()


ALL = "memory cpu pids: "


def own_cgroup() -> str | None:
    return procfs.cgroup2_path(os.getpid())


def look_in(cgroup: Path, enter: Callable[[], object] = lambda: None) -> list[str]:
    """Where a supervisor is, what it can limit and what it says, and where it is in the end: of one
    that is started in that cgroup. A fork of this process, as to import takes seconds here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            (cgroup / "cgroup.procs").write_text("0")
            enter()
            trees = choose_trees("cgroup", token="looks", reaper=Reaper())
            held = " ".join(name for name in WANTED if name in trees.limits)
            said = f"{own_cgroup()}\n{held}: {trees.no_limits}\n"
            leave_trees(trees)
            os.write(writer, f"{said}{own_cgroup()}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as file:
        return file.read().splitlines()


def enter_namespace() -> None:
    """As a container begins: its cgroup is the topmost that it sees."""
    new_cgroup, new_mounts = 0x02000000, 0x00020000
    assert not ctypes.CDLL(None).unshare(new_cgroup | new_mounts)
    again = "umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
    subprocess.run([SH, "-c", f"mount --make-rprivate / ; {again}"], check=True)


def test_a_supervisor_alone_in_its_cgroup_goes_below_it(box: Path) -> None:
    assert look_in(box) == [f"/box.scope/{LEAF}", ALL, "/box.scope"]
    assert below(box) == []


def test_it_is_the_same_in_a_container(box: Path) -> None:
    assert look_in(box, enter_namespace) == [f"/{LEAF}", ALL, "/"]
    assert below(box) == []


def test_where_systemd_has_started_it_below_it_stays(box: Path) -> None:
    leaf = box / LEAF
    leaf.mkdir()
    assert look_in(leaf) == [f"/box.scope/{LEAF}", ALL, f"/box.scope/{LEAF}"]
    leaf.rmdir()


def test_a_supervisor_among_others_holds_no_limits_and_says_why(box: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        (box / "cgroup.procs").write_text(str(other.pid))
        was, said, left = look_in(box)
        other.kill()
    assert was == left == "/box.scope"
    why = f"other processes are in its cgroup {box}; want it started in a cgroup of its own"
    assert said.startswith(f": {why}, such as by systemd-run")
    assert below(box) == []


def test_a_systemd_service_is_not_left_where_no_other_could_be_started() -> None:
    unit = CGROUPS / "warren-node.service"
    unit.mkdir()
    _, said, left = look_in(unit)
    assert left == "/warren-node.service"
    assert said == f": want DelegateSubgroup={LEAF} in its unit warren-node.service"
    unit.rmdir()

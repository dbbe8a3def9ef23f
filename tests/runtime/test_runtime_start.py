"""How programs are started: by a helper that may die, be stopped or be refused, never twice."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import cast

import msgspec
import pytest
import trio
import trio.testing

from tests.processes import marked, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, base_of, kinds, launch, nowhere, runtime_in
from tests.runtime.test_runtime_adoption import supervisor
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, ShortageError
from warren.model.task import Instance
from warren.process import procfs, spawn
from warren.process.cgroup import INSTANCE_NAME
from warren.process.choose_tree import TreeKind
from warren.process.helper import Helper
from warren.process.spawn import Starter
from warren.runtime.process import ProcessRuntime

BEGINNINGS = str(Path(__file__).parent / "beginnings.py")
as_root = pytest.mark.needs_root


def helper_of(runtime: ProcessRuntime) -> int:
    pid = runtime.starter.helper_pid
    assert pid is not None
    return pid


def is_alive(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is not None and not stat.is_dead


async def starts_at_once(runtime: ProcessRuntime, count: int, witness: Path) -> None:
    """Start programs that each write a line, and end them."""

    async def one(number: int) -> None:
        script = f"echo {number} >> {witness}; exec sleep 1000"
        running = await runtime.start(launch(SH, "-c", script), record=nowhere)
        await wait_until(lambda: str(number) in witness.read_text().split())
        await running.kill()

    witness.touch()  # noqa: ASYNC240
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


def ran(witness: Path) -> list[int]:
    return sorted(int(line) for line in witness.read_text().split())


async def test_two_hundred_starts_at_once_run_once_each(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    handles, before, helper = open_handles(), zombies(), helper_of(runtime)
    await starts_at_once(runtime, 200, tmp_path / "ran")
    assert ran(tmp_path / "ran") == list(range(200))
    assert open_handles() == handles
    assert zombies() == before
    assert helper_of(runtime) == helper
    assert runtime.trees.left() == {}


async def test_starts_of_a_helper_that_dies_are_done_by_another_once_each(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    handles, helper = open_handles(), helper_of(runtime)
    os.kill(helper, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(starts_at_once, runtime, 20, tmp_path / "ran")
        await trio.testing.wait_all_tasks_blocked()
        os.kill(helper, signal.SIGKILL)
    assert ran(tmp_path / "ran") == list(range(20))
    assert helper_of(runtime) != helper
    assert procfs.read_stat(helper) is None
    assert open_handles() == handles


class _KillsHelper(trio.abc.Instrument):
    """Kills the helper before the n-th step that any task takes."""

    def __init__(self, helper: int, steps: int) -> None:
        self._helper = helper
        self.left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(self._helper, signal.SIGKILL)


async def test_helper_killed_at_any_step_doubles_and_loses_nothing(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    handles, before = open_handles(), zombies()
    for step in range(1, 40):
        runtime.starter.close()
        runtime.starter.open()
        killer = _KillsHelper(helper_of(runtime), step)
        trio.lowlevel.add_instrument(killer)
        witness = tmp_path / f"ran{step}"
        try:
            await starts_at_once(runtime, 1, witness)
        finally:
            trio.lowlevel.remove_instrument(killer)
        assert ran(witness) == [0]
        if killer.left > 0:
            break
    runtime.starter.close()
    runtime.starter.open()
    assert open_handles() == handles
    assert zombies() <= before
    assert runtime.trees.left() == {}


async def test_helper_that_does_not_answer_is_replaced(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "_PATIENCE", 0.1)
    helper = helper_of(runtime)
    os.kill(helper, signal.SIGSTOP)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(starts_at_once, runtime, 1, tmp_path / "ran")
            await wait_until(lambda: not is_alive(helper))
            monkeypatch.setattr(spawn, "_PATIENCE", 60.0)  # the next may be slow to be there
    assert ran(tmp_path / "ran") == [0]
    assert helper_of(runtime) != helper


async def test_helper_that_was_killed_and_is_slow_to_die_is_no_lack_of_descriptors(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Helper.has_ended
    asked = list[int]()

    async def is_slow(self: Helper) -> bool:
        asked.append(self.pid)
        return await honest(self) if len(asked) > 1 else False

    monkeypatch.setattr(Helper, "has_ended", is_slow)
    monkeypatch.setattr(spawn, "_PATIENCE", 0.1)
    os.kill(helper_of(runtime), signal.SIGSTOP)
    with pytest.raises(ShortageError, match="was killed and is not gone yet"):
        await runtime.start(launch("sleep", "1000"), record=nowhere)
    monkeypatch.setattr(spawn, "_PATIENCE", 60.0)
    await starts_at_once(runtime, 1, tmp_path / "ran")
    assert ran(tmp_path / "ran") == [0]


async def test_helper_that_always_dies_is_a_reason_and_leaves_nothing(
    tmp_path: Path, kind: TreeKind
) -> None:
    runtime = runtime_in(tmp_path, kind)
    runtime.preforked.starter = Starter(soft_limit=-2)  # which no helper can take
    handles = open_handles()
    with pytest.raises(CannotRunError, match="the helper that starts programs ended 3 times"):
        await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert open_handles() == handles
    assert runtime.trees.left() == {}


@pytest.mark.parametrize("room", range(2, 8))
async def test_shortage_of_the_helper_or_its_child_is_told_and_ends_no_helper(
    tmp_path: Path, kind: TreeKind, room: int
) -> None:
    runtime = runtime_in(tmp_path, kind)
    runtime.preforked.starter = Starter(soft_limit=room)  # of descriptors; with 8 it starts
    with closing(runtime.starter):
        runtime.starter.open()
        handles, before, helper = open_handles(), zombies(), helper_of(runtime)
        for _ in range(3):
            with pytest.raises(ShortageError):
                await runtime.start(launch("sleep", "1000"), record=nowhere)
            assert helper_of(runtime) == helper
        assert is_alive(helper)
        assert open_handles() == handles
        assert zombies() == before
        assert runtime.trees.left() == {}


async def test_helpers_that_others_end_are_not_counted(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = list[int]()
    honest = Helper.ask

    async def ask(self: Helper, gate: int, cgroup: str, *, joins: bool = False) -> None:
        if len(killed) == 5:
            await honest(self, gate, cgroup, joins=joins)
            return
        os.kill(self.pid, signal.SIGSTOP)
        await honest(self, gate, cgroup, joins=joins)
        killed.append(self.pid)
        runtime.starter.close()
        runtime.starter.open()

    monkeypatch.setattr(Helper, "ask", ask)
    await starts_at_once(runtime, 1, tmp_path / "ran")
    assert len(set(killed)) == 5
    assert ran(tmp_path / "ran") == [0]


async def test_helper_ends_with_its_supervisor_and_is_not_adopted(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S21
    async with supervisor("serve", str(tmp_path), kind, "sleep", "1000") as other:
        instance = msgspec.json.decode(await other.hear(), type=Instance)

        def others() -> list[int]:
            parent = other.process.pid
            return [
                s.pid for s in procfs.all_stats() if s.parent == parent != s.pid != instance.pid
            ]

        await wait_until(lambda: len(others()) == 2)  # the helper and a spare
        ended = others()
        await other.die()
    await wait_until(lambda: not any(map(is_alive, ended)))
    await runtime.sweep(frozenset())  # the program, if its gate was open by then
    assert runtime.trees.left() == {}
    await wait_until(lambda: not is_alive(instance.pid or 0))
    for pid in (*ended, instance.pid or 0):  # they have come to us, dead
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222


async def test_helper_ends_with_the_runtime(kind: TreeKind, tmp_path: Path) -> None:
    runtime = runtime_in(tmp_path, kind)
    handles, before = open_handles(), zombies()
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        helper = helper_of(runtime)
        nursery.cancel_scope.cancel()
    assert procfs.read_stat(helper) is None
    assert zombies() == before
    assert open_handles() <= handles + 2  # Trio's own for signals stay


# A child born ahead


@pytest.fixture
async def served(runtime: ProcessRuntime, nursery: trio.Nursery) -> ProcessRuntime:
    """A runtime that has a child ready."""
    await nursery.start(runtime.serve)
    await (await runtime.start(launch("true"), record=nowhere)).kill()
    await wait_until(lambda: runtime.preforked.is_ready)
    return runtime


def open_in(pid: int) -> int:
    """How many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_start_needs_no_helper_where_a_child_was_born_ahead(
    served: ProcessRuntime, tmp_path: Path
) -> None:
    helper = helper_of(served)
    await wait_until(lambda: open_in(helper) == 3)  # it has let go of what it gave that child
    os.kill(helper, signal.SIGSTOP)
    await starts_at_once(served, 1, tmp_path / "ran")
    assert ran(tmp_path / "ran") == [0]
    os.kill(helper, signal.SIGCONT)
    await wait_until(lambda: served.preforked.is_ready)  # and then there is another


async def test_child_born_ahead_that_somebody_has_killed_is_not_used(
    served: ProcessRuntime, tmp_path: Path
) -> None:
    handles, before = open_handles(), zombies()
    ahead = served.preforked.pid
    assert ahead is not None
    os.kill(ahead, signal.SIGKILL)
    await wait_until(lambda: not is_alive(ahead))
    await starts_at_once(served, 1, tmp_path / "ran")
    assert ran(tmp_path / "ran") == [0]
    assert procfs.read_stat(ahead) is None
    await wait_until(lambda: served.preforked.is_ready)
    assert open_handles() == handles
    assert zombies() <= before


async def test_child_born_ahead_is_no_stray_and_ends_with_the_runtime(
    kind: TreeKind, tmp_path: Path
) -> None:
    runtime = runtime_in(tmp_path, kind)
    handles, before = open_handles(), zombies()
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        await wait_until(lambda: runtime.preforked.is_ready)
        assert await runtime.sweep(frozenset({running.instance.id})) == []
        assert runtime.preforked.is_ready
        await starts_at_once(runtime, 1, tmp_path / "ran")
        await running.kill()
        nursery.cancel_scope.cancel()
    assert ran(tmp_path / "ran") == [0]
    assert zombies() == before
    assert open_handles() <= handles + 2  # Trio's own for signals stay
    if kind == "cgroup":
        assert not base_of(runtime).exists()


@pytest.mark.parametrize("kind", kinds()[:1])
async def test_start_in_a_cgroup_that_was_killed_once(runtime: ProcessRuntime) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    spent = base_of(runtime) / "spent"
    spent.mkdir()
    (spent / "cgroup.kill").write_text("1")  # a kernel may kill who is cloned into it now
    gated = await runtime.starter.bear("true", cgroup=str(spent))
    await wait_until(lambda: (spent / "cgroup.procs").read_text() == f"{gated.pid}\n")
    gated.abandon()
    os.waitpid(gated.pid, 0)  # noqa: ASYNC222  # it ends at once
    await wait_until(lambda: not (spent / "cgroup.procs").read_text())
    spent.rmdir()
    await running.kill()


async def test_stopped_child_is_no_failure_of_its_program(
    served: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "OPENS_WITHIN", 0.2)

    async def stop(instance: Instance) -> None:
        os.kill(instance.pid or 0, signal.SIGSTOP)

    with pytest.raises(ShortageError, match="true: its process was stopped before it began"):
        await served.start(launch("true"), record=stop)


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def test_child_short_of_memory_is_a_shortage(served: ProcessRuntime) -> None:
    ahead = served.preforked.pid
    assert ahead is not None
    size = memory_of(ahead)
    _, hard = resource.prlimit(ahead, resource.RLIMIT_AS)
    resource.prlimit(ahead, resource.RLIMIT_AS, (size, hard))
    env = {f"V{number}": "x" * 100_000 for number in range(15)}
    with pytest.raises(ShortageError, match="no memory left"):
        await served.start(launch("true", env=env), record=nowhere)


@pytest.mark.parametrize("kind", kinds()[:1])
async def test_cgroup_says_whose_it_is_and_an_old_one_is_swept(
    runtime: ProcessRuntime,
) -> None:
    launched = launch("sleep", "1000")
    running = await runtime.start(launched, record=nowhere)
    assert list(runtime.trees.left()) == [launched.id]
    path = runtime.trees.left()[launched.id]
    assert os.getxattr(path, INSTANCE_NAME) == launched.id.encode()
    old = base_of(runtime) / "0123abcd-1"  # in which an earlier supervisor had a child ready
    old.mkdir()
    assert await runtime.sweep(frozenset({launched.id})) == []  # it was nobody's
    assert not old.exists()
    await running.kill()


def fill(directory: Path) -> None:
    """Leave no room for another attribute of that cgroup."""
    with contextlib.suppress(OSError):
        for number in itertools.count():
            os.setxattr(directory, f"user.filler{number}", b"x" * 1000)


@pytest.mark.parametrize("kind", kinds()[:1])
async def test_shortage_at_the_cgroup_is_said_alike_at_every_try(served: ProcessRuntime) -> None:
    """Or each try of each task that waits would be news (S26)."""
    launched = launch("sleep", "1000")
    said = set[str]()
    for token in ("first", "second"):
        await wait_until(lambda: served.preforked.is_ready)
        for path in base_of(served).iterdir():
            if path.is_dir():
                fill(path)
        again = msgspec.structs.replace(launched, id=f"{launched.id}{token}")
        with pytest.raises(ShortageError) as caught:
            await served.start(again, record=nowhere)
        said.add(str(caught.value))
    assert said == {f"{launched.task}: no disk space left (No space left on device)"}


async def test_killed_at_its_gate_with_our_byte_unread_is_an_end_like_any_other(
    runtime: ProcessRuntime,
) -> None:  # S18
    handles, gated = open_handles(), list[int]()

    async def stop(instance: Instance) -> None:
        gated.append(instance.pid or 0)
        os.kill(gated[0], signal.SIGSTOP)

    async def start() -> None:
        running = await runtime.start(launch("sleep", "1000"), record=stop)
        assert (await running.wait()).message == "killed by SIGKILL"
        await running.kill()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await wait_until(lambda: gated)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(gated[0], signal.SIGKILL)
    assert open_handles() == handles
    assert runtime.trees.left() == {}


# Programs that cannot be


def script_of(directory: Path, text: str) -> str:
    path = directory / "script"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/no/such -x\n", "its interpreter /no/such: No such file or directory"),
        ("#!/etc/passwd\n", "its interpreter /etc/passwd: Permission denied"),
        ("#!/bin/sh\r\n", "its interpreter /bin/sh\\r: No such file or directory"),
        ("echo hello\n", "Exec format error: want a program of this machine, or a script that"),
    ],
)
async def test_script_that_cannot_run_says_why_and_leaves_nothing(
    runtime: ProcessRuntime, tmp_path: Path, text: str, said: str
) -> None:
    path = script_of(tmp_path, text)
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handles = open_handles()
    with pytest.raises(CannotRunError) as caught:
        await runtime.start(launch(path), record=nowhere)
    assert str(caught.value).startswith(f"{path}: {said}")
    with pytest.raises(CannotRunError) as caught:
        await running.run(Argv((path,)), timeout=10, output_limit=0)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert open_handles() == handles
    await running.kill()
    assert runtime.trees.left() == {}


async def test_what_execve_takes_is_taken_and_what_not_is_said(runtime: ProcessRuntime) -> None:
    piece = "x" * 120_000
    env = {f"V{number}": piece for number in range(14)}  # 1.7 of the 2 MiB
    running = await runtime.start(launch("sleep", "1000", env=env), record=nowhere)
    pid = running.instance.pid
    assert pid is not None
    assert [v for v in procfs.read_environ(pid).values() if v == piece] == [piece] * 14
    await running.kill()
    env |= {f"W{number}": piece for number in range(100)}
    with pytest.raises(CannotRunError, match=r"Argument list too long: want less than the 13,"):
        await runtime.start(launch("sleep", "1000", env=env), record=nowhere)
    with pytest.raises(CannotRunError, match="each < 128 KiB"):
        await runtime.start(launch("echo", "x" * 140_000), record=nowhere)
    assert marked("WARREN_TOKEN", runtime.token) == []
    assert runtime.trees.left() == {}


async def test_variables_are_never_options_of_anybody(runtime: ProcessRuntime) -> None:
    odd = {"-i": "1", "-u": "PATH", "--help": "", "-S": "echo no", "a b": "c", "_": "kept"}
    launched = launch("sleep", "1000", env=odd)
    running = await runtime.start(launched, record=nowhere)
    pid = running.instance.pid
    assert pid is not None
    found = procfs.read_environ(pid)
    assert found | odd == found
    assert set(found) == {*odd, "PATH", "WARREN_INSTANCE", "WARREN_TOKEN"}
    await running.kill()


# Whose cgroup it is


@as_root
@pytest.mark.parametrize("kind", [k for k in kinds() if k != "walk"])
def test_a_cgroup_of_its_user_is_enough(kind: TreeKind, tmp_path: Path) -> None:
    """Without root, in a part of the tree that is the user's own, as under `systemd --user`."""
    own = base_of(runtime_in(tmp_path, kind)).parent / f"test-{os.getpid()}"
    own.mkdir()
    try:
        for path in (own, *(own / f"cgroup.{name}" for name in ("procs", "threads"))):
            os.chown(path, 65534, 65534)
        with tempfile.TemporaryDirectory() as data:  # not below pytest's, which is root's alone
            os.chown(data, 65534, 65534)
            assert beginnings(Path(data), "any", "owned", str(own)) == ["cgroup", 1]
    finally:
        own.rmdir()


# What programs find


def beginnings(directory: Path, kind: str, *how: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, BEGINNINGS, str(directory), kind, *how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("how", ["library", "settled"])
def test_programs_and_checks_find_the_defaults_however_we_were_started(
    kind: TreeKind, tmp_path: Path, how: str
) -> None:
    instance, check, _ = beginnings(tmp_path, kind, how)
    nothing = "0" * 16
    assert instance == f"SigBlk:\t{nothing}\nSigIgn:\t{nothing}\n0022\n300\n"
    assert check == instance


@pytest.mark.parametrize("kind", kinds())
def test_where_clone3_is_refused_the_child_joins_its_cgroup_by_itself(
    kind: TreeKind, tmp_path: Path
) -> None:
    _, _, where = beginnings(tmp_path, kind, "refused", str(errno.ENOSYS))
    path, handle = cast("list[str]", where)
    if kind == "cgroup":
        assert handle.endswith(path)
    else:
        assert handle == ""


@as_root
@pytest.mark.parametrize("may_gain", [False, True])
async def test_another_user_gains_no_privileges_unless_told(
    runtime: ProcessRuntime, may_gain: bool
) -> None:
    report = (SH, "-c", "grep NoNewPrivs /proc/$$/status; exec sleep 1000")
    mine = launch(*report)
    theirs = launch(*report, user="nobody", new_privileges=may_gain)
    for launched, wanted in ((mine, 0), (theirs, int(not may_gain))):
        running = await runtime.start(launched, record=nowhere)
        log = runtime.logs.path(launched.task)
        await wait_until(lambda log=log: log.read_text().endswith("\n"))
        assert log.read_text() == f"NoNewPrivs:\t{wanted}\n"
        grep = Argv(("grep", "NoNewPrivs", "/proc/self/status"))
        result = await running.run(grep, timeout=20, output_limit=100)
        assert result.output == log.read_bytes()
        await running.kill()

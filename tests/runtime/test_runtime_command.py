"""An exec check that could not be moved into its tree is ended all the same, and blocks nobody."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.processes import fill_epoll, marked, only_descriptors, open_handles, wait_until, zombies
from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.model.check import Argv
from warren.model.interfaces import CannotRunError, CommandResult, ShortageError
from warren.process import cgroup, proc_walk, procfs, spare_descriptors, tree, unkillable
from warren.process.context import Context
from warren.process.tree import INSTANCE_VARIABLE
from warren.runtime.instance import ProcessInstance
from warren.runtime.process import ProcessRuntime

# In its session, in one of its own, and without anything but its parent to tell whose it is;
# itself it has nothing but its pid.
SCRIPT = """
sleep 50 & echo $! >> $0
setsid sleep 50 & echo $! >> $0
setsid env -i sleep 50 & echo $! >> $0
exec env -i sleep 50
"""


class Refusing:
    """Once a check has forked all that it forks, the n-th `os.open` is refused, once or always."""

    def __init__(
        self, runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch, code: int, name: str = ""
    ) -> None:
        self.left = 0
        self.is_armed = False
        self._code = code
        self._name = name
        self._open = os.open
        self._spawn = runtime.starter.spawn
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(runtime.starter, "spawn", self.spawn)
        monkeypatch.setattr(runtime.starter, "may_exec", self.may_exec)

    def may_exec(self, context: Context) -> bool:
        """Also where this program ignores signals, as in the background of a shell."""
        return True

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if self.is_armed and self._name in str(path):
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self._name):
                raise OSError(self._code, os.strerror(self._code))
        return self._open(path, flags, mode, dir_fd=dir_fd)

    def spawn(self, argv: Sequence[str], context: Context, *, output: int) -> int:
        pid = self._spawn(argv, context, output=output)
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" or procfs.read_environ(pid):
            assert procfs.read_stat(pid) is not None
        self.is_armed = True
        return pid


async def run(running: ProcessInstance, witness: Path) -> CommandResult:
    argv = Argv((SH, "-c", SCRIPT, str(witness)))
    with trio.fail_after(20):
        return await running.run(argv, timeout=0.01, output_limit=10)


async def wait_none_is_left(witness: Path) -> None:
    pids = [int(word) for word in witness.read_text().split()]  # noqa: ASYNC240
    assert len(pids) == 3
    assert [stat for stat in map(procfs.read_stat, pids) if stat and not stat.is_dead] == []


@pytest.mark.parametrize("shortage", ["EMFILE", "ENOMEM"])
async def test_check_that_cannot_be_moved_is_ended_with_all_it_has_forked(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: str
) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    pid = running.instance.pid
    await wait_until(lambda: pid in marked(INSTANCE_VARIABLE, running.instance.id))
    handles, before = open_handles(), zombies()
    refusals = 0
    while True:
        witness = tmp_path / f"{refusals}"
        with monkeypatch.context() as patch:
            refusing = Refusing(runtime, patch, getattr(errno, shortage))
            refusing.left = refusals + 1
            try:
                await run(running, witness)
            except CannotRunError:
                refusals += 1
            else:
                break
            finally:
                await wait_none_is_left(witness)
        assert marked(INSTANCE_VARIABLE, running.instance.id) == [pid]
        assert open_handles() == handles
        assert zombies() == before
    assert refusals >= 1
    await running.kill()
    assert runtime.trees.left() == {}


async def test_check_whose_cgroup_takes_nobody_is_ended_while_it_takes_nobody(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # S13
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handles, before = open_handles(), zombies()
    with monkeypatch.context() as patch:
        refusing = Refusing(runtime, patch, errno.ENOMEM, "cgroup.procs")
        refusing.left = 1
        if "cgroup" in running.instance.handle["cgroup"]:
            with pytest.raises(CannotRunError, match="no memory left"):
                await run(running, tmp_path / "witness")
        else:
            await run(running, tmp_path / "witness")
    await wait_none_is_left(tmp_path / "witness")
    assert open_handles() == handles
    assert zombies() == before
    await running.kill()


async def test_one_that_may_not_be_signalled_leaves_no_other_stopped(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # a set-uid program, where the supervisor is not root
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    witness = tmp_path / "witness"

    def send(stat: procfs.Stat, number: signal.Signals) -> None:
        if witness.read_text().startswith(f"{stat.pid}\n"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        tree.send(stat, number)

    with monkeypatch.context() as patch:
        patch.setattr(cgroup, "send", send)
        patch.setattr(proc_walk, "send", send)
        refusing = Refusing(runtime, patch, errno.ENOMEM, "cgroup.procs")
        refusing.left = 1
        with suppress(ShortageError):
            await run(running, witness)
    first, *others = [int(word) for word in witness.read_text().split()]
    stats = {pid: procfs.read_stat(pid) for pid in (first, *others)}
    assert [pid for pid, stat in stats.items() if stat and not stat.is_dead] == [first]
    os.kill(first, signal.SIGKILL)
    await running.kill()
    assert runtime.trees.left() == {}


async def test_kill_goes_on_in_a_shortage_longer_than_its_patience(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:  # S15
    monkeypatch.setattr(unkillable, "PATIENCE", 0.01)
    monkeypatch.setattr(spare_descriptors, "COUNT", 0)  # others have taken them
    async with trio.open_nursery() as serving:
        await serving.start(runtime.serve)
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        await wait_until(lambda: runtime.preforked.is_ready)
        async with trio.open_nursery() as nursery:
            with only_descriptors(0):
                began = trio.current_time()
                nursery.start_soon(running.kill)
                await wait_until(lambda: trio.current_time() > began + 0.1)
            assert not running.is_gone
        assert running.is_gone
        await wait_until(lambda: not runtime.trees.left())
        serving.cancel_scope.cancel()


async def test_start_stop_and_checks_need_no_room_in_the_epoll_of_the_loop(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_epoll(monkeypatch)
    handles = open_handles()
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    result = await running.run(Argv(("echo", "yes")), timeout=10, output_limit=10)
    assert (result.exit_code, result.output) == (0, b"yes\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.wait)
        await running.kill()
    assert open_handles() == handles
    assert runtime.trees.left() == {}


async def test_check_without_room_to_watch_it_is_no_full_disk(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:  # S1
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handles, before = open_handles(), zombies()
    for room in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(select, "epoll", partial(_Full, select.epoll, room))
            with pytest.raises(ShortageError) as caught:
                await running.run(Argv(("true",)), timeout=10, output_limit=10)
        wanted = "no room to watch a command: fs.epoll.max_user_watches is reached"
        assert str(caught.value) == wanted
        assert open_handles() == handles
        assert zombies() == before
    await running.kill()
    assert runtime.trees.left() == {}


class _Full:
    """An epoll with room for so many."""

    def __init__(self, epoll: Callable[[], select.epoll], room: int) -> None:
        self._epoll = epoll()
        self._room = room
        self.close = self._epoll.close

    def register(self, descriptor: int, events: int) -> None:
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._epoll.register(descriptor, events)


@pytest.mark.needs_root
async def test_check_of_another_user_goes_on_after_one_that_was_killed(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:  # S13
    script = tmp_path / "script"
    script.write_text(f"#!{SH}\n")
    script.chmod(0o700)  # root's alone
    running = await runtime.start(launch("sleep", "1000", user="nobody"), record=nowhere)
    before = zombies()
    for _ in range(2):
        slow = await running.run(Argv(("sleep", "100")), timeout=0.1, output_limit=10)
        assert slow.timed_out
        daemon = Argv((SH, "-c", "sleep 100 & echo hello"))
        assert (await running.run(daemon, timeout=10, output_limit=10)).output == b"hello\n"
        with pytest.raises(CannotRunError, match="Permission denied: its user may not run it"):
            await running.run(Argv((str(script),)), timeout=10, output_limit=10)
    await running.kill()
    assert zombies() <= before
    assert runtime.trees.left() == {}

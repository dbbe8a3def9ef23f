"""`kill -9` of a supervisor, then another: nothing is lost, doubled or orphaned (S21)."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from tests.processes import marked, only_descriptors, open_handles, wait_until
from tests.runtime.runtime_kit import SH, base_of, kinds, launch, naughty, nowhere, runtime_in
from warren.model.check import Argv
from warren.model.task import End, Instance, Reason
from warren.process import procfs
from warren.process.choose_tree import TreeKind
from warren.process.tree import CHECK_VARIABLE, INSTANCE_VARIABLE
from warren.runtime.instance import ProcessInstance
from warren.runtime.process import TOKEN_VARIABLE, ProcessRuntime

SUPERVISE = str(Path(__file__).parent / "supervise.py")


class Other:
    """A supervisor in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._heard = b""

    async def hear(self) -> bytes:
        assert self.process.stdout is not None
        with trio.fail_after(20):
            while b"\n" not in self._heard:
                chunk = await self.process.stdout.receive_some()
                assert chunk, "the other supervisor went away"
                self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    async def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line + b"\n")

    async def die(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@contextlib.asynccontextmanager
async def supervisor(*arguments: str) -> AsyncGenerator[Other]:
    process = await trio.lowlevel.open_process(
        [sys.executable, SUPERVISE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield Other(process)
    finally:
        process.kill()
        await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await stream.aclose()


def bearing(marks: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process of our own with these variables."""
    return subprocess.Popen(["sleep", "1000"], env={**os.environ, **marks})


async def start_and_die(directory: Path, kind: str, *command: str, word: bytes = b"") -> Instance:
    """An instance whose supervisor was killed with SIGKILL."""
    async with supervisor("start", str(directory), kind, *command) as other:
        instance = msgspec.json.decode(await other.hear(), type=Instance)
        if word:
            await other.say(word)
            await wait_until(lambda: len(marked(INSTANCE_VARIABLE, instance.id)) >= 3)
            await wait_until(lambda: _are_kept(instance))
        else:
            # The record was said before the gate was opened; now the program itself runs.
            await wait_until(lambda: instance.pid in marked(INSTANCE_VARIABLE, instance.id))
        await other.die()
    return instance


def _are_kept(instance: Instance) -> bool:
    """Whether all that there is of it has been moved into its cgroup, where it has one."""
    group = instance.handle.get("cgroup", "").rpartition("/")[2]
    paths = [procfs.cgroup2_path(pid) for pid in marked(INSTANCE_VARIABLE, instance.id)]
    return all(path is None or group in path for path in paths)


async def test_what_a_check_had_not_yet_moved_when_its_supervisor_died_is_ended(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S13, S21
    instance = await start_and_die(tmp_path, kind, "sleep", "1000")
    marks = {
        INSTANCE_VARIABLE: instance.id,
        TOKEN_VARIABLE: runtime.token,
        CHECK_VARIABLE: "of a check",
    }
    with bearing(marks) as left:
        try:
            await wait_until(lambda: left.pid in marked(INSTANCE_VARIABLE, instance.id))
            adopted = await runtime.adopt(instance)
            assert isinstance(adopted, ProcessInstance)
            await wait_until(lambda: left.pid not in marked(INSTANCE_VARIABLE, instance.id))
        finally:
            left.kill()
    assert marked(INSTANCE_VARIABLE, instance.id) == [instance.pid]
    await adopted.kill()


@pytest.mark.parametrize("kind", kinds()[:1])
async def test_who_left_its_cgroup_for_another_is_left_there(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:
    instance = await start_and_die(tmp_path, "cgroup", "sleep", "1000")
    elsewhere = base_of(runtime).parent / f"elsewhere-{os.getpid()}"
    elsewhere.mkdir()
    marks = {INSTANCE_VARIABLE: instance.id, TOKEN_VARIABLE: runtime.token}
    with bearing(marks) as other:
        (elsewhere / "cgroup.procs").write_text(str(other.pid))
        await wait_until(lambda: other.pid in marked(INSTANCE_VARIABLE, instance.id))
        adopted = await runtime.adopt(instance)
        assert isinstance(adopted, ProcessInstance)
        assert other.poll() is None
        other.kill()
    elsewhere.rmdir()
    await adopted.kill()


async def test_running_instance_is_adopted_and_killed_whole(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S21
    script = "setsid sleep 1000 & exec sleep 1000"
    instance = await start_and_die(tmp_path, kind, SH, "-c", script)
    handles = open_handles()
    await wait_until(lambda: len(marked(INSTANCE_VARIABLE, instance.id)) == 2)
    adopted = await runtime.adopt(instance)
    assert isinstance(adopted, ProcessInstance)
    assert adopted.instance == instance
    assert instance.pid in marked(INSTANCE_VARIABLE, instance.id)
    assert await runtime.sweep(frozenset({instance.id})) == []
    await adopted.signal(signal.SIGTERM)
    assert (await adopted.wait()).message == "killed by SIGTERM"
    await adopted.kill()
    assert marked(INSTANCE_VARIABLE, instance.id) == []
    assert runtime.trees.left() == {}
    assert open_handles() == handles


async def test_adopted_by_a_process_that_is_not_its_parent(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S13, S21
    script = "trap 'exit 7' TERM; while :; do sleep 0.01; done"
    instance = await start_and_die(tmp_path, kind, SH, "-c", script)
    async with supervisor("adopt", str(tmp_path), kind) as other:
        await other.say(msgspec.json.encode(instance))
        assert msgspec.json.decode(await other.hear()) == f"{instance.id}\n"
        assert instance.pid is not None
        os.kill(instance.pid, signal.SIGTERM)
        await other.say(b"")
        end = msgspec.json.decode(await other.hear(), type=End)
        assert end.message == "exited with code 7"
        assert msgspec.json.decode(await other.hear()) == "killed"
    assert marked(INSTANCE_VARIABLE, instance.id) == []


async def test_checks_of_the_dead_supervisor_are_ended_at_adoption(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S13
    instance = await start_and_die(tmp_path, kind, "sleep", "1000", word=b"check")
    adopted = await runtime.adopt(instance)
    assert isinstance(adopted, ProcessInstance)
    assert marked(INSTANCE_VARIABLE, instance.id) == [instance.pid]
    await adopted.kill()


async def test_ended_meanwhile_is_known_as_ended_and_its_daemons_die(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S21
    script = "setsid sleep 1000 & exec sleep 1000"
    instance = await start_and_die(tmp_path, kind, SH, "-c", script)
    await wait_until(lambda: len(marked(INSTANCE_VARIABLE, instance.id)) == 2)
    assert instance.pid is not None
    os.kill(instance.pid, signal.SIGKILL)
    await wait_until(lambda: instance.pid not in marked(INSTANCE_VARIABLE, instance.id))
    end = await runtime.adopt(instance)
    assert isinstance(end, End)
    assert end.is_failure
    assert marked(INSTANCE_VARIABLE, instance.id) == []
    again = await runtime.adopt(instance)
    assert isinstance(again, End)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"start": "1"}, Reason.LOST), ({"boot": "another"}, Reason.REBOOTED)],
)
async def test_pid_of_somebody_else_is_never_taken(
    runtime: ProcessRuntime, change: dict[str, str], reason: Reason
) -> None:  # S21
    bystander = await runtime.start(launch("sleep", "1000"), record=nowhere)
    handle = {**bystander.instance.handle, "cgroup": "", **change}
    recycled = msgspec.structs.replace(bystander.instance, id="web.9-9.9-gone", handle=handle)
    end = await runtime.adopt(recycled)
    assert isinstance(end, End)
    assert end.reason is reason
    # While it becomes its program, nothing of its environment can be read.
    await wait_until(lambda: marked(INSTANCE_VARIABLE, bystander.instance.id))
    await bystander.kill()


async def test_sweep_ends_what_is_not_kept_and_only_its_own(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S21
    neighbour = runtime_in(tmp_path / "other", kind)
    theirs = await neighbour.start(launch("sleep", "1000"), record=nowhere)
    unrecorded = await start_and_die(tmp_path, kind, SH, str(naughty("daemonises").command[1]))
    kept = await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert await runtime.sweep(frozenset({kept.instance.id})) == [unrecorded.id]
    assert marked(INSTANCE_VARIABLE, unrecorded.id) == []
    assert marked(INSTANCE_VARIABLE, kept.instance.id)
    assert await runtime.sweep(frozenset()) == [kept.instance.id]
    assert kept.is_gone
    assert runtime.trees.left() == {}
    assert marked(INSTANCE_VARIABLE, theirs.instance.id)
    await theirs.kill()


@contextlib.asynccontextmanager
async def of_another(directory: Path, kind: str, *command: str) -> AsyncGenerator[Instance]:
    """An instance whose supervisor lives still, so that it is no child of ours."""
    async with supervisor("start", str(directory), kind, *command) as other:
        instance = msgspec.json.decode(await other.hear(), type=Instance)
        await wait_until(lambda: instance.pid in marked(INSTANCE_VARIABLE, instance.id))
        yield instance
        await other.say(b"")
        await other.process.wait()


class Refusing:
    """`os.open` and `os.pidfd_open`, of which the n-th that asks for `whose` is refused, once."""

    def __init__(self, whose: str, code: int) -> None:
        self._whose = whose
        self._code = code
        self._open = os.open
        self._pidfd_open = os.pidfd_open
        self.left = 0

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self._count(str(path).split("/"))
        return self._open(path, flags, mode, dir_fd=dir_fd)

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        self._count([str(pid)])
        return self._pidfd_open(pid, flags)

    def _count(self, asked: list[str]) -> None:
        self.left -= self._whose in asked
        if self.left == 0 and self._whose in asked:
            raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("shortage", ["EMFILE", "ENFILE", "ENOMEM"])
async def test_adoption_waits_out_a_shortage_at_any_step(
    runtime: ProcessRuntime,
    kind: TreeKind,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shortage: str,
) -> None:  # S21: never lost for a shortage of ours
    async with of_another(tmp_path, kind, "sleep", "1000") as instance:
        refusing = Refusing(str(instance.pid), getattr(errno, shortage))
        monkeypatch.setattr(os, "open", refusing.open)
        monkeypatch.setattr(os, "pidfd_open", refusing.pidfd_open)
        handles, refused_at = open_handles(), 0
        while True:
            refused_at += 1
            refusing.left = refused_at
            again = runtime_in(tmp_path, kind)
            adopted = await again.adopt(instance)
            assert isinstance(adopted, ProcessInstance)
            if refusing.left > 0:
                break
            adopted.leave()
            assert open_handles() == handles
        assert refused_at > 4
        await adopted.kill()
    assert marked(INSTANCE_VARIABLE, instance.id) == []
    assert open_handles() <= handles


@pytest.mark.parametrize("shortage", ["EMFILE", "ENFILE", "ENOMEM"])
async def test_sweep_waits_out_a_shortage_at_any_step(
    runtime: ProcessRuntime,
    kind: TreeKind,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shortage: str,
) -> None:  # it may be one among running tasks
    code, refused_at = getattr(errno, shortage), 0
    async with of_another(tmp_path, kind, "sleep", "1000") as kept:
        refusing = Refusing(str(kept.pid), code)
        monkeypatch.setattr(os, "open", refusing.open)
        monkeypatch.setattr(os, "pidfd_open", refusing.pidfd_open)
        while True:
            refused_at += 1
            refusing.left = refused_at
            assert await runtime.sweep(frozenset({kept.id})) == []
            if refusing.left > 0:
                break
        assert refused_at > 2
        listing = Listing(code)
        monkeypatch.setattr(os, "listdir", listing.listdir)
        monkeypatch.setattr(os, "getxattr", listing.getxattr)
        for listing.left in range(1, 4):
            assert await runtime.sweep(frozenset({kept.id})) == []
        listing.left = 0  # how many of the calls are made is Python's
        assert kept.pid in marked(INSTANCE_VARIABLE, kept.id)
        listing.left = 1
        assert await runtime.sweep(frozenset()) == [kept.id]
        listing.left = 0
    assert marked(INSTANCE_VARIABLE, kept.id) == []
    assert runtime.trees.left() == {}


class Listing:
    """`os.listdir` and `os.getxattr`, of whose calls the n-th is refused, once."""

    def __init__(self, code: int) -> None:
        self._code = code
        self._listdir = os.listdir
        self._getxattr = os.getxattr
        self.left = 0

    def listdir(self, path: str) -> list[str]:
        self._count()
        return self._listdir(path)

    def getxattr(self, path: Path, name: str) -> bytes:
        self._count()
        return self._getxattr(path, name)

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self._code, os.strerror(self._code))


async def test_adoption_cancelled_in_a_shortage_keeps_no_descriptor(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with of_another(tmp_path, kind, "sleep", "1000") as instance:
        handles = open_handles()
        with monkeypatch.context() as patch:

            def short() -> dict[str, list[int]]:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            patch.setattr(runtime, "_marked", short)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.adopt, instance)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert open_handles() == handles
        adopted = await runtime.adopt(instance)
        assert isinstance(adopted, ProcessInstance)
        await adopted.kill()


async def adopt_cancelled(
    runtime: ProcessRuntime, instance: Instance
) -> ProcessInstance | End | None:
    with trio.CancelScope() as scope:
        scope.cancel()
        return await runtime.adopt(instance)
    return None


async def test_adoption_without_a_shortage_is_not_cancelled(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S15: what runs is had, to be ended
    instance = await start_and_die(tmp_path, kind, "sleep", "1000", word=b"check")
    adopted = await adopt_cancelled(runtime, instance)
    assert isinstance(adopted, ProcessInstance)
    assert marked(INSTANCE_VARIABLE, instance.id) == [instance.pid]
    await adopted.signal(signal.SIGKILL)
    await adopted.wait()
    adopted.leave()
    assert isinstance(await adopt_cancelled(runtime, instance), End)
    assert marked(INSTANCE_VARIABLE, instance.id) == []


async def test_adopted_is_watched_and_killed_whatever_we_are_short_of(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path
) -> None:  # S15, S21
    script = "setsid sleep 1000 & exec sleep 1000"
    async with of_another(tmp_path, kind, SH, "-c", script) as instance:
        adopted = await runtime.adopt(instance)
        assert isinstance(adopted, ProcessInstance)
        async with trio.open_nursery() as nursery:
            with only_descriptors(0):
                nursery.start_soon(adopted.wait)
                nursery.start_soon(adopted.kill)
                await trio.testing.wait_all_tasks_blocked()
        assert adopted.is_gone
        assert marked(INSTANCE_VARIABLE, instance.id) == []
        assert (await adopted.wait()).message == "killed by SIGKILL"


@pytest.mark.needs_root
async def test_adoption_needs_no_name_of_the_user(
    runtime: ProcessRuntime, kind: TreeKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # S21: the account may be gone meanwhile
    instance = await start_and_die(tmp_path, kind, "sleep", "1000")
    ids = f'{{"uid": {os.geteuid()}, "gid": {os.getegid()}, "groups": []}}'
    known = msgspec.structs.replace(instance, handle={**instance.handle, "ids": ids})

    def gone(name: str) -> object:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", gone)
    adopted = await runtime.adopt(known)
    assert not isinstance(adopted, End)
    result = await adopted.run(Argv(("id", "-u")), timeout=10, output_limit=100)
    assert result.output == f"{os.geteuid()}\n".encode()
    await adopted.kill()


async def test_age_of_an_instance_is_by_a_clock_that_nobody_sets(tmp_path: Path) -> None:
    runtime = runtime_in(tmp_path, "walk")
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        before = time.monotonic()
        running = await runtime.start(launch("sleep", "1000"), record=nowhere)
        started = time.monotonic()
        await wait_until(lambda: time.monotonic() >= started + 0.05)
        one = running.instance
        moved = msgspec.structs.replace(one, started_at=one.started_at - 3600.0)  # a clock was set
        age = runtime_in(tmp_path, "walk").age(moved)
        assert age is not None
        assert 0.05 <= age <= time.monotonic() - before
        for handle in (
            {**one.handle, "boot": "another"},
            {name: value for name, value in one.handle.items() if name != "began"},
        ):
            assert runtime.age(msgspec.structs.replace(one, handle=handle)) is None
        await running.kill()
        nursery.cancel_scope.cancel()

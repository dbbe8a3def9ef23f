"""Programs are found off the event loop, whatever becomes of a mount (S1, S10)."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.process import mounted
from tests.process.mounted import report
from tests.processes import wait_until
from warren.model.interfaces import CannotRunError, ShortageError
from warren.process import procfs, program_lookup
from warren.process.context import Context
from warren.process.program_lookup import Found, ProgramLookup

MOUNTED = mounted.__file__
SHORT = 0.2  # seconds of patience
LONG = 60.0


@dataclasses.dataclass(frozen=True)
class Dead(Context):
    """Plays a context whose directory is on a dead mount: who looks there waits."""

    answers: threading.Event = dataclasses.field(default_factory=threading.Event)
    queries: list[str] = dataclasses.field(default_factory=list[str])

    def resolve(self, argv: Sequence[str]) -> list[str]:
        self.queries.append(argv[0])
        self.answers.wait()
        return Context.resolve(self, argv)


@pytest.fixture
def dead() -> Generator[Dead]:
    context = Dead(env={}, cwd="/tmp")
    try:
        yield context
    finally:
        context.answers.set()


async def test_directory_that_does_not_answer_is_refused_while_others_are_found(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_lookup, "PATIENCE", SHORT)
    lookup = ProgramLookup()
    with pytest.raises(CannotRunError, match="its directory /tmp does not answer"):
        await lookup.find(dead, ["true"])
    monkeypatch.setattr(program_lookup, "PATIENCE", LONG)
    with pytest.raises(CannotRunError, match="does not answer"):  # nor is it waited for again
        await lookup.find(dead, ["true"])
    assert dead.queries == ["true"]  # one thread waits, however often it is tried
    found = await lookup.find(Context(env={}), ["true"])
    assert found.argv == [shutil.which("true")]
    dead.answers.set()
    await wait_until(lambda: "<ProgramLookup 0" in repr(lookup))
    assert (await lookup.find(dead, ["true"])).argv[0].endswith("/true")


async def test_program_is_sought_by_one_thread_for_all_who_ask(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_lookup, "PATIENCE", SHORT)
    lookup, refused = ProgramLookup(), list[str]()

    async def ask(number: int) -> None:
        with pytest.raises(CannotRunError, match="does not answer"):
            await lookup.find(dead, ["true", str(number)])
        refused.append("true")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, number)
    assert len(refused) == 8
    assert dead.queries == ["true"]


async def test_thread_of_who_was_cancelled_looks_for_those_who_ask_next(dead: Dead) -> None:
    lookup, found = ProgramLookup(), dict[int, Found]()

    async def ask(number: int) -> None:
        found[number] = await lookup.find(dead, ["true", str(number)])

    for number in range(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, number)
            await wait_until(lambda: dead.queries)
            nursery.cancel_scope.cancel()
    assert found == {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 5)
        nursery.start_soon(ask, 6)
        await trio.testing.wait_all_tasks_blocked()
        dead.answers.set()
    assert dead.queries == ["true"]
    path = shutil.which("true", path="/tmp:/usr/bin:/bin")
    assert {number: told.argv[1:] for number, told in found.items()} == {5: ["5"], 6: ["6"]}
    assert {told.argv[0] for told in found.values()} == {path}


async def test_refusal_is_told_to_all_who_ask(dead: Dead) -> None:
    lookup, refused = ProgramLookup(), list[CannotRunError]()

    async def ask() -> None:
        with pytest.raises(CannotRunError, match="no-such: not found in PATH") as told:
            await lookup.find(dead, ["no-such"])
        refused.append(told.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        dead.answers.set()
    assert dead.queries == ["no-such"]
    assert len(set(refused)) == 2


async def test_hundred_silent_directories_hold_up_nobody(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_lookup, "PATIENCE", LONG)
    lookup = ProgramLookup()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(lookup.find, dead, [f"program-{number}"])
        await wait_until(lambda: len(dead.queries) == 100)
        with trio.fail_after(SHORT * 25):
            assert (await lookup.find(Context(env={}), ["true"])).argv == [shutil.which("true")]
        nursery.cancel_scope.cancel()


async def test_looks_that_are_too_many_are_a_shortage_of_our_own(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_lookup, "PATIENCE", SHORT)
    monkeypatch.setattr(program_lookup, "MOST", 2)
    lookup = ProgramLookup()
    for name in ("one", "two"):
        with pytest.raises(CannotRunError, match="does not answer"):
            await lookup.find(dead, [name])
    said = "true: no thread left to look for it: 2 looks have not ended"
    with pytest.raises(ShortageError, match=said):
        await lookup.find(Context(env={}), ["true"])
    dead.answers.set()
    await wait_until(lambda: "<ProgramLookup 0" in repr(lookup))
    assert (await lookup.find(Context(env={}), ["true"])).argv == [shutil.which("true")]


@pytest.mark.parametrize("nested", range(2))
async def test_script_is_remote_where_its_interpreter_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: int
) -> None:
    monkeypatch.setattr(program_lookup, "REMOTE", "proc")
    interpreter = "/proc/version"
    for number in range(nested + 1):
        script = tmp_path / f"script-{number}"
        script.write_text(f"#!{interpreter}\n")
        script.chmod(0o755)
        interpreter = script.name  # which is sought from the directory it runs in
    here = Context(env={"PATH": str(tmp_path)}, cwd=str(tmp_path))
    assert (await ProgramLookup().find(here, [interpreter])).is_remote


@pytest.mark.parametrize("interpreter", ["/no/such", "/dev/null/no", "/bin/sh", ""])
async def test_script_of_a_near_or_missing_interpreter_is_not_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    monkeypatch.setattr(program_lookup, "REMOTE", "proc")
    script = tmp_path / "script"
    script.write_text(f"#!{interpreter}\n")
    script.chmod(0o755)
    assert await ProgramLookup().find(Context(env={}), [str(script)]) == Found([str(script)])


async def test_executable_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o755)
    with trio.fail_after(5):
        assert await ProgramLookup().find(Context(env={}), [str(pipe)]) == Found([str(pipe)])


# What is mounted


LINES = rb"""23 1 0:21 / / rw shared:1 - ext4 /dev/sda rw
24 23 0:22 / /a\040b\134\012\011c rw,relatime shared:2 master:3 - tmpfs none rw
25 23 0:23 / /\134040 rw - fuse.sshfs me@there:/ rw
26 23 0:24 /\040-\040x /%s rw - nfs4 there:/%s rw
"""


def test_mounts_are_told_whatever_bytes_their_paths_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"\xff\xe2\x80\xa8\xc2\x85\x1c\r\x0b"  # no UTF-8; and what ends a line of text
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_bytes(LINES % (odd, odd))
    monkeypatch.setattr(procfs, "_PROC", tmp_path)
    assert list(procfs.mounts()) == [
        ("0:21", "/", "ext4"),
        ("0:22", "/a b\\\n\tc", "tmpfs"),
        ("0:23", "/\\040", "fuse.sshfs"),
        ("0:24", "/" + os.fsdecode(odd), "nfs4"),
    ]


@pytest.mark.needs_root
async def test_mount_of_an_odd_name_hinders_neither_checks_nor_cgroups(tmp_path: Path) -> None:
    done = await trio.run_process(
        ["unshare", "--mount", sys.executable, MOUNTED, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_stdout=True,
    )
    assert done.stdout.decode() == f"{await report()}\n"

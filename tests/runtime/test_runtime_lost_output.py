"""A log that cannot be opened ends no service: the program runs, and what it writes is lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.processes import open_handles, wait_until
from tests.runtime.runtime_kit import SH, launch, nowhere
from warren.logs.files import LogFiles
from warren.logs.lost_output import CONDITION, KEPT, LOOK_EVERY, LostOutput
from warren.model.identity import TaskId
from warren.model.interfaces import Launch, ShortageError
from warren.model.task import Instance
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions
from warren.runtime.instance import ProcessInstance
from warren.runtime.process import ProcessRuntime

Harm = tuple[str, Callable[[], object]]  # what is said of it, and what makes the place usable
WEB, JOB = TaskId("web", 1, 1), TaskId("job", 2, 1)


@pytest.fixture
def conditions() -> Conditions:
    return Conditions()


@pytest.fixture
def runtime(tmp_path: Path, conditions: Conditions) -> Generator[ProcessRuntime]:
    made = ProcessRuntime(data_dir=tmp_path, node="here", trees="walk", conditions=conditions)
    with closing(made.starter):
        made.logs.prepare()
        yield made


def again(launched: Launch) -> Launch:
    """The next start of the same task."""
    return msgspec.structs.replace(launched, id=f"{launched.id}x")


def told(conditions: Conditions) -> list[str]:
    return [f"{one.kind}: {one.message}" for one in conditions.current()]


def file_for_the_directory(directory: Path, _log: Path) -> Harm:
    directory.rename(directory.with_name("logs.was"))
    directory.touch()
    return f"{directory}: is no directory", directory.unlink


def dangling_link_for_the_directory(directory: Path, _log: Path) -> Harm:
    directory.rename(directory.with_name("logs.was"))
    directory.symlink_to(directory.with_name("nowhere"))
    return f"{directory}: is a symbolic link, which is not followed", directory.unlink


def link_for_the_directory(directory: Path, log: Path) -> Harm:
    aim = directory.rename(directory.with_name("logs.was"))
    directory.symlink_to(aim)

    def undo() -> None:
        assert not (aim / log.name).exists()  # nobody has followed it
        directory.unlink()

    return f"{directory}: is a symbolic link, which is not followed", undo


def directory_for_the_file(_directory: Path, log: Path) -> Harm:
    log.mkdir()
    return f"{log}: Is a directory", log.rmdir


def link_for_the_file(directory: Path, log: Path) -> Harm:
    aim = directory.with_name("aim")
    aim.touch()
    log.symlink_to(aim)

    def undo() -> None:
        assert aim.read_bytes() == b""  # nobody has followed it
        log.unlink()

    return f"{log}: is a symbolic link, which is not followed", undo


def pipe_for_the_file(_directory: Path, log: Path) -> Harm:
    os.mkfifo(log)
    return f"{log}: is no regular file", log.unlink


def pipe_that_is_read(_directory: Path, log: Path) -> Harm:
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)

    def undo() -> None:
        assert os.read(reader, 1) == b""
        os.close(reader)
        log.unlink()

    return f"{log}: is no regular file", undo


HARMS = (
    file_for_the_directory,
    dangling_link_for_the_directory,
    link_for_the_directory,
    directory_for_the_file,
    link_for_the_file,
    pipe_for_the_file,
    pipe_that_is_read,
)


async def runs_without_a_log(
    runtime: ProcessRuntime, conditions: Conditions, launched: Launch, said: str
) -> ProcessInstance:
    """It was started all the same, and that is told."""
    running = await runtime.start(launched, record=nowhere)
    assert os.readlink(f"/proc/{running.instance.pid}/fd/1") == "/dev/null"  # noqa: PTH115
    slot = f"{launched.task.service}.{launched.task.slot}"
    what = f"what {slot} writes is lost, until it is started anew"
    assert told(conditions) == [f"{CONDITION}: {said}; {what}"]
    return running


async def writes_again(runtime: ProcessRuntime, conditions: Conditions, launched: Launch) -> None:
    """The next start has a log, and nothing is told any more."""
    running = await runtime.start(again(launched), record=nowhere)
    path = runtime.logs.path(launched.task)
    await wait_until(lambda: path.exists() and path.read_bytes() == b"said\n")
    assert told(conditions) == []
    await running.kill()


@pytest.mark.parametrize("harm", HARMS)
async def test_program_is_started_without_the_log_it_cannot_have(
    runtime: ProcessRuntime, conditions: Conditions, harm: Callable[[Path, Path], Harm]
) -> None:
    launched = launch(SH, "-c", "echo said; exec sleep 1000")
    said, undo = harm(runtime.logs.directory, runtime.logs.path(launched.task))
    running = await runs_without_a_log(runtime, conditions, launched, said)
    undo()
    handles = open_handles()
    await running.kill()
    assert open_handles() < handles
    await writes_again(runtime, conditions, launched)


@contextmanager
def read_only(directory: Path) -> Generator[None]:
    """Mounted on itself, and read-only."""
    subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.needs_root
async def test_program_is_started_where_its_log_is_mounted_read_only(
    runtime: ProcessRuntime, conditions: Conditions
) -> None:
    launched = launch(SH, "-c", "echo said; exec sleep 1000")
    with read_only(runtime.logs.directory):
        said = f"{runtime.logs.path(launched.task)}: Read-only file system"
        running = await runs_without_a_log(runtime, conditions, launched, said)
    await running.kill()
    await writes_again(runtime, conditions, launched)


def flags_of(pid: int | None, number: int) -> int:
    """How a process has opened a descriptor."""
    text = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
    return int(text.partition("flags:")[2].split()[0], 8)


async def test_log_is_a_file_that_blocks_as_any_other(runtime: ProcessRuntime) -> None:
    running = await runtime.start(launch("sleep", "1000"), record=nowhere)
    flags = flags_of(running.instance.pid, 1)
    assert flags & os.O_APPEND
    assert not flags & os.O_NONBLOCK
    await running.kill()


async def test_who_adopts_it_tells_as_well(runtime: ProcessRuntime, tmp_path: Path) -> None:  # S21
    launched = launch("sleep", "1000")
    runtime.logs.path(launched.task).mkdir()
    recorded = list[Instance]()

    async def record(instance: Instance) -> None:
        recorded.append(instance)

    running = await runtime.start(launched, record=record)
    running.leave()
    conditions = Conditions()
    later = ProcessRuntime(data_dir=tmp_path, node="here", trees="walk", conditions=conditions)
    adopted = await later.adopt(recorded[0])
    assert isinstance(adopted, ProcessInstance)
    assert [one.kind for one in conditions.current()] == [CONDITION]
    await adopted.kill()


@pytest.mark.parametrize("short_of", ["EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EDQUOT"])
async def test_shortage_is_waited_for_with_the_log(
    runtime: ProcessRuntime,
    conditions: Conditions,
    short_of: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = getattr(errno, short_of)

    def refuse(_logs: LogFiles, _task: TaskId, _instance: str = "") -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(LogFiles, "open", refuse)
    with pytest.raises(ShortageError):
        await runtime.start(launch("sleep", "1000"), record=nowhere)
    assert told(conditions) == []


# What is told, and for how long


async def test_slots_are_told_together_and_the_first_says_why() -> None:
    conditions = Conditions()
    unlogged = LostOutput(conditions)
    for slot in range(1, 6):
        unlogged.note(TaskId("web", slot, 1), f"why {slot}", lambda: False)
    lost = "what web.1, web.2, web.3 and 2 more writes is lost, until it is started anew"
    assert told(conditions) == [f"{CONDITION}: why 1; {lost}"]
    assert repr(unlogged) == "<LostOutput web.1, web.2, web.3, web.4, web.5>"
    for slot in range(1, 6):
        unlogged.forget(TaskId("web", slot, 2))
    assert told(conditions) == []


async def test_what_has_ended_is_told_of_for_a_while_and_what_runs_for_as_long(
    autojump_clock: MockClock,
) -> None:
    conditions = Conditions()
    unlogged = LostOutput(conditions)
    ended = set[TaskId]()
    for task in (WEB, JOB):
        unlogged.note(task, "why", lambda task=task: task in ended)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(unlogged.serve, Boundary("looking", conditions))
        await trio.sleep(10 * KEPT)
        assert "web.1, job.2" in told(conditions)[0]
        ended.add(JOB)
        await trio.sleep(KEPT - LOOK_EVERY)
        assert "web.1, job.2" in told(conditions)[0]
        await trio.sleep(3 * LOOK_EVERY)
        assert "what web.1 writes" in told(conditions)[0]
        ended.add(WEB)
        await trio.sleep(KEPT / 2)
        unlogged.note(WEB, "why", lambda: WEB not in ended)  # started anew, as it restarts
        await trio.sleep(2 * KEPT)
        assert "what web.1 writes" in told(conditions)[0]
        ended.clear()
        await trio.sleep(KEPT + 2 * LOOK_EVERY)
        assert told(conditions) == []
        nursery.cancel_scope.cancel()

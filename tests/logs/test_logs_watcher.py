"""The watcher of the log files: bounds them whatever writes, wakes readers, outlives shortages."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import log_kit
import pytest
import trio

from tests.processes import wait_until
from warren.logs import files, inotify, reading, rotation, time_index, watcher
from warren.logs.files import LogFiles
from warren.logs.watcher import LogWatcher, serve_logs
from warren.model.identity import TaskId
from warren.model.view import SlotName
from warren.resilience.boundary import Boundary
from warren.resilience.conditions import Conditions

LIMIT = 10 << 20
MODULES = (inotify, time_index, reading, rotation, files, watcher)
SHORTAGES = ("EMFILE", "ENFILE", "ENOSPC", "EIO", "EAGAIN", "ENOMEM")


def task(slot: int) -> TaskId:
    return TaskId("web", slot, 1)


@contextmanager
def flooding(kept: LogFiles, slots: int) -> Generator[None, None, None]:
    """So many `yes`, each writing to a slot as fast as it can."""
    writers = list[subprocess.Popen[bytes]]()
    try:
        for slot in range(1, slots + 1):
            handle = kept.open(task(slot), f"i{slot}")
            writers.append(subprocess.Popen(["yes"], stdout=handle, stdin=subprocess.DEVNULL))
            os.close(handle)
        yield
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


@pytest.mark.parametrize("slots", [1, 4])
async def test_flood_never_takes_more_than_twice_the_limit(tmp_path: Path, slots: int) -> None:
    # The bound is of the rate of writing. A machine that others keep busy may let the watcher wait
    # for its processor, so it is enough that it holds once.
    seen = list[int]()
    for attempt in range(5):
        seen.append(await flood(tmp_path / str(attempt), slots))
        if seen[-1] <= 2 * LIMIT:
            return
    pytest.fail(f"a file was larger than twice the limit, five times: {seen}")


async def flood(folder: Path, slots: int) -> int:
    """So many `yes` at once; gives the size of the largest file that was seen meanwhile."""
    kept = LogFiles(folder, limit=LIMIT)
    written_before = {slot: b"before the flood %d\n" % slot for slot in range(1, slots + 1)}
    for slot, text in written_before.items():
        handle = kept.open(task(slot), f"before{slot}")
        os.write(handle, text + b"." * LIMIT)
        os.close(handle)
    log_kit.rotate(kept)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_logs, kept, Boundary("watching logs", Conditions()))
        with flooding(kept, slots):
            seen = await trio.run_process(
                [sys.executable, "-c", WATCH, str(folder), "3"], capture_stdout=True
            )
        nursery.cancel_scope.cancel()
    assert max(sizes(folder, "*.log.*")) <= 2 * LIMIT
    assert modes(folder, "*.log*") == {0o640}
    for slot, text in written_before.items():  # what was there before the flood is still there
        assert log_kit.read(kept, task(slot)).data.startswith(text)
    assert all(position(kept, slot) > 5 * LIMIT for slot in written_before)
    return int(seen.stdout)


WATCH = """
import glob, os, sys, time
largest, end = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    largest = max([largest, *(os.stat(path).st_size for path in glob.glob(sys.argv[1] + "/*.log"))])
    time.sleep(0.0005)
print(largest)
"""


def sizes(folder: Path, pattern: str) -> list[int]:
    return [path.stat().st_size for path in folder.glob(pattern)]


def modes(folder: Path, pattern: str) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.glob(pattern)}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def position(kept: LogFiles, slot: int) -> int:
    """How much the slot has written in all, as far as was rotated."""
    return kept.slot(kept.path(task(slot)).name).base


async def test_followers_are_woken_by_one_watcher(tmp_path: Path) -> None:
    kept = LogFiles(tmp_path)
    woken = list[int]()

    async def follow(slot: int, *, task_status: trio.TaskStatus[None]) -> None:
        with kept.watching([SlotName(service="web", slot=slot)]) as growing:
            task_status.started()
            await growing.wait()
            woken.append(slot)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_logs, kept, Boundary("watching logs", Conditions()))
        await wait_until(lambda: kept.path(task(1)).parent.exists())
        before = open_files()
        for slot in [1] * 100 + [2] * 100:
            await nursery.start(follow, slot)
        assert open_files() < before + 10
        handle = kept.open(task(1))
        os.write(handle, b"said\n")
        os.close(handle)
        await wait_until(lambda: len(woken) == 100)
        assert set(woken) == {1}
        nursery.cancel_scope.cancel()
    assert not kept.followers


class Failing:
    """`os`, whose n-th call of all that are system calls fails."""

    def __init__(self, fails_at: int, code: int) -> None:
        self.calls = 0
        self.failed = ""
        self._fails_at = fails_at
        self._code = code

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in CALLS:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self._fails_at:
                self.failed = name
                if name == "close":  # Linux closes it all the same
                    found(*args)
                raise OSError(self._code, os.strerror(self._code))
            return found(*args, **kwargs)

        return call


class NoThreads(ThreadPoolExecutor):
    """None to be had: the watcher does all of it itself."""

    def submit(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")


CALLS = frozenset(
    ("open", "close", "stat", "fstat", "fchmod", "ftruncate", "truncate", "lseek", "sendfile")
) | {"replace", "unlink", "scandir", "makedirs", "read", "write", "pread"}


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_shortage_at_any_system_call_ends_no_watcher_and_is_over_when_it_is(
    tmp_path: Path, shortage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = set[str]()
    monkeypatch.setattr(watcher, "ThreadPoolExecutor", NoThreads)  # so the calls have an order
    for fails_at in range(1, 1000):
        kept = LogFiles(tmp_path / str(fails_at), limit=10, keep=2)
        names = [kept.path(task(slot)).name for slot in (1, 2)]
        for slot in (1, 2):
            write(kept, slot, b"what is over the limit\n")
        failing = Failing(fails_at, getattr(errno, shortage))
        with monkeypatch.context() as patch, closing(LogWatcher(kept)) as watch:
            for module in MODULES:
                if hasattr(module, "os"):
                    patch.setattr(module, "os", failing)
            watch.round()
            with kept.path(task(1)).open("ab") as file:
                file.write(b"more that is over the limit\n")
            watch.round()
        log_kit.rotate(kept)  # what was not done is done at the next look
        for name in names:
            assert (kept.directory / name).stat().st_size <= 10
        log_kit.read_all(kept, task(1))
        if not failing.failed:
            break
        failed.add(failing.failed)
    assert failed >= {"open", "stat", "replace", "truncate", "sendfile", "scandir", "makedirs"}


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_watcher_goes_on_by_itself_after_a_shortage(
    tmp_path: Path,
    shortage: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = LogFiles(tmp_path, limit=10, keep=1)
    write(kept, 1, b"what is over the limit\n")
    error = OSError(getattr(errno, shortage), "short")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(watcher, "RETRY", 0.0)
    with closing(LogWatcher(kept)) as watch:
        with monkeypatch.context() as patch:
            patch.setattr(kept, "names", refuse)
            patch.setattr(watcher, "Changes", refuse)
            for _ in range(3):
                assert watch.round() >= 0
        assert [record.getMessage() for record in caplog.records] == [
            f"{tmp_path}: short; its output may be lost"
        ]
        with_fail_after(5, lambda: watch.round() == 0)
    assert kept.path(task(1)).stat().st_size == 0


async def test_watcher_without_inotify_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_directory: Path) -> None:
        raise OSError(errno.EMFILE, "too many instances")

    monkeypatch.setattr(watcher, "Changes", none_left)
    kept = LogFiles(tmp_path, limit=10, keep=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_logs, kept, Boundary("watching logs", Conditions()))
        write(kept, 1, b"what is over the limit\n")
        await wait_until(lambda: (tmp_path / "web.1.log.1").exists())
        nursery.cancel_scope.cancel()


async def test_watcher_goes_on_in_a_directory_that_was_made_anew(tmp_path: Path) -> None:
    kept = LogFiles(tmp_path / "logs", limit=10, keep=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_logs, kept, Boundary("watching logs", Conditions()))
        write(kept, 1, b"what is over the limit\n")
        await wait_until(lambda: (tmp_path / "logs" / "web.1.log.1").exists())
        (tmp_path / "logs").rename(tmp_path / "away")
        write(kept, 1, b"what is over the limit\n")
        await wait_until(lambda: (tmp_path / "logs" / "web.1.log.1").exists())
        nursery.cancel_scope.cancel()


def with_fail_after(seconds: float, condition: Callable[[], bool]) -> None:
    """Ask until it is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until


def write(kept: LogFiles, slot: int, data: bytes) -> None:
    handle = kept.open(task(slot), f"i{slot}")
    os.write(handle, data)
    os.close(handle)


def test_what_is_written_during_a_rotation_is_looked_at_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LogFiles(tmp_path, limit=10, keep=1)
    emptied, go_on = threading.Event(), threading.Event()

    def hold(slot: reading.SlotFiles, bases: list[int]) -> None:
        emptied.set()
        assert go_on.wait(5)
        rotation.shift(slot, bases)

    monkeypatch.setattr(watcher, "shift", hold)
    with closing(LogWatcher(kept)) as watch:
        watch.round()
        write(kept, 1, b"what is over the limit\n")
        with_fail_after(5, lambda: watch.round() >= 0 and emptied.is_set())
        with kept.path(task(1)).open("ab") as file:
            file.write(b"five times the limit, and nothing is written after it\n")
        watch.round()  # takes the kernel's word for it, and may not look
        go_on.set()
        with_fail_after(5, lambda: watch.round() >= 0 and kept.path(task(1)).stat().st_size == 0)
    assert (tmp_path / "web.1.log.1").read_bytes().endswith(b"is written after it\n")


def test_rotation_that_keeps_failing_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = LogFiles(tmp_path, limit=10, keep=1)
    failed = list[float]()

    def refuse(*_args: object) -> None:
        failed.append(time.monotonic())
        raise OSError(errno.EIO, "short")

    monkeypatch.setattr(watcher, "RETRY", 0.0)
    with closing(LogWatcher(kept)) as watch:
        write(kept, 1, b"what is over the limit\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, "truncate", refuse)
            with_fail_after(5, lambda: watch.round() >= 0 and len(failed) >= 5)
        assert len(caplog.records) == 1
        with_fail_after(5, lambda: watch.round() >= 0 and not kept.path(task(1)).stat().st_size)
        with_fail_after(5, lambda: watch.round() > 0)
    assert len(caplog.records) == 1


class Growing:
    """`os` under which a file grows by a text right after each of its first `times` copies."""

    def __init__(self, file: Path, text: bytes, times: int) -> None:
        self.file, self.text, self.left = file, text, times

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def sendfile(self, *args: int) -> int:
        sent = os.sendfile(*args)
        if self.left:
            self.left -= 1
            with self.file.open("ab") as file:
                file.write(self.text)
        return sent


def test_what_is_written_during_the_copy_is_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LogFiles(tmp_path, limit=100, keep=1)
    write(kept, 1, b"first\n" * 20)
    growing = Growing(kept.path(task(1)), b"meanwhile\n", 2)
    monkeypatch.setattr(rotation, "os", growing)
    log_kit.rotate(kept)
    assert growing.left == 0
    data, _ = log_kit.read_all(kept, task(1))
    assert data == b"first\n" * 20 + b"meanwhile\n" * 2
    assert kept.path(task(1)).stat().st_size == 0


@pytest.mark.parametrize("times", [5, 1000])
def test_copy_of_what_grows_without_end_has_an_end(
    tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LogFiles(tmp_path, limit=100, keep=1)
    write(kept, 1, b"." * 110)
    monkeypatch.setattr(rotation, "os", Growing(kept.path(task(1)), b"ten bytes\n", times))
    log_kit.rotate(kept)
    piece = (tmp_path / "web.1.log.1").read_bytes()
    assert 110 + 25 < len(piece) <= 200  # what it may grow by, and no more than a piece may have


def test_what_is_written_while_a_reader_has_the_file_is_copied_too(tmp_path: Path) -> None:
    kept = LogFiles(tmp_path, limit=100, keep=1)
    write(kept, 1, b"first\n" * 20)
    slot = kept.slot("web.1.log")
    copied = rotation.new_piece(slot)
    with closing(LogWatcher(kept)) as watch:
        with slot.lock:
            watch.round()
            with_fail_after(5, lambda: copied.exists() and copied.stat().st_size == 120)
            with kept.path(task(1)).open("ab") as file:
                file.write(b"meanwhile\n")
        with_fail_after(5, lambda: kept.path(task(1)).stat().st_size == 0)
    data, _ = log_kit.read_all(kept, task(1))
    assert data == b"first\n" * 20 + b"meanwhile\n"

"""A commit is durable once it is settled, and nothing else waits for the disk meanwhile (S22)."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.store.staterows import event, task_row
from warren.model.cluster import PutTask
from warren.model.errors import UnavailableError
from warren.store import log_sync
from warren.store.database import LOG, beside
from warren.store.log_sync import PATIENCE
from warren.store.state import StateStore
from warren.store.wal import LONG, WriteAheadLog

BEGIN_ANEW = "_begin_anew"  # the step in which nothing can be written


class Disk:
    """The disk under fdatasync: counts what is asked of it, and waits or fails as it is told."""

    def __init__(self) -> None:
        self.syncs = 0
        self.error: OSError | None = None
        self.goes = threading.Event()
        self.goes.set()
        self._real = os.fdatasync

    def sync(self, file: int) -> None:
        self.syncs += 1
        assert self.goes.wait(20)
        if self.error is not None:
            raise self.error
        self._real(file)


def is_begun_anew(path: Path) -> bool:
    """Whether SQLite's log has nothing but its head and a page."""
    return beside(path, LOG).stat().st_size <= 32 + 24 + 4096


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Generator[Disk, None, None]:
    disk = Disk()
    monkeypatch.setattr("warren.store.log_sync.os.fdatasync", disk.sync)
    yield disk
    disk.goes.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manager.sqlite"


@pytest.fixture
def store(path: Path) -> Generator[StateStore, None, None]:
    with closing(StateStore.open(path)) as opened:
        yield opened


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_all_that_wait_share_a_sync_which_covers_what_was_written_before_it(
    store: StateStore, disk: Disk
) -> None:
    settled = list[int]()

    async def settle(number: int) -> None:
        await store.settle()
        settled.append(number)

    disk.goes.clear()
    async with trio.open_nursery() as nursery:
        store.commit([event("first")], now=1.0)
        nursery.start_soon(settle, 1)
        await until(lambda: disk.syncs == 1)
        store.commit([event("later")], now=1.0)  # the disk stands still, and the loop does not
        for number in range(2, 12):
            nursery.start_soon(settle, number)
        await wait_all_tasks_blocked()
        assert settled == []
        disk.goes.set()
    assert settled[0] == 1
    assert len(settled) == 11
    assert disk.syncs == 2
    await store.settle()
    assert disk.syncs == 2  # there is nothing to sync


async def test_state_in_memory_has_nothing_to_settle(disk: Disk) -> None:
    with closing(StateStore.open(None)) as store:
        store.commit([event()], now=1.0)
        await store.ready()
        await store.settle()
        assert disk.syncs == 0


async def test_failed_sync_is_told_and_made_good_by_a_copy_of_the_log(
    store: StateStore, path: Path, disk: Disk
) -> None:
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM tasks").fetchone()
    disk.error = OSError(5, "Input/output error")
    store.commit([PutTask(task_row(1))], now=1.0)
    with pytest.raises(UnavailableError, match=r"manager.sqlite cannot be synced: Input/output"):
        await store.settle()
    assert store.trouble == f"{path} cannot be synced: Input/output error"
    assert store.statistics().trouble == store.trouble
    # What fdatasync says next is worth nothing: the kernel has forgotten what it could not write.
    disk.error = None
    with closing(reader), pytest.raises(UnavailableError, match="another program reads the file"):
        await store.settle()
    await store.settle()
    assert store.trouble is None
    assert disk.syncs == 1
    assert is_begun_anew(path)  # else the next commit would do that, and wait for the disk
    store.commit([PutTask(task_row(2))], now=1.0)
    await store.settle()
    assert disk.syncs == 2


async def test_cancelled_wait_leaves_the_sync_to_the_others(store: StateStore, disk: Disk) -> None:
    disk.goes.clear()
    store.commit([event()], now=1.0)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            nursery.start_soon(_cancelled_when, lambda: disk.syncs == 1, first)
            await store.settle()
        assert first.cancelled_caught
        nursery.start_soon(store.settle)
        await wait_all_tasks_blocked()
        disk.goes.set()
    assert disk.syncs == 2


async def test_sync_that_fails_when_nobody_waits_for_it_any_more_is_made_good(
    store: StateStore, disk: Disk
) -> None:
    disk.goes.clear()
    disk.error = OSError(5, "Input/output error")
    store.commit([event()], now=1.0)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            nursery.start_soon(_cancelled_when, lambda: disk.syncs == 1, first)
            await store.settle()
    disk.goes.set()
    await store.settle()  # by a copy: the kernel tells of a failure once
    assert disk.syncs == 1
    assert store.trouble is None


async def test_sync_without_a_thread_is_made_in_the_loop(
    store: StateStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("warren.store.log_sync.trio.to_thread.run_sync", no_thread)
    store.commit([event()], now=1.0)
    await store.settle()
    assert disk.syncs == 1


async def _cancelled_when(condition: Callable[[], bool], scope: trio.CancelScope) -> None:
    await until(condition)
    scope.cancel()


async def test_disk_that_does_not_answer_is_trouble(
    store: StateStore, path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes = trio.Event()

    async def hang(function: Callable[[], None], _limiter: object) -> None:
        await goes.wait()
        function()

    monkeypatch.setattr(log_sync, "in_thread", hang)
    store.commit([event()], now=1.0)
    begun = trio.current_time()
    with pytest.raises(UnavailableError, match="the disk does not answer; what was changed is in"):
        await store.settle()
    assert trio.current_time() - begun == pytest.approx(PATIENCE)
    assert store.trouble == f"{path} cannot be synced: the disk does not answer"
    goes.set()
    await store.settle()
    assert store.trouble is None


async def test_sync_without_a_descriptor_left_is_a_copy_of_the_log(
    store: StateStore, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    store.commit([event("kept")], now=1.0)
    with monkeypatch.context() as patch:
        patch.setattr("warren.store.log_sync.os.open", none_left)
        await store.settle()
    assert disk.syncs == 0
    assert store.trouble is None
    assert is_begun_anew(path)  # what was in it is in the file itself
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT message FROM events").fetchall() == [("kept",)]


async def test_log_is_begun_anew_and_a_commit_that_comes_meanwhile_waits_or_is_done(
    store: StateStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 0
    while beside(path, LOG).stat().st_size <= LONG:
        number += 1
        store.commit([event("x" * 20_000)], now=1.0)
    assert store.log is not None
    begin_anew: Callable[[WriteAheadLog], None] = getattr(WriteAheadLog, BEGIN_ANEW)
    there, goes = threading.Event(), threading.Event()

    def held(log: WriteAheadLog) -> None:
        there.set()
        assert goes.wait(20)
        begin_anew(log)

    monkeypatch.setattr(WriteAheadLog, BEGIN_ANEW, held)
    is_ready = False

    async def ready() -> None:
        nonlocal is_ready
        await store.ready()
        is_ready = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.log.take_in)
        await until(there.is_set)
        nursery.start_soon(ready)
        await wait_all_tasks_blocked()
        assert not is_ready
        store.commit([event("meanwhile")], now=1.0)  # what cannot wait need not
        goes.set()
    assert is_ready
    assert store.trouble is None
    store.commit([event("after")], now=1.0)
    await store.settle()
    assert [entry.message for entry in store.events()][number:] == ["meanwhile", "after"]
    with closing(StateStore.open(path)) as other:
        assert len(other.events(limit=10_000)) == number + 2


def test_closing_gives_its_descriptors_back(path: Path) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    store = StateStore.open(path)
    store.close()
    store.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before

"""A process that is not our child is watched by its pidfd alone, whatever we are short of."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator

import pytest
import trio
import trio.testing

from tests.processes import fill_epoll, only_descriptors, open_handles, wait_until
from warren.process import procfs
from warren.process.main_process import MainProcess
from warren.process.reaper import Reaper


@pytest.fixture
def stranger() -> Generator[procfs.Stat]:
    """Somebody else's child."""
    script = "sleep 1000 & echo $!; exec sleep 1000"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        stat = procfs.read_stat(int(parent.stdout.readline()))
        assert stat is not None
        try:
            yield stat
        finally:
            if procfs.is_same(stat.pid, stat.start):
                os.kill(stat.pid, signal.SIGKILL)
            parent.kill()


def test_watch_that_cannot_begin_keeps_no_descriptor(stranger: procfs.Stat) -> None:
    handles = open_handles()
    with only_descriptors(1):  # for the pidfd, and then none to read /proc with
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                MainProcess.stranger(stranger.pid, stranger.start, reaper=Reaper())
    assert open_handles() == handles


async def test_stranger_is_watched_without_another_descriptor(stranger: procfs.Stat) -> None:  # S21
    main = MainProcess.stranger(stranger.pid, stranger.start, reaper=Reaper())
    assert main is not None
    with only_descriptors(0):
        assert not main.look()
        main.send(signal.SIGTERM)
        assert await main.wait() is None  # nobody can tell its status now
        assert main.look()
    main.close()


async def test_strangers_end_is_told_as_it_was(stranger: procfs.Stat) -> None:  # S18
    main = MainProcess.stranger(stranger.pid, stranger.start, reaper=Reaper())
    assert main is not None
    main.send(signal.SIGTERM)
    assert await main.wait() == signal.SIGTERM
    assert main.status == signal.SIGTERM
    await wait_until(main.look)
    main.close()


async def test_end_is_heard_of_where_there_is_no_room_to_watch_for_it(
    stranger: procfs.Stat, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_epoll(monkeypatch)
    main = MainProcess.stranger(stranger.pid, stranger.start, reaper=Reaper())
    assert main is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not main.look()
        main.send(signal.SIGTERM)
    assert main.look()
    main.close()

"""A walk over `/proc` looks again at whom it cannot tell."""

from __future__ import annotations

import subprocess

import trio
import trio.testing
from trio.testing import MockClock

from tests.processes import wait_until
from warren.process import procfs
from warren.process.proc_walk import WalkTree
from warren.process.reaper import Reaper
from warren.process.tree import INSTANCE_VARIABLE


def bare(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env={}, stdin=subprocess.PIPE)


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "1000"])


async def test_doubt_is_not_forgotten_for_a_process_that_is_held(mock_clock: MockClock) -> None:
    """Who shows no environment may be in the middle of an exec; the next one, held, is not."""
    mark = {INSTANCE_VARIABLE: "web.1-1.1-doubted"}
    script = f"read word; exec env {INSTANCE_VARIABLE}={mark[INSTANCE_VARIABLE]} sleep 1000"
    reaper = Reaper()
    doubted = bare("/bin/sh", "-c", script)
    held = bare("/bin/sleep", "1000")
    assert doubted.stdin is not None
    assert doubted.pid < held.pid
    reaper.hold(held.pid)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(WalkTree(mark, reaper).kill)
            await trio.testing.wait_all_tasks_blocked()
            doubted.stdin.write(b"go on\n")
            doubted.stdin.close()
            marker = f"{INSTANCE_VARIABLE}={mark[INSTANCE_VARIABLE]}".encode()
            while nursery.child_tasks and not procfs.has_marker(doubted.pid, marker):
                pass  # in no time of the clock
            while nursery.child_tasks:
                mock_clock.jump(1)
                await trio.testing.wait_all_tasks_blocked()
        assert procfs.read_stat(doubted.pid) is None
        assert held.poll() is None
    finally:
        for process in (doubted, held):
            process.kill()
            process.communicate()


class _Counting(Reaper):
    """Counts how often all that it holds is copied."""

    copies = 0

    @property
    def held(self) -> frozenset[int]:
        self.copies += 1
        return super().held


async def test_children_that_show_their_environment_cost_no_copy_of_all_that_is_held() -> None:
    """A node has thousands of them, and a walk looks at each."""
    reaper = _Counting()
    others = [sleeping() for _ in range(3)]
    try:
        for other in others:
            reaper.hold(other.pid)
            await wait_until(lambda pid=other.pid: procfs.has_marker(pid, b"") is not None)
        await WalkTree({INSTANCE_VARIABLE: "web.1-1.1-nobody"}, reaper).kill()
        assert all(other.poll() is None for other in others)
        assert reaper.copies == 0
    finally:
        for other in others:
            other.kill()
            other.wait()

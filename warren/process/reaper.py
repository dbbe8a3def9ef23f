"""Reap what became our child by being orphaned, and never a child that other code here waits for.

As sub-reaper the supervisor inherits every orphan of its instances. An orphan is ours when its
tree says so (its cgroup), or when it leads no session and is not in ours: a process that this one
started itself is in our session or leads its own, so nothing here waits for the orphan.

Mains of instances and checks are *held*: their zombies keep pid and session id from being reused
until their tree is dead; their owners reap them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable

import trio

from warren.process import procfs, syscalls
from warren.process.pauses import Pauses
from warren.process.procfs import Stat
from warren.resilience.boundary import Boundary

_ANY_DEAD = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Reaper:
    """Knows which owner reaps which dead child of this process."""

    def __init__(self) -> None:
        self._held = set[int]()
        self._late = set[int]()
        self._owners = list[Callable[[Stat], bool]]()
        self._pid = os.getpid()
        self._is_subreaper = False

    def __repr__(self) -> str:
        return f"<Reaper holding {len(self._held)}>"

    @property
    def held(self) -> frozenset[int]:
        """Pids whose owners reap them."""
        return frozenset(self._held)

    def prepare(self) -> None:
        """Become sub-reaper, once, before the first program is started."""
        if not self._is_subreaper:
            syscalls.become_subreaper()
            self._is_subreaper = True

    def add_owner(self, owns: Callable[[Stat], bool]) -> None:
        """Also ask `owns` whether a dead child came from one of our trees."""
        self._owners.append(owns)

    def hold(self, pid: int) -> None:
        """Leave this child's zombie to its owner."""
        self._held.add(pid)

    def reap(self, pid: int) -> None:
        """Reap a held child whose tree was killed, and no longer hold it."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        self._held.discard(pid)

    def reap_at_its_end(self, pid: int) -> None:
        """Reap a held child now, or where we may not kill it (a set-uid program) once it ends."""
        self._held.discard(pid)
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                self._late.add(pid)

    def reap_strays(self, *, hidden: bool = True) -> int:
        """Reap the dead orphans; returns their number. One system call when there is none.
        Without `hidden`, only up to a zombie that has an owner, which hides what comes after."""
        count = 0
        while (pid := _some_dead_child()) is not None:
            if not self._reap_if_stray(pid):
                if not hidden:
                    return count
                # Look at all children, once.
                return count + sum(self._reap_if_stray(pid) for pid in self._unheld_children())
            count += 1
        return count

    async def wait_gone(self, processes: Iterable[Stat]) -> None:
        """Wait until these killed processes are gone, and reap those that became ours.

        A zombie that is held, or that another process must reap, counts as gone.
        """
        left = {stat.pid: stat.start for stat in processes}
        pauses = Pauses()
        while left:
            for pid, start in list(left.items()):
                if self._is_gone(pid, start, left):
                    del left[pid]
            if left:
                await pauses.wait()

    def _is_gone(self, pid: int, start: int, left: dict[int, int]) -> bool:
        stat = procfs.read_stat(pid)
        if stat is None or stat.start != start:
            return True
        if not stat.is_dead:
            return False
        if stat.parent == self._pid:
            if pid not in self._held:
                self._reap_one(pid)
            return True
        # A dying parent of the same tree passes its zombies to us before it is one itself.
        return stat.parent not in left

    def _unheld_children(self) -> list[int]:
        return [pid for pid in procfs.own_children() if pid not in self._held]

    def _reap_if_stray(self, pid: int) -> bool:
        if pid in self._held:
            return False
        stat = procfs.read_stat(pid)
        if stat is None or not stat.is_dead or stat.parent != self._pid:
            return False
        is_known = pid in self._late or stat.session not in (os.getsid(0), pid)
        if not is_known and not any(owns(stat) for owns in self._owners):
            return False
        return self._reap_one(pid)

    def _reap_one(self, pid: int) -> bool:
        """Whether it could be reaped: for a traced one its tracer is notified first, and later."""
        if _reap(pid):
            self._late.discard(pid)
            return True
        self._late.add(pid)
        return False


async def serve_reaping(
    reaper: Reaper,
    boundary: Boundary,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Reap orphans while their instances live. Outside the main thread it can only sleep."""
    if threading.current_thread() is not threading.main_thread():
        task_status.started()
        await trio.sleep_forever()
    import signal

    with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
        task_status.started()
        async for _ in deaths:
            while True:  # until a look succeeds: there may be no other death for long
                async with boundary:
                    # One look for many deaths, after what a death sets off: a zombie may wait, our
                    # event loop may not.
                    await trio.sleep(0.25)
                    reaper.reap_strays()
                    break


def _some_dead_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, _ANY_DEAD)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _reap(pid: int) -> bool:
    """Whether it is gone."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return True

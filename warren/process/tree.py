"""What a process tree is, however it is kept: a cgroup (`cgroup.py`) or a walk (`proc_walk.py`).

Invariant: once `kill` has returned, nothing that was ever in the tree runs, no zombie of it is
left to us except a held main (see `reaper.py`), and the tree's own traces are gone.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import trio

from warren.model.service import Resources
from warren.model.task import MemoryKill
from warren.model.usage import Usage
from warren.process import procfs
from warren.process.procfs import Stat

INSTANCE_VARIABLE = "WARREN_INSTANCE"
CHECK_VARIABLE = "WARREN_CHECK"
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
PASSING = (*_SHORTAGES, errno.EAGAIN, errno.EINTR, errno.EIO, errno.ENOBUFS, errno.ENOSPC)
RETRY_PAUSE = 0.05  # seconds
_WRAP_TIME = 2.0  # seconds in which pids cannot wrap around: 32,768 forks

T = TypeVar("T")


class TreeMark(NamedTuple):
    """An instant, by the kernel's count of processes."""

    pid: int
    at: float


class ProcessTree(Protocol):
    """All processes that came from one start. Not to be used after `kill`."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables every program of this tree must be started with."""
        ...

    @property
    def cgroup(self) -> str:
        """The cgroup that a program of this tree is forked into; empty where there is none."""
        ...

    @property
    def handle(self) -> str:
        """What `trees.find_tree` needs to find it again."""
        ...

    def assign(self, instance: str) -> None:
        """Assign it to that instance, once, before anything but a child at its gate is in it.

        Raises OSError.
        """
        ...

    def add(self, pid: int) -> None:
        """Take in a process just spawned, with whatever it has forked by now. The caller holds it.

        Raises OSError: it may be out of the tree then, and `kill` finds it all the same.
        """
        ...

    def receive(self, pid: int) -> None:
        """Take in a child that was forked into `cgroup` and is at its gate: it has no children."""
        ...

    def discard(self) -> None:
        """Release a tree to which nothing was added. Needs nothing that could be short."""
        ...

    async def kill(self) -> None:
        """Kill everything in the tree, wait until it is gone, reap it. See `kill_surely`.

        Raises OSError where the system cannot give even a descriptor; may be called again, also
        when it was cancelled.
        """
        ...

    def branch(self) -> ProcessTree:
        """A tree within this one, which can be killed alone and dies with it."""
        ...

    def branches(self, found: Iterable[int]) -> Sequence[ProcessTree]:
        """The branches an earlier supervisor left. `found` are pids that may be of this tree and
        in no branch: that supervisor died before it had moved what a check had started."""
        ...

    def pids(self) -> Sequence[int]:
        """The processes in it now. Changes nothing, so that another thread may ask."""
        ...

    def limit(self, resources: Resources) -> None:
        """Hold these limits for all that is in it, and is to come (S27); after `assign`. Raises
        CannotRunError."""
        ...

    def usage(self) -> Usage | None:
        """What it uses now; None where that cannot be known. Changes nothing, so that another
        thread may ask."""
        ...

    def memory_kill(self) -> MemoryKill | None:
        """What the kernel has killed in it for want of memory; None where nothing is known."""
        ...


class ProcessTrees(Protocol):
    """All trees of one node and data directory."""

    @property
    def containment(self) -> str:
        """How trees are kept, and its limits: a line for people."""
        ...

    @property
    def limits(self) -> frozenset[str]:
        """What its trees can be limited in: of `memory`, `cpu`, `pids`."""
        ...

    @property
    def no_limits(self) -> str:
        """Why not in all of these; empty where they can."""
        ...

    def create(self) -> ProcessTree:
        """A tree that is not assigned yet. Raises OSError."""
        ...

    def left(self) -> Mapping[str, str]:
        """The instances that have left a trace of their own, running or not, with their handles."""
        ...


def _unheard(error: OSError) -> None:
    """Ignore what is short."""


async def kill_surely(
    tree: ProcessTree, *, patience: float = math.inf, hear: Callable[[OSError], None] = _unheard
) -> bool:
    """Kill a tree, whatever is cancelled, and whatever the system is short of. False after
    `patience` seconds in which it has not died (see `unkillable.py`)."""
    with trio.move_on_after(patience, shield=True):
        await kill_on(tree, hear)
        return True
    return False


async def kill_on(tree: ProcessTree, hear: Callable[[OSError], None] = _unheard) -> None:
    """Kill a tree, whatever the system is short of, until cancelled. `hear` is called with the
    error of a failed attempt."""
    while True:
        try:
            return await tree.kill()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            hear(error)
        await trio.sleep(RETRY_PAUSE)


async def after_shortage(ask: Callable[[], T]) -> T:
    """What `ask` returns, tried again until no shortage makes it fail."""
    while True:
        try:
            return ask()
        except OSError as error:
            if error.errno not in PASSING:
                raise
        await trio.sleep(RETRY_PAUSE)


def send(stat: Stat, number: signal.Signals) -> None:
    """Send exactly that process a signal. Harmless when it is gone. Raises PermissionError."""
    # By pidfd, and checked again: since it was found the pid may have been reused.
    try:
        handle = os.pidfd_open(stat.pid)
    except ProcessLookupError:
        return
    except FileNotFoundError:  # its first thread has ended, and it lives
        if procfs.is_same(stat.pid, stat.start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, number)
        return
    try:
        if procfs.is_same(stat.pid, stat.start):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def mark() -> TreeMark:
    """Now: for `born_since`."""
    return TreeMark(procfs.last_pid(), time.monotonic())


def mark_of(pid: int) -> TreeMark:
    """When this process was started, just now. Needs nothing that could be short."""
    return TreeMark(pid, time.monotonic())


def born_since(then: TreeMark) -> list[int]:
    """Pids that may have been allocated since then: few are looked at where few were forked."""
    last = procfs.last_pid()
    if last < then.pid or last - then.pid > 1000 or time.monotonic() - then.at > _WRAP_TIME:
        return procfs.all_pids()
    return list(range(then.pid + 1, last + 1))

"""Trees found by walking `/proc`, where there is no cgroup2 to keep them.

A process belongs to a tree when its environment carries the tree's marker, when it is in the
session of the tree's main process, or when its parent belongs. Killing repeats until two walks in
a row find nothing: first all are stopped, so that none forks away, then killed.

Limit: a program that wipes its environment *and* leaves the session *and* outlives its parent is
not recognised. Only a cgroup contains it.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterable, Mapping

import trio

from warren.model.decode import plain
from warren.model.interfaces import CannotRunError
from warren.model.service import Resources
from warren.model.task import MemoryKill
from warren.model.usage import Usage
from warren.process import procfs
from warren.process.procfs import Stat
from warren.process.reaper import Reaper
from warren.process.tree import (
    CHECK_VARIABLE,
    INSTANCE_VARIABLE,
    TreeMark,
    born_since,
    mark_of,
    send,
)

_STOP_ROUNDS = 10
_MOST_DOUBTS = 8  # 50 ms in all: no exec takes that long
_numbers = itertools.count(1)


class ProcWalks:
    """The trees of a machine without cgroup2."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    def __repr__(self) -> str:
        return "<Walks>"

    @property
    def containment(self) -> str:
        return (
            "walk over /proc, as no cgroup may be written: a program that leaves its session, "
            "clears its environment and outlives its parent is not ended with its task or check"
        )

    @property
    def limits(self) -> frozenset[str]:
        return frozenset()

    @property
    def no_limits(self) -> str:
        return "no cgroup2 may be written here"

    def create(self) -> WalkTree:
        # Until it is assigned its marker is unused: it is its main and that one's session.
        return WalkTree({INSTANCE_VARIABLE: _unique()}, self._reaper)

    def left(self) -> dict[str, str]:
        return {}


def _unique() -> str:
    return f"{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}"


class WalkTree:
    """The processes with one marker, their session and their descendants."""

    def __init__(self, env: Mapping[str, str], reaper: Reaper) -> None:
        self._mark(env)
        self._reaper = reaper
        self._leader: tuple[int, int] | None = None
        self._since: TreeMark | None = None
        self._known = dict[int, int]()
        self._beyond = set[int]()
        self._is_unsure = False

    def __repr__(self) -> str:
        return f"<WalkTree {os.fsdecode(self._marker)}>"

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    @property
    def cgroup(self) -> str:
        return ""

    @property
    def handle(self) -> str:
        return ""

    def assign(self, instance: str) -> None:
        self._mark({INSTANCE_VARIABLE: instance})

    def _mark(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._marker = b"\0".join(os.fsencode(f"{k}={v}") for k, v in env.items())

    def add(self, pid: int) -> None:
        self._since = mark_of(pid)
        self._learn_leader(pid)

    def receive(self, pid: int) -> None:
        self.add(pid)

    def lead(self, pid: int, start: int) -> None:
        """The tree's main process, whose session belongs to it."""
        self._leader = (pid, start)
        self._known[pid] = start

    def _learn_leader(self, pid: int) -> None:
        stat = procfs.read_stat(pid)
        if stat is not None:
            self.lead(pid, stat.start)

    def branch(self) -> WalkTree:
        return WalkTree({CHECK_VARIABLE: _unique()}, self._reaper)

    def branches(self, found: Iterable[int]) -> list[WalkTree]:
        members = [pid for pid in found if procfs.has_marker(pid, self._marker)]
        names = {procfs.read_environ(pid).get(CHECK_VARIABLE, "") for pid in members} - {""}
        return [WalkTree({CHECK_VARIABLE: name}, self._reaper) for name in sorted(names)]

    def discard(self) -> None:
        """Nothing to release."""

    async def kill(self) -> None:
        if self._since is not None and self._leader is None:
            self._learn_leader(self._since.pid)  # `add` failed; it is held, so it is still itself
        clean, doubts, pause = 0, _MOST_DOUBTS, 0.0002
        while clean < 2:
            dead = list[Stat]()
            self._is_unsure = False
            living = self._stop_all(dead)
            for stat in living:
                self._signal(stat, signal.SIGKILL)
            await self._reaper.wait_gone([*living, *dead])
            if self._is_unsure and doubts:
                doubts -= 1
            elif not living:
                clean += 1
                continue
            clean = 0
            await trio.sleep(pause)
            pause = min(pause * 2, 0.05)
        self._reaper.reap_strays()

    def pids(self) -> list[int]:
        session, found = self._session(), set[int]()
        for stat in procfs.all_stats():  # a child usually comes after its parent
            pid = stat.pid
            is_known = self._known.get(pid) == stat.start or stat.session == session
            if is_known or stat.parent in found or procfs.has_marker(pid, self._marker):
                found.add(pid)
        return sorted(found)

    def limit(self, resources: Resources) -> None:
        raise CannotRunError(f"resources: {plain(resources)}: no limit holds without a cgroup")

    def usage(self) -> Usage | None:
        return None

    def memory_kill(self) -> MemoryKill | None:
        return None

    def _stop_all(self, dead: list[Stat]) -> list[Stat]:
        """Stop every member, again and again until no new one shows up."""
        stopped = dict[int, Stat]()
        for _ in range(_STOP_ROUNDS):
            found = list(self._find())
            dead.extend(stat for stat in found if stat.is_dead)
            new = [s for s in found if not s.is_dead and s.pid not in stopped]
            if not new:
                break
            for stat in new:
                self._signal(stat, signal.SIGSTOP)
                stopped[stat.pid] = stat
        return [stat for stat in stopped.values() if stat.pid not in self._beyond]

    def _find(self) -> Iterable[Stat]:
        session = self._session()
        for pid in self._candidates():
            stat = procfs.read_stat(pid)
            if stat is None or pid in self._beyond or pid == os.getpid():
                continue
            if self._belongs(stat, session):
                self._known[pid] = stat.start
                yield stat

    def _belongs(self, stat: Stat, session: int | None) -> bool:
        if self._known.get(stat.pid) == stat.start or stat.session == session:
            return True
        parent_start = self._known.get(stat.parent)
        if parent_start is not None and procfs.is_same(stat.parent, parent_start):
            return True
        has_it = procfs.has_marker(stat.pid, self._marker)
        is_unseen = has_it is None and not stat.is_dead and stat.parent == os.getpid()
        if is_unseen and stat.pid not in self._reaper.held:  # last: it copies thousands
            # In the middle of an exec, or without any environment: look again before it is over.
            self._is_unsure = True
        return bool(has_it)

    def _session(self) -> int | None:
        # A session id is ours only while its leader's pid cannot have been reused.
        if self._leader is None or not procfs.is_same(*self._leader):
            return None
        return self._leader[0]

    def _candidates(self) -> Iterable[int]:
        if self._since is None:
            return procfs.all_pids()
        return [self._since.pid, *born_since(self._since)]

    def _signal(self, stat: Stat, number: signal.Signals) -> None:
        try:
            send(stat, number)
        except PermissionError:
            self._beyond.add(stat.pid)  # a set-uid program under an unprivileged supervisor

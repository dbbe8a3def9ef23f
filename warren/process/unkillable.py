"""Trees whose kill has no effect: a process that waits for dead storage takes no signal.

    kill, PATIENCE ---> dead
             `--------> taken over: killed on in the background, for as long as it takes

A caller that has waited that long goes on without it, so that one such check holds up neither its
task nor others. What is not over when this process ends is found by the next supervisor: with the
instance that it adopts, or in its sweep.
Invariant: what is taken over is still being killed; while `serve` does not run, patience is
endless. What was taken over and may not be killed at all is logged, and dropped as if it were dead.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

import trio

from warren.process import procfs
from warren.process.spare_descriptors import SpareDescriptors
from warren.process.tree import ProcessTree, after_shortage, kill_on, kill_surely
from warren.resilience.boundary import survived
from warren.resilience.conditions import Conditions

PATIENCE = 5.0  # seconds: the kernel ends what it can end in milliseconds
CONDITION = "processes take no kill"
_log = logging.getLogger("warren.process")


class UnkillableTrees:
    """Kills trees, at first in the foreground."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._spare = SpareDescriptors()
        self._nursery: trio.Nursery | None = None
        self._trees = list[ProcessTree]()
        self._refused: str | None = None  # why the last kill could not even be tried

    def __repr__(self) -> str:
        return f"<UnkillableTrees {len(self._trees)}>"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take over what is not dead in time, until cancelled; the rest is then left as it is."""
        self._spare.hold()
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._spare.give_up()

    async def kill(self, tree: ProcessTree, then: Callable[[], None] = lambda: None) -> bool:
        """Kill a tree, whatever is cancelled; `then` is called when it is dead. False: not yet."""
        if await self._kill(tree, math.inf if self._nursery is None else PATIENCE):
            then()
            return True
        self._take_over(tree, then)
        return False

    async def kill_but(self, tree: ProcessTree, checks: Iterable[ProcessTree]) -> None:
        """Kill a tree; once only these branches have live processes, it may be taken over too."""
        while self._nursery is not None:
            if await self._kill(tree, PATIENCE):
                return
            if not await after_shortage(lambda: _has_more(tree, checks)):
                self._take_over(tree, lambda: None)
                return
        await kill_surely(tree)

    async def _kill(self, tree: ProcessTree, patience: float) -> bool:
        is_dead = await kill_surely(tree, patience=patience, hear=self._hear)
        self._refused = None if is_dead else self._refused
        if is_dead and self._nursery is not None:
            self._spare.hold()
        return is_dead

    def _take_over(self, tree: ProcessTree, then: Callable[[], None]) -> None:
        if self._nursery is None:  # the serving has ended meanwhile: so does this process
            return
        self._trees.append(tree)
        self._tell()
        self._nursery.start_soon(self._kill_on, tree, then)

    async def _kill_on(self, tree: ProcessTree, then: Callable[[], None]) -> None:
        try:
            await kill_on(tree, self._hear)
            self._refused = None
        except OSError:
            _log.exception("%r cannot be killed", tree)
        finally:
            self._trees.remove(tree)
            self._tell()
        with survived(f"letting go of {tree!r}"):
            then()

    def _hear(self, error: OSError) -> None:
        self._spare.give_up(error)
        if self._refused is None:
            _log.warning("what is to end cannot be killed yet: %s", error.strerror)
        self._refused = error.strerror
        self._tell()

    def _tell(self) -> None:
        said = f"{len(self._trees)} that Warren killed: they wait for a disk or mount, most likely"
        if self._refused is not None:
            said = f"{len(self._trees)} that Warren cannot kill now: {self._refused}"
        self._conditions.hold(CONDITION, said if self._trees else None)


def _has_more(tree: ProcessTree, checks: Iterable[ProcessTree]) -> bool:
    beyond = {pid for check in checks for pid in check.pids()}
    return any(_lives(pid) for pid in tree.pids() if pid not in beyond)


def _lives(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is not None and not stat.is_dead

"""One child forked ahead, so that the next start need not wait for a fork.

    take ---> the spare, or one forked now ---> used by a start
      `-----> CALM later: another is forked

A fork (with a cgroup and the child's first steps) takes longer than the rest of a start, and all of
it can be done before it is known what will be started. Many starts at once are forked one by one.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import trio

from warren.model.interfaces import CannotRunError
from warren.process.context import cannot_run
from warren.process.main_process import MainProcess
from warren.process.reaper import Reaper
from warren.process.spawn import GatedStart, Starter
from warren.process.tree import ProcessTree, ProcessTrees, kill_surely

CALM = 0.05  # seconds without a start until another child is forked ahead


class PreparedStart(NamedTuple):
    """A child at its gate, under watch, in a tree not assigned yet."""

    tree: ProcessTree
    gated: GatedStart
    main: MainProcess


class PreforkedChildren:
    """Hands out prepared starts. The caller that takes one ends it."""

    def __init__(self, trees: ProcessTrees, starter: Starter, reaper: Reaper) -> None:
        self._trees = trees
        self.starter = starter
        self._reaper = reaper
        self._spare: PreparedStart | None = None
        self._taken = trio.Event()

    def __repr__(self) -> str:
        return f"<PreforkedChildren {self._spare!r}>"

    @property
    def is_ready(self) -> bool:
        """Whether the next start need not wait."""
        return self._spare is not None

    @property
    def pid(self) -> int | None:
        """The spare's pid; None where there is none now."""
        return None if self._spare is None else self._spare.main.pid

    async def take(self, name: str) -> PreparedStart:
        """A child for the program of that name. Raises CannotRunError."""
        self._taken.set()
        spare, self._spare = self._spare, None
        if spare is not None:
            if not spare.main.look():
                return spare
            await _end(spare)  # it has been killed
        return await self._bear(name)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have a spare again after each start, until cancelled."""
        task_status.started()
        try:
            while True:
                await self._taken.wait()
                self._taken = trio.Event()
                await trio.sleep(CALM)
                if self._spare is None and not self._taken.is_set():
                    with contextlib.suppress(CannotRunError):  # the next start raises it
                        self._spare = await self._bear("a program")
        finally:
            if self._spare is not None:
                await _end(self._spare)
                self._spare = None

    async def _bear(self, name: str) -> PreparedStart:
        try:
            tree = self._trees.create()
        except OSError as error:
            raise cannot_run(error, name) from error
        await (
            trio.lowlevel.cancel_shielded_checkpoint()
        )  # other tasks first: the kernel took a while
        try:
            gated = await self.starter.bear(name, cgroup=tree.cgroup)
        except CannotRunError:
            tree.discard()
            raise
        self._reaper.hold(gated.pid)
        try:
            tree.receive(gated.pid)
            main = MainProcess.child(gated.pid, gated.pidfd, reaper=self._reaper)
        except OSError as error:
            gated.abandon()
            await kill_surely(tree)  # while it is held: it may be found by its pid
            self._reaper.reap(gated.pid)
            raise cannot_run(error, name) from error
        return PreparedStart(tree, gated, main)


async def _end(spare: PreparedStart) -> None:
    with trio.CancelScope(shield=True):
        spare.gated.close()
        await kill_surely(spare.tree)
        await spare.main.wait()
        spare.main.close()

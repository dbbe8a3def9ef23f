"""A kill without effect is waited for a while, and goes on in the background."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, cast

import trio
from trio.testing import MockClock

from warren.process.tree import ProcessTree
from warren.process.unkillable import CONDITION, PATIENCE, UnkillableTrees
from warren.resilience.conditions import Conditions


class Unkillable:
    """Plays a tree that dies when it is told to: as a process does whose disk answers again."""

    def __init__(self, *inside: int) -> None:
        self.dies = trio.Event()
        self.inside = inside
        self.fails = 0

    async def kill(self) -> None:
        await self.dies.wait()
        if self.fails:
            raise OSError(self.fails, os.strerror(self.fails))

    def pids(self) -> Sequence[int]:
        return self.inside


def tree(*inside: int) -> Any:
    return cast("ProcessTree", Unkillable(*inside))


async def test_what_takes_no_kill_is_killed_on_in_the_background(
    autojump_clock: MockClock,
) -> None:
    conditions = Conditions()
    unkillable = UnkillableTrees(conditions)
    dead = list[str]()
    victim, other = tree(), tree()
    async with trio.open_nursery() as nursery:
        await nursery.start(unkillable.serve)
        with trio.CancelScope() as scope:
            scope.cancel()
            assert not await unkillable.kill(victim, lambda: dead.append("victim"))
        assert trio.current_time() == PATIENCE
        assert not dead
        assert conditions.has(CONDITION)
        other.dies.set()
        assert await unkillable.kill(other, lambda: dead.append("other"))
        victim.dies.set()
        await trio.testing.wait_all_tasks_blocked()
        assert dead == ["other", "victim"]
        assert not conditions.has(CONDITION)
        left = tree()
        assert not await unkillable.kill(left)
        nursery.cancel_scope.cancel()  # serving ends without it
    assert trio.current_time() == 2 * PATIENCE


async def test_tree_is_let_go_when_only_its_stuck_checks_live(autojump_clock: MockClock) -> None:
    unkillable = UnkillableTrees(Conditions())
    living, init = os.getpid(), 1
    check, whole = tree(init), tree(init, living)
    async with trio.open_nursery() as nursery:
        await nursery.start(unkillable.serve)
        nursery.start_soon(_kill_and_cancel, unkillable, whole, check, nursery.cancel_scope)
        await trio.sleep(10.5 * PATIENCE)  # what is no check is waited for
        whole.inside = (init,)
        await trio.sleep(PATIENCE)
    assert trio.current_time() == 11 * PATIENCE


async def _kill_and_cancel(
    unkillable: UnkillableTrees, whole: ProcessTree, check: ProcessTree, scope: trio.CancelScope
) -> None:
    await unkillable.kill_but(whole, [check])
    scope.cancel()


async def test_what_may_not_be_killed_ends_no_serving(autojump_clock: MockClock) -> None:
    conditions = Conditions()
    unkillable = UnkillableTrees(conditions)
    victim, dead = tree(), list[str]()
    victim.fails = errno.EPERM
    async with trio.open_nursery() as nursery:
        await nursery.start(unkillable.serve)
        assert not await unkillable.kill(victim, lambda: dead.append("victim"))
        victim.dies.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not conditions.has(CONDITION)
        assert dead == ["victim"]  # it holds up its owner no longer
        nursery.cancel_scope.cancel()


async def test_letting_go_that_fails_ends_no_serving(autojump_clock: MockClock) -> None:
    unkillable = UnkillableTrees(Conditions())
    victim = tree()

    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with trio.open_nursery() as nursery:
        await nursery.start(unkillable.serve)
        assert not await unkillable.kill(victim, fail)
        victim.dies.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_condition_says_what_a_kill_was_refused_for(autojump_clock: MockClock) -> None:
    conditions = Conditions()
    unkillable = UnkillableTrees(conditions)

    def said() -> str:
        (one,) = conditions.current()
        return one.message

    async with trio.open_nursery() as nursery:
        await nursery.start(unkillable.serve)
        stuck, short = tree(), tree()
        assert not await unkillable.kill(stuck)
        assert said() == "1 that Warren killed: they wait for a disk or mount, most likely"
        short.fails = errno.EMFILE
        short.dies.set()
        assert not await unkillable.kill(short)
        assert said() == "2 that Warren cannot kill now: Too many open files"
        short.fails = 0
        await trio.sleep(1)
        assert said() == "1 that Warren killed: they wait for a disk or mount, most likely"
        nursery.cancel_scope.cancel()
